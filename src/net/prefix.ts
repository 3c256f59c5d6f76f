/**
 * Prefixes (a network: host bits are zero) and interface addresses (an address with the length of its network).
 */
import { bitsOf, type Family, formatIp, type Ip, ip, ipBytes, tryParseIp } from "./ip.ts";

/** Prefix is a network such as 10.1.0.0/16; bits after `length` are zero. */
export interface Prefix {
  readonly family: Family;
  readonly value: bigint;
  /** 0 to 32, or 0 to 128. */
  readonly length: number;
}

/** InterfaceAddress is an address on a link together with the length of the network that is on-link. */
export interface InterfaceAddress {
  readonly ip: Ip;
  readonly length: number;
}

function hostMask(family: Family, length: number): bigint {
  return (1n << BigInt(bitsOf(family) - length)) - 1n;
}

function checkLength(family: Family, length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > bitsOf(family))
    throw new RangeError(`/${length} is not a prefix length of IPv${family}; use 0 to ${bitsOf(family)}`);
}

/** prefixOf returns the network of the given length that holds the address. */
export function prefixOf(address: Ip, length: number): Prefix {
  checkLength(address.family, length);
  return { family: address.family, value: address.value & ~hostMask(address.family, length), length };
}

/** hostPrefix returns the /32 or /128 of one address. */
export function hostPrefix(address: Ip): Prefix {
  return prefixOf(address, bitsOf(address.family));
}

/** networkOf returns the on-link network of an interface address. */
export function networkOf(address: InterfaceAddress): Prefix {
  return prefixOf(address.ip, address.length);
}

/** tryParseInterfaceAddress reads `address/length`; undefined for anything else. */
export function tryParseInterfaceAddress(text: string): InterfaceAddress | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  if (match === null) return undefined;
  const address = tryParseIp(match[1] as string);
  const length = Number(match[2]);
  if (address === undefined || length > bitsOf(address.family)) return undefined;
  return { ip: address, length };
}

/** parseInterfaceAddress reads `address/length`; throws for anything else. */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const address = tryParseInterfaceAddress(text);
  if (address === undefined)
    throw new Error(`"${text}" is not an address with prefix length; write it like 192.0.2.1/24`);
  return address;
}

/** parsePrefix reads a network; host bits are refused, with the network that was probably meant in the error. */
export function parsePrefix(text: string): Prefix {
  const address = tryParseInterfaceAddress(text);
  if (address === undefined)
    throw new Error(`"${text}" is not a network; write it like 10.1.0.0/16 or fd00:1::/64`);
  const prefix = networkOf(address);
  if (prefix.value !== address.ip.value)
    throw new Error(`"${text}" has bits set after its length; write ${formatPrefix(prefix)}`);
  return prefix;
}

/** formatPrefix returns `network/length`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefixAddress(prefix))}/${prefix.length}`;
}

/** formatInterfaceAddress returns `address/length`. */
export function formatInterfaceAddress(address: InterfaceAddress): string {
  return `${formatIp(address.ip)}/${address.length}`;
}

/** prefixAddress returns the first address of a network. */
export function prefixAddress(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.value };
}

/** prefixLast returns the last address of a network (IPv4: the broadcast address). */
export function prefixLast(prefix: Prefix): Ip {
  return ip(prefix.family, prefix.value | hostMask(prefix.family, prefix.length));
}

/** prefixBytes returns the network's address in network order. */
export function prefixBytes(prefix: Prefix): Uint8Array<ArrayBuffer> {
  return ipBytes(prefixAddress(prefix));
}

/** prefixContains tells whether an address lies in a network. */
export function prefixContains(prefix: Prefix, address: Ip): boolean {
  return (
    prefix.family === address.family &&
    (address.value & ~hostMask(prefix.family, prefix.length)) === prefix.value
  );
}

/** prefixCovers tells whether the first network holds all of the second. */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return outer.length <= inner.length && prefixContains(outer, prefixAddress(inner));
}

/** prefixesOverlap tells whether two networks share an address. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixCovers(a, b) || prefixCovers(b, a);
}

/** prefixEqual tells whether two networks are the same. */
export function prefixEqual(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.length === b.length && a.value === b.value;
}

/** subnet returns the k-th (from 0) network of `length` inside a larger one; RangeError past the last. */
export function subnet(outer: Prefix, length: number, index: bigint): Prefix {
  checkLength(outer.family, length);
  if (length < outer.length) throw new RangeError(`/${length} does not fit into ${formatPrefix(outer)}`);
  if (index < 0n || index >> BigInt(length - outer.length) !== 0n)
    throw new RangeError(`${formatPrefix(outer)} has no /${length} number ${index}`);
  return {
    family: outer.family,
    value: outer.value | (index << BigInt(bitsOf(outer.family) - length)),
    length,
  };
}
