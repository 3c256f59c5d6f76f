/**
 * When handshakes become too many, and how many of them one source gets then (whitepaper, section 5.3).
 *
 * Load is a bucket that leaks: every handshake message that would cost curve operations fills it, and it overflows when they come
 * faster than LOAD_PER_SECOND for a while. The caller's own queue counts too. Under load only senders that proved their
 * address are worked for, each at its rate.
 */
import type { Ip } from "../../net/mod.ts";
import {
  LOAD_BURST,
  LOAD_PER_SECOND,
  MAX_BACKLOG,
  MAX_SOURCES,
  SOURCE_BURST,
  SOURCE_PER_SECOND,
  UNDER_LOAD_MS,
} from "./limits.ts";

/** Load is how much handshakes have cost lately. */
export interface Load {
  readonly level: number;
  readonly atMs: number;
  /** Under load until then. */
  readonly untilMs: number;
}

/** NO_LOAD is where a device begins. */
export const NO_LOAD: Load = { level: 0, atMs: 0, untilMs: Number.NEGATIVE_INFINITY };

/** charge counts one handshake message; `backlog` more wait at the caller. */
export function charge(
  load: Load,
  { nowMs, backlog = 0 }: { readonly nowMs: number; readonly backlog?: number },
): Load {
  const leaked = ((nowMs - load.atMs) / 1000) * LOAD_PER_SECOND;
  const level = Math.max(0, load.level - leaked) + 1;
  const tooMuch = level > LOAD_BURST || backlog > MAX_BACKLOG;
  return {
    // It does not fill further than it leaks in a moment: what comes after an attack is not paid for the attack.
    level: Math.min(level, LOAD_BURST + 1),
    atMs: nowMs,
    untilMs: tooMuch ? nowMs + UNDER_LOAD_MS : load.untilMs,
  };
}

/** isUnderLoad tells whether senders must show a cookie. */
export function isUnderLoad(load: Load, nowMs: number): boolean {
  return nowMs < load.untilMs;
}

/** A source's bucket: tokens left, as of a moment. */
interface Bucket {
  tokens: number;
  atMs: number;
}

/** Sources gives every source its own rate, for a bounded number of sources. */
export class Sources {
  readonly #buckets = new Map<bigint, Bucket>();
  #sweptMs = Number.NEGATIVE_INFINITY;

  /** Sources remembered now. */
  get size(): number {
    return this.#buckets.size;
  }

  /** allow takes one token of an address, or of an IPv6 /64, which one sender may have all of; false when there is none. */
  allow(address: Ip, nowMs: number): boolean {
    // Sixty-five bits: an IPv6 network is never taken for an IPv4 address.
    const source = address.family === 4 ? address.value : (1n << 64n) | (address.value >> 64n);
    const bucket = this.#buckets.get(source);
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_SOURCES && !this.#sweep(nowMs)) return false;
      this.#buckets.set(source, { tokens: SOURCE_BURST - 1, atMs: nowMs });
      return true;
    }
    const earned = ((nowMs - bucket.atMs) / 1000) * SOURCE_PER_SECOND;
    bucket.tokens = Math.min(SOURCE_BURST, bucket.tokens + earned);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** Forgets sources whose bucket is full again. Looking at all of them is done once a second at most. */
  #sweep(nowMs: number): boolean {
    if (nowMs - this.#sweptMs < 1000) return false;
    this.#sweptMs = nowMs;
    const fullMs = (SOURCE_BURST / SOURCE_PER_SECOND) * 1000;
    for (const [source, { atMs }] of this.#buckets) if (nowMs - atMs >= fullMs) this.#buckets.delete(source);
    return this.#buckets.size < MAX_SOURCES;
  }
}

/** LoadBook is what a device keeps of it, whichever of its identities is spoken to. */
export class LoadBook {
  readonly sources = new Sources();
  load: Load = NO_LOAD;

  /** charge counts one handshake message; `backlog` more wait at the caller. */
  charge(nowMs: number, backlog: number): void {
    this.load = charge(this.load, { nowMs, backlog });
  }
}
