/** MTU of the tunnel from the MTU of what carries it. */
import type { Family } from "../net/mod.ts";

/** OVERHEAD_BYTES is outer IP header, UDP header, and WireGuard's header and tag (16 + 16) for each outer family. */
export const OVERHEAD_BYTES: { readonly [F in Family]: number } = { 4: 20 + 8 + 32, 6: 40 + 8 + 32 };

/** The least that a link with IPv6 may have (RFC 8200, section 5); below, the outer packets are fragmented instead. */
const LEAST_BYTES = 1280;

/** tunnelMtu returns the MTU of cw0: 1440 over IPv4 and 1420 over IPv6 on an underlay of 1500; never below 1280. */
export function tunnelMtu(options: { readonly underlayBytes: number; readonly outerFamily: Family }): number {
  return Math.max(LEAST_BYTES, Math.min(65535, options.underlayBytes) - OVERHEAD_BYTES[options.outerFamily]);
}

/** WireGuard pads packets to a multiple of this, but never beyond the MTU of the link that they leave by (whitepaper, section 5.4.6). */
const PADDING_BYTES = 16;

/**
 * pathMtu returns what fits through all tunnels on the way; absent ones do not count. Below the own link's MTU it is a multiple of 16: what is
 * padded then fits too, which an engine in user space, that knows no routes, could not see to.
 */
export function pathMtu(own: number, ...others: readonly (number | undefined)[]): number {
  const least = Math.min(own, ...others.filter((mtu) => mtu !== undefined));
  return least < own ? least - (least % PADDING_BYTES) : own;
}
