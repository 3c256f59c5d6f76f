/** A channel by our own exchange: its steps, and what becomes of their effects. */
import {
  currentSession,
  endOurs,
  type OursAround,
  type OursEffect,
  type OursEvent,
  type OursLoss,
  type OursState,
  type OursTiming,
  type Path,
  stepOurs,
} from "../../exchange/ours/mod.ts";
import type { Endpoint } from "../../net/mod.ts";
import {
  drop,
  type Held,
  holds,
  type InboundSet,
  install,
  move,
  moveAll,
  type OutboundSet,
  usable,
  wear,
} from "./associations.ts";
import type { ChannelAround, ChannelDraft } from "./channel-state.ts";
import { FAST_LIVENESS, SLOW_LIVENESS } from "./key-route.ts";
import { chanceOf, FAST_NEGOTIATION_MS, failed, nextGateway, pathOf } from "./retry.ts";

const REASONS: Readonly<Record<OursLoss, string>> = {
  silent: "the peer has fallen silent",
  "closed by peer": "the peer has said goodbye",
  "no answer": "no answer: the peer is away, or its keys, its identity or the route's settings are others",
  "no algorithm in common": "the peer takes none of the route's algorithms",
};

/** oursState returns the exchange of a channel that speaks our own protocol. */
function oursState(draft: ChannelDraft): OursState {
  const { exchange } = draft.state;
  if (exchange.kind !== "ours") throw new Error("the channel does not speak our own exchange");
  return exchange.state;
}

/** oursTiming returns the pace of a channel. */
export function oursTiming({ route, channel }: Pick<ChannelAround, "route" | "channel">): OursTiming {
  // Another gateway, or another queue, is worth a fast notice.
  const several = channel.gateways.length > 1 || route.channels.length > 1;
  const { negotiationMs, lifetime } = route;
  return {
    ...(route.liveness ?? (several ? FAST_LIVENESS : SLOW_LIVENESS)),
    negotiationMs: several ? Math.min(negotiationMs, FAST_NEGOTIATION_MS) : negotiationMs,
    lifeMs: lifetime.ms,
  };
}

/** What the exchange's steps need. */
function oursAround({ around, allow }: ChannelDraft): OursAround {
  const { route, channel, party, primitives, spis, boot, nowMs } = around;
  if (party === undefined || route.protocol.kind !== "ours")
    throw new Error("the route does not speak our own exchange");
  const timing = oursTiming(around);
  const { algorithms } = route.protocol;
  return {
    party,
    primitives,
    spis,
    timing,
    algorithms,
    queues: channel.queues,
    boot,
    allow: () => allow("handshake"),
    nowMs,
  };
}

/** tellOurs steps the exchange. */
export function tellOurs(draft: ChannelDraft, event: OursEvent): void {
  const [state, effects] = stepOurs(oursState(draft), event, oursAround(draft));
  draft.set({ exchange: { kind: "ours", state } });
  for (const effect of effects) act(draft, effect);
  forget(draft, state);
}

/**
 * Nobody will show the keys of a session that is forgotten: what waits for that is removed. What comes in stays to its end: the peer may have begun to
 * send, and only its word of that be lost.
 */
function forget(draft: ChannelDraft, { sessions }: OursState): void {
  const { waiting } = draft.state.associations;
  const isForgotten = ({ session, useMs }: OutboundSet) =>
    useMs === Number.POSITIVE_INFINITY && sessions.every(({ id }) => id !== session);
  const gone: readonly (InboundSet | OutboundSet)[] = waiting.filter(isForgotten);
  if (gone.length === 0) return;
  draft.adopt(drop(draft.state.associations, draft.at.route, (set) => gone.includes(set)));
}

/** beginOurs begins an exchange with the gateway that is tried. */
export function beginOurs(draft: ChannelDraft): void {
  const path = pathOf(draft.state, draft.around);
  if (path !== undefined) tellOurs(draft, { kind: "begin", path });
}

/** hearOurs notes that packets came under an inbound association. */
export function hearOurs(draft: ChannelDraft, one: Held): void {
  const set = draft.state.associations.inbound.find((known) => holds(known, one));
  if (set !== undefined) tellOurs(draft, { kind: "heard", session: set.session });
}

function act(draft: ChannelDraft, effect: OursEffect): void {
  const { at } = draft;
  const { associations } = draft.state;
  switch (effect.kind) {
    case "send":
      draft.send(effect.datagram, effect.path);
      break;
    case "count":
      draft.count(effect.leaf);
      break;
    case "agreed":
      agreed(draft, effect);
      break;
    case "usable":
      draft.adopt(usable(associations, { ...at, session: effect.session }));
      draft.succeeded();
      break;
    case "moved": {
      const { session, path } = effect;
      draft.adopt(move(associations, { route: at.route, session, path }));
      break;
    }
    case "ended":
      draft.adopt(
        drop(
          associations,
          at.route,
          ({ session }, direction) =>
            session === effect.session && (direction === "outbound" || effect.reason !== "not confirmed"),
        ),
      );
      break;
    case "alive":
      draft.set({ rttMs: effect.rttMs });
      draft.news({ kind: "round-trip", ms: effect.rttMs });
      draft.up();
      break;
    case "full":
      draft.down("no SPI is free: too many routes");
      failed(draft);
      break;
    case "lost":
      lost(draft, effect.reason);
  }
}

function agreed(draft: ChannelDraft, effect: Extract<OursEffect, { readonly kind: "agreed" }>): void {
  const { route, trust, nowMs } = draft.around;
  const { session, pair, path, role, restarted } = effect;
  const { lifetime, negotiationMs } = route;
  const times = { nowMs, lifetime, useMs: Number.POSITIVE_INFINITY, graceMs: 2 * negotiationMs };
  const chance = chanceOf(draft.around);
  const made = { route: route.id, trust, session, pair, path, role, chance, ...times };
  draft.adopt(install(draft.state.associations, made));
  draft.news({ kind: "agreed", role, restarted });
}

function lost(draft: ChannelDraft, reason: OursLoss): void {
  const current = currentSession(oursState(draft));
  const isHeard = reason === "no answer" && current !== undefined && !current.silent;
  // The peer answers under what there is: it is up, though the next exchange has come to nothing.
  if (!isHeard) draft.down(REASONS[reason]);
  if (reason !== "silent") {
    failed(draft);
    return;
  }
  // What there is stays in use until something else is agreed on: the peer may only be slow.
  const { nowMs } = draft.around;
  draft.set({ beginMs: nowMs, associations: wear(draft.state.associations, nowMs) });
  nextGateway(draft);
  beginOurs(draft);
}

/** moveOurs has sessions and associations speak from another address; the peer follows. Another port than the one of before is the one that the peer calls. */
export function moveOurs(draft: ChannelDraft, before: Endpoint): void {
  const { endpoint } = draft.around.channel.local;
  tellOurs(draft, { kind: "abandon" });
  const state = oursState(draft);
  const moved = ({ local: { port }, remote }: Path): Path => ({
    local: { ...endpoint, port: port === before.port ? endpoint.port : port },
    remote,
  });
  const sessions = state.sessions.map((session) => ({ ...session, path: moved(session.path) }));
  draft.set({ exchange: { kind: "ours", state: { ...state, sessions } } });
  draft.adopt(moveAll(draft.state.associations, { route: draft.at.route, moved }));
}

/** endOursChannel says goodbye, and wipes a channel's exchange. */
export function endOursChannel(draft: ChannelDraft): void {
  tellOurs(draft, { kind: "close" });
  endOurs(oursState(draft), draft.around);
}
