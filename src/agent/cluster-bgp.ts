/** What the parts of an agent that speak BGP, or have it spoken for them, know of each other. */
import type { Speaker } from "../bgp/mod.ts";
import type { EdgeProblem } from "../edge/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { BgpRouter, Mesh, Node, TenantResource, TenantResources } from "../resources/mod.ts";
import type { EdgeStatus } from "./edge-status.ts";
import type { FabricPods, FabricPodStore } from "./fabric-pods.ts";

/** ClusterBgp runs the node's own BGP router. */
export interface ClusterBgp {
  /** setCluster says what it is to be; undefined: there is none. `onSpeaker` is told of each that runs, and of its end. */
  setCluster(router: BgpRouter | undefined, onSpeaker: (speaker: Speaker | undefined) => void): void;
  /** follow says what the register has for the node's edge; undefined where the node belongs to no mesh. */
  follow(engine: Engine, view: EdgeView | undefined): void;
  /** leave gives back what the edge has of the host, on a node that belongs to no mesh; throws where there is nothing, and what could not be. */
  leave(progress: (text: string) => void): Promise<void>;
  /** edge tells of the node's edge; undefined where there is none, and nothing is wrong. */
  edge(): ShownEdge | undefined;
  /** Pods in VPCs of the node's edge. */
  readonly fabric: FabricPods;
  /** What files of this node have, whether the register has it too or not. */
  readonly files: readonly TenantResource[];
}

/** ShownEdge is what people see of a node's edge. */
export interface ShownEdge {
  readonly routers: readonly EdgeStatus[];
  /** What of resources is not, or not wholly, on this node: `problems` has it as text. */
  readonly resources: readonly EdgeProblem[];
  /** What is wrong beside that of routers and domains. */
  readonly problems: readonly string[];
}

/** EdgeView is what an edge has to know of the mesh. */
export interface EdgeView {
  readonly mesh: Mesh;
  readonly self: Node;
  readonly tenants: TenantResources;
  /** The same value as long as it is the same store. */
  readonly pods: FabricPodStore;
}
