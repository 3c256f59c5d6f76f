/**
 * One BFD session in asynchronous mode (RFC 5880), as a pure machine: packets, time and wishes in, packets and changes of state out.
 *
 * Not done: demand mode of ours, echo, authentication. A neighbor in demand mode is obeyed: it is sent nothing periodic while both are up.
 */
import { type BfdDiagnostic, bfdDiagnostics, type BfdPacket, type BfdState } from "./packet.ts";

/** BfdParameters are what a session is configured with; milliseconds. */
export interface BfdParameters {
  readonly transmitMs: number;
  readonly receiveMs: number;
  readonly multiplier: number;
  /** Says nothing before the other side has spoken (RFC 5880 section 6.1). */
  readonly passive?: boolean | undefined;
}

/** BfdSession is the state of one session; names are those of RFC 5880 section 6.8.1. */
export interface BfdSession {
  readonly parameters: BfdParameters;
  readonly state: BfdState;
  readonly diagnostic: BfdDiagnostic;
  readonly remoteState: BfdState;
  readonly localDiscriminator: number;
  readonly remoteDiscriminator: number;
  /** What we say of ourselves now; an interval that grows while up is used only after the poll (section 6.8.3). */
  readonly desiredTransmitMs: number;
  readonly requiredReceiveMs: number;
  readonly remoteReceiveMs: number;
  readonly remoteTransmitMs: number;
  readonly remoteMultiplier: number;
  readonly remoteDemand: boolean;
  readonly remoteIndependent: boolean;
  readonly polling: boolean;
  /** In force until a poll is answered. */
  readonly oldTransmitMs: number;
  readonly oldReceiveMs: number;
  /** Nothing was heard before `heardMs` is set. */
  readonly heardMs: number | undefined;
  readonly sendAtMs: number;
  readonly sinceMs: number;
}

/** BfdEvent is what happens to a session; `nowMs` is of one monotonic clock, `random` from 0 to below 1. */
export type BfdEvent =
  | { readonly kind: "packet"; readonly packet: BfdPacket; readonly nowMs: number; readonly random: number }
  | { readonly kind: "time"; readonly nowMs: number; readonly random: number }
  | { readonly kind: "configure"; readonly parameters: BfdParameters; readonly nowMs: number }
  | { readonly kind: "disable"; readonly nowMs: number }
  | { readonly kind: "enable"; readonly nowMs: number };

/** BfdEffect is what a step asks for. */
export type BfdEffect =
  | { readonly kind: "send"; readonly packet: BfdPacket }
  | {
      readonly kind: "changed";
      readonly from: BfdState;
      readonly to: BfdState;
      readonly diagnostic: BfdDiagnostic;
    };

/** Section 6.8.3: not above one packet a second while the session is not up. */
const SLOW_MS = 1000;

/** newBfdSession returns a session that is down and has said nothing yet. `discriminator` is unique on this system and not 0. */
export function newBfdSession(
  parameters: BfdParameters,
  { discriminator, nowMs }: { readonly discriminator: number; readonly nowMs: number },
): BfdSession {
  const slowMs = Math.max(SLOW_MS, parameters.transmitMs);
  return {
    parameters,
    state: "down",
    diagnostic: "none",
    remoteState: "down",
    localDiscriminator: discriminator,
    remoteDiscriminator: 0,
    desiredTransmitMs: slowMs,
    requiredReceiveMs: parameters.receiveMs,
    // Section 6.8.1: bfd.RemoteMinRxInterval MUST be initialized to 1 (microsecond).
    remoteReceiveMs: 0.001,
    remoteTransmitMs: 0,
    remoteMultiplier: 0,
    remoteDemand: false,
    remoteIndependent: false,
    polling: false,
    oldTransmitMs: slowMs,
    oldReceiveMs: parameters.receiveMs,
    heardMs: undefined,
    sendAtMs: nowMs,
    sinceMs: nowMs,
  };
}

/** transmitIntervalMs is how often packets go out at most, without jitter (section 6.8.7). */
export function transmitIntervalMs(session: BfdSession): number {
  // Section 6.8.3: a raised interval is not used before the poll is answered.
  const ownMs = session.polling
    ? Math.min(session.desiredTransmitMs, session.oldTransmitMs)
    : session.desiredTransmitMs;
  return Math.max(ownMs, session.remoteReceiveMs);
}

/** detectionMs is after how much silence the session goes down (section 6.8.4). */
export function detectionMs(session: BfdSession): number {
  const ownMs = session.polling
    ? Math.max(session.requiredReceiveMs, session.oldReceiveMs)
    : session.requiredReceiveMs;
  return session.remoteMultiplier * Math.max(ownMs, session.remoteTransmitMs);
}

function detectAtMs(session: BfdSession): number | undefined {
  const listens = session.state === "init" || session.state === "up" || session.remoteDiscriminator !== 0;
  return session.heardMs === undefined || !listens ? undefined : session.heardMs + detectionMs(session);
}

function sends(session: BfdSession): boolean {
  // Section 6.8.7: not when the other side wants none; not periodically when it is in demand mode and both are up.
  if (session.remoteReceiveMs === 0) return false;
  // And not "if bfd.RemoteDiscr is zero and the system is taking the Passive role".
  if (session.parameters.passive === true && session.remoteDiscriminator === 0) return false;
  const quiet = session.remoteDemand && session.state === "up" && session.remoteState === "up";
  return !quiet || session.polling;
}

/** dueMs is when the session wants a `time` event next. */
export function dueMs(session: BfdSession): number {
  const detectMs = detectAtMs(session) ?? Number.POSITIVE_INFINITY;
  return sends(session) ? Math.min(session.sendAtMs, detectMs) : detectMs;
}

/** jitteredMs: 75 to 100 % of the interval, with multiplier 1 to 90 % (section 6.8.7). */
function jitteredMs(session: BfdSession, random: number): number {
  const widest = session.parameters.multiplier === 1 ? 0.15 : 0.25;
  return transmitIntervalMs(session) * (0.75 + random * widest);
}

function packetOf(session: BfdSession, answer: { readonly final: boolean }): BfdPacket {
  return {
    state: session.state,
    diagnostic: bfdDiagnostics.indexOf(session.diagnostic),
    // Section 6.5: poll and final are never both set.
    poll: session.polling && !answer.final,
    final: answer.final,
    controlPlaneIndependent: true,
    demand: false,
    multiplier: session.parameters.multiplier,
    myDiscriminator: session.localDiscriminator,
    yourDiscriminator: session.remoteDiscriminator,
    desiredTransmitUs: Math.round(session.desiredTransmitMs * 1000),
    requiredReceiveUs: Math.round(session.requiredReceiveMs * 1000),
    requiredEchoUs: 0,
  };
}

interface Change {
  readonly state: BfdState;
  readonly diagnostic: BfdDiagnostic;
  readonly nowMs: number;
}

/** Takes a new state, and the intervals that go with it. */
function moved(session: BfdSession, { state, diagnostic, nowMs }: Change, effects: BfdEffect[]): BfdSession {
  if (state === session.state) return { ...session, diagnostic };
  effects.push({ kind: "changed", from: session.state, to: state, diagnostic });
  return withIntervals({ ...session, state, diagnostic, sinceMs: nowMs, sendAtMs: nowMs });
}

/** Section 6.8.3: the desired interval follows the state; what changes while up begins a poll sequence. */
function withIntervals(session: BfdSession): BfdSession {
  const { transmitMs, receiveMs } = session.parameters;
  const desiredMs = session.state === "up" ? transmitMs : Math.max(SLOW_MS, transmitMs);
  if (desiredMs === session.desiredTransmitMs && receiveMs === session.requiredReceiveMs) return session;
  return {
    ...session,
    desiredTransmitMs: desiredMs,
    requiredReceiveMs: receiveMs,
    oldTransmitMs: session.desiredTransmitMs,
    oldReceiveMs: session.requiredReceiveMs,
    polling: session.state === "up",
  };
}

/** Section 6.2: the state machine, driven by the state that the packet says. */
function next(local: BfdState, remote: BfdState): BfdState {
  if (remote === "admin-down") return "down";
  switch (local) {
    case "down":
      return remote === "down" ? "init" : remote === "init" ? "up" : "down";
    case "init":
      return remote === "init" || remote === "up" ? "up" : "init";
    default:
      return remote === "down" ? "down" : "up";
  }
}

function heard(session: BfdSession, packet: BfdPacket, nowMs: number, effects: BfdEffect[]): BfdSession {
  let now: BfdSession = {
    ...session,
    remoteDiscriminator: packet.myDiscriminator,
    remoteState: packet.state,
    remoteDemand: packet.demand,
    remoteIndependent: packet.controlPlaneIndependent,
    remoteReceiveMs: packet.requiredReceiveUs / 1000,
    remoteTransmitMs: packet.desiredTransmitUs / 1000,
    remoteMultiplier: packet.multiplier,
    heardMs: nowMs,
    polling: session.polling && !packet.final,
  };
  if (now.state === "admin-down") return now;
  const state = next(now.state, packet.state);
  if (state !== now.state)
    now = moved(
      now,
      { state, diagnostic: state === "down" ? "neighbor signaled session down" : "none", nowMs },
      effects,
    );
  // A shorter interval that the other side allows now is used at once (section 6.8.7).
  const latestMs = nowMs + transmitIntervalMs(now);
  return now.sendAtMs > latestMs ? { ...now, sendAtMs: latestMs } : now;
}

/** stepBfd takes one event. */
export function stepBfd(session: BfdSession, event: BfdEvent): readonly [BfdSession, readonly BfdEffect[]] {
  const effects: BfdEffect[] = [];
  const { nowMs } = event;
  let now = session;
  switch (event.kind) {
    case "packet":
      now = heard(now, event.packet, nowMs, effects);
      if (event.packet.poll) effects.push({ kind: "send", packet: packetOf(now, { final: true }) });
      break;
    case "configure":
      now = withIntervals({ ...now, parameters: event.parameters });
      break;
    case "disable":
      now = moved(now, { state: "admin-down", diagnostic: "administratively down", nowMs }, effects);
      break;
    case "enable":
      if (now.state === "admin-down") now = moved(now, { state: "down", diagnostic: "none", nowMs }, effects);
      break;
    case "time": {
      const detectMs = detectAtMs(now);
      if (detectMs !== undefined && nowMs >= detectMs) {
        // Section 6.8.4; section 6.8.1: the discriminator is forgotten after a detection time of silence.
        if (now.state === "init" || now.state === "up")
          now = moved(now, { state: "down", diagnostic: "control detection time expired", nowMs }, effects);
        now = {
          ...now,
          remoteDiscriminator: 0,
          remoteState: "down",
          remoteReceiveMs: 0.001,
          heardMs: undefined,
        };
      }
      if (sends(now) && nowMs >= now.sendAtMs) {
        effects.push({ kind: "send", packet: packetOf(now, { final: false }) });
        now = { ...now, sendAtMs: nowMs + jitteredMs(now, event.random) };
      }
    }
  }
  return [now, effects];
}
