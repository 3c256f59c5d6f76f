/** Where a pod of a VPC goes on this node: to the mesh's domains, or to those of the node's edge in a fabric. */
import { type DomainNode, type Not, type Resolved, segmentMtu } from "../domain/mod.ts";
import type { FabricPods, FabricPodStore } from "./fabric-pods.ts";
import type { VpcStore } from "./vpc-store.ts";

/** VpcSite makes a pod's link. */
export type VpcSite = Pick<FabricPods, "attach" | "missing" | "loaded">;

/** isFabric tells whether an attachment belongs to the node's edge. */
export function isFabric({ vpc }: Pick<Resolved, "vpc">): boolean {
  return vpc?.underlay !== undefined;
}

/** roomOf returns the MTU that a segment leaves; a sentence where no pod can be attached to it here. */
export function roomOf(
  { vpc, subnet, domain, segment }: Resolved,
  { node, fabric }: { readonly node: DomainNode; readonly fabric: Pick<FabricPods, "room"> },
): { readonly mtuBytes: number } | Not {
  if (vpc?.underlay === undefined || subnet === undefined) return { mtuBytes: segmentMtu(segment, node) };
  return fabric.room({
    ...{ vpc: vpc.name, domain: domain.vni },
    ...{ subnet: subnet.name, segment: segment.vni, prefixes: subnet.prefixes },
  });
}

/** fabricPods is what of a store belongs to the node's edge: nobody was told of an ADD that has not ended. */
export function fabricPods(store: VpcStore): FabricPodStore {
  return {
    all: () =>
      store
        .all()
        .filter(({ fabric, state }) => fabric === true && state === "ready")
        .map(({ local, sequence }) => ({ local, sequence })),
    raised: (segment, mac, sequence) => store.raise(segment, mac, sequence),
  };
}
