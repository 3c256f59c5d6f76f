/** How a session reaches its peer: addresses, interface, how far away, with what key. What it says there is SessionConfig's affair. */
import type { Ip, Prefix } from "../../net/mod.ts";
import type { PeerOptions, SessionConfig } from "../session/mod.ts";

/** Reach is how far away a peer may be. */
export type Reach =
  /** On the link: packets leave with a TTL of 1, as eBGP has it, or with the system's for internal peers. */
  | { readonly kind: "direct" }
  /** Up to so many hops, by the TTL of what we send. */
  | { readonly kind: "multihop"; readonly hops: number }
  /** Up to so many hops, by the TTL of what arrives, which nobody further away can have (RFC 5082). 1: on the link. */
  | { readonly kind: "gtsm"; readonly hops: number };

/** Remote is who the peer is. */
export type Remote =
  | { readonly kind: "address"; readonly address: Ip; readonly device?: string }
  /** Whoever sends router advertisements there: an unnumbered session. */
  | { readonly kind: "interface"; readonly device: string };

/** Neighbor is one configured peer. */
export interface Neighbor {
  /** Names the session; unique within a BgpIo. */
  readonly name: string;
  readonly remote: Remote;
  /** Default 179. */
  readonly port?: number;
  /** The address of ours to speak from; default what routing chooses. */
  readonly source?: Ip;
  readonly reach?: Reach;
  /** TCP MD5 key (RFC 2385), 1 to 80 bytes. Never shown. */
  readonly password?: Uint8Array;
  readonly session: SessionConfig;
  readonly options?: PeerOptions;
}

/** DynamicNeighbors are peers that come by themselves, from a prefix (a passive session for each). */
export interface DynamicNeighbors {
  readonly name: string;
  readonly prefix: Prefix;
  /** The most at a time. */
  readonly limit: number;
  readonly reach?: Reach;
  readonly password?: Uint8Array;
  readonly session: SessionConfig;
  readonly options?: PeerOptions;
}

/** Ttls are the two values of a Reach; absent: the system's, and any. */
export interface Ttls {
  readonly ttl?: number;
  readonly minimumTtl?: number;
}

/** ttlsOf returns what packets are sent with, and the least that they may arrive with. */
export function ttlsOf(reach: Reach, internal: boolean): Ttls {
  switch (reach.kind) {
    case "direct":
      return internal ? {} : { ttl: 1 };
    case "multihop":
      return { ttl: reach.hops };
    case "gtsm":
      return { ttl: 255, minimumTtl: 256 - reach.hops };
  }
}

/** isInternal tells whether a session is one within an AS. */
export function isInternal({ localAs, remoteAs }: SessionConfig): boolean {
  return remoteAs === "internal" || remoteAs === localAs;
}
