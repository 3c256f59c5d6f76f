/**
 * Has the kernel run a program on one frame as often as it can, as a driver does, in batches of 64 (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18): what the program
 * passes is the network's, what it redirects is sent. `bun generate-frames.ts relay|pass INTERFACE NEAR_MAC BYTES SECONDS`, in the middle of a line.
 * Prints `{datagrams, seconds}`.
 *
 * The kernel uses frames again as they were left, so each run begins with writing the headers anew: in both programs.
 */
import { ipBytes, macBytes, parseIp, parseMac } from "../../src/net/mod.ts";
import { attributes, bpf, refer } from "../../src/sys/bpf-call.ts";
import { BpfMap, loadXdpProgram, stable } from "../../src/sys/mod.ts";
import {
  circuitKey,
  circuitValue,
  relayLines,
  XDP_COUNTER,
  XDP_KEY,
  XDP_VALUE,
} from "../../src/tunnel/relay/xdp-program.ts";
import {
  add,
  assembleBpf,
  type BpfLine,
  copy,
  exit,
  jumpIfBehind,
  label,
  load,
  move,
  R0,
  R1,
  R4,
  R7,
  R8,
  storeNumber,
} from "../../src/tunnel/xdp/bpf-assembler.ts";
import { must } from "../tunnel/cable.ts";
import { FAR_PORT, HUB_PORT, LINE, NEAR_PORT } from "./line.ts";

const PROG_TEST_RUN = 10;
const LIVE_FRAMES = 1 << 1;
const REPEAT = 65_536;
const HEADERS = 42;
const INDEX = 0x1234;

const [kind, name = "", nearMac = "", size, seconds] = process.argv.slice(2);
const link = (of: string) =>
  JSON.parse(must(undefined, "ip", "-j", "link", "show", of))[0] as { ifindex: number; address: string };
const near = {
  address: ipBytes(parseIp(LINE.near)),
  port: NEAR_PORT,
  local: ipBytes(parseIp(LINE.middleNear)),
};
const far = { address: ipBytes(parseIp(LINE.far)), port: FAR_PORT, local: ipBytes(parseIp(LINE.middleFar)) };
const ingress = link(name);

/** Ethernet, IPv4, UDP without a checksum, and a data message. */
const frame = stable(HEADERS + Number(size));
const view = new DataView(frame.buffer);
frame.set(macBytes(parseMac(ingress.address)), 0);
frame.set(macBytes(parseMac(nearMac)), 6);
view.setUint16(12, 0x0800);
view.setUint16(14, 0x4500);
view.setUint16(16, frame.length - 14);
view.setUint16(22, (64 << 8) | 17);
frame.set(near.address, 26);
frame.set(kind === "relay" ? near.local : far.address, 30);
view.setUint16(34, NEAR_PORT);
view.setUint16(36, kind === "relay" ? HUB_PORT : FAR_PORT);
view.setUint16(38, 8 + Number(size));
view.setUint32(HEADERS, 4, true);
view.setUint32(HEADERS + 4, INDEX, true);
view.setUint16(24, checksum(14, 34));
view.setUint16(40, udpChecksum());

function sum(from: number, end: number): number {
  let all = 0;
  for (let at = from; at < end; at += 2) all += view.getUint16(at);
  return all;
}
function folded(all: number): number {
  let rest = all;
  while (rest > 0xffff) rest = (rest & 0xffff) + Math.floor(rest / 65_536);
  return ~rest & 0xffff;
}
function checksum(from: number, end: number): number {
  return folded(sum(from, end));
}
function udpChecksum(): number {
  return folded(17 + view.getUint16(38) + sum(26, frame.length));
}

const anew: BpfLine[] = [
  load(R7, 4, R1, 0),
  load(R8, 4, R1, 4),
  copy(R4, R7),
  add(R4, HEADERS),
  jumpIfBehind(R4, R8, "pass"),
  ...Array.from({ length: 10 }, (_, i) => storeNumber(4, R7, 4 * i, view.getInt32(4 * i, true))),
  storeNumber(2, R7, 40, view.getUint16(40, true)),
];

function program() {
  if (kind !== "relay")
    return loadXdpProgram("bench_pass", assembleBpf([...anew, label("pass"), move(R0, 2), exit]));
  const circuits = BpfMap.create("bench", {
    type: "hash",
    keyBytes: XDP_KEY.bytes,
    valueBytes: XDP_VALUE.bytes,
    entries: 1024,
  });
  const interfaces = BpfMap.create("bench", { type: "interfaces", keyBytes: 4, valueBytes: 4, entries: 8 });
  const counter = BpfMap.create("bench", {
    type: "perCpuArray",
    keyBytes: 4,
    valueBytes: XDP_COUNTER.size,
    entries: 1,
  });
  circuits.put(circuitKey(near, INDEX), circuitValue(near, far, HUB_PORT));
  const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const out = link("far0").ifindex;
  interfaces.put(word(out), word(out));
  const maps = { circuits: circuits.fd.number, interfaces: interfaces.fd.number, counter: counter.fd.number };
  return loadXdpProgram("bench_relay", assembleBpf([...anew, ...relayLines(maps)]), { license: "GPL" });
}

const loaded = program();
const context = stable(24);
new DataView(context.buffer).setUint32(4, frame.length, true);
new DataView(context.buffer).setUint32(12, ingress.ifindex, true);

let datagrams = 0;
const start = performance.now();
const end = start + Number(seconds) * 1000;
let now = start;
for (; now < end; now = performance.now()) {
  const all = attributes(80);
  all.view.setUint32(0, loaded.number, true);
  all.view.setUint32(8, frame.length, true);
  refer(all, 16, frame);
  all.view.setUint32(32, REPEAT, true);
  all.view.setUint32(40, context.length, true);
  refer(all, 48, context);
  all.view.setUint32(64, LIVE_FRAMES, true);
  bpf(PROG_TEST_RUN, all, "run XDP program on live frames");
  datagrams += REPEAT;
}
process.stdout.write(JSON.stringify({ datagrams, seconds: (now - start) / 1000 }));
