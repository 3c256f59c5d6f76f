/** The topology of a fabric where the kernel has no VRFs: each tenant of a site has a leaf of its own. */
import { lifeTests } from "../support/edge-topology-life.ts";
import { edgeTopologySuite } from "../support/edge-topology-suite.ts";

edgeTopologySuite({
  title: "the topology of a fabric without VRFs",
  vrf: false,
  alone: false,
  bfd: [],
  more: lifeTests,
});
