/**
 * Keys and values of nftables sets as bytes: each part left-aligned in registers of 4 bytes, numbers big-endian.
 *
 * ```
 *   ifname . ipv4_addr       | c w 1 2 3 4 0 0 0 0 0 0 0 0 0 0 | 10 244 0 2 |
 *   inet_proto . inet_service | 6 0 0 0 | 31 144 0 0 |
 * ```
 * Which types a set has is one number: 6 bits for each part, the first highest (nftables: include/datatype.h, TYPE_BITS).
 */
import { ipBytes, macBytes, parseMac, tryParseIp } from "../net/mod.ts";

/** Part encodes one part of a key into exactly `length` bytes; undefined for what it does not understand. */
interface Part {
  /** Absent: what the other parts leave over. */
  readonly length?: number;
  readonly encode: (text: string, length: number) => Uint8Array | undefined;
}

const TYPE_BITS = 6;
const REGISTER = 4;
const IFNAMSIZ = 16;

const protocols: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, "ipv6-icmp": 58, sctp: 132 };

/** enum datatypes of nftables' include/datatype.h: those that our rulesets use. */
const parts: Readonly<Record<number, Part>> = {
  4: { encode: number }, // integer: taken from a payload
  7: { length: 4, encode: (text) => address(text, 4) },
  8: { length: 16, encode: (text) => address(text, 6) },
  9: { length: 6, encode: ethernet },
  12: { length: 1, encode: (text, length) => number(String(protocols[text] ?? text), length) },
  13: { length: 2, encode: number },
  41: { length: IFNAMSIZ, encode: name },
};

/** KeyLayout is the form of a set's keys, or of a map's values. */
export interface KeyLayout {
  /** NFTA_SET_KEY_TYPE or NFTA_SET_DATA_TYPE. */
  readonly type: number;
  /** NFTA_SET_KEY_LEN or NFTA_SET_DATA_LEN. */
  readonly bytes: number;
}

/** encodeKey returns the bytes of a key; undefined when a part is of a type, or written in a way, that only nft understands. */
export function encodeKey(texts: readonly string[], layout: KeyLayout): Uint8Array<ArrayBuffer> | undefined {
  const kinds = kindsOf(layout.type);
  if (kinds === undefined || kinds.length !== texts.length) return undefined;
  const single = kinds.length === 1;
  const room = (length: number) => (single ? length : Math.ceil(length / REGISTER) * REGISTER);
  const known = kinds.reduce((sum, { length }) => sum + (length === undefined ? 0 : room(length)), 0);
  const open = kinds.filter(({ length }) => length === undefined).length;
  const left = layout.bytes - known;
  if (open > 1 || left < 0 || (open === 0 && left !== 0)) return undefined;
  const out = new Uint8Array(new ArrayBuffer(layout.bytes));
  let at = 0;
  for (const [index, { length = left, encode }] of kinds.entries()) {
    const bytes = encode(texts[index] as string, length);
    if (bytes === undefined) return undefined;
    out.set(bytes, at);
    at += room(length);
  }
  return out;
}

function kindsOf(type: number): Part[] | undefined {
  const found: Part[] = [];
  for (let rest = type; rest > 0; rest = Math.floor(rest / 2 ** TYPE_BITS)) {
    const part = parts[rest % 2 ** TYPE_BITS];
    if (part === undefined) return undefined;
    found.unshift(part);
  }
  return found.length > 0 ? found : undefined;
}

function address(text: string, family: 4 | 6): Uint8Array | undefined {
  const ip = tryParseIp(text);
  return ip?.family === family ? ipBytes(ip) : undefined;
}

function ethernet(text: string): Uint8Array | undefined {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) ? macBytes(parseMac(text)) : undefined;
}

function name(text: string): Uint8Array | undefined {
  const bytes = new TextEncoder().encode(text);
  // A pattern (cw*) is an interval.
  return bytes.length < IFNAMSIZ && !text.includes("*") ? bytes : undefined;
}

function number(text: string, length: number): Uint8Array | undefined {
  if (!/^(?:0x[0-9a-f]+|[0-9]+)$/i.test(text)) return undefined;
  let value = BigInt(text);
  if (value >= 1n << BigInt(8 * length)) return undefined;
  const bytes = new Uint8Array(length);
  for (let at = length - 1; at >= 0; at--, value >>= 8n) bytes[at] = Number(value & 0xffn);
  return bytes;
}
