/**
 * Messages of the Port Control Protocol (RFC 6887, sections 7 and 11.1), as far as one UDP mapping needs.
 *
 * ```
 * request: 2 │ 1 (MAP) │ 0 0 │ lifetime │ our address (16)            nonce (12) │ 17 0 0 0 │ internal port │ external port │ external address (16)
 * answer:  2 │ 129 │ 0 result │ lifetime │ epoch │ 0 (12)             nonce (12) │ 17 0 0 0 │ internal port │ external port │ external address (16)
 * ```
 */
import { type Endpoint, type Ip, ip, ipBytes, ipFromBytes } from "../net/mod.ts";

const VERSION = 2;
const MAP = 1;
const ANSWER = 0x80;
const UDP = 17;
const BYTES = 60;
const MOST_BYTES = 1100;
const MAPPED_4 = 0xffffn << 32n;

/** PcpMapping is what a request asks for. */
export interface PcpMapping {
  readonly local: Ip;
  readonly nonce: Uint8Array;
  readonly port: number;
  /** 0 deletes. */
  readonly lifetimeSeconds: number;
  /** What is wished for; after the first answer, what was given. */
  readonly external: Endpoint;
}

/** PcpAnswer is a well-formed answer to such a request. */
export interface PcpAnswer {
  /** 0 is success. */
  readonly result: number;
  /** Of an error: how long it is likely to last. */
  readonly lifetimeSeconds: number;
  readonly epochSeconds: number;
  readonly external: Endpoint;
}

/** In 16 bytes, IPv4 as ::ffff:a.b.c.d (section 5). */
function sixteen(address: Ip): Uint8Array {
  return address.family === 6 ? ipBytes(address) : ipBytes(ip(6, MAPPED_4 | address.value));
}

/** encodePcp returns a MAP request. */
export function encodePcp(mapping: PcpMapping): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(BYTES));
  const view = new DataView(bytes.buffer);
  bytes.set([VERSION, MAP]);
  view.setUint32(4, mapping.lifetimeSeconds);
  bytes.set(sixteen(mapping.local), 8);
  bytes.set(mapping.nonce, 24);
  bytes[36] = UDP;
  view.setUint16(40, mapping.port);
  view.setUint16(42, mapping.external.port);
  bytes.set(sixteen(mapping.external.ip), 44);
  return bytes;
}

/** decodePcp reads the answer to a request; undefined for anything else. */
export function decodePcp(
  bytes: Uint8Array,
  asked: { readonly nonce: Uint8Array; readonly port: number },
): PcpAnswer | undefined {
  if (bytes.length < BYTES || bytes.length > MOST_BYTES || bytes.length % 4 !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes[0] !== VERSION || bytes[1] !== (MAP | ANSWER) || bytes[36] !== UDP) return undefined;
  if (view.getUint16(40) !== asked.port || !asked.nonce.every((byte, i) => bytes[24 + i] === byte))
    return undefined;
  const address = ipFromBytes(bytes.slice(44, 60));
  return {
    result: view.getUint8(3),
    lifetimeSeconds: view.getUint32(4),
    epochSeconds: view.getUint32(8),
    external: {
      ip: address.value >> 32n === 0xffffn ? ip(4, address.value & 0xffffffffn) : address,
      port: view.getUint16(42),
    },
  };
}

/** isPcp tells whether bytes are of this version at all: NAT-PMP has version 0 on the same port (RFC 6887 appendix A). */
export function isPcp(bytes: Uint8Array): boolean {
  return bytes[0] === VERSION;
}

const RESULTS: readonly string[] = [
  "success",
  "unsupported version",
  "not authorised",
  "malformed request",
  "unsupported operation",
  "unsupported option",
  "malformed option",
  "its network has failed",
  "no resources left",
  "unsupported protocol",
  "quota exceeded",
  "it cannot provide that external port",
  "our address is not what it sees: there is a NAT between",
  "too many remote peers",
];

/** pcpResult says a result code in words. */
export function pcpResult(code: number): string {
  return `${RESULTS[code] ?? "unknown error"} (${code})`;
}
