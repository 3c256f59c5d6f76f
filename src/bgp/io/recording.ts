/**
 * A session's events as JSON, one a line, and back. The first line is the session's configuration; no key is in it, because keys are not the machine's.
 *
 * ```
 *  {"config":{"localAs":65001,"routerId":"10.0.0.1",…},"options":{…}}
 *  {"at":0,"chance":0.25,"event":"start"}
 *  {"at":3.1,"chance":0.7,"event":"message","connection":1,"type":1,"hex":"04fdea…"}
 *  {"at":9.8,"event":"update","connection":1,"hex":"ffff…"}
 * ```
 */
import { formatIp, parseIp } from "../../net/mod.ts";
import {
  type FamilyConfig,
  type PeerCause,
  type PeerConfig,
  peerConfig,
  type PeerEvent,
  type PeerOptions,
  type SessionConfig,
} from "../session/mod.ts";
import { type BgpError, bgpError, familyFromName, familyName } from "../wire/mod.ts";

/** RecordedUpdate is a message of an established session that the machine did not see; whole, with its header. */
export interface RecordedUpdate {
  readonly kind: "recorded-update";
  readonly nowMs: number;
  readonly connection: number;
  readonly message: Uint8Array;
}

/** Recorded is one line behind the first. */
export type Recorded = PeerEvent | RecordedUpdate;

/** RecordingError says which line of a recording cannot be read. */
export class RecordingError extends Error {
  override readonly name = "RecordingError";
}

type Json = Record<string, unknown>;

const toHex = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
const fromHex = (hex: unknown) => new Uint8Array(Buffer.from(String(hex), "hex"));

/** configLine returns the first line. */
export function configLine({ session, fsm, sendHoldMs }: PeerConfig): string {
  const { open: _, ...options } = fsm;
  const config = {
    ...session,
    routerId: formatIp(session.routerId),
    families: session.families.map((one) => ({ ...one, family: familyName(one.family) })),
  };
  return JSON.stringify({ config, options: { ...options, sendHoldMs } });
}

/** eventLine returns the line of one event. */
export function eventLine(event: Recorded): string {
  if (event.kind === "recorded-update")
    return JSON.stringify({
      at: event.nowMs,
      event: "update",
      connection: event.connection,
      hex: toHex(event.message),
    });
  const { kind, nowMs, chance, ...rest } = event;
  const fields: Json = { at: nowMs, chance, event: kind };
  for (const [name, value] of Object.entries(rest))
    if (value instanceof Uint8Array) fields["hex"] = toHex(value);
    else if (name === "error") {
      const { code, subcode, data, text } = value as BgpError;
      fields["error"] = { code, subcode, text, hex: toHex(data) };
    } else fields[name] = value;
  return JSON.stringify(fields);
}

/** parseRecording reads all lines of a recording. */
export function parseRecording(text: string): {
  readonly config: PeerConfig;
  readonly events: readonly Recorded[];
} {
  const lines = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  const [first, ...rest] = lines.map((line, i) => {
    try {
      return JSON.parse(line) as Json;
    } catch (error) {
      throw new RecordingError(`Cannot read line ${i + 1} of the recording: ${(error as Error).message}`);
    }
  });
  if (first?.["config"] === undefined)
    throw new RecordingError("Cannot read the recording: its first line is not a configuration");
  return { config: configOf(first), events: rest.map((fields, i) => eventOf(fields, i + 2)) };
}

function configOf(first: Json): PeerConfig {
  const raw = first["config"] as Json & { families: (Json & { family: string })[]; routerId: string };
  const families = raw.families.map(({ family, ...rest }): FamilyConfig => {
    const known = familyFromName(family);
    if (known === undefined) throw new RecordingError(`Cannot read the recording: "${family}" is no family`);
    return { ...rest, family: known };
  });
  const session = { ...raw, families, routerId: parseIp(raw.routerId) } as unknown as SessionConfig;
  return peerConfig(session, (first["options"] ?? {}) as PeerOptions);
}

/** Which fields an event has beside its moment. */
const shapes: Readonly<Record<PeerCause["kind"], (fields: Json) => PeerCause>> = {
  start: () => ({ kind: "start" }),
  stop: (fields) => ({
    kind: "stop",
    error: errorOf(fields),
    ...optional(fields, ["automatic", "restartAfterMs", "hard"]),
  }),
  time: (fields) => ({ kind: "time", ...optional(fields, ["heardMs", "stuckMs"]) }),
  connected: (fields) => ({ kind: "connected", connection: Number(fields["connection"]) }),
  accepted: () => ({ kind: "accepted" }),
  failed: (fields) => ({
    kind: "failed",
    connection: Number(fields["connection"]),
    reason: String(fields["reason"]),
  }),
  message: (fields) => ({
    kind: "message",
    connection: Number(fields["connection"]),
    type: Number(fields["type"]),
    body: fromHex(fields["hex"] ?? ""),
  }),
  "header-error": (fields) => ({
    kind: "header-error",
    connection: Number(fields["connection"]),
    error: errorOf(fields),
  }),
  "update-error": (fields) => ({
    kind: "update-error",
    connection: Number(fields["connection"]),
    error: errorOf(fields),
  }),
};

function eventOf(fields: Json, line: number): Recorded {
  const kind = String(fields["event"]);
  const nowMs = Number(fields["at"]);
  const connection = Number(fields["connection"]);
  if (kind === "update")
    return { kind: "recorded-update", nowMs, connection, message: fromHex(fields["hex"]) };
  if (!Object.hasOwn(shapes, kind))
    throw new RecordingError(`Cannot read line ${line} of the recording: "${kind}" is no event`);
  const cause = shapes[kind as PeerCause["kind"]](fields);
  return { ...cause, nowMs, chance: Number(fields["chance"] ?? 0) };
}

function optional(fields: Json, names: readonly string[]): Json {
  return Object.fromEntries(
    names.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])),
  );
}

function errorOf(fields: Json): BgpError {
  const { code, subcode, text, hex } = fields["error"] as Json;
  return bgpError(Number(code), Number(subcode), { text: String(text ?? ""), data: fromHex(hex ?? "") });
}
