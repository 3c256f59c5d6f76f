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
import { currentSession, NEW_OURS, oursDeadline, type OursState } from "../../exchange/ours/mod.ts";
import { NEW_SKE5, ske5Deadline } from "../../exchange/ske5/mod.ts";
import type { Endpoint } from "../../net/mod.ts";
import {
  associationsMs,
  drop,
  heardUnder,
  holds,
  NO_ASSOCIATIONS,
  pass,
  rekeyMs,
  spent,
  wear,
} from "./associations.ts";
import {
  type ChannelAround,
  ChannelDraft,
  type ChannelEffect,
  type ChannelState,
  RATE,
} from "./channel-state.ts";
import type { Direction } from "./keeper-event.ts";
import type { KeyChannel } from "./key-route.ts";
import { beginOurs, endOursChannel, hearOurs, moveOurs, oursTiming, tellOurs } from "./ours-channel.ts";
import { pathOf } from "./retry.ts";
import { endSke5Channel, moveSke5, ske5Datagram, ske5Idle, tellSke5 } from "./ske5-channel.ts";

/** ChannelEvent is what happens to a channel. */
export type ChannelEvent =
  | { readonly kind: "datagram"; readonly from: Endpoint; readonly to: Endpoint; readonly bytes: Uint8Array }
  | { readonly kind: "heard"; readonly queue: number; readonly spi: number }
  | {
      readonly kind: "limit";
      readonly queue: number;
      readonly spi: number;
      readonly direction: Direction;
      readonly limit: "soft" | "hard";
    }
  | { readonly kind: "due" }
  /** Addresses or the time limit are others than before. */
  | { readonly kind: "reset"; readonly before: KeyChannel }
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
  const full = { left: RATE, atMs: nowMs };
  return {
    exchange,
    associations: NO_ASSOCIATIONS,
    gateway: 0,
    failures: 0,
    beginMs: nowMs,
    sessions: 0,
    up: false,
    reason: "no exchange yet",
    budgets: { knock: full, agreement: full, handshake: full },
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
      draft.set({ associations: heardUnder(state.associations, event) });
      if (state.exchange.kind === "ours") hearOurs(draft, event);
      break;
    case "limit":
      limited(draft, event);
      break;
    case "due":
      due(draft);
      break;
    case "reset":
      reset(draft, event.before);
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
  if (draft.state.exchange.kind === "ske5") return ske5Datagram(draft, bytes, from);
  tellOurs(draft, { kind: "datagram", datagram: bytes, path: { local: to, remote: from } });
}

function limited(draft: ChannelDraft, event: Extract<ChannelEvent, { readonly kind: "limit" }>): void {
  const { at } = draft;
  const { associations } = draft.state;
  const { spi, queue, direction } = event;
  const one = { spi, queue };
  const isUsed =
    direction === "outbound" && associations.active !== undefined && holds(associations.active, one);
  // What comes in under one that ends, or goes out of a queue that has none, is lost until there is another one.
  const isWorn = isUsed || (direction === "inbound" && event.limit === "hard");
  if (isWorn) draft.set({ associations: wear(associations, at.nowMs) });
  if (event.limit === "hard") draft.adopt(spent(draft.state.associations, { ...at, direction, one }));
}

function due(draft: ChannelDraft): void {
  draft.adopt(pass(draft.state.associations, draft.at));
  if (draft.state.exchange.kind === "ske5") tellSke5(draft, { kind: "due" });
  else tellOurs(draft, { kind: "due" });
}

/** Associations stay in use; the next ones are agreed on over the new way, now. */
function reset(draft: ChannelDraft, before: KeyChannel): void {
  const { nowMs } = draft.around;
  draft.set({ gateway: 0, failures: 0, beginMs: nowMs });
  if (draft.state.exchange.kind === "ske5") moveSke5(draft);
  else moveOurs(draft, before.local.endpoint);
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
  // Who is heard under nothing is watched by nobody: what is in use may lead nowhere.
  const isUnwatched = exchange.kind === "ours" && currentSession(exchange.state) === undefined;
  const isWorn = isUnwatched && associations.waiting.length === 0;
  return isWorn ? beginMs : Math.max(beginMs, rekeyMs(associations));
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
      : oursDeadline(exchange.state, { timing: oursTiming(around) });
  return Math.min(exchangeMs, associationsMs(state.associations), wantedMs(state, around));
}
