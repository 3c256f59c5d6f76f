/**
 * Moves ESP packets through both steps in memory and prints what the garbage collector saw of it: `bun test/support/esp-heap.ts PACKETS`.
 * A process of its own, so that no other test's garbage is counted.
 */
import { heapStats } from "bun:jsc";
import { EspPair } from "./esp-memory.ts";
import { superPacket } from "./packets.ts";

const packets = Number(process.argv[2]);
const pair = new EspPair();
const base = { source: 1, target: 2, sourcePort: 1, targetPort: 2 } as const;
// 46 segments, then packets that are single, of both families.
pair.near.put(
  superPacket({ ...base, family: 4, protocol: "tcp", payload: new Uint8Array(46 * 1300) }, 1300),
  superPacket({ ...base, family: 6, protocol: "tcp", sourcePort: 3, payload: new Uint8Array(20) }),
  superPacket({ ...base, family: 4, protocol: "udp", payload: new Uint8Array(64) }),
  superPacket({ ...base, family: 6, protocol: "udp", sourcePort: 5, payload: new Uint8Array(30 * 500) }, 500),
);
const perRound = 46 + 1 + 1 + 30;
pair.far.keep = false;

function move(count: number): void {
  pair.near.left = 4 * Math.ceil(count / perRound);
  pair.exchange();
}

// Beyond 2^31 and 2^32 the numbers are doubles, which must not be made objects either.
pair.sendFrom(2 ** 32 - 500_000);
pair.inbound.window.next[0] = 2 ** 32 - 500_000;
// Until the compilers have done their work.
move(300_000);
Bun.gc(true);
const before = heapStats();
const sent = pair.outbound.sent;
const started = performance.now();
move(packets);
const elapsedMs = performance.now() - started;
const after = heapStats();
process.stdout.write(
  JSON.stringify({
    packets: pair.outbound.sent - sent,
    // Grows with each block of memory for new objects, until a collection; then the second is not zero.
    capacityBytes: after.heapCapacity - before.heapCapacity,
    collected: after.heapSize - before.heapSize,
    counters: pair.counters,
    window: pair.inbound.window.next[0],
    nsPerPacket: Math.round((elapsedMs * 1e6) / (pair.outbound.sent - sent)),
  }),
);
