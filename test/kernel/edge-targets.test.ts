/**
 * An L2 domain with route targets of its own choosing, across a node's edge and FRR as the other end of the tunnel, whose L2 VNI has targets to match.
 *
 * ```
 *   machine ── cwb5310 ── cwl5310 ── edge a ── eth1 ── FRR ── br5310 ── machine
 *              exports 65000:1, imports 65000:2        imports 65000:1, exports 65000:2
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

const manifest = (targets: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: stretched}
spec: {routed: false, underlay: {}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: stretched.l2}
spec: {vpc: stretched, vni: 5310, hostBridge: {}${targets}}
`;
const RIGHT = manifest(", importTargets: [65000:2], exportTargets: [65000:1]");

const FRR = `
router bgp 64512
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 192.168.11.3 remote-as 64514
 address-family ipv4 unicast
  neighbor 192.168.11.3 activate
 exit-address-family
 address-family l2vpn evpn
  neighbor 192.168.11.3 activate
  advertise-all-vni
 exit-address-family
`;
/** Apart from the rest: zebra reads the same file, and takes `vni` for one of its own. */
const VNI = ["vni 5310", "route-target import 65000:1", "route-target export 65000:2"];

describe.skipIf(lacks !== undefined)(
  `route targets of an L2 domain${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let frr: Foreign;
    let ours: Netns;
    let theirs: Netns;
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a"], root: root as string });
      a = lab.node("a");
      theirs = lab.scratch.another();
      for (const command of [
        "add br5310 type bridge",
        "add vx5310 type vxlan id 5310 local 192.168.11.2 dstport 4789 nolearning",
        "set vx5310 master br5310",
        "set dev vx5310 type bridge_slave learning off",
        `add far type veth peer name eth0 netns ${theirs.path}`,
        "set far master br5310",
        ...["br5310", "vx5310", "far"].map((link) => `set ${link} up`),
      ])
        lab.scratch.text(`ip link ${command}`);
      lab.scratch.text("ip address add 10.1.0.6/24 dev eth0", theirs);
      lab.scratch.text("ip link set eth0 up", theirs);
      frr = await lab.frr(lab.scratch.netns, FRR);
      frr.ask("configure terminal", "router bgp 64512", "address-family l2vpn evpn", ...VNI);
      a.start();
      a.follow(RIGHT);
      ours = lab.machine({ node: a, bridge: "cwb5310" }, 1, "10.1.0.5");
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    const reach = async () => {
      for (const [from, address] of [
        [ours, "10.1.0.6"],
        [theirs, "10.1.0.5"],
      ] as const)
        await until(`${address} is reached`, async () => pings(from, address));
    };
    /** Where each sends frames of the other's. */
    const ourWay = () => a.text("bridge fdb show dev vx5310", "cw-5310").includes("dst 192.168.11.2");
    const theirWay = () => lab.scratch.text("bridge fdb show dev vx5310").includes("dst 100.65.0.1");

    test("what each exports the other imports: packets pass both ways", async () => {
      await reach();
      expect([ourWay(), theirWay()]).toEqual([true, true]);
      const routes = frr.ask("show bgp l2vpn evpn");
      expect(routes).toMatch(/\[02:00:00:00:00:01\]\n +100\.65\.0\.1 [^\n]*\n +RT:65000:1 /);
      expect(routes).not.toMatch(/RT:64514:5310|RT:64512:5310/);
    });

    test("without targets here, as they are made of numbers: neither knows a way, and no packet passes", async () => {
      a.follow(manifest(""));
      await until("neither knows a way", async () => !ourWay() && !theirWay());
      expect([pings(ours, "10.1.0.6"), pings(theirs, "10.1.0.5")]).toEqual([false, false]);
      // It is told and heard all the same.
      expect(frr.ask("show bgp l2vpn evpn")).toContain("RT:64514:5310");
    });

    test("the wrong one way alone: its way alone is not there", async () => {
      a.follow(manifest(", importTargets: [65000:9], exportTargets: [65000:1]"));
      await until("they alone know a way", async () => !ourWay() && theirWay());
      expect(pings(ours, "10.1.0.6")).toBe(false);
      a.follow(manifest(", importTargets: [65000:2], exportTargets: [65000:9]"));
      await until("we alone know a way", async () => ourWay() && !theirWay());
      expect(pings(theirs, "10.1.0.5")).toBe(false);
    });

    test("the right ones again: packets pass", async () => {
      a.follow(RIGHT);
      await reach();
      expect(a.problems).toEqual([]);
    });
  },
);
