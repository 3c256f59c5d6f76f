/**
 * Which of a peer's sessions is used: previous, current, next (whitepaper, sections 5.4.4 to 5.4.6; the kernel calls a session a
 * keypair).
 *
 * The initiator of a handshake knows at its end that both have the keys: the session becomes the current one. The responder
 * knows it only when the first packet arrives under them; until then the session is the next one, and nothing is sent with it.
 *
 * ```
 *   derived as responder          next ◀── session
 *   first packet under `next`     previous ◀── current ◀── next
 *   derived as initiator          previous ◀── current ◀── session
 * ```
 *
 * Packets are received under all three.
 *
 * If both sides begin at once (crossing initiations), both handshakes may succeed, and each side sends under its own session. So
 * both sessions stay, as `current` and `next`, and change places without any being lost. The one that the greater public key began
 * is preferred: a packet under it settles the matter for good, on both sides one after the other. The other one is changed to
 * only if packets under it do not cease: then the peer was started anew, and has only that. (The kernel forgets its own
 * initiation when it answers one, so both sides may wait 5 s; and it throws away a session that the peer may still send under.)
 */
import { CROSSING_GRACE_MS, CROSSING_MS } from "./limits.ts";
import type { Session } from "./session.ts";

/** Keypairs are a peer's sessions, of which no two are the same. */
export interface Keypairs {
  readonly previous?: Session;
  /** Packets are sent under it. */
  readonly current?: Session;
  /** Ours as responder, not confirmed; or the one that crossed. */
  readonly next?: Session;
  /** `current` and `next` come from initiations that crossed: neither is the other's successor. */
  readonly crossing?: "open" | "settled";
}

/** KeypairStep is the outcome of an event: what holds now, and which sessions ended with it. */
export interface KeypairStep {
  readonly keypairs: Keypairs;
  readonly ended: readonly Session[];
  /** Whether a session in which we are the responder came into use: its handshake is complete. */
  readonly confirmed: boolean;
}

/** NO_KEYPAIRS is where a peer begins. */
export const NO_KEYPAIRS: Keypairs = {};

/** keypairsOf returns all sessions there are. */
export function keypairsOf({ previous, current, next }: Keypairs): Session[] {
  return [previous, current, next].filter((session) => session !== undefined);
}

type Slots = readonly [
  previous: Session | undefined,
  current: Session | undefined,
  next: Session | undefined,
];

function become(
  before: Keypairs,
  [previous, current, next]: Slots,
  crossing?: Keypairs["crossing"],
): KeypairStep {
  const keypairs: Keypairs = {
    ...(crossing === undefined ? {} : { crossing }),
    ...(previous === undefined ? {} : { previous }),
    ...(current === undefined ? {} : { current }),
    ...(next === undefined ? {} : { next }),
  };
  const ended = keypairsOf(before).filter((session) => !keypairsOf(keypairs).includes(session));
  return { keypairs, ended, confirmed: false };
}

/** derived takes in a session that a handshake made just now. */
export function derived(before: Keypairs, session: Session): KeypairStep {
  const { previous, current, next, crossing } = before;
  const crosses = (other: Session | undefined) => {
    if (other === undefined || other.initiator === session.initiator || isRetired(before)) return undefined;
    return session.bornMs - other.bornMs < CROSSING_MS ? "open" : undefined;
  };
  // The peer may send under either of two that crossed.
  if (!session.initiator)
    return become(before, [crossing === "open" ? next : previous, current, session], crosses(current));
  // An older `next` is kept to receive with: its confirmation may just be on its way.
  return become(before, [current ?? previous, session, next], crosses(next));
}

/** Packet is one that was authentic. */
export interface Packet {
  readonly session: Session;
  readonly nowMs: number;
  /** Our public key is smaller than the peer's. */
  readonly yields: boolean;
}

/** received takes note of a packet. */
export function received(before: Keypairs, { session, nowMs, yields }: Packet): KeypairStep {
  const { previous, current, next, crossing } = before;
  const unchanged = { keypairs: before, ended: [], confirmed: false };
  if (crossing === "settled" || session === previous) return unchanged;
  if (crossing === undefined) {
    const isOlder = current !== undefined && session.bornMs < current.bornMs;
    if (session !== next || isOlder) return unchanged;
    return { ...become(before, [current ?? previous, next, undefined]), confirmed: true };
  }
  // The one that the greater key began: ours if we do not yield.
  const preferred = session.initiator !== yields;
  const confirmed = session === next && !session.initiator;
  if (preferred) {
    const other = session === next ? current : next;
    return { ...become(before, [previous, session, other], "settled"), confirmed };
  }
  if (session !== next || nowMs - session.bornMs < CROSSING_GRACE_MS) return unchanged;
  return { ...become(before, [previous, next, current], "open"), confirmed };
}

/**
 * retired lets sessions go on receiving, and none of them send: our identity is another one (wg_noise_expire_current_peer_keypairs, noise.c).
 * What is on its way arrives; a session's keys do not depend on the identity any more once they are made.
 */
export function retired(before: Keypairs): KeypairStep {
  const { previous, current, next } = before;
  // "settled": a packet under `next` does not make it the current one.
  return become(before, [current ?? previous, undefined, next], next === undefined ? undefined : "settled");
}

/** Whether `next` is of an identity that we had before: nothing crosses with it. */
function isRetired({ current, crossing }: Keypairs): boolean {
  return current === undefined && crossing === "settled";
}

/** cleared ends all sessions. */
export function cleared(before: Keypairs): KeypairStep {
  return become(before, [undefined, undefined, undefined]);
}
