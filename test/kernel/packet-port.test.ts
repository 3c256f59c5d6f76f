/** Ports by packet sockets: which frames they take, where frames are, and what an interface does under them. */
import { existsSync } from "node:fs";
import { describe, expect, test } from "bun:test";
import { Arena, sendFrames, writeKernelFile } from "../../src/sys/mod.ts";
import { PacketPort, XdpFrames } from "../../src/tunnel/xdp/mod.ts";
import { until } from "../support/tunnel-pair.ts";
import { XdpPair } from "../support/xdp-pair.ts";

const noRoot = process.getuid?.() === 0 ? undefined : "needs root";
const TYPES = [0x0800, 0x88b5];

/** A frame of a type; what lies in it is its number. */
function frame(type: number, bytes: number, number: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(bytes).fill(number);
  all.set([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, type >> 8, type & 255]);
  return all;
}

class Bench implements Disposable {
  readonly pair = new XdpPair();
  readonly frames: XdpFrames;
  readonly port: PacketPort;

  constructor(options: { readonly frames?: number; readonly queue?: number } = {}) {
    const { frames: count = 256, queue = 0 } = options;
    for (const leaf of ["ipv4/conf/x0/forwarding", "ipv6/conf/all/forwarding"]) this.write(leaf, "0");
    const arena = new Arena({ bytes: (count + 2) * 2048 + (1 << 20) });
    this.frames = new XdpFrames(arena, { frames: count });
    this.port = this.open(queue);
  }

  write(leaf: string, value: string): void {
    this.pair.near.run(() => writeKernelFile(`/proc/sys/net/${leaf}`, value));
  }

  /** Sends by far's end. */
  send(...list: readonly Uint8Array[]): void {
    const { pair } = this;
    sendFrames(Number(/^\d+/.exec(pair.ip("far", "-o link show y0"))?.[0]), list, { netns: pair.far });
  }

  /** Works on all that comes of the test's own type, and nothing of the kernel's, until so many frames have come. */
  async each(frames: number, work: (at: number, bytes: number) => void, port = this.port): Promise<void> {
    const { view } = this.frames.arena;
    let came = 0;
    await until(`${frames} frames`, () => {
      for (let count = port.receive(); count + port.cuts > 0; count = port.receive()) {
        const each = (at: number, bytes: number) => {
          if (view.getUint16(at + 12) !== 0x88b5) return;
          came++;
          work(at, bytes);
        };
        for (let i = 0; i < port.cuts; i++) each(port.cutAt(i), Number.POSITIVE_INFINITY);
        for (let i = 0; i < count; i++) each(port.at(i), port.bytes(i));
        port.flush();
      }
      return came >= frames;
    });
  }

  /** The first bytes behind the headers of what comes, until so many frames have. */
  async came(frames: number, port = this.port): Promise<number[]> {
    const numbers: number[] = [];
    await this.each(frames, (at) => void numbers.push(this.frames.arena.u8[at + 14] as number), port);
    return numbers;
  }

  open(queue: number): PacketPort {
    const { ifindex, near: netns } = this.pair;
    return this.pair.keep(new PacketPort(this.frames, { ifindex, netns, queue, etherTypes: TYPES }));
  }

  [Symbol.dispose](): void {
    this.pair[Symbol.dispose]();
  }
}

describe.skipIf(noRoot !== undefined)(
  `packet ports${noRoot === undefined ? "" : ` (skipped: ${noRoot})`}`,
  () => {
    test("frames of the EtherTypes come, others and those with a VLAN tag do not", async () => {
      using bench = new Bench();
      const tagged = frame(0x8100, 64, 3);
      tagged.set([0, 7, 0x88, 0xb5], 14);
      bench.send(frame(0x88b5, 60, 1), frame(0x88b6, 60, 2), tagged, frame(0x88b5, 1500, 4));
      expect(await bench.came(2)).toEqual([1, 4]);
    });

    test("frames of another queue do not come", async () => {
      using bench = new Bench({ queue: 1 });
      const other = bench.open(0);
      bench.send(frame(0x88b5, 60, 1));
      expect(await bench.came(1, other)).toEqual([1]);
      expect(bench.port.receive()).toBe(0);
    });

    test("many come in order and can be sent back as they lie; every frame is in one place", async () => {
      using bench = new Bench({ frames: 160 });
      const { port, frames } = bench;
      for (let round = 0; round < 20; round++) {
        const numbers = Array.from({ length: 100 }, (_, i) => (round * 7 + i) & 255);
        bench.send(...numbers.map((number) => frame(0x88b5, 60 + number, number)));
        const seen: number[] = [];
        await bench.each(100, (at, bytes) => {
          const number = frames.arena.u8[at + 14] as number;
          seen.push(number);
          expect(bytes).toBe(60 + number);
          expect(port.send(at, bytes)).toBe(true);
        });
        expect(seen).toEqual(numbers);
        const { free, received, fill } = frames.census();
        expect(free + received + fill).toBe(160);
      }
      expect(port.sent).toBe(2000);
      expect(port.lost()).toEqual({ tooLong: 0, noRoom: 0, unsent: 0, unsentBytes: 0 });
      port.close();
      expect(frames.census()).toEqual({ free: 160, held: 0, received: 0, fill: 0, transmit: 0 });
    });

    test("with all frames away nothing comes, and it goes on when some are back", async () => {
      using bench = new Bench({ frames: 64 });
      const { frames } = bench;
      const held: number[] = [];
      for (let at = frames.take(); at !== 0; at = frames.take()) held.push(at);
      bench.send(frame(0x88b5, 60, 1));
      expect(bench.port.receive()).toBe(0);
      for (const at of held) frames.give(at);
      expect(await bench.came(1)).toEqual([1]);
    });

    test("what is longer than a frame is counted, and its beginning is there", async () => {
      using bench = new Bench();
      const { port, frames, pair } = bench;
      pair.ip("near", "link set x0 mtu 4000");
      pair.ip("far", "link set y0 mtu 4000");
      bench.send(frame(0x88b5, 3000, 5), frame(0x88b5, frames.roomBytes, 6));
      const lengths: number[] = [];
      await bench.each(2, (at, bytes) => {
        lengths.push(bytes);
        expect(frames.arena.u8[at + frames.roomBytes - 1]).toBe(bytes > 3000 ? 5 : 6);
      });
      expect(lengths).toEqual([Number.POSITIVE_INFINITY, frames.roomBytes]);
      expect(port.lost()).toMatchObject({ tooLong: 1, noRoom: 0 });
    });

    test("a frame longer than the interface's MTU is dropped and counted, and the others leave", () => {
      using bench = new Bench();
      const { port, frames } = bench;
      for (const bytes of [60, 1600, 70]) {
        const at = frames.take();
        frames.arena.store(at, frame(0x88b5, bytes, 1));
        expect(port.send(at, bytes)).toBe(true);
      }
      expect(port.flush()).toBe(true);
      expect(port.sent).toBe(2);
      expect(port.lost()).toMatchObject({ unsent: 1, unsentBytes: 1600 });
      expect(() => port.send(frames.take(), Number.NaN)).toThrow(RangeError);
    });

    test("an interface that is down takes nothing, up it goes on, and its removal is seen", async () => {
      using bench = new Bench();
      const { port, frames, pair } = bench;
      const send = () => {
        const at = frames.take();
        frames.arena.store(at, frame(0x88b5, 60, 1));
        port.send(at, 60);
        return port.flush();
      };
      pair.ip("near", "link set x0 down");
      expect([send(), port.isDown, port.gone]).toEqual([true, true, false]);
      pair.ip("near", "link set x0 up");
      expect([send(), port.isDown]).toEqual([true, false]);
      bench.send(frame(0x88b5, 60, 9));
      expect(await bench.came(1)).toEqual([9]);
      pair.ip("near", "link del x0");
      port.check();
      expect([port.gone, send()]).toEqual([true, true]);
      expect(port.receive()).toBe(0);
    });

    test.each([
      ["ipv4/conf/x0/forwarding", "net.ipv4.conf.x0.forwarding is 1); set it to 0, or use AF_XDP"],
      // What the interface itself says counts for nothing there.
      [
        "ipv6/conf/all/forwarding",
        "net.ipv6.conf.all.forwarding is 1); set it to 0 or net.ipv6.conf.x0.disable_ipv6 to 1, or use AF_XDP",
      ],
      // Linux 6.17.
      ...(existsSync("/proc/sys/net/ipv6/conf/lo/force_forwarding")
        ? [["ipv6/conf/x0/force_forwarding", "net.ipv6.conf.x0.force_forwarding is 1); set it to 0 or"]]
        : []),
    ] as [string, string][])(
      "an interface whose packets the kernel forwards too is refused: %s",
      (leaf, reason) => {
        using bench = new Bench();
        const { ifindex, near: netns } = bench.pair;
        bench.write(leaf, "1");
        bench.write("ipv6/conf/x0/forwarding", "0");
        const open = () => new PacketPort(bench.frames, { ifindex, netns, queue: 0, etherTypes: TYPES });
        expect(open).toThrow(
          `Cannot take the frames of x0 by a packet socket: the kernel forwards them too (${reason}`,
        );
        if (leaf.startsWith("ipv4")) return;
        bench.write("ipv6/conf/x0/disable_ipv6", "1");
        using _ = open();
      },
    );
  },
);
