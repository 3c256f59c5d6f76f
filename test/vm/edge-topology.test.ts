/** The topology of a fabric with leaves as they are used: FRR with its tenants in VRFs. */
import { edgeTopologySuite } from "../support/edge-topology-suite.ts";

edgeTopologySuite({ title: "the topology of a fabric", vrf: true, alone: true });
