/** The relay's XDP program, run by the kernel on frames of all kinds: it takes those of its circuit, and nothing that differs in anything. */
import { describe, expect, test } from "bun:test";
import { BpfMap, loadXdpProgram, type Netns, testXdpProgram } from "../../src/sys/mod.ts";
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import {
  circuitKey,
  circuitValue,
  relayProgram,
  XDP_COUNTER,
  XDP_KEY,
  XDP_VALUE,
} from "../../src/tunnel/relay/xdp-program.ts";
import { newSeed, Random } from "../support/random.ts";
import { Scratch } from "../support/scratch.ts";
import { ip, tool } from "../support/tunnel-pair.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = lacksXdp();
const seed = newSeed();
const [PASS, REDIRECT] = [2, 4];
const [HUB_PORT, NEAR_PORT, FAR_PORT] = [51820, 1111, 2222];
const INDEX = 0x89abcdef;
const ADDRESSES = {
  4: { near: "192.0.2.1", ours: "192.0.2.254", oursFar: "198.51.100.254", far: "198.51.100.1" },
  6: { near: "2001:db8:1::1", ours: "2001:db8:1::254", oursFar: "2001:db8:2::254", far: "2001:db8:2::1" },
} as const;
type Family = keyof typeof ADDRESSES;

/** A namespace with a route and a neighbour for the far node, and the program with one circuit of each family. */
function prepare(scratch: Scratch) {
  const { netns } = scratch;
  for (const setting of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
    tool(netns, `sysctl -qw ${setting}=1`);
  ip(netns, "link set lo up");
  ip(netns, "link add far0 type veth peer name other0");
  for (const family of [4, 6] as const) {
    const { oursFar, far } = ADDRESSES[family];
    ip(netns, `addr add ${oursFar}/${family === 4 ? 24 : 64} dev far0${family === 6 ? " nodad" : ""}`);
    ip(netns, "link set far0 up");
    ip(netns, "link set other0 up");
    ip(netns, `neigh replace ${far} lladdr 02:00:00:00:00:09 dev far0 nud permanent`);
  }
  const circuits = BpfMap.create("t", {
    type: "hash",
    keyBytes: XDP_KEY.bytes,
    valueBytes: XDP_VALUE.bytes,
    entries: 16,
  });
  const interfaces = BpfMap.create("t", { type: "interfaces", keyBytes: 4, valueBytes: 4, entries: 4 });
  const counter = BpfMap.create("t", {
    type: "perCpuArray",
    keyBytes: 4,
    valueBytes: XDP_COUNTER.size,
    entries: 1,
  });
  const word = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const out = word(scratch.index("far0"));
  for (const family of [4, 6] as const) {
    const { near, ours, oursFar, far } = ADDRESSES[family];
    const place = (address: string, port: number, local: string) => ({
      address: ipBytes(parseIp(address)),
      port,
      local: ipBytes(parseIp(local)),
    });
    const [from, to] = [place(near, NEAR_PORT, ours), place(far, FAR_PORT, oursFar)];
    circuits.put(circuitKey(from, INDEX), circuitValue(from, to, HUB_PORT));
  }
  netns.run((): void => interfaces.put(out, out));
  const program = loadXdpProgram(
    "relay",
    relayProgram({
      circuits: circuits.fd.number,
      interfaces: interfaces.fd.number,
      counter: counter.fd.number,
    }),
    { license: "GPL" },
  );
  const verdict = (frame: Uint8Array) => runIn(netns, () => testXdpProgram(program, frame));
  return {
    verdict,
    interfaces: {
      add: () => netns.run((): void => interfaces.put(out, out)),
      remove: () => interfaces.delete(out),
    },
  };
}

const runIn = (netns: Netns, work: () => number): number => netns.run(work);

/** The frame of the circuit. */
function frameOf(family: Family): Uint8Array {
  const header = family === 4 ? 20 : 40;
  const frame = new Uint8Array(14 + header + 8 + 64);
  const view = new DataView(frame.buffer);
  const { near, ours } = ADDRESSES[family];
  view.setUint16(12, family === 4 ? 0x0800 : 0x86dd);
  if (family === 4) {
    view.setUint16(14, 0x4500);
    view.setUint16(16, frame.length - 14);
    view.setUint16(22, (64 << 8) | 17);
  } else {
    view.setUint32(14, 6 << 28);
    view.setUint16(18, 8 + 64);
    view.setUint16(20, (17 << 8) | 64);
  }
  frame.set(ipBytes(parseIp(near)), family === 4 ? 26 : 22);
  frame.set(ipBytes(parseIp(ours)), family === 4 ? 30 : 38);
  const udp = 14 + header;
  view.setUint16(udp, NEAR_PORT);
  view.setUint16(udp + 2, HUB_PORT);
  view.setUint16(udp + 4, 8 + 64);
  view.setUint16(udp + 6, 0x1234);
  view.setUint32(udp + 8, 4, true);
  view.setUint32(udp + 12, INDEX, true);
  return frame;
}

/** Bytes that say what a frame is; the others are for others to judge, or are rewritten. */
function decisive(family: Family): number[] {
  const range = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i);
  const udp = family === 4 ? 34 : 54;
  const header = family === 4 ? [14, 23, ...range(26, 34)] : [20, ...range(22, 54)];
  return [12, 13, ...header, ...range(udp, udp + 4), ...range(udp + 8, udp + 16)];
}

describe.skipIf(skip !== undefined)(
  `the relay's XDP program${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    for (const family of [4, 6] as const)
      test(`IPv${family}: only its circuit's own frames are sent on (seed ${seed})`, () => {
        const random = new Random(seed);
        using scratch = new Scratch();
        const { verdict } = prepare(scratch);
        const frame = frameOf(family);
        expect(verdict(frame)).toBe(REDIRECT);
        for (const at of decisive(family))
          for (let i = 0; i < 4; i++) {
            const other = frame.slice();
            other[at] = (other[at] as number) ^ (1 + random.below(255));
            expect([at, verdict(other)]).toEqual([at, PASS]);
          }
        // Hops that end here; IPv4 fragments.
        const hops = family === 4 ? 22 : 21;
        for (const left of [0, 1]) {
          const other = frame.slice();
          other[hops] = left;
          expect(verdict(other)).toBe(PASS);
        }
        if (family === 4)
          for (const fragment of [0x2000, 0x0001, 0x2001]) {
            const other = frame.slice();
            new DataView(other.buffer).setUint16(20, fragment);
            expect(verdict(other)).toBe(PASS);
          }
        for (let bytes = 14; bytes < frame.length - 40; bytes += 3)
          expect(verdict(frame.slice(0, bytes))).toBe(PASS);
        for (let i = 0; i < 2000; i++) {
          const other = random.mutate(frame);
          if (other.length >= 14) expect([PASS, REDIRECT]).toContain(verdict(other));
        }
        expect(verdict(frame)).toBe(REDIRECT);
      });

    test("what has no way, does not fit it, or would leave by another interface is the kernel's", () => {
      using scratch = new Scratch();
      const { verdict, interfaces } = prepare(scratch);
      const frame = frameOf(4);
      const { netns } = scratch;
      interfaces.remove();
      expect(verdict(frame)).toBe(PASS);
      interfaces.add();
      ip(netns, "neigh del 198.51.100.1 dev far0");
      expect(verdict(frame)).toBe(PASS);
      ip(netns, "neigh replace 198.51.100.1 lladdr 02:00:00:00:00:09 dev far0 nud permanent");
      expect(verdict(frame)).toBe(REDIRECT);
      ip(netns, "link set far0 mtu 80");
      expect(verdict(frame)).toBe(PASS);
      ip(netns, "link set far0 mtu 1500");
      tool(netns, "sysctl -qw net.ipv4.ip_forward=0");
      expect(verdict(frame)).toBe(PASS);
      tool(netns, "sysctl -qw net.ipv4.ip_forward=1");
      ip(netns, "addr del 198.51.100.254/24 dev far0");
      expect(verdict(frame)).toBe(PASS);
    });
  },
);
