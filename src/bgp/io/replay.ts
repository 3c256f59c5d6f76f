/** A recording run again through the machine that made it: what it did at each event, and where it was then, as text. */
import { formatIp } from "../../net/mod.ts";
import {
  type Ended,
  FSM_NAMES,
  NEW_PEER,
  type Negotiated,
  peerDeadline,
  type PeerEffect,
  type PeerState,
  type Slot,
  stepPeer,
} from "../session/mod.ts";
import {
  decodeNotification,
  decodeOpen,
  errorName,
  familyName,
  HEADER_BYTES,
  MESSAGE,
  printCapability,
} from "../wire/mod.ts";
import { parseRecording, type Recorded } from "./recording.ts";

/** ReplayOptions say what to do with what the machine does not see. */
export interface ReplayOptions {
  /** Prints an UPDATE or ROUTE-REFRESH of an established session; default its length. */
  readonly printUpdate?: (message: Uint8Array, negotiated: Negotiated | undefined) => readonly string[];
}

/** replay returns lines: one for each event with its time in seconds, and below it, indented, what was done and the state if it changed. */
export function replay(recording: string, options: ReplayOptions = {}): string[] {
  const { config, events } = parseRecording(recording);
  const lines: string[] = [];
  let state: PeerState = NEW_PEER;
  for (const event of events) {
    lines.push(`${(event.nowMs / 1000).toFixed(3)} ${eventText(event)}`);
    if (event.kind === "recorded-update") {
      const { fsm } = state.main;
      const negotiated = fsm.kind === "established" ? fsm.negotiated : undefined;
      const { message } = event;
      const print = options.printUpdate ?? (() => [`${message.length} bytes`]);
      lines.push(...print(message, negotiated).map((line) => `  ${line}`));
      continue;
    }
    const before = stateText(state);
    const [next, effects] = stepPeer(state, event, config);
    state = next;
    for (const effect of effects) lines.push(...effectText(effect).map((line) => `  ${line}`));
    if (stateText(state) !== before) lines.push(`  = ${stateText(state)}`);
    const due = peerDeadline(state, { sendHoldMs: 0 });
    if (stateText(state) !== before && due !== undefined)
      lines.push(`  ${due.timer} at ${(due.atMs / 1000).toFixed(3)}`);
  }
  return lines;
}

function eventText(event: Recorded): string {
  switch (event.kind) {
    case "recorded-update":
      return `${messageName(event.message[18] ?? 0)} on ${event.connection}`;
    case "message":
      return `${messageName(event.type)} on ${event.connection}${messageText(event.type, event.body)}`;
    case "stop":
      return `stop: ${event.error.text}`;
    case "failed":
      return `failed ${event.connection}: ${event.reason}`;
    case "header-error":
    case "update-error":
      return `${event.kind} on ${event.connection}: ${event.error.text}`;
    case "connected":
      return `connected ${event.connection}`;
    case "start":
    case "accepted":
    case "time":
      return event.kind;
  }
}

const messageName = (type: number) =>
  Object.entries(MESSAGE)
    .find(([, code]) => code === type)?.[0]
    .toUpperCase() ?? `message ${type}`;

function messageText(type: number, body: Uint8Array): string {
  if (type === MESSAGE.notification) return `: ${decodeNotification(body, 0, body.length).text}`;
  if (type !== MESSAGE.open) return "";
  const result = decodeOpen(body, 0, body.length);
  if ("error" in result)
    return `: ${errorName(result.error.code, result.error.subcode)}: ${result.error.text}`;
  const { as, holdSeconds, routerId, capabilities } = result.open;
  return `: AS ${as}, ${formatIp(routerId)}, hold ${holdSeconds} s; ${capabilities.map((one) => printCapability(one).trim()).join("; ")}`;
}

function effectText(effect: PeerEffect): string[] {
  switch (effect.kind) {
    case "connect":
    case "adopt":
    case "close":
      return [`${effect.kind} ${effect.connection}`];
    case "refuse":
      return ["refuse"];
    case "send": {
      const type = effect.bytes[HEADER_BYTES - 1] ?? 0;
      return [
        `send ${messageName(type)} on ${effect.connection}${messageText(type, effect.bytes.slice(HEADER_BYTES))}`,
      ];
    }
    case "established": {
      const { remoteAs, remoteId, holdMs, families } = effect.negotiated;
      const list = [...families].map(familyName).join(", ");
      return [
        `established on ${effect.connection}: AS ${remoteAs}, ${formatIp(remoteId)}, hold ${holdMs / 1000} s; ${list}`,
      ];
    }
    case "down":
      return [`down${effect.graceful ? ", routes stay" : ""}: ${endedText(effect.ended)}`];
    case "ended":
      return [`ended: ${endedText(effect.ended)}`];
  }
}

const endedText = ({ state, by, text }: Ended) => `in ${FSM_NAMES[state]}, ${by}: ${text}`;

function stateText({ main, second }: PeerState): string {
  const slot = ({ fsm, connection, by }: Slot) =>
    `${FSM_NAMES[fsm.kind]}${connection === undefined ? "" : ` (${connection}, by ${by})`}`;
  return second === undefined ? slot(main) : `${slot(main)} | ${slot(second)}`;
}
