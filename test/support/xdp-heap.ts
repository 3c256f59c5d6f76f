/**
 * Moves packets over a cable by AF_XDP at both ends, through all sources and sinks, and prints what the garbage collector saw of it and how
 * long it took: `bun test/support/xdp-heap.ts PACKETS [BYTES]`. A process of its own, so that no other test's garbage is counted.
 *
 * ```
 * x0: XdpFrameSink (UDP) ─▶ y0: XdpMessages ─▶ XdpPacketSink, in place ─▶ x0: XdpPacketSource
 * ```
 */
import { heapStats } from "bun:jsc";
import { Arena } from "../../src/sys/mod.ts";
import { macBytes, parseIp, parseMac } from "../../src/net/mod.ts";
import {
  setXdpEndpoint,
  XDP_ENDPOINT,
  XdpFrames,
  XdpFrameSink,
  XdpInterface,
  XdpMessages,
  XdpPacketSink,
  XdpPacketSource,
  XdpPort,
} from "../../src/tunnel/xdp/mod.ts";
import { Scratch } from "./scratch.ts";

const packets = Number(process.argv[2]);
const bytes = Number(process.argv[3] ?? 64);
using scratch = new Scratch();
scratch.text("ip link add x0 type veth peer name y0");
for (const link of ["x0", "y0"]) scratch.text(`ip link set ${link} up`);
const arena = new Arena({ bytes: 24 << 20 });

function end(name: string) {
  const ifindex = scratch.index(name);
  const link = XdpInterface.open({ ifindex, netns: scratch.netns, filter: { etherTypes: [0x0800] } });
  const frames = new XdpFrames(arena, { frames: 4096 });
  const port = new XdpPort(frames, { ifindex, netns: scratch.netns, queue: 0, zeroCopy: true });
  link.add(0, port.socket.fd.number);
  const mac = /link\/ether (\S+)/.exec(scratch.text(`ip link show ${name}`))?.[1] as string;
  return { frames, port, link, mac: macBytes(parseMac(mac)) };
}
const [x, y] = [end("x0"), end("y0")];

const endpoint = arena.allocate(XDP_ENDPOINT.bytes);
const addresses = { from: parseIp("10.0.0.1"), to: parseIp("10.0.0.2") };
setXdpEndpoint(arena, endpoint, { nextHop: y.mac, mac: x.mac, ...addresses, udp: { from: 1, to: 4500 } });
const sink = new XdpFrameSink(x.port);
const messages = new XdpMessages(y.port, { mac: y.mac, udpPort: 4500 });
const hop = arena.allocate(64);
arena.store(hop, x.mac);
arena.store(hop + 6, y.mac);
const back = new XdpPacketSink(y.port, { find: () => hop });
const source = new XdpPacketSource(x.port, { mac: x.mac });
// What every message has inside: an IP packet.
const inside = arena.allocate(64);
arena.store(
  inside,
  new Uint8Array([0x45, 0, bytes >> 8, bytes & 255, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2]),
);
let sum = 0;
for (let i = 0; i < 20; i += 2) sum += arena.view.getUint16(inside + i);
arena.view.setUint16(inside + 10, ~((sum & 0xffff) + (sum >>> 16)));

let arrived = 0;
function move(count: number): void {
  const target = arrived + count;
  let dry = 0;
  while (arrived < target && dry < 1000) {
    for (let i = 0; i < 64; i++) {
      const at = sink.frame(endpoint, bytes);
      if (at === 0) break;
      arena.u8.copyWithin(at, inside, inside + 20);
    }
    sink.flush();
    for (let got = messages.receive(); got > 0; got = messages.receive()) {
      for (let i = 0; i < got; i++) back.add(messages.at(i), messages.bytes(i));
      back.flush();
    }
    const before = arrived;
    for (let got = source.receive(); got > 0; got = source.receive()) arrived += got;
    dry = arrived === before ? dry + 1 : 0;
  }
}

move(200_000);
Bun.gc(true);
const before = heapStats();
const start = performance.now();
const [sent, base] = [x.port.sent, arrived];
move(packets);
const seconds = (performance.now() - start) / 1000;
const after = heapStats();
messages.receive();
source.receive();
process.stdout.write(
  JSON.stringify({
    sent: x.port.sent - sent,
    arrived: arrived - base,
    seconds,
    capacityBytes: after.heapCapacity - before.heapCapacity,
    collected: after.heapSize - before.heapSize,
    garbled: x.port.garbled + y.port.garbled,
    dropped: back.dropped + back.tooLong + back.unresolved,
    census: [x.frames.census(), y.frames.census()],
  }),
);
for (const { port, link } of [x, y]) {
  port.close();
  link.close();
}
