/**
 * The four datagrams of vita-ske version 5. Numbers are big-endian; a datagram has exactly its size.
 *
 * ```
 *  all           route SPI 4 | type 1 | reserved 3, sent 0 and ignored
 *  11 knock      version 4                                                          12 bytes
 *  12 challenge  version 4 | AEAD 32, ASCII filled up with NUL | nonce 32           76 bytes
 *  13 proposal   ephemeral 32 | sealed 32+16                                        88 bytes
 *  14 agreement  ephemeral 32 | sealed 32+16                                        88 bytes
 * ```
 * What is sealed is the sender's SPI (4 bytes) and 28 bytes that mean nothing.
 */
import type { Bytes } from "../../noise/mod.ts";
import { type Fields, type Layout, layoutBytes, readFields, writeFields } from "../layout.ts";

/** VERSION of the protocol. */
export const VERSION = 5;
/** AEAD_NAME is the one algorithm of ESP that the version knows: AES-128-GCM with a tag of 16 bytes. */
export const AEAD_NAME: Bytes = padded("aes-gcm-16-icv");
/** PAYLOAD_BYTES is the length of what is sealed. */
export const PAYLOAD_BYTES = 32;
/** NONCE_BYTES is the length of a responder's nonce. */
export const NONCE_BYTES = 32;

const HEADER = 8;

function padded(name: string): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(32));
  new TextEncoder().encodeInto(name, bytes);
  return bytes;
}

const layouts = {
  knock: { version: "u32" },
  challenge: { version: "u32", aead: 32, nonce: 32 },
  proposal: { ephemeral: 32, sealed: 48 },
  agreement: { ephemeral: 32, sealed: 48 },
} as const satisfies Readonly<Record<string, Layout>>;

type Layouts = typeof layouts;
type Kind = keyof Layouts;

/** Ske5Message is any of the four. */
export type Ske5Message = { readonly [K in Kind]: { readonly kind: K } & Fields<Layouts[K]> }[Kind];

/** SKE5_TYPES are the numbers of the messages. */
export const SKE5_TYPES: Readonly<Record<Kind, number>> = {
  knock: 11,
  challenge: 12,
  proposal: 13,
  agreement: 14,
};

const kinds = Object.keys(layouts) as Kind[];

/** SKE5_BYTES are the lengths of the datagrams. */
export const SKE5_BYTES: Readonly<Record<Kind, number>> = Object.fromEntries(
  kinds.map((kind) => [kind, HEADER + layoutBytes(layouts[kind])]),
) as Record<Kind, number>;

/** Ske5Datagram is a message of a route. */
export interface Ske5Datagram {
  readonly routeSpi: number;
  readonly message: Ske5Message;
}

/** decodeDatagram reads a datagram; undefined for what is none: it does not throw. */
export function decodeDatagram(bytes: Uint8Array): Ske5Datagram | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = kinds.find((name) => SKE5_TYPES[name] === bytes[4]);
  if (kind === undefined || bytes.length !== SKE5_BYTES[kind]) return undefined;
  const fields = readFields<Layout>(layouts[kind], bytes, HEADER);
  return { routeSpi: view.getUint32(0), message: { kind, ...fields } as unknown as Ske5Message };
}

/** encodeDatagram returns a datagram's bytes. */
export function encodeDatagram({ routeSpi, message }: Ske5Datagram): Bytes {
  const { kind } = message;
  const bytes = new Uint8Array(new ArrayBuffer(SKE5_BYTES[kind]));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, routeSpi);
  bytes[4] = SKE5_TYPES[kind];
  writeFields(layouts[kind], bytes, { at: HEADER, values: message });
  return bytes;
}
