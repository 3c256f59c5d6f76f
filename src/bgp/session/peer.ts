/**
 * The session with one peer: the machine of its connection, and beside it that of a second one while it is not decided which of them stays
 * (RFC 4271 section 6.8, RFC 4724 section 5).
 *
 * ```
 *  main     every state; its connection, if any, is the one that counts
 *  second   a connection that the peer made while main had, or tried, one of its own; it is tracked until its OPEN,
 *           or until its KEEPALIVE where main is established and the peer is who decides
 * ```
 *
 * The second becomes main when main ends, or when it is established first.
 */
import { type BgpError, decodeNotification, decodeOpen, MESSAGE } from "../wire/mod.ts";
import { ipCompare } from "../../net/mod.ts";
import { ceaseFor, keepsRoutes } from "./cease.ts";
import type { FsmCause, FsmEffect, FsmEvent, Moment } from "./fsm-event.ts";
import { type Fsm, NEW_FSM } from "./fsm-state.ts";
import { type FsmConfig, step } from "./fsm.ts";
import { negotiate, type SessionConfig } from "./negotiate.ts";
import type { Negotiated } from "./negotiated.ts";
import type { PeerEffect, PeerEvent } from "./peer-event.ts";
import { type Deadline, nextDeadline, type TimerView } from "./timers.ts";

/** PeerConfig is what a session is configured with: `peerConfig` of negotiate.ts makes it. */
export interface PeerConfig {
  readonly session: SessionConfig;
  readonly fsm: FsmConfig;
  readonly sendHoldMs: number;
}

/** Slot is one connection's machine. */
export interface Slot {
  readonly fsm: Fsm;
  /** Its connection, which may not stand yet. */
  readonly connection?: number;
  /** Who made it. */
  readonly by?: "us" | "peer";
  /** We heard of it when we had agreed on the session already. */
  readonly late?: boolean;
}

/** PeerState is the whole state of a session. */
export interface PeerState {
  readonly main: Slot;
  readonly second?: Slot;
  /** The number that the next connection gets. */
  readonly nextConnection: number;
}

/** NEW_PEER is where every session begins. */
export const NEW_PEER: PeerState = { main: { fsm: NEW_FSM }, nextConnection: 1 };

type Place = "main" | "second";

/** How long a call may wait to be heard of, where both are busy. A peer that restarts sooner has ended its connections, and calls again. */
const CROSSING_MS = 5_000;

/** Work is one step under way. */
class Work {
  main: Slot;
  second: Slot | undefined;
  nextConnection: number;
  readonly effects: PeerEffect[] = [];
  readonly config: PeerConfig;
  readonly moment: Moment;

  constructor(config: PeerConfig, state: PeerState, moment: Moment) {
    this.config = config;
    this.main = state.main;
    this.second = state.second;
    this.nextConnection = state.nextConnection;
    this.moment = moment;
  }

  result(): readonly [PeerState, readonly PeerEffect[]] {
    const { main, second, nextConnection } = this;
    return [{ main, nextConnection, ...(second === undefined ? {} : { second }) }, this.effects];
  }

  placeOf(connection: number): Place | undefined {
    if (this.main.connection === connection) return "main";
    return this.second?.connection === connection ? "second" : undefined;
  }

  /** run gives one machine an event, and says what it asks for with the number of its connection. */
  run(place: Place, cause: FsmCause): void {
    const before = place === "main" ? this.main : this.second;
    if (before === undefined) return;
    const { nowMs, chance } = this.moment;
    const event: FsmEvent = { ...cause, nowMs, chance };
    // It is gone: nothing has to be ended.
    let slot: Slot = cause.kind === "tcp-failed" ? { fsm: before.fsm } : before;
    const [fsm, effects] = step(before.fsm, event, this.config.fsm);
    for (const effect of effects) slot = this.#effect(slot, effect);
    slot = { ...slot, fsm };
    if (place === "main") this.main = slot;
    else this.second = slot;
    this.#settle();
  }

  #effect(slot: Slot, effect: FsmEffect): Slot {
    const { connection } = slot;
    switch (effect.kind) {
      case "connect": {
        const number = this.nextConnection++;
        this.effects.push({ kind: "connect", connection: number });
        return { fsm: slot.fsm, connection: number, by: "us" };
      }
      case "send":
        if (connection !== undefined) this.effects.push({ kind: "send", connection, bytes: effect.bytes });
        return slot;
      case "disconnect":
        if (connection !== undefined) this.effects.push({ kind: "close", connection });
        return { fsm: slot.fsm };
      case "established":
        if (connection !== undefined)
          this.effects.push({ kind: "established", connection, negotiated: effect.negotiated });
        return slot;
      case "ended": {
        const { ended } = effect;
        if (slot.fsm.kind !== "established") this.effects.push({ kind: "ended", ended });
        else {
          const { negotiated } = slot.fsm;
          const graceful = keepsRoutes(negotiated, ended);
          this.effects.push({ kind: "down", ended, negotiated, graceful });
        }
        return slot;
      }
    }
  }

  /** Brings the two places in order after a machine has moved. */
  #settle(): void {
    const { second } = this;
    if (second === undefined) return;
    if (second.connection === undefined) {
      this.second = undefined;
      return;
    }
    if (second.fsm.kind === "established") {
      this.#drop(this.main);
      this.#promote();
    } else if (this.main.fsm.kind === "idle") this.#promote();
  }

  #promote(): void {
    if (this.second === undefined) return;
    const { late: _, ...slot } = this.second;
    this.main = slot;
    this.second = undefined;
  }

  /** drop ends a connection that has lost against one that is established. */
  #drop(slot: Slot): void {
    if (slot.connection === undefined) return;
    const { nowMs, chance } = this.moment;
    if (slot.fsm.kind === "open-sent" || slot.fsm.kind === "open-confirm") {
      const [, effects] = step(slot.fsm, { kind: "collision", nowMs, chance }, this.config.fsm);
      let left = slot;
      for (const effect of effects) left = this.#effect(left, effect);
    } else this.effects.push({ kind: "close", connection: slot.connection });
  }

  /** accept decides where a connection that the peer made goes. */
  accept(): void {
    const { main, second } = this;
    // "In this state, BGP FSM refuses all incoming BGP connections for this peer."
    if (main.fsm.kind === "idle" || second?.fsm.kind === "open-confirm" || this.#isCrossed()) {
      this.effects.push({ kind: "refuse" });
      return;
    }
    const connection = this.nextConnection++;
    this.effects.push({ kind: "adopt", connection });
    if (main.fsm.kind === "active" && main.connection === undefined) {
      this.main = { fsm: main.fsm, connection, by: "peer" };
      return this.run("main", { kind: "tcp-accepted" });
    }
    // A peer that makes one more has given up the one before it.
    if (second?.connection !== undefined) this.effects.push({ kind: "close", connection: second.connection });
    const { retries, flaps } = main.fsm;
    const late = main.fsm.kind === "established" || main.fsm.kind === "open-confirm";
    this.second = { fsm: { kind: "active", retries, flaps }, connection, by: "peer", late };
    this.run("second", { kind: "tcp-accepted" });
  }

  /**
   * Whether the peer may have called before it knew of the session, which we made: then it is no restart that we hear of late. The peer closes that
   * connection, whoever has the higher identifier: before any OPEN of ours there it got what established the session.
   */
  #isCrossed(): boolean {
    const { by, fsm } = this.main;
    return by === "us" && fsm.kind === "established" && this.moment.nowMs - fsm.sinceMs < CROSSING_MS;
  }

  /** open is the peer's OPEN on one connection: whether it collides with the other (RFC 4271 section 6.8). */
  open(connection: number, negotiated: Negotiated): void {
    const place = this.placeOf(connection);
    if (place === undefined) return;
    const own = (place === "main" ? this.main : this.second) as Slot;
    const other = place === "main" ? this.second : this.main;
    const waits = own.fsm.kind === "open-sent" || own.fsm.kind === "connect" || own.fsm.kind === "active";
    const byIdentifier = (own.by === "us") === ourStays(negotiated);
    if (waits && other?.fsm.kind === "established") {
      // RFC 4724 section 5: a peer that can restart gracefully and comes anew has restarted; its old session is dropped without a NOTIFICATION.
      if (own.late === true && !this.#isCrossed() && other.fsm.negotiated.restart !== undefined)
        this.#replace(other);
      // "Unless allowed via configuration, a connection collision with an existing BGP connection that is in the Established state causes closing of
      // the newly created connection." It is allowed where both were made at once, and the other side may have decided before it knew. Where the peer's
      // stays by identifier, it may have been established first at the peer, who has then dropped its own call: its KEEPALIVE there will tell.
      else if (own.late === true || own.by === other.by || !byIdentifier)
        return this.run(place, { kind: "collision" });
      else if (own.by === "us") this.#dumpOther(place);
    } else if (waits && other?.fsm.kind === "open-confirm") {
      const ownStays = own.by === other.by ? own.by === "peer" : byIdentifier;
      if (!ownStays) return this.run(place, { kind: "collision" });
      this.#dumpOther(place);
    }
    this.run(this.placeOf(connection) ?? place, { kind: "open", negotiated });
  }

  /** keepalive is the peer's: it has decided for this connection. */
  keepalive(connection: number): void {
    const { main, second } = this;
    const isDecided = second?.connection === connection && second.fsm.kind === "open-confirm";
    if (isDecided && main.fsm.kind === "established") this.#dumpOther("second");
    this.run(this.placeOf(connection) ?? "main", { kind: "keepalive" });
  }

  #dumpOther(place: Place): void {
    this.run(place === "main" ? "second" : "main", { kind: "collision" });
  }

  #replace(old: Slot): void {
    if (old.fsm.kind !== "established") return;
    if (old.connection !== undefined) this.effects.push({ kind: "close", connection: old.connection });
    const ended = { state: old.fsm.kind, by: "replaced", text: "the peer has restarted" } as const;
    const { negotiated } = old.fsm;
    const graceful = keepsRoutes(negotiated, ended);
    this.effects.push({ kind: "down", ended, negotiated, graceful });
    this.#promote();
  }
}

/** The connection of the side with the higher identifier stays; of equal ones that with the larger AS (RFC 6286 section 2.3). */
function ourStays({ localId, remoteId, localAs, remoteAs }: Negotiated): boolean {
  const order = ipCompare(localId, remoteId);
  return order === 0 ? localAs > remoteAs : order > 0;
}

/** stepPeer takes one event. Nothing is changed: the state is a value. */
export function stepPeer(
  state: PeerState,
  event: PeerEvent,
  config: PeerConfig,
): readonly [PeerState, readonly PeerEffect[]] {
  const work = new Work(config, state, { nowMs: event.nowMs, chance: event.chance });
  switch (event.kind) {
    case "start":
      work.run("main", { kind: "start" });
      break;
    case "stop":
      stop(work, event);
      break;
    case "time":
      time(work, { ...event, sendHoldMs: config.sendHoldMs });
      break;
    case "accepted":
      work.accept();
      break;
    default: {
      const place = work.placeOf(event.connection);
      // Of a connection that was given up meanwhile.
      if (place !== undefined) onConnection(work, place, event);
    }
  }
  return work.result();
}

type StopEvent = Extract<PeerEvent, { kind: "stop" }>;
type ConnectionEvent = Extract<PeerEvent, { connection: number }>;

function stop(work: Work, { error, automatic, restartAfterMs, hard }: StopEvent): void {
  const rest = {
    ...(automatic === undefined ? {} : { automatic }),
    ...(restartAfterMs === undefined ? {} : { restartAfterMs }),
  };
  // The second first: else it would take main's place.
  work.run("second", { kind: "stop", error, ...rest });
  const { fsm } = work.main;
  const negotiated = fsm.kind === "established" ? fsm.negotiated : undefined;
  work.run("main", { kind: "stop", error: ceaseFor(error, { negotiated, hard }), ...rest });
}

/** How often one machine may move in one moment: Idle, Connect, and no further. */
const MOST_AT_ONCE = 3;

function time(work: Work, view: TimerView): void {
  for (const place of ["second", "main"] as const)
    for (let times = 0; times < MOST_AT_ONCE; times++) {
      const slot = place === "main" ? work.main : work.second;
      const next = slot === undefined ? undefined : nextDeadline(slot.fsm, view);
      if (next === undefined || next.atMs > work.moment.nowMs) break;
      work.run(place, { kind: "timer", timer: next.timer });
    }
}

function onConnection(work: Work, place: Place, event: ConnectionEvent): void {
  switch (event.kind) {
    case "connected":
      return work.run(place, { kind: "tcp-connected" });
    case "failed":
      return work.run(place, { kind: "tcp-failed", reason: event.reason });
    case "header-error":
      return work.run(place, { kind: "header-error", error: event.error });
    case "update-error":
      return work.run(place, { kind: "update-error", error: event.error });
    case "message":
      return message(work, place, event);
  }
}

function message(work: Work, place: Place, event: Extract<PeerEvent, { kind: "message" }>): void {
  const { type, body, connection } = event;
  switch (type) {
    case MESSAGE.open: {
      const result = decodeOpen(body, 0, body.length);
      const outcome = "error" in result ? result.error : negotiate(result.open, work.config.session);
      if (isError(outcome)) return work.run(place, { kind: "open-error", error: outcome });
      return work.open(connection, outcome);
    }
    case MESSAGE.notification:
      return work.run(place, {
        kind: "notification",
        error: decodeNotification(body, 0, body.length),
      });
    case MESSAGE.keepalive:
      return work.keepalive(connection);
    default:
      return work.run(place, { kind: "update" });
  }
}

function isError(value: Negotiated | BgpError): value is BgpError {
  return "subcode" in value;
}

/** peerDeadline returns when the session has to be told the time; undefined when no timer runs. */
export function peerDeadline(state: PeerState, view: TimerView): Deadline | undefined {
  const main = nextDeadline(state.main.fsm, view);
  const second = state.second === undefined ? undefined : nextDeadline(state.second.fsm, view);
  if (main === undefined || second === undefined) return main ?? second;
  return second.atMs < main.atMs ? second : main;
}
