/** The topology of a fabric with leaves as they are used: FRR with its tenants in VRFs. What needs none is in test/interop, but for BFD. */
import { bfdTests } from "../support/edge-topology-bfd.ts";
import { edgeTopologySuite } from "../support/edge-topology-suite.ts";

edgeTopologySuite({
  title: "the topology of a fabric",
  vrf: true,
  alone: true,
  bfd: ["tor1", "a"],
  more: bfdTests,
});
