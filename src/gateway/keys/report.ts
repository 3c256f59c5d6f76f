/** What people are told of a channel: whether there is a peer, and if not why; its associations with age and time left. Never a key. */
import type { Endpoint } from "../../net/mod.ts";
import { currentSession } from "../../exchange/ours/mod.ts";
import type { ChannelState } from "./channel-state.ts";
import type { Direction } from "./keeper-event.ts";
import type { KeyChannel } from "./key-route.ts";

/** AssociationStatus is one direction of a queue. */
export interface AssociationStatus {
  readonly direction: Direction;
  readonly spi: number;
  readonly queue: number;
  readonly state: "used" | "waiting";
  readonly ageMs: number;
  readonly leftMs: number;
  /** Until the next one is agreed on; of what goes out, and is used. */
  readonly softLeftMs?: number;
}

/** ChannelStatus is all of a channel. */
export interface ChannelStatus {
  readonly route: string;
  readonly queue: number;
  readonly up: boolean;
  readonly reason?: string;
  readonly negotiating: boolean;
  /** The gateway that is tried or used; none where only the peer calls. */
  readonly gateway?: Endpoint;
  readonly rttMs?: number;
  /** When something authentic came last, other than packets. */
  readonly heardAgoMs?: number;
  readonly associations: readonly AssociationStatus[];
}

/** describeChannel returns a channel's status at a moment. */
export function describeChannel(
  state: ChannelState,
  { route, channel, nowMs }: { readonly route: string; readonly channel: KeyChannel; readonly nowMs: number },
): ChannelStatus {
  const gateway = channel.gateways[state.gateway];
  const heardMs = state.exchange.kind === "ours" ? currentSession(state.exchange.state)?.heardMs : undefined;
  return {
    route,
    queue: channel.queue,
    up: state.up,
    ...(state.reason === undefined ? {} : { reason: state.reason }),
    negotiating: isNegotiating(state),
    ...(gateway === undefined ? {} : { gateway }),
    ...(state.rttMs === undefined ? {} : { rttMs: state.rttMs }),
    ...(heardMs === undefined ? {} : { heardAgoMs: nowMs - heardMs }),
    associations: associationsOf(state, nowMs),
  };
}

function isNegotiating({ exchange }: ChannelState): boolean {
  if (exchange.kind === "ske5") return exchange.state.initiator.kind !== "initiator";
  return exchange.state.initiating !== undefined;
}

function associationsOf({ associations }: ChannelState, nowMs: number): readonly AssociationStatus[] {
  const { active, waiting, inbound } = associations;
  const rows = [
    ...(active === undefined ? [] : [{ set: active, direction: "outbound", state: "used" } as const]),
    ...waiting.map((set) => ({ set, direction: "outbound", state: "waiting" }) as const),
    ...inbound.map((set) => ({ set, direction: "inbound", state: "used" }) as const),
  ];
  return rows.flatMap(({ set, ...row }) =>
    set.held.map((held) => ({
      ...row,
      ...held,
      ...(set === active ? { softLeftMs: Math.max(0, active.rekeyMs - nowMs) } : {}),
      ageMs: Math.max(0, nowMs - set.bornMs),
      leftMs: Math.max(0, set.endsMs - nowMs),
    })),
  );
}
