/**
 * IP addresses as values: a family and an unsigned integer. Text and bytes are parsed once, at the edge.
 *
 * @example
 * ```ts
 * formatIp(ipPlus(parseIp("10.0.0.255"), 1n)); // "10.0.1.0"
 * ```
 */

/** Family is the version of the Internet Protocol. */
export type Family = 4 | 6;

/** Ip is an address; `value` has 32 bits for IPv4 and 128 for IPv6. */
export interface Ip {
  readonly family: Family;
  readonly value: bigint;
}

/** bitsOf returns the width of a family's addresses. */
export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** ip makes an address from an integer; RangeError outside the family's width. */
export function ip(family: Family, value: bigint): Ip {
  if (value < 0n || value >> BigInt(bitsOf(family)) !== 0n)
    throw new RangeError(`${value} is not an IPv${family} address`);
  return { family, value };
}

/** ipFromBytes reads 4 or 16 bytes in network order. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length !== 4 && bytes.length !== 16)
    throw new RangeError(`An IP address has 4 or 16 bytes, not ${bytes.length}`);
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  // One big integer in place of four: reflectors do it for each route.
  if (bytes.length === 4) return { family: 4, value: BigInt(((a << 24) | (b << 16) | (c << 8) | d) >>> 0) };
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: 6, value };
}

/** ipBytes returns the address in network order. */
export function ipBytes(address: Ip): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(bitsOf(address.family) / 8));
  let value = address.value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

/** tryParseIp returns undefined for text that is not an address. Zones (`%eth0`) and leading zeros are not accepted. */
export function tryParseIp(text: string): Ip | undefined {
  return text.includes(":") ? parse6(text) : parse4(text);
}

/** parseIp throws for text that is not an address. */
export function parseIp(text: string): Ip {
  const address = tryParseIp(text);
  if (address === undefined)
    throw new Error(`"${text}" is not an IP address; write it like 192.0.2.1 or 2001:db8::1`);
  return address;
}

function parse4(text: string): Ip | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return { family: 4, value };
}

function parse6(text: string): Ip | undefined {
  let body = text;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(body);
  if (dotted !== null) {
    const tail = parse4(dotted[2] as string);
    if (tail === undefined) return undefined;
    body = `${dotted[1]}${(tail.value >> 16n).toString(16)}:${(tail.value & 0xffffn).toString(16)}`;
  }
  const halves = body.split("::");
  if (halves.length > 2) return undefined;
  const groups = (half: string | undefined) => (half === undefined || half === "" ? [] : half.split(":"));
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<string>(missing).fill("0"), ...tail]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(`0x${group}`);
  }
  return { family: 6, value };
}

/** formatIp returns canonical text (IPv6: RFC 5952). */
export function formatIp(address: Ip): string {
  const { family, value } = address;
  if (family === 4) {
    const n = Number(value);
    return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
  }
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end - 1;
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return start < 0 ? text(0, 8) : `${text(0, start)}::${text(start + length, 8)}`;
}

/** ipPlus adds a distance, which may be negative; RangeError when the result leaves the family. */
export function ipPlus(address: Ip, distance: bigint): Ip {
  return ip(address.family, address.value + distance);
}

/** ipEqual tells whether two addresses are the same. */
export function ipEqual(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.value === b.value;
}

/** ipCompare orders IPv4 before IPv6, then by value. */
export function ipCompare(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}
