/**
 * One way to a route's peer: when exchanges are begun, with which gateway, and what becomes of their outcome.
 *
 * ```
 *                ┌── begin ◀── needed, and not put off ◀───────────────┐
 *                ▼                                                     │
 *   exchange (ske5 or ours) ── agreed ──▶ associations ── rekey time, soft limit, none
 *                └── failed: the next gateway, put off ────────────────┘
 * ```
 */
import { NEW_OURS, oursDeadline, type OursState } from "../../exchange/ours/mod.ts";
import { NEW_SKE5, ske5Deadline } from "../../exchange/ske5/mod.ts";
import type { Endpoint } from "../../net/mod.ts";
import { associationsMs, drop, heardUnder, NO_ASSOCIATIONS, pass, rekeyMs, wear } from "./associations.ts";
import { type ChannelAround, ChannelDraft, type ChannelEffect, type ChannelState } from "./channel-state.ts";
import type { Direction } from "./keeper-event.ts";
import { beginOurs, endOursChannel, hearOurs, moveOurs, oursAround, tellOurs } from "./ours-channel.ts";
import { pathOf } from "./retry.ts";
import { endSke5Channel, ske5Datagram, ske5Idle, tellSke5 } from "./ske5-channel.ts";

/** RATE messages a second are worked on, and as many at once: Vita's, but for each channel. */
export const RATE = 100;

/** ChannelEvent is what happens to a channel. */
export type ChannelEvent =
  | { readonly kind: "datagram"; readonly from: Endpoint; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: "heard"; readonly spi: number }
  | {
      readonly kind: "limit";
      readonly spi: number;
      readonly direction: Direction;
      readonly limit: "soft" | "hard";
    }
  | { readonly kind: "due" }
  /** Addresses or the time limit are others. */
  | { readonly kind: "reset" }
  /** It is no more. */
  | { readonly kind: "end" };

/** ChannelStep is what a step returns. */
export type ChannelStep = readonly [ChannelState, readonly ChannelEffect[]];

/** newChannel returns a channel that knows nothing yet. */
export function newChannel({ route, nowMs }: Pick<ChannelAround, "route" | "nowMs">): ChannelState {
  const exchange =
    route.protocol.kind === "ske5"
      ? ({ kind: "ske5", state: NEW_SKE5 } as const)
      : ({ kind: "ours", state: NEW_OURS } as const);
  return {
    exchange,
    associations: NO_ASSOCIATIONS,
    gateway: 0,
    failures: 0,
    beginMs: nowMs,
    sessions: 0,
    up: false,
    reason: "no exchange yet",
    tokens: RATE,
    tokensMs: nowMs,
  };
}

/** stepChannel returns the state after an event, and what is to be done, in order. */
export function stepChannel(state: ChannelState, event: ChannelEvent, around: ChannelAround): ChannelStep {
  const draft = new ChannelDraft(state, around);
  switch (event.kind) {
    case "datagram":
      hear(draft, event);
      break;
    case "heard":
      draft.set({ associations: heardUnder(state.associations, event.spi) });
      if (state.exchange.kind === "ours") hearOurs(draft, event.spi);
      break;
    case "limit":
      limited(draft, event);
      break;
    case "due":
      due(draft);
      break;
    case "reset":
      reset(draft);
      break;
    case "end":
      end(draft);
      return [draft.state, draft.effects];
  }
  settle(draft);
  return [draft.state, draft.effects];
}

function hear(
  draft: ChannelDraft,
  { bytes, from, to }: Extract<ChannelEvent, { readonly kind: "datagram" }>,
): void {
  if (!allow(draft)) return draft.count("protocol-errors");
  if (draft.state.exchange.kind === "ske5") return ske5Datagram(draft, bytes, from);
  tellOurs(draft, { kind: "datagram", datagram: bytes, path: { local: to, remote: from } });
}

/** Takes a token of the channel's bucket. */
function allow(draft: ChannelDraft): boolean {
  const { nowMs } = draft.around;
  const { tokens, tokensMs } = draft.state;
  const full = Math.min(RATE, tokens + ((nowMs - tokensMs) / 1000) * RATE);
  draft.set({ tokens: full < 1 ? full : full - 1, tokensMs: nowMs });
  return full >= 1;
}

function limited(draft: ChannelDraft, event: Extract<ChannelEvent, { readonly kind: "limit" }>): void {
  const { at, state } = draft;
  const { spi, direction } = event;
  const { active } = state.associations;
  const used = direction === "outbound" && active?.held.some((held) => held.spi === spi) === true;
  if (event.limit === "soft") {
    if (used) draft.set({ associations: wear(state.associations, at.nowMs) });
    return;
  }
  const isGone: Parameters<typeof drop>[2] = ({ held }, side) =>
    side === direction && held.some((one) => one.spi === spi);
  draft.adopt(drop(state.associations, at.route, isGone));
  // What came in under it is lost until there is another one.
  if (direction === "inbound") draft.set({ associations: wear(draft.state.associations, at.nowMs) });
}

function due(draft: ChannelDraft): void {
  draft.adopt(pass(draft.state.associations, draft.at));
  if (draft.state.exchange.kind === "ske5") tellSke5(draft, { kind: "due" });
  else tellOurs(draft, { kind: "due" });
}

/** Associations stay in use; the next ones are agreed on over the new way, now. */
function reset(draft: ChannelDraft): void {
  const { nowMs } = draft.around;
  draft.set({ gateway: 0, failures: 0, beginMs: nowMs });
  if (draft.state.exchange.kind === "ske5") tellSke5(draft, { kind: "reset" });
  else moveOurs(draft);
  draft.set({ associations: wear(draft.state.associations, nowMs) });
}

function end(draft: ChannelDraft): void {
  if (draft.state.exchange.kind === "ske5") endSke5Channel(draft);
  else endOursChannel(draft);
  draft.adopt(drop(draft.state.associations, draft.at.route, () => true));
}

/** Begins an exchange where one is needed. */
function settle(draft: ChannelDraft): void {
  if (wantedMs(draft.state, draft.around) > draft.around.nowMs) return;
  if (draft.state.exchange.kind === "ske5") tellSke5(draft, { kind: "begin" });
  else beginOurs(draft);
}

/** When an exchange is to be begun; Infinity while one is on its way, or where only the peer can begin. */
function wantedMs(state: ChannelState, around: ChannelAround): number {
  const { exchange, associations, beginMs } = state;
  const idle = exchange.kind === "ske5" ? ske5Idle(exchange.state) : isIdle(exchange.state);
  if (!idle || pathOf(state, around) === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(beginMs, rekeyMs(associations));
}

function isIdle({ initiating }: OursState): boolean {
  return initiating === undefined;
}

/** channelMs returns when to step `due`. */
export function channelMs(state: ChannelState, around: ChannelAround): number {
  const { exchange } = state;
  const exchangeMs =
    exchange.kind === "ske5"
      ? ske5Deadline(exchange.state)
      : oursDeadline(exchange.state, oursAround(around));
  return Math.min(exchangeMs, associationsMs(state.associations), wantedMs(state, around));
}
