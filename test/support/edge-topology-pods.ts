/**
 * Pods of node c straight in the tenants of the fabric's leaves, without a host's speaker in between: VPCs with the leaves' VNIs and route targets,
 * converted, and in each a Subnet of ours with a pod of the same address.
 */
import { expect, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { attachPod, subnetText } from "./edge-fabric-lab.ts";
import { type Vrf, VNIS } from "./edge-topology-config.ts";
import { converted, TARGETS } from "./edge-topology-manifests.ts";
import { hostOf, type TopologyView } from "./edge-topology-view.ts";
import { seenBy } from "./seen.ts";

const TENANTS = ["red", "blue"] as const;
const [POD_4, POD_6] = ["10.50.0.5", "2001:db8:50::5"];

const subnetOf = (tenant: Vrf) => VNIS[tenant] + 20;

/** Of both tenants alike. */
const PODS = TENANTS.map((tenant) =>
  subnetText(`${tenant}.pods`, subnetOf(tenant), '10.50.0.0/24, "2001:db8:50::/64"'),
).join("");

/** Who is asked says also who he is, as both have one address. */
const says = (tenant: Vrf) => ` says ${tenant}'s pod`;

/** podTests declares tests of the edge's topology. */
export function podTests(view: TopologyView): void {
  const pods: Partial<Record<Vrf, Netns>> = {};
  const pod = (tenant: Vrf) => pods[tenant] as Netns;
  const host = (name: string) => ({ ...hostOf(name), netns: view.net.netns(name) });
  const isAtLeaf = (tenant: Vrf) =>
    view
      .leafRoutes("A", tenant)
      .includes(`${POD_4} via 100.65.0.2 dev br${VNIS[tenant]} proto bgp metric 20 onlink`);

  test("pods of one address, straight in both tenants of the leaves: each leaf's VRF leads to its own, and each domain to its leaf's hosts", async () => {
    const [, , c] = view.nodes;
    c.follow(converted(TARGETS) + PODS);
    expect(c.problems).toEqual([]);
    for (const tenant of TENANTS) {
      const where = { domain: VNIS[tenant], segment: subnetOf(tenant) };
      pods[tenant] = await attachPod(view.net, c, { ...where, addresses: [POD_4, POD_6] });
      view.net.serve(pod(tenant), says(tenant));
    }
    for (const tenant of TENANTS) {
      const vni = VNIS[tenant];
      await view.until(`the leaf's ${tenant} has the pod`, () => isAtLeaf(tenant));
      expect(view.leafRoutes("A", tenant)).toContain(`${POD_6} `);
      const leaf = view.net.leaf("A", tenant);
      expect(view.evpn(leaf.name)).toMatch(
        new RegExp(
          `\\[2\\]:\\[0\\]:\\[48\\]:\\[0a:58:[0-9a-f:]+\\]:\\[32\\]:\\[10\\.50\\.0\\.5\\]\\n[^\\n]*100\\.65\\.0\\.2[^\\n]*\\n +RT:64514:${subnetOf(tenant)} [^\\n]*RT:64520:${vni} `,
        ),
      );
      const routes = view.edgeRoutes(c, vni);
      expect(routes).toContain(
        `${hostOf(`A-${tenant}`).net4}.0/24 via ${leaf.routerId} dev br${vni} proto 67 metric 1024 onlink`,
      );
      for (const other of TENANTS.filter((one) => one !== tenant))
        expect(routes).not.toContain(hostOf(`A-${other}`).net4);
    }
  });

  test("a pod and the hosts behind its tenant's leaves see each other's own addresses, IPv4 and IPv6, whoever begins; the other tenant's never", async () => {
    for (const tenant of TENANTS)
      for (const { netns, net4, net6 } of [host(`A-${tenant}`), host(`B-${tenant}`)]) {
        await view.sees(pod(tenant), `${net4}.2`, POD_4);
        await view.sees(netns, POD_4, `${net4}.2${says(tenant)}`);
        await view.sees(pod(tenant), `${net6}::2`, POD_6);
        await view.sees(netns, POD_6, `${net6}::2${says(tenant)}`);
      }
    expect(await seenBy(pod("red"), `${hostOf("A-blue").net4}.2`)).toBe("");
    expect(await seenBy(pod("blue"), `${hostOf("A-red").net4}.2`)).toBe("");
    expect(await seenBy(pod("red"), `${hostOf("A-blue").net6}::2`)).toBe("");
  });

  test("a pod that goes is gone from its tenant at the leaf, and the other tenant's of its address stays", async () => {
    const [, , c] = view.nodes;
    const detach = (tenant: Vrf) => {
      const place = c.edge.place(VNIS[tenant]);
      for (const { id } of place?.attachments(VNIS[tenant]) ?? []) place?.detach(id);
    };
    detach("blue");
    await view.until("the leaf's blue has it no more", () => !isAtLeaf("blue"));
    expect(isAtLeaf("red")).toBe(true);
    const { netns, net4 } = host("A-red");
    await view.sees(netns, POD_4, `${net4}.2${says("red")}`);
    expect(await seenBy(host("A-blue").netns, POD_4)).toBe("");
    detach("red");
    await view.until("the leaf's red has it no more", () => !isAtLeaf("red"));
    c.follow(converted(TARGETS));
    expect(c.problems).toEqual([]);
  });
}
