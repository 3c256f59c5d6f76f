/** What VXLAN takes of each packet, and what it leaves to pods. */
import type { Family } from "../net/mod.ts";
import type { DomainNode, Segment } from "./model.ts";

/** Outer IP header, UDP (8), VXLAN (8, RFC 7348 section 5) and the inner Ethernet header (14), in bytes. */
const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** domainMtu returns what the underlay leaves, in bytes. */
export function domainMtu(node: DomainNode): number {
  return node.underlayMtuBytes - OVERHEAD[node.vtep.family];
}

/** segmentMtu returns the MTU of a segment's pods on this node: what is asked for, as far as it fits. */
export function segmentMtu(segment: Pick<Segment, "mtuBytes">, node: DomainNode): number {
  return Math.min(segment.mtuBytes ?? Number.POSITIVE_INFINITY, domainMtu(node));
}
