/**
 * Which address of a range comes next. Pure: what is taken is asked for.
 *
 * Of a range, the first address (IPv4: the network; IPv6: the routers' anycast address, RFC 4291 section 2.6.1), the second
 * (the gateway) and IPv4's last (broadcast) are never handed out. The search goes on behind the address that was handed out
 * last and wraps, so that an address rests as long as possible before it is used again.
 */
import { type Ip, ip, ipPlus, type Prefix, prefixAddress, prefixContains, prefixLast } from "../net/mod.ts";

/** gatewayOf returns the node's own address in a pod range: the first one after the network's. */
export function gatewayOf(range: Prefix): Ip {
  return ipPlus(prefixAddress(range), 1n);
}

/** Usable is the part of a range that pods can have; both ends belong to it. */
export interface Usable {
  readonly first: bigint;
  readonly last: bigint;
}

/** usableOf returns what pods can have of a range; undefined when it is too small to hold a pod. */
export function usableOf(range: Prefix): Usable | undefined {
  const first = range.value + 2n;
  const last = prefixLast(range).value - (range.family === 4 ? 1n : 0n);
  return first <= last ? { first, last } : undefined;
}

/** isUsable tells whether a pod may have this address of the range. */
export function isUsable(range: Prefix, address: Ip): boolean {
  const usable = usableOf(range);
  return (
    usable !== undefined &&
    prefixContains(range, address) &&
    address.value >= usable.first &&
    address.value <= usable.last
  );
}

/** Search says what is known when an address is chosen. */
export interface Search {
  /** The address that was handed out last, if any. */
  readonly after?: Ip;
  /** Whether an address of the range is in use. */
  readonly taken: (address: Ip) => boolean;
  /** How many addresses of the range are in use at most; asked once the first candidate is taken. The search ends when more were looked at. */
  readonly takenCount: () => number;
}

/** chooseAddress returns the next free address of a range, or undefined when there is none. */
export function chooseAddress(range: Prefix, search: Search): Ip | undefined {
  const usable = usableOf(range);
  if (usable === undefined) return undefined;
  const size = usable.last - usable.first + 1n;
  const start =
    search.after === undefined || !isUsable(range, search.after)
      ? 0n
      : search.after.value + 1n - usable.first;
  const candidate = (tried: bigint) => ip(range.family, usable.first + ((start + tried) % size));
  if (!search.taken(candidate(0n))) return candidate(0n);
  // Of one more address than are taken, one is free: this bounds the search in an IPv6 range, too.
  const most = BigInt(search.takenCount());
  for (let tried = 1n; tried < size && tried <= most; tried++)
    if (!search.taken(candidate(tried))) return candidate(tried);
  return undefined;
}
