/** When the next exchange is begun after one has failed, and with which gateway. */
import type { Path } from "../../exchange/ours/mod.ts";
import type { Endpoint } from "../../net/mod.ts";
import type { ChannelAround, ChannelDraft, ChannelState } from "./channel-state.ts";

/** FAST_NEGOTIATION_MS is how long an exchange may take when there is another gateway to try. */
export const FAST_NEGOTIATION_MS = 2_000;

/** chanceOf returns a random number from 0 to 1. */
export function chanceOf({ primitives }: Pick<ChannelAround, "primitives">): number {
  return (primitives.random(1)[0] as number) / 256;
}

/** pathOf returns the way to the gateway that is tried; one that only calls us is where it was last. Undefined when it has never called. */
export function pathOf(
  { gateway, associations }: ChannelState,
  { channel }: ChannelAround,
): Path | undefined {
  const { gateways, local } = channel;
  const remote: Endpoint | undefined =
    gateways[gateway % Math.max(1, gateways.length)] ?? associations.active?.path.remote;
  return remote === undefined ? undefined : { local: local.endpoint, remote };
}

/** failed puts the next exchange off: not after the first failures, so that all gateways are tried at once, then longer and at random. */
export function failed(draft: ChannelDraft): void {
  const { channel, route, nowMs } = draft.around;
  const failures = draft.state.failures + 1;
  const free = Math.max(1, channel.gateways.length);
  const mostMs = Math.min(route.negotiationMs, (route.negotiationMs / 4) * 2 ** Math.min(8, failures - free));
  const pauseMs = failures <= free ? 0 : mostMs * (1 / 2 + chanceOf(draft.around) / 2);
  draft.set({ failures, beginMs: nowMs + pauseMs });
  nextGateway(draft);
}

/** nextGateway goes to the next gateway, if there is one. */
export function nextGateway(draft: ChannelDraft): void {
  const { gateways } = draft.around.channel;
  if (gateways.length < 2) return;
  const gateway = (draft.state.gateway + 1) % gateways.length;
  draft.set({ gateway });
  draft.news({ kind: "gateway", to: gateways[gateway] as Endpoint });
}
