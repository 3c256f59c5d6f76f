/** What the parts of an agent that speak BGP, or have it spoken for them, know of each other. */
import type { Speaker } from "../bgp/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { BgpRouter, Mesh, Node, TenantResources } from "../resources/mod.ts";

/** ClusterBgp runs the node's own BGP router. */
export interface ClusterBgp {
  /** setCluster says what it is to be; undefined: there is none. `onSpeaker` is told of each that runs, and of its end. */
  setCluster(router: BgpRouter | undefined, onSpeaker: (speaker: Speaker | undefined) => void): void;
  /** follow says what the register has for the node's edge; undefined where the node belongs to no mesh. */
  follow(engine: Engine, view: EdgeView | undefined): void;
}

/** EdgeView is what an edge has to know of the mesh. */
export interface EdgeView {
  readonly mesh: Mesh;
  readonly self: Node;
  readonly tenants: TenantResources;
}
