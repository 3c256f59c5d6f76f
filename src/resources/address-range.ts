/** Ranges of addresses as people write them: one address, first and last, or a network. */
import {
  formatIp,
  type Ip,
  ipCompare,
  parsePrefix,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixLast,
  tryParseIp,
} from "../net/mod.ts";
import { textValue } from "./scalars.ts";

/** AddressRange is all addresses from first to last, of one family. */
export interface AddressRange {
  readonly first: Ip;
  readonly last: Ip;
}

/** parseAddressRange reads `10.1.0.9`, `10.1.0.9-10.1.0.20` or `10.1.0.16/28`; throws for anything else. */
export function parseAddressRange(text: string): AddressRange {
  if (text.includes("/")) {
    const prefix = parsePrefix(text);
    return { first: prefixAddress(prefix), last: prefixLast(prefix) };
  }
  const [first, last = first, ...more] = text.split("-").map((part) => tryParseIp(part.trim()));
  if (first === undefined || last === undefined || more.length > 0 || first.family !== last.family)
    throw new Error("is not a range of addresses; write it like 10.1.0.9-10.1.0.20 or 10.1.0.16/28");
  if (ipCompare(first, last) > 0) throw new Error("ends before it begins; write the lower address first");
  return { first, last };
}

/** formatAddressRange undoes parseAddressRange, in one of its forms. */
export function formatAddressRange({ first, last }: AddressRange): string {
  return ipCompare(first, last) === 0 ? formatIp(first) : `${formatIp(first)}-${formatIp(last)}`;
}

/** rangeHolds tells whether an address is in a range. */
export function rangeHolds({ first, last }: AddressRange, address: Ip): boolean {
  return address.family === first.family && ipCompare(first, address) <= 0 && ipCompare(address, last) <= 0;
}

/** rangesOverlap tells whether two ranges share an address. */
export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return rangeHolds(a, b.first) || rangeHolds(b, a.first);
}

/** rangeInside tells whether a network holds all of a range. */
export function rangeInside({ first, last }: AddressRange, prefix: Prefix): boolean {
  return prefixContains(prefix, first) && prefixContains(prefix, last);
}

/** addressRangeSchema reads a range. */
export const addressRangeSchema = textValue<AddressRange>(
  "a range of addresses such as 10.1.0.9-10.1.0.20",
  parseAddressRange,
);
