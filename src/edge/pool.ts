/** What a node has of pools that all nodes share, by its index from 0. Nothing is stored: the same index has the same addresses. */
import {
  bitsOf,
  formatInterfaceAddress,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  ipEqual,
  ipPlus,
  networkOf,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixLast,
} from "../net/mod.ts";

/** Full says that a pool has no address for a node, as the problem of a field. */
export class Full extends Error {
  override readonly name = "Full";
}

function place(pool: Prefix, distance: bigint, index: number): Ip {
  const last = prefixLast(pool).value - pool.value;
  if (distance > last)
    throw new Full(
      `has no address for a node with index ${index}; use a larger network than ${formatPrefix(pool)}`,
    );
  return ipPlus(prefixAddress(pool), distance);
}

/** routerIdOf returns a node's BGP identifier: the address after its index. Throws Full. */
export function routerIdOf(pool: Prefix, index: number): Ip {
  return place(pool, BigInt(index) + 1n, index);
}

/** endpointOf returns a node's tunnel endpoint: the address at `start` and its index, the network's own address included. Throws Full. */
export function endpointOf(pool: Prefix, start: number, index: number): Ip {
  return place(pool, BigInt(start) + BigInt(index), index);
}

/** edgeAddress returns the edge's address on a host leg: the first of the pool, the second where that ends in 0. */
export function edgeAddress(pool: Prefix): InterfaceAddress {
  const distance = (pool.value & 0xffn) === 0n ? 1n : 0n;
  return { ip: ipPlus(prefixAddress(pool), distance), length: pool.length };
}

/** hostAddress returns the host's address on a node's leg: the ones after the edge's. Throws Full. */
export function hostAddress(pool: Prefix, index: number): InterfaceAddress {
  const edge = edgeAddress(pool).ip;
  const host = place(pool, edge.value - pool.value + 1n + BigInt(index), index);
  return usable({ ip: host, length: pool.length }, index);
}

/** linkAddress returns a node's address of those that begin with `first`. Throws Full. */
export function linkAddress(first: InterfaceAddress, index: number): InterfaceAddress {
  const network = networkOf(first);
  const host = place(network, first.ip.value - network.value + BigInt(index), index);
  return usable({ ip: host, length: first.length }, index);
}

/** The last of an IPv4 network is its broadcast address; the kernel sends nothing to it. */
function usable(address: InterfaceAddress, index: number): InterfaceAddress {
  const network = networkOf(address);
  if (network.family === 4 && network.length < 31 && ipEqual(prefixLast(network), address.ip))
    throw new Full(
      `has no address for a node with index ${index} but ${formatInterfaceAddress(address)}, its last; use a larger network than ${formatPrefix(network)}`,
    );
  return address;
}

/** indexOfAddress returns the index that a link's address says: its host part, 0 for a /32 or /128. Undefined when no address fits, or it is too large. */
export function indexOfAddress(
  addresses: readonly InterfaceAddress[],
  within: Prefix | undefined,
): number | undefined {
  const found = addresses.find(({ ip }) => within === undefined || prefixContains(within, ip));
  if (found === undefined) return undefined;
  const host = found.ip.value - networkOf(found).value;
  return host > 0xffff_fffen || found.length > bitsOf(found.ip.family) ? undefined : Number(host);
}
