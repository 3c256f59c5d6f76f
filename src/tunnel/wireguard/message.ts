/**
 * The four messages of WireGuard (whitepaper, section 5.4). Numbers are little-endian; every message begins with its type and
 * three zero bytes, and three of the four have one length only.
 *
 * ```
 *  1 initiation   sender 4 | ephemeral 32 | static 32+16 | timestamp 12+16 | mac1 16 | mac2 16     148 bytes
 *  2 response     sender 4 | receiver 4 | ephemeral 32 | nothing 0+16 | mac1 16 | mac2 16           92 bytes
 *  3 cookie reply receiver 4 | nonce 24 | cookie 16+16                                              64 bytes
 *  4 data         receiver 4 | counter 8 | packet n+16                                          32 bytes or more
 * ```
 *
 * Data messages never become objects: transport.ts works on them in place.
 */
import type { Bytes } from "../../noise/mod.ts";

/** MESSAGE is the first byte of each message. */
export const MESSAGE = { initiation: 1, response: 2, cookie: 3, data: 4 } as const;

/** A field that is a number, or so many bytes. */
type Field = "u32" | number;
type Layout = Readonly<Record<string, Field>>;
type Message<L extends Layout> = { readonly [K in keyof L]: L[K] extends "u32" ? number : Bytes };

const layouts = {
  initiation: { sender: "u32", ephemeral: 32, static: 48, timestamp: 28, mac1: 16, mac2: 16 },
  response: { sender: "u32", receiver: "u32", ephemeral: 32, nothing: 16, mac1: 16, mac2: 16 },
  cookie: { receiver: "u32", nonce: 24, cookie: 32 },
} as const satisfies Readonly<Record<string, Layout>>;

type Layouts = typeof layouts;

export type Initiation = Message<Layouts["initiation"]>;
export type Response = Message<Layouts["response"]>;
export type CookieReply = Message<Layouts["cookie"]>;

/** HandshakeMessage is any of the three messages that are not data. */
export type HandshakeMessage =
  | ({ readonly kind: "initiation" } & Initiation)
  | ({ readonly kind: "response" } & Response)
  | ({ readonly kind: "cookie" } & CookieReply);

type Kind = keyof Layouts;

const HEADER = 4;
const sizeOf = (field: Field) => (field === "u32" ? 4 : field);
const lengthOf = (layout: Layout) =>
  Object.values(layout).reduce<number>((sum, f) => sum + sizeOf(f), HEADER);

/** MESSAGE_BYTES is the length of each message that has only one. */
export const MESSAGE_BYTES: Readonly<Record<Kind, number>> = {
  initiation: lengthOf(layouts.initiation),
  response: lengthOf(layouts.response),
  cookie: lengthOf(layouts.cookie),
};

/** messageType returns the first byte of a datagram that may be a message: reserved bytes are zero, nothing more is checked. */
export function messageType(bytes: Uint8Array, at = 0): number | undefined {
  if (bytes.length < at + HEADER) return undefined;
  return bytes[at + 1] === 0 && bytes[at + 2] === 0 && bytes[at + 3] === 0 ? bytes[at] : undefined;
}

/** decodeMessage reads a handshake message; undefined for anything else, of which most datagrams may be in an attack: it does not throw. */
export function decodeMessage(bytes: Uint8Array): HandshakeMessage | undefined {
  const type = messageType(bytes);
  const kind = (Object.keys(layouts) as Kind[]).find((name) => MESSAGE[name] === type);
  if (kind === undefined || bytes.length !== MESSAGE_BYTES[kind]) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const message: Record<string, unknown> = { kind };
  let at = HEADER;
  for (const [name, field] of Object.entries<Field>(layouts[kind])) {
    message[name] = field === "u32" ? view.getUint32(at, true) : new Uint8Array(bytes.slice(at, at + field));
    at += sizeOf(field);
  }
  return message as unknown as HandshakeMessage;
}

/** encodeMessage returns a handshake message's bytes. */
export function encodeMessage(message: HandshakeMessage): Bytes {
  const { kind } = message;
  const bytes = new Uint8Array(new ArrayBuffer(MESSAGE_BYTES[kind]));
  const view = new DataView(bytes.buffer);
  bytes[0] = MESSAGE[kind];
  let at = HEADER;
  for (const [name, field] of Object.entries<Field>(layouts[kind])) {
    const value = (message as unknown as Record<string, number | Uint8Array>)[name] as number | Uint8Array;
    if (typeof value === "number") view.setUint32(at, value, true);
    else if (value.length === field) bytes.set(value, at);
    else throw new RangeError(`${kind}: ${name} has ${field} bytes, not ${value.length}`);
    at += sizeOf(field);
  }
  return bytes;
}
