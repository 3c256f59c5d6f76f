/**
 * How many messages of a key exchange are passed on to the keeper of keys, before anybody has looked at what they prove. It keeps the keeper from
 * being drowned, and strangers from taking the place of peers:
 *
 * ```
 *   address and route that we have sent to ─▶ a budget of its own      PEER
 *   any other ─▶ one of 16 budgets, by address                         STRANGERS
 * ```
 * The keeper sends to the gateways of its routes, and to who has proved to be a peer. So the first message of a peer that only calls us is a
 * stranger's, all others are not.
 */
import { randomBytes } from "../../sys/mod.ts";
import { type RateLimit, TokenBucket } from "./token-bucket.ts";

/** PEER is for one address and route: whoever forges the peer's address has to send more to be in its way, which a keeper can still read. */
export const PEER: RateLimit = { perSecond: 1000, burst: 1000, first: 1000 };
/** STRANGERS is for a part of all other addresses. */
export const STRANGERS: RateLimit = { perSecond: 100, burst: 100, first: 100 };
/** MOST_PEERS are remembered; who was sent to longest ago is a stranger again. */
export const MOST_PEERS = 8192;

const PARTS = 16;

/** Sender is where a message came from or goes to: the place of the address's bytes, and the route that the message names. */
export interface Sender {
  readonly bytes: Uint8Array;
  readonly at: number;
  /** 4 or 16. */
  readonly length: number;
  readonly route: number;
}

/** SenderBudget remembers no address, but a number of it that nobody outside can foresee. */
export class SenderBudget {
  readonly #seed = new DataView(randomBytes(4).buffer).getUint32(0);
  readonly #peers = new Map<number, TokenBucket>();
  readonly #strangers = Array.from({ length: PARTS }, () => new TokenBucket(STRANGERS));

  /** sentTo notes that we have sent a message. */
  sentTo(to: Sender): void {
    const name = this.#nameOf(to, to.route);
    const bucket = this.#peers.get(name) ?? new TokenBucket(PEER);
    // The last in the map is the last that was sent to.
    this.#peers.delete(name);
    this.#peers.set(name, bucket);
    const [oldest] = this.#peers.keys();
    if (this.#peers.size > MOST_PEERS && oldest !== undefined) this.#peers.delete(oldest);
  }

  /** take tells whether a message that came is passed on. */
  take(from: Sender, nowMs: number): boolean {
    const bucket =
      this.#peers.get(this.#nameOf(from, from.route)) ?? this.#strangers[this.#nameOf(from, 0) % PARTS];
    return bucket?.take(nowMs) === true;
  }

  /** FNV-1a with a seed, and the last steps of MurmurHash3: 32 bits. */
  #nameOf({ bytes, at, length }: Sender, route: number): number {
    let name = this.#seed;
    for (let i = 0; i < length; i++) name = Math.imul(name ^ (bytes[at + i] as number), 0x0100_0193);
    name = Math.imul(name ^ route, 0x0100_0193);
    name = Math.imul(name ^ (name >>> 16), 0x85eb_ca6b);
    name = Math.imul(name ^ (name >>> 13), 0xc2b2_ae35);
    return (name ^ (name >>> 16)) >>> 0;
  }
}
