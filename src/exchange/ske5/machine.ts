/** One route's part in vita-ske on one queue: which machine an event is for. */
import { abandon, agreed, begin, challenged, expire } from "./initiator.ts";
import { forget, knocked, proposed } from "./responder.ts";
import type { Ske5Around, Ske5Event, Ske5State, Ske5Step } from "./state.ts";

/** stepSke5 returns the state after an event, and what is to be done, in order. What is forged changes nothing. */
export function stepSke5(state: Ske5State, event: Ske5Event, around: Ske5Around): Ske5Step {
  switch (event.kind) {
    case "begin":
      return begin(state, around);
    case "due":
      return expire(state, around.nowMs);
    case "reset":
      return [forget(abandon(state), around), []];
    case "message":
      return messageStep(state, event.message, around);
  }
}

function messageStep(
  state: Ske5State,
  message: Extract<Ske5Event, { readonly kind: "message" }>["message"],
  around: Ske5Around,
): Ske5Step {
  switch (message.kind) {
    case "knock":
      return knocked(state, around);
    case "challenge":
      return challenged(state, message, around);
    case "proposal":
      return proposed(state, message, around);
    case "agreement":
      return agreed(state, message, around);
  }
}

/** ske5Deadline returns when to step `due`; Infinity when nothing is awaited. */
export function ske5Deadline({ initiator }: Ske5State): number {
  return initiator.kind === "initiator" ? Number.POSITIVE_INFINITY : initiator.deadlineMs;
}

/** endSke5 wipes a state and gives its SPIs back. */
export function endSke5(state: Ske5State, around: Pick<Ske5Around, "spis">): void {
  const { initiator } = forget(abandon(state), around);
  if (initiator.kind === "initiator" && initiator.spi !== undefined) around.spis.release(initiator.spi, 1);
}
