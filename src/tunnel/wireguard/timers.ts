/**
 * The timers of a peer (whitepaper, section 6; drivers/net/wireguard/timers.c has the first five). The state is a value of moments; a
 * step gives the next state and what is to be done now. It knows no sessions: peer.ts tells it what happened.
 *
 * ```
 *   retransmit   an initiation was sent                        + 5 s + jitter     send another, for 90 s
 *   keepalive    data came and nothing was sent since          + 10 s             send a keepalive
 *   silence      data was sent and nothing came since          + 15 s + jitter    begin a handshake
 *   wipe         a session was made                            + 540 s            forget all keys
 *   persistent   anything authentic passed                     + as configured    send a keepalive
 *   hold         a session of another identity of ours began   + 1 s              send under it, though nothing was heard
 * ```
 */
import { HOLD_MS } from "./limits.ts";
import type { Timing } from "./specification.ts";

/** Timers are moments in milliseconds; one that is absent does not run. */
export interface Timers {
  readonly retransmit?: number;
  readonly keepalive?: number;
  readonly silence?: number;
  readonly wipe?: number;
  readonly persistent?: number;
  readonly hold?: number;
  /** Initiations repeated since somebody last wanted a handshake. */
  readonly attempts: number;
  /** More data came while the keepalive was already due: after it, wait once more. */
  readonly again: boolean;
}

/** NO_TIMERS is where a peer begins. */
export const NO_TIMERS: Timers = { attempts: 0, again: false };

/** TimerEvent is what happened to the peer. */
export type TimerEvent =
  /** Anything authenticated left. `data`: a packet of the user; `passive`: the keepalive of the timer itself. */
  | { readonly kind: "sent"; readonly data: boolean; readonly passive?: boolean }
  /** Anything authenticated came. */
  | { readonly kind: "received"; readonly data: boolean }
  /** Somebody wants a handshake, and not because the last initiation had no answer. */
  | { readonly kind: "wanted" }
  | { readonly kind: "initiated" }
  /** A session was made; it may still wait for its confirmation. */
  | { readonly kind: "derived" }
  /** Both sides have a session. */
  | { readonly kind: "complete" }
  /** Packets wait until the peer is heard. */
  | { readonly kind: "held" }
  | { readonly kind: "due" };

/** TimerEffect is what a timer asks for. */
export type TimerEffect =
  "retry" | "give up" | "initiate" | "passive keepalive" | "persistent keepalive" | "wipe" | "release";

/** TimerOptions hold for one step. */
export interface TimerOptions {
  readonly nowMs: number;
  readonly timing: Timing;
  /** Persistent keepalive; 0 is off. */
  readonly persistentMs: number;
  /** 0 to `timing.jitterMs`. */
  readonly jitterMs: () => number;
}

/** nextDue returns the first moment at which something may be due; Infinity when no timer runs. */
export function nextDue(timers: Timers): number {
  const { retransmit, keepalive, silence, wipe, persistent, hold } = timers;
  return Math.min(
    ...[retransmit, keepalive, silence, wipe, persistent, hold].map((at) => at ?? Number.POSITIVE_INFINITY),
  );
}

/** stepTimers returns the state after an event, and what is to be done. */
export function stepTimers(
  timers: Timers,
  event: TimerEvent,
  options: TimerOptions,
): readonly [Timers, readonly TimerEffect[]] {
  const { nowMs, timing, jitterMs } = options;
  switch (event.kind) {
    case "sent": {
      let next = event.passive === true ? timers : answered(timers);
      if (event.data && next.silence === undefined)
        next = { ...next, silence: nowMs + timing.keepaliveMs + timing.rekeyTimeoutMs + jitterMs() };
      return [passed(next, options), []];
    }
    case "received": {
      let next = without(timers, "silence");
      if (event.data) {
        if (next.keepalive === undefined) next = { ...next, keepalive: nowMs + timing.keepaliveMs };
        else if (!next.again) next = { ...next, again: true };
      }
      return [passed(next, options), []];
    }
    case "wanted":
      return [timers.attempts === 0 ? timers : { ...timers, attempts: 0 }, []];
    case "initiated":
      return [{ ...timers, retransmit: nowMs + timing.rekeyTimeoutMs + jitterMs() }, []];
    case "derived":
      return [{ ...timers, wipe: nowMs + 3 * timing.rejectAfterMs }, []];
    case "complete":
      return [{ ...without(timers, "retransmit"), attempts: 0 }, []];
    case "held":
      return [timers.hold === undefined ? { ...timers, hold: nowMs + HOLD_MS } : timers, []];
    case "due":
      return due(timers, options);
  }
}

function due(
  timers: Timers,
  { nowMs, timing, persistentMs }: TimerOptions,
): readonly [Timers, readonly TimerEffect[]] {
  const effects: TimerEffect[] = [];
  let next = timers;
  const take = (name: Name): boolean => {
    if ((next[name] ?? Number.POSITIVE_INFINITY) > nowMs) return false;
    next = without(next, name);
    return true;
  };
  // After a long sleep several are due at once: what ends comes before what begins.
  if (take("wipe")) effects.push("wipe");
  if (take("retransmit")) {
    if (next.attempts >= Math.floor(timing.rekeyAttemptMs / timing.rekeyTimeoutMs)) {
      effects.push("give up");
      next = answered(next);
      if (next.wipe === undefined) next = { ...next, wipe: nowMs + 3 * timing.rejectAfterMs };
    } else {
      effects.push("retry");
      next = { ...next, attempts: next.attempts + 1 };
    }
  }
  if (take("hold")) effects.push("release");
  if (take("keepalive")) {
    effects.push("passive keepalive");
    if (next.again) next = { ...next, again: false, keepalive: nowMs + timing.keepaliveMs };
  }
  if (take("silence") && !effects.includes("retry")) effects.push("initiate");
  if (take("persistent") && persistentMs > 0) effects.push("persistent keepalive");
  return [next, effects];
}

type Name = "retransmit" | "keepalive" | "silence" | "wipe" | "persistent" | "hold";

/** The same value if the timer does not run: most packets change nothing. */
function without(timers: Timers, name: Name): Timers {
  if (timers[name] === undefined) return timers;
  const { [name]: _, ...rest } = timers;
  return rest;
}

/** Whatever was sent, the peer knows that its data came. */
function answered(timers: Timers): Timers {
  const next = without(timers, "keepalive");
  return next.again ? { ...next, again: false } : next;
}

/** Anything authentic passed, in either direction. */
function passed(timers: Timers, { nowMs, persistentMs }: TimerOptions): Timers {
  if (persistentMs > 0) return { ...timers, persistent: nowMs + persistentMs };
  return without(timers, "persistent");
}
