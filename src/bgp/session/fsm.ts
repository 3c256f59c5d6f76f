/**
 * The machine of one connection, as RFC 4271 section 8.2.2 has it: `step` of a state and an event gives the next state and what is to be done.
 *
 * Where two connections to one peer meet is in peer.ts; which timer is due in timers.ts. Deviations, each for a reason:
 *
 * - A connection that cannot be made leads from Connect to Active, whether or not DelayOpenTimer runs: Idle would refuse the peer's own connections.
 * - A NOTIFICATION is never answered by one (section 6.4), also where the table calls it an unexpected event.
 * - A header error in Established is reported as what it is (section 6.1), not as an error of the machine.
 */
import { type BgpError, bgpError, CEASE, encodeKeepalive, encodeNotification, ERROR } from "../wire/mod.ts";
import { FSM_ERROR, OPEN_ERROR } from "../wire/mod.ts";
import type { Ended, FsmEffect, FsmEvent, FsmTimer } from "./fsm-event.ts";
import type { Active, Connect, Established, Fsm, FsmName, Idle, OpenConfirm, OpenSent } from "./fsm-state.ts";
import type { Negotiated } from "./negotiated.ts";

/** FsmConfig is what the RFC calls session attributes, as far as they are configured. */
export interface FsmConfig {
  /** PassiveTcpEstablishment. */
  readonly passive: boolean;
  /** DelayOpenTime; 0: DelayOpen is off. */
  readonly delayOpenMs: number;
  readonly connectRetryMs: number;
  /** The first wait after an end, doubled with each end that follows soon; the first end is followed by a start at once. */
  readonly idleHoldMs: number;
  readonly idleHoldMostMs: number;
  /** A session that lasted so long is no flap. */
  readonly stableMs: number;
  /** Our OPEN as it is sent. */
  readonly open: Uint8Array;
}

/** Step is the outcome of one event. */
export type Step = readonly [Fsm, readonly FsmEffect[]];

/** LARGE_HOLD_MS is how long the peer's OPEN may take ("a HoldTimer value of 4 minutes is suggested", RFC 4271 section 8.2.2). */
export const LARGE_HOLD_MS = 240_000;

/** step takes one event. Nothing is changed: the state is a value. */
export function step(state: Fsm, event: FsmEvent, config: FsmConfig): Step {
  switch (state.kind) {
    case "idle":
      return idle(config, state, event);
    case "connect":
      return connect(config, state, event);
    case "active":
      return active(config, state, event);
    case "open-sent":
      return openSent(config, state, event);
    case "open-confirm":
      return openConfirm(config, state, event);
    case "established":
      return established(config, state, event);
  }
}

function idle(config: FsmConfig, state: Idle, event: FsmEvent): Step {
  // "The ManualStop event (Event 2) and AutomaticStop (Event 8) event are ignored in the Idle state": but what would start by itself does not any more.
  if (event.kind === "stop" && event.automatic !== true) return [{ kind: "idle", retries: 0, flaps: 0 }, []];
  // Events 1, 3 to 7; 13 is the automatic start that an earlier end had put off.
  const starts = event.kind === "start" || (event.kind === "timer" && event.timer === "idle-hold");
  if (!starts) return [state, []];
  // "sets ConnectRetryCounter to zero"; what damping remembers stays until a session has lasted, or somebody starts by hand.
  const counters = { retries: 0, flaps: event.kind === "start" ? 0 : state.flaps };
  if (config.passive) return [{ kind: "active", ...counters }, []];
  return [{ kind: "connect", ...counters, connectRetryAtMs: retryAt(config, event) }, [{ kind: "connect" }]];
}

function connect(config: FsmConfig, state: Connect, event: FsmEvent): Step {
  switch (event.kind) {
    case "timer":
      if (event.timer === "connect-retry")
        return [
          { kind: "connect", ...counters(state), connectRetryAtMs: retryAt(config, event) },
          [{ kind: "disconnect" }, { kind: "connect" }],
        ];
      break;
    case "tcp-failed": {
      // "restarts the ConnectRetryTimer with the initial value, stops the DelayOpenTimer, … changes its state to Active".
      const next: Active = { kind: "active", ...counters(state), connectRetryAtMs: retryAt(config, event) };
      return [next, []];
    }
  }
  return connectOrActive(config, state, event);
}

function active(config: FsmConfig, state: Active, event: FsmEvent): Step {
  switch (event.kind) {
    case "timer":
      if (event.timer === "connect-retry")
        return [
          { kind: "connect", ...counters(state), connectRetryAtMs: retryAt(config, event) },
          [{ kind: "connect" }],
        ];
      break;
    case "tcp-failed":
      return end(config, state, event, { by: "lost", text: event.reason });
  }
  return connectOrActive(config, state, event);
}

/** What Connect and Active have in common. */
function connectOrActive(config: FsmConfig, state: Connect | Active, event: FsmEvent): Step {
  switch (event.kind) {
    case "start":
    case "tcp-invalid":
      return [state, []];
    case "stop":
      // "If the DelayOpenTimer is running and the SendNOTIFICATIONwithoutOPEN session attribute is set": it is not.
      return end(config, state, event, { by: "lost", error: event.error, text: event.error.text });
    case "tcp-connected":
    case "tcp-accepted":
      if (config.delayOpenMs > 0)
        return [
          { kind: state.kind, ...counters(state), delayOpenAtMs: event.nowMs + config.delayOpenMs },
          [],
        ];
      return sendOpen(config, state, event);
    case "timer":
      if (event.timer === "delay-open") return sendOpen(config, state, event);
      break;
    case "open":
      if (state.delayOpenAtMs === undefined) break;
      // Event 20: OPEN and KEEPALIVE go out together.
      return confirm(state, event, {
        negotiated: event.negotiated,
        before: [{ kind: "send", bytes: config.open }],
      });
    case "header-error":
    case "open-error":
      return end(config, state, event, { by: "lost", error: event.error, text: event.error.text });
    case "notification":
      return end(config, state, event, { by: "received", error: event.error, text: event.error.text });
  }
  return end(config, state, event, { by: "lost", text: unexpected(event, state.kind) });
}

function openSent(config: FsmConfig, state: OpenSent, event: FsmEvent): Step {
  switch (event.kind) {
    case "start":
    case "tcp-invalid":
    // A second connection is tracked beside this one: peer.ts.
    case "tcp-connected":
    case "tcp-accepted":
      return [state, []];
    case "tcp-failed": {
      const next: Active = { kind: "active", ...counters(state), connectRetryAtMs: retryAt(config, event) };
      // Passive, nothing is to be tried again: the peer comes.
      const { connectRetryAtMs: _, ...waiting } = next;
      return [config.passive ? waiting : next, [{ kind: "disconnect" }]];
    }
    case "open":
      return confirm(state, event, { negotiated: event.negotiated, before: [] });
  }
  return common(config, state, event, FSM_ERROR.inOpenSent);
}

function openConfirm(config: FsmConfig, state: OpenConfirm, event: FsmEvent): Step {
  switch (event.kind) {
    case "start":
    case "tcp-invalid":
    case "tcp-connected":
    case "tcp-accepted":
      return [state, []];
    case "timer":
      if (event.timer === "keepalive") return keepalive(state, event);
      break;
    case "tcp-failed":
      return end(config, state, event, { by: "lost", text: event.reason });
    case "keepalive": {
      const { negotiated, keepaliveAtMs } = state;
      const next: Established = {
        kind: "established",
        ...counters(state),
        negotiated,
        sinceMs: event.nowMs,
        ...(keepaliveAtMs === undefined ? {} : { keepaliveAtMs }),
      };
      return [next, [{ kind: "established", negotiated }]];
    }
  }
  return common(config, state, event, FSM_ERROR.inOpenConfirm);
}

function established(config: FsmConfig, state: Established, event: FsmEvent): Step {
  switch (event.kind) {
    case "start":
    case "tcp-invalid":
    case "tcp-connected":
    case "tcp-accepted":
    // They start HoldTimer again, which is the moment that timers.ts is told.
    case "keepalive":
    case "update":
      return [state, []];
    case "timer":
      if (event.timer === "keepalive") return keepalive(state, event);
      if (event.timer === "send-hold")
        // RFC 9687 section 4.3: no NOTIFICATION, which would only wait behind what the peer does not take.
        return end(config, state, event, {
          by: "lost",
          error: bgpError(ERROR.sendHoldTimer, 0, { text: "the peer takes nothing" }),
          text: "send hold timer expired",
        });
      break;
    case "tcp-failed":
      return end(config, state, event, { by: "lost", text: event.reason });
    case "update-error":
      return sendAndEnd(config, state, event, event.error);
  }
  return common(config, state, event, FSM_ERROR.inEstablished);
}

/** What OpenSent, OpenConfirm and Established have in common; what nobody has taken is an error of the machine (RFC 6608). */
function common(
  config: FsmConfig,
  state: OpenSent | OpenConfirm | Established,
  event: FsmEvent,
  unexpectedHere: number,
): Step {
  switch (event.kind) {
    case "stop":
    case "header-error":
    case "open-error":
      return sendAndEnd(config, state, event, event.error);
    case "timer":
      if (event.timer !== "hold") break;
      return sendAndEnd(config, state, event, bgpError(ERROR.holdTimer, 0, { text: "hold timer expired" }));
    case "collision":
      return sendAndEnd(
        config,
        state,
        event,
        bgpError(ERROR.cease, CEASE.connectionCollision, { text: "the peer has another connection" }),
      );
    case "notification":
      return end(config, state, event, { by: "received", error: event.error, text: event.error.text });
  }
  const text = unexpected(event, state.kind);
  return sendAndEnd(config, state, event, bgpError(ERROR.fsm, unexpectedHere, { text }));
}

/** "sends an OPEN message to its peer, sets the HoldTimer to a large value, and changes its state to OpenSent". */
function sendOpen(config: FsmConfig, state: Fsm, event: FsmEvent): Step {
  return [
    { kind: "open-sent", ...counters(state), holdAtMs: event.nowMs + LARGE_HOLD_MS },
    [{ kind: "send", bytes: config.open }],
  ];
}

/** "sends a KEEPALIVE message, and sets a KeepaliveTimer, sets the HoldTimer according to the negotiated value, changes its state to OpenConfirm". */
function confirm(
  state: Fsm,
  event: FsmEvent,
  { negotiated, before }: { readonly negotiated: Negotiated; readonly before: readonly FsmEffect[] },
): Step {
  const { holdMs } = negotiated;
  const next: OpenConfirm = {
    kind: "open-confirm",
    ...counters(state),
    negotiated,
    // "If the negotiated hold time value is zero, then the HoldTimer and KeepaliveTimer are not started."
    ...(holdMs === 0
      ? {}
      : { holdAtMs: event.nowMs + holdMs, keepaliveAtMs: keepaliveAt(negotiated, event) }),
  };
  return [next, [...before, { kind: "send", bytes: encodeKeepalive() }]];
}

/** The timer is started again when it expires, and not by each UPDATE as well: that would only send fewer of them. */
function keepalive<S extends OpenConfirm | Established>(
  state: S,
  event: FsmEvent,
): readonly [S, FsmEffect[]] {
  return [
    { ...state, keepaliveAtMs: keepaliveAt(state.negotiated, event) },
    [{ kind: "send", bytes: encodeKeepalive() }],
  ];
}

function sendAndEnd(config: FsmConfig, state: Fsm, event: FsmEvent, error: BgpError): Step {
  const [next, effects] = end(config, state, event, { by: "sent", error, text: error.text });
  return [next, [{ kind: "send", bytes: encodeNotification(error) }, ...effects]];
}

/** "drops the TCP connection, increments the ConnectRetryCounter by 1, performs peer oscillation damping, and changes its state to Idle". */
function end(config: FsmConfig, state: Fsm, event: FsmEvent, how: Omit<Ended, "state">): Step {
  const effects: FsmEffect[] = [
    { kind: "disconnect" },
    { kind: "ended", ended: { state: state.kind, ...how } },
  ];
  // ManualStop: "sets the ConnectRetryCounter to zero".
  if (event.kind === "stop" && event.automatic !== true)
    return [{ kind: "idle", retries: 0, flaps: 0 }, effects];
  const lasted = state.kind === "established" && event.nowMs - state.sinceMs >= config.stableMs;
  const flaps = lasted ? 0 : state.flaps;
  const holdMs =
    event.kind === "stop" && event.restartAfterMs !== undefined
      ? event.restartAfterMs
      : idleHoldMs(config, flaps) * (0.75 + event.chance / 4);
  return [
    {
      kind: "idle",
      retries: state.retries + (isVersionError(event) ? 0 : 1),
      flaps: flaps + 1,
      idleHoldAtMs: event.nowMs + holdMs,
    },
    effects,
  ];
}

/** idleHoldMs is how long Idle lasts after so many ends in a row. */
export function idleHoldMs(config: Pick<FsmConfig, "idleHoldMs" | "idleHoldMostMs">, flaps: number): number {
  return flaps === 0 ? 0 : Math.min(config.idleHoldMostMs, config.idleHoldMs * 2 ** (flaps - 1));
}

/** Event 24 alone leaves ConnectRetryCounter as it is. */
function isVersionError(event: FsmEvent): boolean {
  return (
    event.kind === "notification" &&
    event.error.code === ERROR.open &&
    event.error.subcode === OPEN_ERROR.unsupportedVersion
  );
}

/** RFC 4271 section 10: "the jitter … a random number … uniformly distributed in the range from 0.75 to 1.0". */
function retryAt(config: FsmConfig, event: FsmEvent): number {
  return event.nowMs + config.connectRetryMs * (0.75 + event.chance / 4);
}

function keepaliveAt({ keepaliveMs }: Negotiated, event: FsmEvent): number {
  return event.nowMs + keepaliveMs * (0.75 + event.chance / 4);
}

function counters({ retries, flaps }: Fsm): { readonly retries: number; readonly flaps: number } {
  return { retries, flaps };
}

const timerNames: Readonly<Record<FsmTimer, string>> = {
  "connect-retry": "ConnectRetryTimer",
  hold: "HoldTimer",
  keepalive: "KeepaliveTimer",
  "delay-open": "DelayOpenTimer",
  "idle-hold": "IdleHoldTimer",
  "send-hold": "SendHoldTimer",
};

function unexpected(event: FsmEvent, state: FsmName): string {
  const what = event.kind === "timer" ? timerNames[event.timer] : event.kind;
  return `unexpected ${what} in ${state}`;
}
