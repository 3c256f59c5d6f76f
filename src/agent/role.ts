/** What a joined node follows: its own register on the hub, the hub's elsewhere. */
import type { MeshView } from "../hub/mod.ts";
import type { Enrolment } from "../mesh/mod.ts";
import type { Endpoint, PeerState } from "../net/mod.ts";

/** SelfFacts is what this node finds out about itself and tells the register. */
export interface SelfFacts {
  readonly local: readonly Endpoint[];
  readonly mtuBytes: number;
}

/** RoleHooks are called while the role runs. */
export interface RoleHooks {
  /** The register's content changed. */
  readonly onView: () => void;
  /** Another node tries to reach this one directly, now. */
  readonly onInvited: (peer: string) => void;
  /** The hub was reached or lost. */
  readonly onConnection: (connected: boolean, reason?: string) => void;
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
  report(peer: string, up: boolean): void;
  invite(peer: string): void;
  /** Who may register now; none on a member. */
  enrolments(): readonly Enrolment[];
  /** observe is told what the tunnel's device says of its peers, once a second. */
  observe(peers: readonly PeerState[]): void;
  /** hubEndpoint returns where to send to the hub, resolved; undefined on the hub. */
  hubEndpoint(): Promise<Endpoint | undefined>;
}
