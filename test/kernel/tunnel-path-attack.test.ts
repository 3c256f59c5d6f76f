/** The packet path with somebody between the nodes who changes, repeats, reorders and invents datagrams. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { openUdp, type UdpSocket } from "../../src/sys/mod.ts";
import { PathNodes, PORT } from "../support/path-nodes.ts";
import { Random } from "../support/random.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;

/** Relay stands between the nodes, on a socket in each namespace, and does with datagrams what a test says. */
class Relay implements AsyncDisposable {
  readonly pair = new PathNodes();
  /** What is passed on instead of a datagram from near. */
  change: (datagram: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>[] = (datagram) => [datagram];
  #sockets: UdpSocket[] = [];

  async start(): Promise<void> {
    const { near, far } = this.pair;
    const atFar = await openUdp({
      netns: far.netns,
      host: "127.0.0.1",
      port: 40002,
      onDatagram: ({ data }) => void atNear.send(new Uint8Array(data), "127.0.0.1", PORT),
    });
    const atNear = await openUdp({
      netns: near.netns,
      host: "127.0.0.1",
      port: 40001,
      onDatagram: ({ data }) => {
        for (const one of this.change(new Uint8Array(data))) atFar.send(one, "127.0.0.1", PORT);
      },
    });
    this.#sockets = [atFar, atNear];
    await far.start({});
    await near.start({ endpoint: "127.0.0.1:40001" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.close();
    await this.pair[Symbol.asyncDispose]();
  }
}

describe.skipIf(skip !== undefined)(`tunnel path under attack${reason}`, () => {
  let relay: Relay;
  beforeAll(async () => {
    relay = new Relay();
    await relay.start();
  });
  afterAll(() => relay?.[Symbol.asyncDispose]());

  test("untouched, it is a way like any other", async () => {
    relay.change = (datagram) => [datagram];
    const { near, far } = relay.pair;
    expect(await near.ping(far.overlay4)).toMatchObject({ received: 3, duplicates: 0 });
    expect((await far.report()).counters).toMatchObject({ forged: 0, replayed: 0, unknown: 0, malformed: 0 });
  });

  test("a datagram with one wrong bit, wherever it is, is dropped", async () => {
    const { near, far } = relay.pair;
    let bit = 0;
    relay.change = (datagram) => {
      const place = 16 + ((bit++ * 7) % (datagram.length - 16));
      datagram[place] = (datagram[place] as number) ^ (1 << (bit % 8));
      return [datagram];
    };
    const before = (await far.report()).counters;
    expect(await near.ping(far.overlay4, { count: 10 })).toMatchObject({ received: 0 });
    const after = (await far.report()).counters;
    expect(after.forged - before.forged).toBeGreaterThanOrEqual(10);
    relay.change = (datagram) => [datagram];
    expect(await near.ping(far.overlay4)).toMatchObject({ received: 3 });
  });

  test("datagrams that come three times are taken once; an old one never again", async () => {
    const { near, far } = relay.pair;
    const kept: Uint8Array<ArrayBuffer>[] = [];
    relay.change = (datagram) => {
      kept.push(datagram);
      return [datagram, datagram.slice(), datagram.slice()];
    };
    const before = (await far.report()).counters;
    expect(await near.ping(far.overlay4, { count: 10 })).toMatchObject({ received: 10, duplicates: 0 });
    const after = (await far.report()).counters;
    expect(after.replayed - before.replayed).toBe(2 * kept.length);
    relay.change = (datagram) => [...kept.map((one) => one.slice()), datagram];
    expect(await near.ping(far.overlay6, { count: 3 })).toMatchObject({ received: 3, duplicates: 0 });
    expect((await far.report()).opened).toBeGreaterThan(0);
    relay.change = (datagram) => [datagram];
  });

  test("datagrams out of order are all taken", async () => {
    const { near, far } = relay.pair;
    let held: Uint8Array<ArrayBuffer>[] = [];
    relay.change = (datagram) => {
      // Others than these have other lengths.
      if (datagram.length !== 32 + 240) return [datagram];
      held.push(datagram);
      if (held.length < 5) return [];
      const all = held.reverse();
      held = [];
      return all;
    };
    const before = await far.report();
    expect(await near.ping(far.overlay4, { count: 10, bytes: 200 })).toMatchObject({ received: 10 });
    const after = await far.report();
    expect(after.counters.replayed).toBe(before.counters.replayed);
    relay.change = (datagram) => [datagram];
  });

  test("garbage and foreign messages leave the flow alone", async () => {
    const { near, far } = relay.pair;
    const random = new Random(5);
    relay.change = (datagram) => [
      random.bytes(1 + random.below(200)),
      random.mutate(datagram),
      new Uint8Array(148).fill(1, 0, 1),
      datagram,
      datagram.slice(0, 20),
    ];
    const before = await far.report();
    expect(await near.ping(far.overlay4, { count: 10 })).toMatchObject({ received: 10, duplicates: 0 });
    expect((await far.report()).others).toBeGreaterThan(before.others + 10);
    relay.change = (datagram) => [datagram];
  });
});
