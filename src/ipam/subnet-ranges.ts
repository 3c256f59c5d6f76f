/**
 * Which addresses of a subnet may be handed out to whom. Pure; the hub decides by it what it grants, and the node once more what it leases.
 *
 * A subnet is claimed in aligned blocks of 16 addresses (/28, /124), one of /26 (/122) or smaller in single addresses. Never handed out are
 * IPv4's network and broadcast address, IPv6's first (the routers' anycast address, RFC 4291 section 2.6.1), gateways and what is reserved;
 * what is fixed is given only to who asks for it by name.
 */
import {
  bitsOf,
  type Family,
  formatPrefix,
  hostPrefix,
  type Ip,
  ip,
  ipEqual,
  type Prefix,
  prefixContains,
  prefixLast,
  prefixOf,
} from "../net/mod.ts";

/** Subnets with so few host bits are claimed in single addresses. */
const SINGLE_HOST_BITS = 6;
const BLOCK_HOST_BITS = 4;

/** AddressRange is a run of addresses of one family; both ends belong to it. */
export interface AddressRange {
  readonly first: Ip;
  readonly last: Ip;
}

/** SubnetRanges is what of a Subnet decides about its addresses. */
export interface SubnetRanges {
  readonly name: string;
  /** At most one of a family. */
  readonly prefixes: readonly Prefix[];
  readonly gateways: readonly Ip[];
  /** Belong to somebody outside, as a router or a printer. */
  readonly reserved: readonly AddressRange[];
  /** Given on request only. */
  readonly fixed: readonly AddressRange[];
}

/** AddressUse is what an address of a subnet is there for; `dynamic` ones are handed out by themselves. */
export type AddressUse = "dynamic" | "fixed" | "reserved" | "gateway" | "network" | "broadcast" | "outside";

/** prefixOfFamily returns the subnet's prefix of a family, if it has one. */
export function prefixOfFamily(subnet: SubnetRanges, family: Family): Prefix | undefined {
  return subnet.prefixes.find((prefix) => prefix.family === family);
}

/** blockLength returns the prefix length of what is claimed of a subnet's prefix: 16 addresses, or one in a tiny subnet. */
export function blockLength(prefix: Prefix): number {
  const bits = bitsOf(prefix.family);
  return bits - prefix.length <= SINGLE_HOST_BITS ? bits : bits - BLOCK_HOST_BITS;
}

/** blockSize returns how many addresses a block has: 16 or 1. */
export function blockSize(block: Prefix): number {
  return 2 ** (bitsOf(block.family) - block.length);
}

/** blockAround returns the block of a subnet's prefix that an address is in. */
export function blockAround(prefix: Prefix, address: Ip): Prefix {
  const length = blockLength(prefix);
  const size = BigInt(2 ** (bitsOf(prefix.family) - length));
  return { family: prefix.family, value: address.value - (address.value % size), length };
}

/** blocksAround returns the blocks of either size that an address can be in. */
export function blocksAround(address: Ip): Prefix[] {
  return [hostPrefix(address), prefixOf(address, bitsOf(address.family) - BLOCK_HOST_BITS)];
}

/** inRange tells whether an address belongs to a range. */
export function inRange({ first, last }: AddressRange, address: Ip): boolean {
  return first.family === address.family && first.value <= address.value && address.value <= last.value;
}

/** useOf says what an address is there for. */
export function useOf(subnet: SubnetRanges, address: Ip): AddressUse {
  const prefix = subnet.prefixes.find((one) => prefixContains(one, address));
  if (prefix === undefined) return "outside";
  // Of a point-to-point subnet both addresses are hosts' (RFC 3021, RFC 6164).
  if (bitsOf(prefix.family) - prefix.length >= 2) {
    if (address.value === prefix.value) return "network";
    if (prefix.family === 4 && address.value === prefixLast(prefix).value) return "broadcast";
  }
  if (subnet.gateways.some((gateway) => ipEqual(gateway, address))) return "gateway";
  if (subnet.reserved.some((range) => inRange(range, address))) return "reserved";
  return subnet.fixed.some((range) => inRange(range, address)) ? "fixed" : "dynamic";
}

/** whyUnusable says why nobody can have an address, even by name; undefined when somebody can. */
export function whyUnusable(subnet: SubnetRanges, address: Ip): string | undefined {
  const causes = {
    dynamic: undefined,
    fixed: undefined,
    outside: `it is in no prefix of it (${subnet.prefixes.map(formatPrefix).join(", ") || "none"})`,
    reserved: "it is in the subnet's reserved ranges",
    gateway: "it is the subnet's gateway",
    network: "it is the address of the network itself",
    broadcast: "it is the broadcast address",
  } as const;
  return causes[useOf(subnet, address)];
}

/** addressAt returns address number `index` of a block, from 0. */
export function addressAt(block: Prefix, index: number): Ip {
  return ip(block.family, block.value + BigInt(index));
}

/** indexIn returns the number of an address in its block, from 0; the address must be in it. */
export function indexIn(block: Prefix, address: Ip): number {
  return Number(address.value - block.value);
}

/** usableMask returns which addresses of a block are dynamic: bit 0 is the first one's. */
export function usableMask(subnet: SubnetRanges, block: Prefix): number {
  let mask = 0;
  for (let index = 0; index < blockSize(block); index++)
    if (useOf(subnet, addressAt(block, index)) === "dynamic") mask |= 1 << index;
  return mask;
}

/** isUsableIn tells whether an address of a block may be handed out by who holds it. */
export function isUsableIn(held: { readonly block: Prefix; readonly usable: number }, address: Ip): boolean {
  return prefixContains(held.block, address) && ((held.usable >> indexIn(held.block, address)) & 1) === 1;
}

/** ones returns how many addresses a mask has. */
export function ones(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
