/**
 * Search of the largest IP packet that gets through one path: padded pings that must not be fragmented (RFC 8899, Packetization Layer
 * Path MTU Discovery). ICMP is not trusted: its errors may be forged, and are often filtered.
 *
 * ```
 *              first size, then halving between what arrived and what did not           every 10 min: larger ones again
 *   searching ───────────────────────────────────────────────────────────▶ found ─────────────────────────────────▶ searching
 *       ▲                                                                     │ every 30 s with traffic: this size again
 *       └─────────────── lost three times while small pings are answered ─────┘
 * ```
 * A ping finds what fits towards the peer, which is what this side's packets need; the peer finds its own.
 */
import type { Family } from "../net/mod.ts";
import { OVERHEAD_BYTES, tunnelMtu } from "./mtu.ts";

/** IP and UDP headers before a datagram. */
const HEADERS_BYTES: { readonly [F in Family]: number } = { 4: 28, 6: 48 };

/** Sizes that links have, ascending (RFC 1191, section 7.1, and what clouds and providers use now). */
const PLATEAUS_BYTES = [
  1280, 1340, 1360, 1380, 1400, 1420, 1430, 1440, 1450, 1460, 1472, 1480, 1492, 1500, 2002, 4352, 8166, 8896,
  9000, 9216, 16_384, 32_768, 65_535,
] as const;
/** What nearly all paths carry, and no more than that on most. */
const USUAL_BYTES = 1500;
/** Between a size that arrives and one that does not, this is near enough; above the usual size there are few sizes that links have. */
const NEAR_BYTES = 8;
const NEAR_LARGE_BYTES = 512;
/** Each size gets so many pings (MAX_PROBES, RFC 8899 section 5.1.2). */
const TRIES = 3;
/** Pings whose answer still counts: those of this size and of the one before. */
const MAX_ASKED = 2 * TRIES;
/** PMTU_RAISE_TIMER (RFC 8899, section 5.1.1). */
const RAISE_MS = 600_000;
const CONFIRM_MS = 30_000;

/** leastMtu returns the IP packet that a tunnel of 1280 bytes needs: less, and its packets are fragmented. */
export function leastMtu(family: Family): number {
  return 1280 + OVERHEAD_BYTES[family];
}

/** PathMtu is the state of one path's search. A plain value. */
export interface PathMtu {
  readonly family: Family;
  /** Of the link towards it: larger packets cannot leave. */
  readonly ceilingBytes: number;
  /** The largest that arrived, and the smallest that did not. */
  readonly goodBytes?: number;
  readonly badBytes?: number;
  /** On its way; `tries` of this size were sent. */
  readonly probe?: {
    readonly bytes: number;
    readonly sentMs: number;
    readonly tries: number;
    readonly confirms: boolean;
  };
  /** The last pings: one that is answered late has got through all the same. */
  readonly asked: readonly { readonly transaction: bigint; readonly bytes: number }[];
  readonly foundMs?: number;
  readonly confirmedMs?: number;
}

/** PathMtuEvent is what happened. */
export type PathMtuEvent =
  /** Time for a ping, or for the judgement of one that was not answered. */
  | {
      readonly kind: "due";
      readonly nowMs: number;
      /** For the ping, if one is asked for. */
      readonly transaction: bigint;
      readonly rttMs: number;
      /** When a plain ping was answered last: without that, an unanswered large one says nothing. */
      readonly pongMs: number;
      /** The pair talks. */
      readonly active: boolean;
    }
  | {
      readonly kind: "pong";
      readonly nowMs: number;
      readonly transaction: bigint;
      readonly sizeBytes: number;
    };

/** PathMtuStep is the new state and the size of a datagram to be sent as a ping. */
export type PathMtuStep = readonly [PathMtu, { readonly sizeBytes: number } | undefined];

/** startPathMtu begins a search. `ceilingBytes` is the MTU of the link, 1500 when unknown. */
export function startPathMtu(family: Family, ceilingBytes = USUAL_BYTES): PathMtu {
  return { family, ceilingBytes: Math.min(65_535, ceilingBytes), asked: [] };
}

/** pathMtuOf returns the size of the largest IP packet that is known to get through; undefined before any did. */
export function pathMtuOf(state: PathMtu): number | undefined {
  return state.goodBytes;
}

/** isTooSmall tells that not even what a tunnel of 1280 bytes needs gets through. */
export function isTooSmall(state: PathMtu): boolean {
  return (
    state.goodBytes === undefined && (state.badBytes ?? Number.POSITIVE_INFINITY) <= leastMtu(state.family)
  );
}

/** tunnelMtuOf returns what a tunnel over the path can carry: the path's MTU less WireGuard's headers, by the outer family, 1280 at least. */
export function tunnelMtuOf(mtuBytes: number, family: Family): number {
  return tunnelMtu({ underlayBytes: mtuBytes, outerFamily: family });
}

/** The size to be tried next; undefined when the search is over. */
function nextBytes(state: PathMtu): number | undefined {
  const { family, ceilingBytes, goodBytes, badBytes } = state;
  const least = leastMtu(family);
  if (goodBytes === undefined) {
    if (badBytes === undefined) return Math.min(USUAL_BYTES, ceilingBytes);
    return badBytes > least ? least : undefined;
  }
  if (goodBytes >= ceilingBytes) return undefined;
  if (badBytes === undefined) return ceilingBytes;
  const between = PLATEAUS_BYTES.filter((bytes) => bytes > goodBytes && bytes < badBytes);
  const middle = between[between.length >> 1];
  if (middle !== undefined) return middle;
  const near = goodBytes >= USUAL_BYTES ? NEAR_LARGE_BYTES : NEAR_BYTES;
  return badBytes - goodBytes > near ? (goodBytes + badBytes) >> 1 : undefined;
}

/** stepPathMtu takes one event. */
export function stepPathMtu(state: PathMtu, event: PathMtuEvent): PathMtuStep {
  return event.kind === "pong" ? [onPong(state, event), undefined] : onDue(state, event);
}

function onPong(state: PathMtu, event: PathMtuEvent & { readonly kind: "pong" }): PathMtu {
  const ping = state.asked.find(({ transaction }) => transaction === event.transaction);
  // Where what arrived was cut, somebody on the way changes datagrams.
  if (ping === undefined || event.sizeBytes !== ping.bytes - HEADERS_BYTES[state.family]) return state;
  const { probe, badBytes, foundMs, ...rest } = state;
  const goodBytes = Math.max(ping.bytes, state.goodBytes ?? 0);
  const isBelow = badBytes !== undefined && badBytes > goodBytes;
  return {
    ...rest,
    ...(isBelow ? { badBytes } : {}),
    ...(probe !== undefined && probe.bytes > goodBytes ? { probe } : {}),
    // What was taken for too large got through: the search goes on.
    ...(foundMs !== undefined && (isBelow || badBytes === undefined) ? { foundMs } : {}),
    asked: state.asked.filter(({ bytes }) => bytes > goodBytes),
    goodBytes,
    confirmedMs: event.nowMs,
  };
}

/** asksMtu tells whether a ping is one of the search's, whose answer would tell something. */
export function asksMtu({ asked }: PathMtu, transaction: bigint): boolean {
  return asked.some((ping) => ping.transaction === transaction);
}

function onDue(state: PathMtu, event: PathMtuEvent & { readonly kind: "due" }): PathMtuStep {
  const { probe } = state;
  const { nowMs, active } = event;
  if (probe !== undefined) {
    if (nowMs < probe.sentMs + patienceMs(probe, event.rttMs)) return [state, undefined];
    // The path itself may be dead; then size is not the reason.
    if (event.pongMs < probe.sentMs) return [state, undefined];
    if (probe.tries < TRIES) return send(state, event, { ...probe, tries: probe.tries + 1 });
    const { probe: _, foundMs: __, goodBytes, ...rest } = state;
    const failed = { ...rest, badBytes: Math.min(probe.bytes, state.badBytes ?? Number.POSITIVE_INFINITY) };
    // A size that got through and does no more: begin from the bottom.
    return onDue(goodBytes === undefined || probe.confirms ? failed : { ...failed, goodBytes }, event);
  }
  const bytes = nextBytes(state);
  if (bytes !== undefined) return send(state, event, { bytes, tries: 1, confirms: false });
  if (state.foundMs === undefined) return [{ ...state, foundMs: nowMs }, undefined];
  if (!active) return [state, undefined];
  if (nowMs >= state.foundMs + RAISE_MS) {
    const { badBytes: _, foundMs: __, ...rest } = state;
    return onDue(rest, event);
  }
  const { goodBytes } = state;
  if (goodBytes === undefined || nowMs < (state.confirmedMs ?? state.foundMs) + CONFIRM_MS)
    return [state, undefined];
  return send(state, event, { bytes: goodBytes, tries: 1, confirms: true });
}

function send(
  state: PathMtu,
  event: PathMtuEvent & { readonly kind: "due" },
  size: { readonly bytes: number; readonly tries: number; readonly confirms: boolean },
): PathMtuStep {
  const { transaction, nowMs } = event;
  const asked = [...state.asked, { transaction, bytes: size.bytes }].slice(-MAX_ASKED);
  return [
    { ...state, asked, probe: { ...size, sentMs: nowMs } },
    { sizeBytes: size.bytes - HEADERS_BYTES[state.family] },
  ];
}

/** Twice as long with each ping of a size: whoever is busy answers late. */
function patienceMs({ tries }: { readonly tries: number }, rttMs: number): number {
  return Math.max(200, Math.min(1000, 3 * rttMs)) << (tries - 1);
}

/** pathMtuDueMs returns when to step `due`; undefined while there is nothing to be done, or a plain ping must be answered first. */
export function pathMtuDueMs(
  state: PathMtu,
  options: {
    readonly nowMs: number;
    readonly rttMs: number;
    readonly active: boolean;
    readonly pongMs: number;
  },
): number | undefined {
  const { probe } = state;
  if (probe !== undefined) {
    const dueMs = probe.sentMs + patienceMs(probe, options.rttMs);
    return dueMs <= options.nowMs && options.pongMs < probe.sentMs ? undefined : dueMs;
  }
  if (state.foundMs === undefined) return options.nowMs;
  if (!options.active) return undefined;
  const confirmMs = (state.confirmedMs ?? state.foundMs) + CONFIRM_MS;
  return Math.min(state.foundMs + RAISE_MS, state.goodBytes === undefined ? Infinity : confirmMs);
}
