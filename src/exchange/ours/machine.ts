/** One route's part in our own exchange: who an event is for. */
import { close, controlled, heard, watch, watchMs } from "./control.ts";
import { abandon, again, begin, cookied, responded } from "./initiate.ts";
import { decodeOurs, OURS_VERSION } from "./message.ts";
import { initiated } from "./respond.ts";
import {
  count,
  type OursAround,
  type OursEvent,
  type OursState,
  type OursStep,
  withoutSession,
} from "./state.ts";

/** stepOurs returns the state after an event, and what is to be done, in order. What is forged changes no session. */
export function stepOurs(state: OursState, event: OursEvent, around: OursAround): OursStep {
  switch (event.kind) {
    case "begin":
      return begin(state, event.path, around);
    case "datagram":
      return datagramStep(state, event, around);
    case "heard": {
      const session = state.sessions.find(({ id }) => id === event.session);
      return session === undefined ? [state, []] : heard(state, session, around);
    }
    case "due": {
      const [watched, first] = watch(state, around);
      const [next, second] = again(watched, around);
      return [next, [...first, ...second]];
    }
    case "abandon":
      return [abandon(state, around), []];
    case "close": {
      const effects = close(state, around);
      endOurs(state, around);
      return [{ sessions: [], generation: state.generation + 1 }, effects];
    }
  }
}

function datagramStep(
  state: OursState,
  event: Extract<OursEvent, { readonly kind: "datagram" }>,
  around: OursAround,
): OursStep {
  const decoded = decodeOurs(event.datagram);
  if (decoded === undefined || decoded.route !== around.party.route)
    return [state, [count("protocol-errors")]];
  if (decoded.version !== OURS_VERSION) return [state, [count("version-errors")]];
  const arrival = { ...around, datagram: event.datagram, path: event.path };
  const { message } = decoded;
  switch (message.kind) {
    case "initiation":
      return initiated(state, message, arrival);
    case "cookie":
      return cookied(state, message, arrival);
    case "response":
      return responded(state, message, arrival);
    case "control":
      return controlled(state, message, arrival);
  }
}

/** oursDeadline returns when to step `due`; Infinity when nothing is awaited. */
export function oursDeadline(state: OursState, around: Pick<OursAround, "timing">): number {
  const { initiating } = state;
  const beginMs =
    initiating === undefined ? Number.POSITIVE_INFINITY : Math.min(initiating.repeatMs, initiating.expiresMs);
  return Math.min(beginMs, watchMs(state, around));
}

/** endOurs wipes a state and gives the SPIs of what was begun back; those of sessions belong to whoever has their associations. */
export function endOurs(state: OursState, around: Pick<OursAround, "spis">): void {
  const { secret, sessions } = abandon(state, around);
  secret?.secret.fill(0);
  for (const session of sessions) withoutSession(state, session);
}
