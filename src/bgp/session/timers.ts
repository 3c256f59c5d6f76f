/**
 * Which timer of a connection's machine is due, and when the next one will be.
 *
 * HoldTimer is looked at, not set: in Established each message of the peer would start it again, and there may be thousands a second. Whoever reads
 * remembers when something came last, and SendHoldTimer likewise when the peer took something last.
 */
import type { FsmTimer } from "./fsm-event.ts";
import type { Fsm } from "./fsm-state.ts";

/** TimerView is what is known beside the state. */
export interface TimerView {
  /** When the last message came; counts in Established. */
  readonly heardMs?: number | undefined;
  /** Since when something waits to be sent of which the peer has taken nothing; absent: nothing waits. */
  readonly stuckMs?: number | undefined;
  /** SendHoldTime (RFC 9687); 0: no such timer. */
  readonly sendHoldMs: number;
}

/** Deadline is a timer and the moment at which it expires. */
export interface Deadline {
  readonly timer: FsmTimer;
  readonly atMs: number;
}

/** nextDeadline returns the timer that expires first; undefined when none runs. */
export function nextDeadline(state: Fsm, view: TimerView): Deadline | undefined {
  let first: Deadline | undefined;
  for (const { timer, atMs } of deadlines(state, view))
    if (atMs !== undefined && (first === undefined || atMs < first.atMs)) first = { timer, atMs };
  return first;
}

type Possible = { readonly timer: FsmTimer; readonly atMs: number | undefined };

function deadlines(state: Fsm, view: TimerView): readonly Possible[] {
  switch (state.kind) {
    case "idle":
      return [{ timer: "idle-hold", atMs: state.idleHoldAtMs }];
    case "connect":
    case "active":
      return [
        { timer: "delay-open", atMs: state.delayOpenAtMs },
        { timer: "connect-retry", atMs: state.connectRetryAtMs },
      ];
    case "open-sent":
      return [{ timer: "hold", atMs: state.holdAtMs }];
    case "open-confirm":
      return [
        { timer: "hold", atMs: state.holdAtMs },
        { timer: "keepalive", atMs: state.keepaliveAtMs },
      ];
    case "established": {
      const { holdMs } = state.negotiated;
      const heardMs = Math.max(state.sinceMs, view.heardMs ?? state.sinceMs);
      const { stuckMs, sendHoldMs } = view;
      return [
        { timer: "hold", atMs: holdMs === 0 ? undefined : heardMs + holdMs },
        { timer: "keepalive", atMs: state.keepaliveAtMs },
        {
          timer: "send-hold",
          atMs: stuckMs === undefined || sendHoldMs === 0 ? undefined : stuckMs + sendHoldMs,
        },
      ];
    }
  }
}

/** sendHoldMs returns the SendHoldTime that RFC 9687 section 6 recommends: eight minutes, or twice the hold time if that is more. */
export function sendHoldMs(holdMs: number): number {
  return Math.max(480_000, 2 * holdMs);
}
