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
 *
 * On a path that keeps the order, an initiation that crossed ours comes before the answer to ours. One that comes after it is from a
 * peer that was started anew and does not have our session, or was overtaken by that answer: so its session is changed to with its
 * first packet, and back if the peer uses ours all the same. If the peer has sent under ours before, there is no doubt: it began anew.
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
  /**
   * Nothing is sent under `current`, which is or will be the first one of another identity of ours: the peer has to move our addresses
   * to that before it believes what comes under it. Anything that comes under it says that it did.
   */
  readonly held?: true;
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

interface Becoming {
  readonly crossing?: Keypairs["crossing"] | undefined;
  readonly held?: boolean | undefined;
}

type Slots = readonly [
  previous: Session | undefined,
  current: Session | undefined,
  next: Session | undefined,
];

function become(before: Keypairs, [previous, current, next]: Slots, options: Becoming = {}): KeypairStep {
  const { crossing, held } = options;
  const keypairs: Keypairs = {
    ...(held === true ? { held } : {}),
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
  const { previous, current, next, crossing, held } = before;
  const crosses = (other: Session | undefined): Keypairs["crossing"] => {
    if (other === undefined || other.initiator === session.initiator || isRetired(before)) return undefined;
    return session.bornMs - other.bornMs < CROSSING_MS ? "open" : undefined;
  };
  // The peer may send under either of two that crossed.
  if (!session.initiator) {
    const how = current?.heard === true ? undefined : crosses(current);
    return become(before, [crossing === "open" ? next : previous, current, session], { crossing: how, held });
  }
  // An older `next` is kept to receive with: its confirmation may just be on its way.
  return become(before, [current ?? previous, session, next], { crossing: crosses(next), held });
}

/** Packet is one that was authentic. */
export interface Packet {
  readonly session: Session;
  readonly nowMs: number;
  /** Our public key is smaller than the peer's. */
  readonly yields: boolean;
}

/**
 * aside takes in a session that the peer began under our former identity while it is being moved to the present one: to receive with, as what is
 * on its way, and never to send with.
 */
export function aside(before: Keypairs, session: Session): KeypairStep {
  const { previous, current, held } = before;
  return become(before, [previous, current, session], { crossing: "settled", held });
}

/** offered takes in a session under the present identity while we send under the former one: the peer's first packet under it decides. */
export function offered(before: Keypairs, session: Session): KeypairStep {
  const { previous, current } = before;
  return become(before, [previous, current, session]);
}

/**
 * resumed sends under the former identity again, since the peer did not take up the present one in time; undefined when there is no session to
 * do so. One under the present identity waits for the peer.
 */
export function resumed(before: Keypairs, canSend: (session: Session) => boolean): KeypairStep | undefined {
  const sessions = keypairsOf(before).sort((a, b) => b.bornMs - a.bornMs);
  const [newest, older] = sessions.filter((session) => session.former && canSend(session));
  if (before.held !== true || newest === undefined) return undefined;
  return become(before, [older, newest, sessions.find((session) => !session.former)]);
}

/** received takes note of a packet. */
export function received(before: Keypairs, packet: Packet): KeypairStep {
  // What the peer sent before it heard of our present identity says nothing.
  if (before.held === true && packet.session.former) return { keypairs: before, ended: [], confirmed: false };
  // Of two that crossed, either says that it heard of it.
  const heard = packet.session === before.current || before.crossing === "open";
  return follow(before.held === true && heard ? released(before).keypairs : before, packet);
}

/** released lets packets go under the current session. */
export function released(before: Keypairs): KeypairStep {
  const { previous, current, next, crossing } = before;
  return become(before, [previous, current, next], { crossing });
}

function follow(before: Keypairs, { session, nowMs, yields }: Packet): KeypairStep {
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
    return { ...become(before, [previous, session, other], { crossing: "settled" }), confirmed };
  }
  if (session !== next) return unchanged;
  const crossed = current === undefined || session.bornMs <= current.bornMs;
  if (crossed && nowMs - session.bornMs < CROSSING_GRACE_MS) return unchanged;
  return { ...become(before, [previous, next, current], { crossing: "open" }), confirmed };
}

/**
 * retired lets sessions go on receiving, and none of them send: our identity is another one (wg_noise_expire_current_peer_keypairs, noise.c), or the peer
 * was made anew. What is on its way arrives; a session's keys do not depend on the identity any more once they are made. `hold`: the next one is held.
 */
export function retired(before: Keypairs, { hold }: { readonly hold: boolean }): KeypairStep {
  const { previous, current, next } = before;
  // The peer may still send under the one before, until it hears of the present one.
  const other = laterOf(next, current === undefined ? undefined : previous);
  // "settled": a packet under `next` does not make it the current one.
  const crossing = other === undefined ? undefined : "settled";
  const held = hold && (current ?? previous ?? next) !== undefined;
  return become(before, [current ?? previous, undefined, other], { crossing, held });
}

function laterOf(one: Session | undefined, other: Session | undefined): Session | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.bornMs > one.bornMs ? other : one;
}

/** Whether `next` is of an identity that we had before: nothing crosses with it. */
function isRetired({ current, crossing }: Keypairs): boolean {
  return current === undefined && crossing === "settled";
}

/** cleared ends all sessions. */
export function cleared(before: Keypairs): KeypairStep {
  return become(before, [undefined, undefined, undefined]);
}
