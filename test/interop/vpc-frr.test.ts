/** Our nodes and FRR in one VPC; its tenant is in no VRF, so that any kernel will do. The vm rung has one in a VRF. */
import { foreignRoot } from "../support/bgp-foreign.ts";
import { frrVpcSuite } from "../support/frr-vpc-suite.ts";
import { ownLacks } from "../support/own-needs.ts";

const { root, lacks } = foreignRoot("frr");
frrVpcSuite({
  ...{ title: "a VPC with FRR", skip: ownLacks ?? lacks, root },
  ...{ vrf: false, agentOptions: ["--tunnel", "user"], brief: false },
});
