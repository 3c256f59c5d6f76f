/** What bench edge measures: one node with a router in a rack, whoever that router is. */
import { formatIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import type { Tor } from "./tor.ts";

/** Bed is a node, and the rack's router beside it. */
export interface Bed extends AsyncDisposable {
  readonly tor: Tor;
  /** Where the host's links to domains are. */
  readonly host: Netns;
  /** What runs the node's control plane. */
  readonly processes: readonly number[];
  /** linkOf returns the name of the host's link to a domain. */
  linkOf(domain: number): string;
  /** add makes domains, and resolves when the router has heard of each. */
  add(domains: readonly number[]): Promise<void>;
}

/** AS numbers of the node's router, of its host and of the rack's router, and addresses of the link between the routers. */
export const [ASN, HOST_ASN, TOR_ASN] = [64514, 64515, 64512];
export const [TOR, NODE, ENDPOINT] = ["192.168.11.2", "192.168.11.3", "100.65.255.1"];

const FIRST_VNI = 5001;

/** vniOf returns the VNI of a domain, counted from 0. */
export const vniOf = (domain: number): number => FIRST_VNI + domain;

/** legOf returns an address between a domain and the host: eight of 172.16.0.0/12 for each domain. */
export const legOf = (domain: number, host: number): string =>
  formatIp({ family: 4, value: BigInt(0xac10_0000 + domain * 8 + host) });

const firstOf = (domain: number) => ((domain * 8) % 256 === 0 ? 1 : 0);

/** edgeOf returns the edge's address on the host's link to a domain: the first, or the second where that ends in 0. */
export const edgeOf = (domain: number): string => legOf(domain, firstOf(domain));

/** hostOf returns the host's address there, of the node with index 0. */
export const hostOf = (domain: number): string => legOf(domain, firstOf(domain) + 1);

/** announcedOf returns what a domain announces. */
export const announcedOf = (domain: number): string => `10.${100 + (domain >> 8)}.${domain & 255}.0/24`;
