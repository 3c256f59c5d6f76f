/** A channel by vita-ske: its steps, and what becomes of their effects. */
import {
  decodeDatagram,
  endSke5,
  type Ske5Around,
  type Ske5Effect,
  type Ske5Event,
  type Ske5Loss,
  type Ske5State,
  stepSke5,
} from "../../exchange/ske5/mod.ts";
import type { Path } from "../../exchange/ours/mod.ts";
import { type Endpoint, ipEqual } from "../../net/mod.ts";
import { install, moveAll, rekeyMs } from "./associations.ts";
import type { ChannelDraft } from "./channel-state.ts";
import { chanceOf, failed, pathOf } from "./retry.ts";

/** USE_AFTER times the time limit the peer has to install what it receives with; Vita's. */
const USE_AFTER = 1.5;
/** A waiting association is used while the one before has at least half of its life: also where the time limit is long for the lifetime. */
const MOST_OF_LIFE = 1 / 4;

const REASONS: Readonly<Record<Ske5Loss, string>> = {
  // The responder says nothing to a wrong key or address.
  "no answer": "no answer: the peer is away, or its key or addresses are others",
  "no usable SPI": "the peer gives an SPI below 256, which ESP may not use",
};

/** ske5State returns the exchange of a channel that speaks vita-ske. */
function ske5State(draft: ChannelDraft): Ske5State {
  const { exchange } = draft.state;
  if (exchange.kind !== "ske5") throw new Error("the channel does not speak vita-ske");
  return exchange.state;
}

function aroundOf({ around, allow }: ChannelDraft, remote: Endpoint): Ske5Around {
  const { route, channel, primitives, spis, nowMs } = around;
  const { protocol } = route;
  if (protocol.kind !== "ske5") throw new Error("the route does not speak vita-ske");
  const { routeSpi, psk } = protocol;
  const queue = channel.queues[0] as number;
  const local = channel.local.identity;
  const { negotiationMs } = route;
  return {
    route: { routeSpi, psk, local, remote: remote.ip, queue, negotiationMs },
    primitives,
    spis,
    allow,
    nowMs,
  };
}

/** ske5Idle tells whether no exchange of ours is on its way. */
export function ske5Idle(state: Ske5State): boolean {
  return state.initiator.kind === "initiator";
}

/** tellSke5 steps the exchange with a gateway; default the one that is tried. */
export function tellSke5(draft: ChannelDraft, event: Ske5Event, to?: Endpoint): void {
  const path = pathOf(draft.state, draft.around);
  const remote = to ?? path?.remote;
  if (remote === undefined) return;
  const [state, effects] = stepSke5(ske5State(draft), event, aroundOf(draft, remote));
  draft.set({ exchange: { kind: "ske5", state } });
  for (const effect of effects) act(draft, effect, remote);
}

/** ske5Datagram hears a datagram. It must come from one of the gateways, and answers go to the gateway's port, not to the source's. */
export function ske5Datagram(draft: ChannelDraft, bytes: Uint8Array, from: Endpoint): void {
  const decoded = decodeDatagram(bytes);
  const gateway = draft.around.channel.gateways.find(({ ip }) => ipEqual(ip, from.ip));
  if (decoded === undefined || gateway === undefined) draft.count("protocol-errors");
  else tellSke5(draft, { kind: "message", message: decoded.message }, gateway);
}

function act(draft: ChannelDraft, effect: Ske5Effect, remote: Endpoint): void {
  const { channel, route, trust, nowMs } = draft.around;
  const path = { local: channel.local.endpoint, remote };
  switch (effect.kind) {
    case "send":
      draft.send(effect.datagram, path);
      break;
    case "count":
      draft.count(effect.leaf);
      break;
    case "lost":
      // The peer began as well, and what that led to is enough.
      if (effect.reason === "no answer" && rekeyMs(draft.state.associations) > nowMs) break;
      draft.down(REASONS[effect.reason]);
      failed(draft);
      break;
    case "full":
      draft.down("no SPI is free: too many routes");
      failed(draft);
      break;
    case "agreed": {
      const session = draft.state.sessions + 1;
      draft.set({ sessions: session });
      const { lifetime, negotiationMs } = route;
      const waitMs = Math.min(USE_AFTER * negotiationMs, lifetime.ms * MOST_OF_LIFE);
      const { pair, role } = effect;
      const times = { nowMs, lifetime, useMs: nowMs + waitMs, graceMs: 2 * negotiationMs };
      const chance = chanceOf(draft.around);
      const made = { route: route.id, trust, session, pair, path, role, chance, ...times };
      draft.adopt(install(draft.state.associations, made));
      draft.news({ kind: "agreed", role, restarted: false });
      draft.succeeded();
    }
  }
}

/** moveSke5 has what is in use go to the gateways that there are now, from the address that there is now. */
export function moveSke5(draft: ChannelDraft): void {
  tellSke5(draft, { kind: "reset" });
  const { channel } = draft.around;
  const { endpoint: local } = channel.local;
  const moved = ({ remote }: Path): Path => ({
    local,
    remote: channel.gateways.find(({ ip }) => ipEqual(ip, remote.ip)) ?? channel.gateways[0] ?? remote,
  });
  draft.adopt(moveAll(draft.state.associations, { route: draft.at.route, moved }));
}

/** endSke5Channel wipes a channel's exchange. */
export function endSke5Channel(draft: ChannelDraft): void {
  endSke5(ske5State(draft), draft.around);
}
