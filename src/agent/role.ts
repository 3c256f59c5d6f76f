/** What a joined node follows: its own register on the hub, the hub's elsewhere. */
import type { FailedResource, MeshView, Removal, RouteFact } from "../hub/mod.ts";
import type { BlockClaims } from "../ipam/mod.ts";
import type { Enrolment } from "../mesh/mod.ts";
import type { Endpoint, PeerState, PrivateKey, PublicKey, Secret } from "../net/mod.ts";
import type { HubDistance } from "../resources/mod.ts";

/** SelfFacts is what this node finds out about itself and tells the register. */
export interface SelfFacts {
  readonly local: readonly Endpoint[];
  /** What the node's router forwards to it. */
  readonly mapped: readonly Endpoint[];
  readonly mtuBytes: number;
  /** Hubs that it reaches. */
  readonly hubs: readonly HubDistance[];
  /** Of a hub that takes TLS: the hash of its key. */
  readonly tlsPin?: string | undefined;
  /** Routes of Gateways that run here; absent: none. */
  readonly routes?: readonly RouteFact[] | undefined;
  /** What of resources is not, or not wholly, in this node's edge; `null`: it has none; absent: it has not looked yet. */
  readonly edge?: readonly FailedResource[] | null | undefined;
}

/** RoleTunnel is what a role may do with the tunnel. */
export interface RoleTunnel {
  /** Why it cannot answer to two keys, as a hub has to that changes its own; undefined when it can. */
  readonly twoKeysProblem: string | undefined;
  /** answersTo tells whether the device has both keys by now. */
  answersTo(present: PublicKey, former: PublicKey): boolean;
  /** movePeers speaks to nodes under the device's present key that were spoken to under the one before. */
  movePeers(keys: readonly PublicKey[]): void;
}

/** RoleHooks are called while the role runs. */
export interface RoleHooks {
  /** The register's content changed. */
  readonly onView: () => void;
  /** Another node and this one are to try each other in so many milliseconds. */
  readonly onInvited: (peer: string, inMs: number) => void;
  /** The hub was reached or lost. */
  readonly onConnection: (connected: boolean, reason?: string) => void;
  /** The node's key is another one now, stored: take it up. */
  readonly onKeyChanged: () => void;
  readonly tunnel: RoleTunnel;
  /** The register no longer holds this node. */
  readonly onGone: () => void;
}

/** Role is a hub or a member. */
export interface Role extends Disposable {
  readonly hub: boolean;
  /** This node's name. */
  readonly name: string;
  /** Revision of the register's content that this node has. */
  readonly revision: number;
  readonly connected: boolean;
  /** What is known of the mesh; available before `start`, from disk. */
  view(): MeshView;
  /** start serves or connects; the node's overlay addresses are there by now. */
  start(hooks: RoleHooks): void;
  setFacts(facts: SelfFacts): void;
  /** hubsReached says which hubs answer probes, the best first, and which do so no more. */
  hubsReached(names: readonly string[], lost: readonly string[]): void;
  /** announcedChanged tells the register what this node announces now. */
  announcedChanged(): void;
  /** Addresses of subnets, as the register grants them to this node. */
  readonly claims: BlockClaims;
  /** invite asks, through a hub, that both ends of a pair try each other at the same moment. */
  invite(peer: string): void;
  /** Who may register now; none on a member. */
  enrolments(): readonly Enrolment[];
  /** addRemovals takes over removals that hold and spreads them; returns the names of the nodes that are gone by it. */
  addRemovals(removals: readonly Removal[]): readonly string[];
  /** Pre-shared keys that pairs use now, by the other node's name; onView is called when they change. */
  readonly pairKeys: ReadonlyMap<string, Secret>;
  /** The key that this hub had before, while it answers to it. */
  readonly formerKey: PrivateKey | undefined;
  /** rotate asks for another key of this node; it takes about a minute. Throws when that cannot be. */
  rotate(): void;
  /** Why what this node knows is too old, or will soon be (Mesh.spec.snapshotMaxAge). */
  readonly ageProblem: string | undefined;
  /** observe is told what the tunnel's device says of its peers, once a second. */
  observe(peers: readonly PeerState[]): void;
  /** Where hubs were when this node joined, `host:port`, for one that the register names no endpoint of. */
  readonly hubEndpoints: readonly string[];
}
