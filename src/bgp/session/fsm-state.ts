/**
 * The six states of RFC 4271 section 8.2.2, each with what is valid in it. A timer that runs is the moment at which it expires; one that does not
 * run is absent.
 */
import type { Negotiated } from "./negotiated.ts";

/** FsmCounters outlive states. */
export interface FsmCounters {
  /** ConnectRetryCounter. */
  readonly retries: number;
  /** Ends in a row without a long-lived session between them: what IdleHoldTimer grows with (DampPeerOscillations). */
  readonly flaps: number;
}

/** Idle refuses connections. Without `idleHoldAtMs` it stays until a start. */
export interface Idle extends FsmCounters {
  readonly kind: "idle";
  readonly idleHoldAtMs?: number;
}

/** Connect waits for the connection that it began; when DelayOpenTimer runs it has one, and waits for the peer's OPEN. */
export interface Connect extends FsmCounters {
  readonly kind: "connect";
  readonly connectRetryAtMs?: number;
  readonly delayOpenAtMs?: number;
}

/** Active waits for the peer's connection; when DelayOpenTimer runs it has one. */
export interface Active extends FsmCounters {
  readonly kind: "active";
  readonly connectRetryAtMs?: number;
  readonly delayOpenAtMs?: number;
}

/** OpenSent waits for the peer's OPEN. */
export interface OpenSent extends FsmCounters {
  readonly kind: "open-sent";
  readonly holdAtMs: number;
}

/** OpenConfirm waits for the KEEPALIVE that answers our OPEN. */
export interface OpenConfirm extends FsmCounters {
  readonly kind: "open-confirm";
  readonly negotiated: Negotiated;
  readonly holdAtMs?: number;
  readonly keepaliveAtMs?: number;
}

/** Established exchanges routes. HoldTimer starts again with each message of the peer, which does not pass here: see timers.ts. */
export interface Established extends FsmCounters {
  readonly kind: "established";
  readonly negotiated: Negotiated;
  readonly sinceMs: number;
  readonly keepaliveAtMs?: number;
}

/** Fsm is the state of one connection's machine. */
export type Fsm = Idle | Connect | Active | OpenSent | OpenConfirm | Established;

/** FsmName names a state. */
export type FsmName = Fsm["kind"];

/** FSM_NAMES are the states' names as the RFC writes them. */
export const FSM_NAMES: Readonly<Record<FsmName, string>> = {
  idle: "Idle",
  connect: "Connect",
  active: "Active",
  "open-sent": "OpenSent",
  "open-confirm": "OpenConfirm",
  established: "Established",
};

/** NEW_FSM is where every peer begins. */
export const NEW_FSM: Idle = { kind: "idle", retries: 0, flaps: 0 };
