/**
 * A peer is made anew so that its next handshake goes another way, by a relay that knows no session of before: what the other end goes on to send by the
 * way of before arrives, what is sent here waits, and nothing is lost, whichever way is the slower one.
 */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { ipv4Packet, seeded } from "../../../test/support/wireguard-ends.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseEndpoint,
  parseIp,
  parsePrefix,
  PrivateKey,
} from "../../net/mod.ts";
import { configurationOf } from "./configuration.ts";
import { Device } from "./device.ts";
import { act, type Outcome, receiveDatagram, sendPacket } from "./slow-path.ts";

const RELAYS = ["192.0.2.1:51820", "192.0.2.2:51820"].map(parseEndpoint) as [Endpoint, Endpoint];
const INNER = ["10.0.0.1", "10.0.0.2"] as const;
const PACKETS = 200;
const CHANGE_MS = 150;
const EVERY_MS = 3;
const [INITIATION, RESPONSE] = [1, 2];
type Side = 0 | 1;

interface Delays {
  readonly ms: readonly [number, number];
  readonly spreadMs: number;
}

/** World is two devices and two relays; each relay takes its own time, and each datagram up to `spreadMs` more. */
class World implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #random: Random;
  readonly #keys: readonly [PrivateKey, PrivateKey];
  readonly #devices: readonly [Device, Device];
  readonly #circuits = new Set<string>();
  readonly #arrivals: { readonly atMs: number; readonly run: (nowMs: number) => void }[] = [];
  readonly #delays: Delays;
  readonly arrived: [number, number] = [0, 0];

  constructor(random: Random, delays: Delays) {
    this.#random = random;
    this.#delays = delays;
    this.#keys = [new PrivateKey(random.bytes(32)), new PrivateKey(random.bytes(32))];
    const device = () => this.#stack.use(new Device({ primitives: seeded(random) }));
    this.#devices = [device(), device()];
  }

  at(atMs: number, run: (nowMs: number) => void): void {
    this.#arrivals.push({ atMs, run });
  }

  #clock(nowMs: number) {
    return { nowMs, wallMs: 1_700_000_000_000 + nowMs };
  }

  /** Sends on what a relay knows: handshakes, and sessions whose handshake went by it. */
  #carry(side: Side, { datagrams, packets }: Outcome, nowMs: number): void {
    this.arrived[side] += packets.length;
    const other = side === 0 ? 1 : 0;
    for (const { to, bytes } of datagrams) {
      const word = (at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
      const [relay, kind] = [formatEndpoint(to), bytes[0]];
      if (kind !== INITIATION && !this.#circuits.has(`${relay} ${side} ${word(kind === RESPONSE ? 8 : 4)}`))
        continue;
      if (kind === INITIATION || kind === RESPONSE) this.#circuits.add(`${relay} ${other} ${word(4)}`);
      const { ms, spreadMs } = this.#delays;
      const tookMs = ms[RELAYS.findIndex((one) => formatEndpoint(one) === relay) as Side];
      this.at(nowMs + tookMs + this.#random.below(spreadMs + 1), (atMs) =>
        this.#carry(
          other,
          receiveDatagram(this.#devices[other], bytes, { ...this.#clock(atMs), from: to }),
          atMs,
        ),
      );
    }
  }

  configure(side: Side, way: Side, options: { readonly anew: boolean; readonly nowMs: number }): void {
    const { anew, nowMs } = options;
    const other = side === 0 ? 1 : 0;
    const allowedIps = [parsePrefix(`${INNER[other]}/32`)];
    const own = { publicKey: this.#keys[other].publicKey, endpoint: RELAYS[way], allowedIps };
    const peer = { ...own, ...(anew ? { anew, keepaliveSeconds: 5 } : {}) };
    const configuration = { privateKey: this.#keys[side], ...configurationOf({ peers: [peer] }) };
    const event = { kind: "configure", configuration } as const;
    this.#carry(side, act(this.#devices[side], event, this.#clock(nowMs)), nowMs);
  }

  send(side: Side, number: number, nowMs: number): void {
    const packet = ipv4Packet(parseIp(INNER[side]), { to: parseIp(INNER[side === 0 ? 1 : 0]), number });
    this.#carry(side, sendPacket(this.#devices[side], packet, this.#clock(nowMs)), nowMs);
  }

  /** Where a side sends to. */
  way(side: Side): string {
    const [peer] = this.#devices[side].read().peers;
    return peer?.endpoint === undefined ? "-" : formatEndpoint(peer.endpoint);
  }

  run(): void {
    for (let nowMs = 1; this.#arrivals.length > 0; nowMs++)
      for (
        let at = this.#arrivals.findIndex(({ atMs }) => atMs <= nowMs);
        at >= 0;
        at = this.#arrivals.findIndex(({ atMs }) => atMs <= nowMs)
      )
        this.#arrivals.splice(at, 1)[0]?.run(nowMs);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

const seed = newSeed();
describe(`a peer that is made anew for another way, seed ${seed}`, () => {
  for (const ms of [
    [2, 2],
    [60, 5],
    [5, 60],
  ] as const)
    for (const spreadMs of [0, 15])
      for (const times of [1, 2])
        test(`by ways of ${ms.join(" and ")} ms${spreadMs === 0 ? "" : ", packets overtake each other"}${
          times === 1 ? "" : "; twice"
        }`, () => {
          for (let round = 0; round < 8; round++) {
            using world = new World(new Random(seed + round), { ms, spreadMs });
            const change = (round % 2) as Side;
            for (const side of [0, 1] as const) world.configure(side, 0, { anew: false, nowMs: 0 });
            world.send((round & 2) === 0 ? 0 : 1, 0, 1);
            for (let number = 1; number < PACKETS; number++)
              for (const side of [0, 1] as const)
                world.at(CHANGE_MS + EVERY_MS * number, (atMs) => world.send(side, number, atMs));
            for (let i = 0; i < times; i++)
              world.at(CHANGE_MS + 200 + round + 100 * i, (nowMs) =>
                world.configure(change, 1, { anew: true, nowMs }),
              );
            world.run();
            expect([round, world.arrived[0] + world.arrived[1]]).toEqual([round, 2 * PACKETS - 1]);
            for (const side of [0, 1] as const) expect(world.way(side)).toBe(formatEndpoint(RELAYS[1]));
          }
        });
});
