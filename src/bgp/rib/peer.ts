/** Peers, as the RIB knows them: what ranks their routes, what is sent to them, and how many routes they have. */
import type { BgpFamily, UpdateSession } from "../wire/mod.ts";
import type { Policy, PolicyCache } from "./policy.ts";
import type { Reader, GroupLog } from "./group-log.ts";
import type { UpdateGroup } from "./update-group.ts";

/** LOCAL is the peer number of this router itself: what it announces comes from there. */
export const LOCAL = 0;
/** MOST_PEERS is how many peers there can be at a time, this router included. */
export const MOST_PEERS = 65_535;

/** FamilyOptions are what a session does in one family. */
export interface FamilyOptions {
  /** Paths that are sent of each destination (RFC 7911): all, or the best so many. Absent: one, without path identifiers. */
  readonly addPathSend?: "all" | number;
  /** Next hop to send in place of the received one; absent: unchanged. For eBGP unicast, this router's address (RFC 4271 section 5.1.3). */
  readonly nextHopSelf?: Uint8Array;
  /** Next hop where a route has none: of what this router announces without one. */
  readonly ownNextHop?: Uint8Array;
  /** More routes that are accepted than this are reported by `onLimit`, and many more that are not. */
  readonly mostRoutes?: number;
  /** Report also, once, when so many are reached. */
  readonly warnRoutes?: number;
}

/** RouteGuard says which routes of a family a peer may announce at all; it is asked for each of them, before policy. */
export interface RouteGuard {
  readonly family: BgpFamily;
  /** admits takes the number of the set of attributes, and the route as NlriCursor gives it. */
  admits(set: number, key: Uint8Array, extra: Uint8Array): boolean;
}

/** PeerOptions say who a peer is; they hold over its sessions. */
export interface PeerOptions {
  readonly asn: number;
  /** Address, in network order: the last tie-breaker (RFC 4271 section 9.1.2.2 (g)). */
  readonly address: Uint8Array;
  readonly external: boolean;
  /** A client of this route reflector (RFC 4456), in all families or in some. */
  readonly client?: boolean | ReadonlySet<BgpFamily>;
  /** Routes of a greater weight win before all else. */
  readonly weight?: number;
  /** How often the own AS may be in a path from this peer. */
  readonly allowOwnAs?: number;
  readonly guard?: RouteGuard | undefined;
  readonly importPolicy?: Policy;
  readonly exportPolicy?: Policy;
}

/** isClient tells whether a peer is a client of this route reflector in a family. */
export function isClient({ client }: Pick<PeerOptions, "client">, family: BgpFamily): boolean {
  return typeof client === "object" ? client.has(family) : client === true;
}

/** SessionOptions are what one session has settled. */
export interface SessionOptions {
  readonly update: UpdateSession;
  /** BGP identifier of the peer. */
  readonly routerId: number;
  readonly families: ReadonlyMap<BgpFamily, FamilyOptions>;
  readonly extendedMessages?: boolean;
  /** Both sides mark the beginning and the end of a refresh (RFC 7313). */
  readonly enhancedRefresh?: boolean;
  /** The peer knows LLGR (RFC 9494): it is sent routes that are long-lived stale. */
  readonly longLived?: boolean;
}

/** Segment is a part of a log that a peer has to read before the next one. */
export interface Segment {
  readonly log: GroupLog;
  readonly reader: Reader;
}

/** PeerTable is a peer in one family. */
export interface PeerTable {
  /** Whether the family is part of the present session. */
  active: boolean;
  options: FamilyOptions;
  routes: number;
  accepted: number;
  best: number;
  /** Stamped on each path that the peer announces; another stamp on a path means that it is stale. */
  epoch: number;
  /** SCAN bits: what the background scan does with the peer's paths. */
  scan: number;
  /** Paths that the scan has yet to pass. */
  scanLeft: number;
  /** Whether there may be stale paths. */
  hasStale: boolean;
  warned: boolean;
  importCache: PolicyCache | undefined;
  /** The peer's, where it is of this family. */
  guard: RouteGuard | undefined;
  group: UpdateGroup | undefined;
  /** What is to be read, the present group's log last. */
  readonly segments: Segment[];
}

/** RibPeer is a peer and its counts. `number` is what paths refer to. */
export interface RibPeer {
  readonly number: number;
  options: PeerOptions;
  session: SessionOptions | undefined;
  routerId: number;
  /** By index of the table. */
  readonly tables: PeerTable[];
  /** Nothing was left to read when it was last looked; it is told when there is. */
  drained: boolean;
  /** Index of the table whose message is being read. */
  reading: number;
  removed: boolean;
}

/** newPeerTable makes the state of a peer in a family. */
export function newPeerTable(): PeerTable {
  return {
    active: false,
    options: {},
    routes: 0,
    accepted: 0,
    best: 0,
    epoch: 0,
    scan: 0,
    scanLeft: 0,
    hasStale: false,
    warned: false,
    importCache: undefined,
    guard: undefined,
    group: undefined,
    segments: [],
  };
}
