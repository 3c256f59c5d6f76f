/** A node of ours and FRR in one VPC, with FRR's tenant in a VRF, as it is used. What a VRF does not matter to is in test/interop. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { foreignRoot } from "../support/bgp-foreign.ts";
import { frrVpcSuite } from "../support/frr-vpc-suite.ts";

const { root, lacks } = foreignRoot("frr");
const skip = lacks ?? (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard");
frrVpcSuite({
  ...{ title: "a VPC with FRR in a VRF", skip, root },
  ...{ vrf: true, agentOptions: ["--tunnel", "kernel"], brief: true },
});
