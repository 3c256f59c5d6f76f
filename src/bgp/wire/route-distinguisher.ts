/**
 * Eight octets that begin with who administers a number: route distinguishers (RFC 4364 section 4.2), and, behind two octets of type and subtype,
 * route targets and sites of origin.
 *
 * ```
 *  type 0   type 2 | AS 2 | number 4
 *  type 1   type 2 | IPv4 address 4 | number 2
 *  type 2   type 2 | AS 4 | number 2
 * ```
 */
import { formatIp, type Ip, ipBytes, ipFromBytes, tryParseIp } from "../../net/mod.ts";
import { readU16, readU32 } from "./octets.ts";

/** Administered is a number and who gave it: `65001:100`, `10.0.0.1:2`, `4200000000:7`. */
export type Administered =
  | { readonly kind: "as2"; readonly as: number; readonly number: number }
  | { readonly kind: "ip"; readonly address: Ip; readonly number: number }
  | { readonly kind: "as4"; readonly as: number; readonly number: number };

/** RouteDistinguisher is one of the three kinds, or octets of a type that is not known. */
export type RouteDistinguisher = Administered | { readonly kind: "unknown"; readonly bytes: Uint8Array };

/** decodeAdministered reads six octets of a type: 0, 1 or 2. */
export function decodeAdministered(type: number, bytes: Uint8Array, at: number): Administered {
  switch (type) {
    case 0:
      return { kind: "as2", as: readU16(bytes, at), number: readU32(bytes, at + 2) };
    case 1:
      return {
        kind: "ip",
        address: ipFromBytes(bytes.subarray(at, at + 4)),
        number: readU16(bytes, at + 4),
      };
    default:
      return { kind: "as4", as: readU32(bytes, at), number: readU16(bytes, at + 4) };
  }
}

/** administeredType returns 0, 1 or 2. */
export function administeredType(value: Administered): 0 | 1 | 2 {
  return value.kind === "as2" ? 0 : value.kind === "ip" ? 1 : 2;
}

/** encodeAdministered returns six octets; RangeError when a number does not fit its field. */
export function encodeAdministered(value: Administered): readonly number[] {
  switch (value.kind) {
    case "as2":
      return [...octets(value.as, 2), ...octets(value.number, 4)];
    case "ip":
      return [...ipBytes(value.address).subarray(0, 4), ...octets(value.number, 2)];
    case "as4":
      return [...octets(value.as, 4), ...octets(value.number, 2)];
  }
}

function octets(value: number, count: 2 | 4): number[] {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * count))
    throw new RangeError(`${value} does not fit ${count} octets`);
  return count === 2
    ? [value >>> 8, value & 0xff]
    : [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

/** printAdministered returns `65001:100` or `10.0.0.1:2`. */
export function printAdministered(value: Administered): string {
  return `${value.kind === "ip" ? formatIp(value.address) : value.as}:${value.number}`;
}

/** parseAdministered reads what printAdministered wrote; an AS that fits two octets has two. Undefined for anything else. */
export function parseAdministered(text: string): Administered | undefined {
  const match = /^([^:]+):(0|[1-9]\d{0,9})$/.exec(text);
  if (match === null) return undefined;
  const number = Number(match[2]);
  const who = match[1] as string;
  if (who.includes(".")) {
    const address = tryParseIp(who);
    return address === undefined || number > 0xffff ? undefined : { kind: "ip", address, number };
  }
  if (!/^(0|[1-9]\d{0,9})$/.test(who)) return undefined;
  const as = Number(who);
  if (as <= 0xffff) return number > 0xffffffff ? undefined : { kind: "as2", as, number };
  return as > 0xffffffff || number > 0xffff ? undefined : { kind: "as4", as, number };
}

/** decodeRd reads the eight octets at `at`. */
export function decodeRd(bytes: Uint8Array, at: number): RouteDistinguisher {
  const type = readU16(bytes, at);
  return type <= 2
    ? decodeAdministered(type, bytes, at + 2)
    : { kind: "unknown", bytes: bytes.slice(at, at + 8) };
}

/** encodeRd returns eight octets. */
export function encodeRd(rd: RouteDistinguisher): readonly number[] {
  return rd.kind === "unknown" ? [...rd.bytes] : [0, administeredType(rd), ...encodeAdministered(rd)];
}

/** printRd returns `10.255.0.1:2`, or hexadecimal octets of a type that is not known. */
export function printRd(rd: RouteDistinguisher): string {
  return rd.kind === "unknown" ? `0x${Buffer.from(rd.bytes).toString("hex")}` : printAdministered(rd);
}
