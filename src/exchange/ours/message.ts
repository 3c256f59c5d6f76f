/**
 * The messages of our own exchange. Numbers are big-endian; a datagram has exactly its size. Types are others than vita-ske's, so that one
 * port can serve both.
 *
 * ```
 *  all            route 4 | type 1 | version 1 | reserved 2, sent 0 and ignored
 *  21 initiation  sender 4 | ephemeral 32 | static 32+16 | offer 14+16 | cookie 16 | code 16          154 bytes
 *  22 cookie      receiver 4 | nonce 24 | cookie 16+16                                                 68 bytes
 *  23 response    sender 4 | receiver 4 | ephemeral 32 | offer 14+16 | code 16                         94 bytes
 *  24 control     receiver 4 | counter 8 | sealed 9+16                                                 45 bytes
 *
 *  offer          boot 8 | first SPI 4 | queues 1 | algorithms 1
 *  control        kind 1 | stamp 8
 * ```
 */
import type { Bytes } from "../../noise/mod.ts";
import { type Fields, type Layout, layoutBytes, readFields, writeFields } from "../layout.ts";

/** OURS_VERSION is the version of the protocol. */
export const OURS_VERSION = 1;
/** CODE_BYTES is the length of the code at the end of a handshake message. */
export const CODE_BYTES = 16;

const HEADER = 8;
const TYPE_AT = 4;
const VERSION_AT = 5;

const layouts = {
  initiation: { sender: "u32", ephemeral: 32, static: 48, offer: 30, cookie: 16, code: CODE_BYTES },
  cookie: { receiver: "u32", nonce: 24, cookie: 32 },
  response: { sender: "u32", receiver: "u32", ephemeral: 32, offer: 30, code: CODE_BYTES },
  control: { receiver: "u32", counter: "u64", sealed: 25 },
} as const satisfies Readonly<Record<string, Layout>>;

type Layouts = typeof layouts;
type Kind = keyof Layouts;

/** OursMessage is any of the four. */
export type OursMessage = { readonly [K in Kind]: { readonly kind: K } & Fields<Layouts[K]> }[Kind];
/** OursMessageOf is one of them. */
export type OursMessageOf<K extends Kind> = Extract<OursMessage, { readonly kind: K }>;

/** OURS_TYPES are the numbers of the messages. */
export const OURS_TYPES: Readonly<Record<Kind, number>> = {
  initiation: 21,
  cookie: 22,
  response: 23,
  control: 24,
};

const kinds = Object.keys(layouts) as Kind[];

/** OURS_BYTES are the lengths of the datagrams. */
export const OURS_BYTES: Readonly<Record<Kind, number>> = Object.fromEntries(
  kinds.map((kind) => [kind, HEADER + layoutBytes(layouts[kind])]),
) as Record<Kind, number>;

/** OursDatagram is a message of a route. */
export interface OursDatagram {
  readonly route: number;
  readonly version: number;
  readonly message: OursMessage;
}

/** isOurs tells whether a datagram says that it is of this protocol. */
export function isOurs(bytes: Uint8Array): boolean {
  return bytes.length > TYPE_AT && kinds.some((kind) => OURS_TYPES[kind] === bytes[TYPE_AT]);
}

/** decodeOurs reads a datagram; undefined for what is none: it does not throw. */
export function decodeOurs(bytes: Uint8Array): OursDatagram | undefined {
  const kind = kinds.find((name) => OURS_TYPES[name] === bytes[TYPE_AT]);
  if (kind === undefined || bytes.length !== OURS_BYTES[kind]) return undefined;
  const fields = readFields<Layout>(layouts[kind], bytes, HEADER);
  if (fields === undefined) return undefined;
  const route = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const message = { kind, ...fields } as unknown as OursMessage;
  return { route, version: bytes[VERSION_AT] as number, message };
}

/** encodeOurs returns a datagram's bytes. */
export function encodeOurs(route: number, message: OursMessage): Bytes {
  const { kind } = message;
  const bytes = new Uint8Array(new ArrayBuffer(OURS_BYTES[kind]));
  new DataView(bytes.buffer).setUint32(0, route);
  bytes[TYPE_AT] = OURS_TYPES[kind];
  bytes[VERSION_AT] = OURS_VERSION;
  writeFields(layouts[kind], bytes, { at: HEADER, values: message });
  return bytes;
}

const offer = { boot: 8, firstSpi: "u32", queues: "u8", algorithms: "u8" } as const;

/** Offer is what a side tells of itself in the handshake. */
export type Offer = Fields<typeof offer>;

const control = { kind: "u8", stamp: "u64" } as const;

/** CONTROL numbers what is said within a session. */
export const CONTROL = { probe: 1, answer: 2, close: 3 } as const;

/** Control is one such message; the stamp means something to who sent the probe only. */
export type Control = Fields<typeof control>;

/** encodeOffer returns the bytes of an offer. */
export function encodeOffer(values: Offer): Bytes {
  return encodeAlone(offer, values);
}

/** decodeOffer reads bytes that were authentic. */
export function decodeOffer(bytes: Uint8Array): Offer {
  return readFields(offer, bytes, 0) as Offer;
}

/** encodeControl returns the bytes of a control message. */
export function encodeControl(values: Control): Bytes {
  return encodeAlone(control, values);
}

/** decodeControl reads bytes that were authentic; undefined for a stamp that is no number of ours. */
export function decodeControl(bytes: Uint8Array): Control | undefined {
  return readFields(control, bytes, 0);
}

function encodeAlone(layout: Layout, values: object): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(layoutBytes(layout)));
  writeFields(layout, bytes, { at: 0, values });
  return bytes;
}
