/**
 * Whether anything of a pair is to be remembered, or looked at: in a large mesh most pairs talk seldom, and a ladder that says so again each second
 * costs as much as one that works.
 */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import * as draftOf from "./ladder-draft.ts";
import type { LadderState } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";

/**
 * canRest tells whether a ladder may be forgotten until the pair talks again: it is at a relay, nothing is under way or was for long, and it is not
 * one that probes without a reason. What a new one begins with then is what this one would go on with. `endpoint`: where the device sends to.
 */
export function canRest(state: LadderState, nowMs: number, endpoint: Endpoint | undefined): boolean {
  const { mode, path, handshake, nominee, round, startedMs } = state;
  if (mode === "full" || path.kind === "direct") return false;
  if (handshake !== undefined || nominee !== undefined || round.kind !== "off") return false;
  if (isAstray(state, endpoint)) return false;
  return nowMs - Math.max(startedMs, draftOf.lastTalkMs(state)) >= timing.REST_AFTER_MS;
}

/** mindsTime tells whether a reading of the device in which nothing is new still says something: that what is waited for has not come. */
export function mindsTime(state: LadderState, endpoint: Endpoint | undefined): boolean {
  const { handshake, traffic } = state;
  const waits = handshake ?? traffic.unheardMs ?? traffic.wantedMs;
  return waits !== undefined || isAstray(state, endpoint);
}

/** The device sends elsewhere than the pair's path is. */
function isAstray(state: LadderState, endpoint: Endpoint | undefined): boolean {
  const { path } = state;
  if (endpoint === undefined) return false;
  if (path.kind === "none") return true;
  if (path.kind === "direct") return !endpointEqual(path.endpoint, endpoint);
  return draftOf.relayAt(state, endpoint)?.hub !== path.relay.hub;
}
