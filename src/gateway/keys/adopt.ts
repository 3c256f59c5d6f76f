/** What the data path still has of a keeper before goes on until something new is agreed on: a restart does not touch traffic. */
import type { InboundSet, OutboundSet } from "./associations.ts";
import type { ChannelState } from "./channel-state.ts";
import type { Installed } from "./keeper-event.ts";

/** ADOPTED is the session of what was adopted: no exchange has this number. */
export const ADOPTED = -1;

/**
 * adopted returns a channel that knows of an association; undefined if its queue has another one already that it uses. Its key is not known, so the
 * next one is agreed on at once.
 */
export function adopted(state: ChannelState, one: Installed, nowMs: number): ChannelState | undefined {
  const { associations } = state;
  const { spi, queue, path, endsMs } = one;
  const held = [{ spi, queue }];
  if (one.direction === "inbound") {
    const set: InboundSet = { session: ADOPTED, held, bornMs: nowMs, endsMs, heard: true };
    return { ...state, associations: { ...associations, inbound: [...associations.inbound, set] } };
  }
  const before = associations.active;
  if (before?.held.some((other) => other.queue === queue) === true) return undefined;
  const active: OutboundSet = {
    session: ADOPTED,
    held: [...(before?.held ?? []), ...held],
    path,
    bornMs: nowMs,
    rekeyMs: nowMs,
    endsMs: Math.min(before?.endsMs ?? endsMs, endsMs),
    useMs: nowMs,
  };
  return { ...state, associations: { ...associations, active } };
}
