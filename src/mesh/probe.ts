/**
 * Probes: datagrams of ours on WireGuard's port that prove a path in both directions. After the magic, which is the transport's
 * (MAGIC_BYTES), numbers in network order:
 *
 * ```
 *   type 1 │ flags 1 │ length 2 │ sender 8 │ transaction 8 │ instance 4 │ port 2 │ address 16 │ code 16 │ padding n
 *
 *   type     1 ping, 2 pong; the upper four bits are the version, 1
 *   flags    1 chosen: who sends it uses this path, or asks to; bits 4 and 5: rung of the path as who sends it knows it
 *   length   of the ping as it was sent, magic and padding included; a pong repeats what arrived
 *   sender   short name of who sends it: shortId
 *   instance of a hub: another after its relay table was lost; else 0
 *   port, address   pong: where the ping came from, IPv4 mapped (RFC 4291, section 2.5.5.2); ping: zero
 *   code     HMAC-SHA-256 over all before it, cut to 16 bytes, under the key of the pair
 *   padding  zeros, which the transport adds and need not hand on: what arrived is in its length
 * ```
 * The key of the pair is HKDF(X25519(own private key, the other's public key)); only the two can make it. A ping of theirs that somebody
 * plays back to its sender has the sender's own name in it. A plain ping is as long as a pong, so that no answer is larger than what asked for it.
 */
import {
  type Endpoint,
  type Ip,
  ipBytes,
  ipFromBytes,
  type PrivateKey,
  type PublicKey,
  publicKeyBytes,
} from "../net/mod.ts";
import { equalBytes, hkdf, hmacSha256, sha256 } from "../sys/mod.ts";
import { be16, be32, be64, Reader, struct, u8, Writer } from "../wire/mod.ts";
import type { Candidate } from "./candidates.ts";

/** MAGIC_BYTES before each probe belong to the transport. */
export const MAGIC_BYTES = 4;
const CODE_BYTES = 16;
const ADDRESS_BYTES = 16;

const header = struct({
  type: u8,
  flags: u8,
  length: be16,
  sender: be64,
  transaction: be64,
  instance: be32,
  port: be16,
});
const HEADER_BYTES = 26;
const BODY_BYTES = HEADER_BYTES + ADDRESS_BYTES;

/** LEAST_PROBE_BYTES is the length of a plain probe as UDP payload, magic included. */
export const LEAST_PROBE_BYTES = MAGIC_BYTES + BODY_BYTES + CODE_BYTES;
/** MOST_PROBE_BYTES is the longest UDP payload. */
export const MOST_PROBE_BYTES = 65_507;

const VERSION = 1;
const PING = (VERSION << 4) | 1;
const PONG = (VERSION << 4) | 2;
const CHOSEN = 1;
const RUNG_SHIFT = 4;
/** 0: not told. */
const RUNGS_TOLD = [undefined, "lan", "direct", "punched"] as const;

/** Ping asks whether this path works. */
export interface Ping {
  readonly kind: "ping";
  readonly transaction: bigint;
  readonly chosen: boolean;
  readonly rung?: Candidate["rung"];
  /** UDP payload, magic included. */
  readonly sizeBytes: number;
}

/** Pong is the answer. */
export interface Pong {
  readonly kind: "pong";
  readonly transaction: bigint;
  readonly chosen: boolean;
  readonly rung?: Candidate["rung"];
  /** Size of the ping as it arrived. */
  readonly sizeBytes: number;
  /** Where the ping came from. */
  readonly seen: Endpoint;
  /** A hub's. */
  readonly instance?: number;
}

/** Probe is either. */
export type Probe = Ping | Pong;

/** ProbeKey authenticates the probes of one pair, both ways. It is a secret; the caller keeps it as long as the two keys live. */
export type ProbeKey = Uint8Array<ArrayBuffer>;

/** probeKey derives the key of a pair: an X25519, so keep it. Throws for a public key of low order. */
export function probeKey(own: PrivateKey, peer: PublicKey): ProbeKey {
  const shared = own.agree(peer);
  const key = hkdf(shared, "causeway probe v1", 32);
  shared.fill(0);
  return key;
}

/** shortId returns the name of a node in probes: 64 bits of a digest of its public key. */
export function shortId(publicKey: PublicKey): bigint {
  return new DataView(sha256("causeway probe id v1", publicKeyBytes(publicKey)).buffer).getBigUint64(0);
}

/** probeSender returns who says that a datagram is of his, to find the key; undefined for what cannot be a probe. Nothing is proven by it. */
export function probeSender(bytes: Uint8Array): bigint | undefined {
  if (bytes.length < BODY_BYTES + CODE_BYTES || (bytes[0] !== PING && bytes[0] !== PONG)) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(4);
}

/** encodeProbe returns the bytes after the magic, without padding. `sender` is the own shortId. */
export function encodeProbe(
  probe: Probe,
  options: { readonly key: ProbeKey; readonly sender: bigint },
): Uint8Array<ArrayBuffer> {
  const { sizeBytes } = probe;
  if (sizeBytes < LEAST_PROBE_BYTES || sizeBytes > MOST_PROBE_BYTES)
    throw new RangeError(`A probe has ${LEAST_PROBE_BYTES} to ${MOST_PROBE_BYTES} bytes, not ${sizeBytes}`);
  const writer = new Writer();
  const ping = probe.kind === "ping";
  header.encode(writer, {
    type: ping ? PING : PONG,
    flags: (probe.chosen ? CHOSEN : 0) | (RUNGS_TOLD.indexOf(probe.rung) << RUNG_SHIFT),
    length: sizeBytes,
    sender: options.sender,
    transaction: probe.transaction,
    instance: ping ? 0 : (probe.instance ?? 0),
    port: ping ? 0 : probe.seen.port,
  });
  if (ping) writer.zeros(ADDRESS_BYTES);
  else writer.bytes(mapped(probe.seen.ip));
  const bytes = writer.finish();
  return writer.bytes(code(options.key, bytes)).finish();
}

/**
 * openProbe returns what a datagram says, if it is authentic and of this version; undefined for anything else. `bytes` begin after the magic and may
 * lack padding; `datagramBytes` is the UDP payload as it came, magic included.
 */
export function openProbe(
  bytes: Uint8Array,
  { key, datagramBytes }: { readonly key: ProbeKey; readonly datagramBytes: number },
): Probe | undefined {
  if (probeSender(bytes) === undefined || datagramBytes > MOST_PROBE_BYTES) return undefined;
  const end = BODY_BYTES + CODE_BYTES;
  if (!equalBytes(code(key, bytes.subarray(0, BODY_BYTES)), bytes.subarray(BODY_BYTES, end)))
    return undefined;
  const reader = new Reader(bytes, 0, BODY_BYTES);
  const { type, flags, length, transaction, instance, port } = header.decode(reader);
  const address = reader.bytes(ADDRESS_BYTES);
  const rung = RUNGS_TOLD[(flags >> RUNG_SHIFT) & 3];
  const common = { transaction, chosen: (flags & CHOSEN) !== 0, sizeBytes: length, ...(rung && { rung }) };
  if (type === PING) return length === datagramBytes ? { kind: "ping", ...common } : undefined;
  if (datagramBytes !== LEAST_PROBE_BYTES || port === 0) return undefined;
  const seen = { ip: unmapped(address), port };
  return { kind: "pong", ...common, seen, ...(instance === 0 ? {} : { instance }) };
}

/** pongFor returns the answer of a node that keeps no state of the pair: a hub's. */
export function pongFor(ping: Ping, options: { readonly from: Endpoint; readonly instance?: number }): Pong {
  const { transaction, sizeBytes } = ping;
  const { from, instance } = options;
  return {
    kind: "pong",
    transaction,
    chosen: false,
    sizeBytes,
    seen: from,
    ...(instance === undefined ? {} : { instance }),
  };
}

function code(key: ProbeKey, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return hmacSha256(key, bytes).subarray(0, CODE_BYTES);
}

function mapped(address: Ip): Uint8Array<ArrayBuffer> {
  const bytes = ipBytes(address);
  if (bytes.length === ADDRESS_BYTES) return bytes;
  const whole = new Uint8Array(new ArrayBuffer(ADDRESS_BYTES));
  whole.set([0xff, 0xff], 10);
  whole.set(bytes, 12);
  return whole;
}

function unmapped(bytes: Uint8Array): Ip {
  const isMapped =
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return ipFromBytes(isMapped ? bytes.subarray(12) : bytes);
}
