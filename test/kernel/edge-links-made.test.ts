/** Links of a router that are made on the host's, which stay the host's; and plain packets between host and fabric by a passthrough. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lacksKind, notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const SERVICE = "10.99.0.1";

const underlay = (made: string, more = "") => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: fabric0, ${made}, addresses: [192.168.11.3/24]}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
  ${more}
`;
const PASSTHROUGH =
  "hostSessions: [{name: plain, asn: 64514, peerAsn: 64515, prefixes: [192.169.9.0/24], connectRetry: 1s}]";

describe.skipIf(notRoot !== undefined)(
  `links of an edge that are made${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      node.text("ip address flush dev eth1");
      node.start();
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    /** The kernel frees links of a namespace that is gone a moment later. */
    const isOver = async () => {
      node.follow("");
      expect(node.problems).toEqual([]);
      expect(() => node.text("ip link", "cw-underlay")).toThrow();
      await until("what was made is gone", async () => !/fabric0|cwp/.test(node.text("ip -br link")));
      expect(node.text("ip -br link")).toContain("eth1");
    };

    const macvlan = "macvlan: {parent: eth1, mode: bridge}";
    const noMacvlan = lacksKind({ name: "x", type: "macvlan", parent: 0, mode: "bridge" });
    test.skipIf(noMacvlan !== undefined)(
      `a macvlan link, and a passthrough: the host's service and the fabric reach each other${noMacvlan === undefined ? "" : ` (${noMacvlan})`}`,
      async () => {
        node.text(`ip address add ${SERVICE}/32 dev lo`);
        node.follow(underlay(macvlan, PASSTHROUGH));
        lab.ours([64514]);
        lab.speaker("services", node.netns, {
          ...{ asn: 64515, routerId: "10.0.2.1", networks: [`${SERVICE}/32`] },
          neighbors: [
            { address: "192.169.9.1", asn: 64514, connectRetry: "1s", families: { "ipv4-unicast": {} } },
          ],
        });
        await until("the fabric has the service", async () =>
          lab.scratch.text(`ip route show ${SERVICE}`).includes("via 192.168.11.3"),
        );
        expect(node.text(`ip route show ${SERVICE}`, "cw-underlay")).toContain("via 192.169.9.2 dev host0");
        expect(node.text("ip route show 100.65.0.1")).toContain("via 192.169.9.1 dev cwpunderlay");
        node.text("ip route add 192.168.11.2 via 192.169.9.1");
        await until("the service reaches the fabric", async () =>
          pings(node.netns, "192.168.11.2", `-c 1 -W 2 -I ${SERVICE}`),
        );
        expect(node.text("ip -d -o link show dev fabric0", "cw-underlay")).toContain("macvlan mode bridge");
        const before = node.text("ip -o link", "cw-underlay");
        node.follow(underlay(macvlan, `${PASSTHROUGH}\n  restartTime: 60s`));
        expect(node.text("ip -o link", "cw-underlay")).toBe(before);
        await isOver();
      },
    );

    const noVlan = lacksKind({ name: "x", type: "vlan", parent: 0, vlanId: 7 });
    test.skipIf(noVlan !== undefined)(
      `a VLAN link reaches the fabric in its VLAN${noVlan === undefined ? "" : ` (${noVlan})`}`,
      async () => {
        lab.scratch.text("ip address flush dev to-a");
        lab.scratch.text("ip link add link to-a name vlan7 type vlan id 7");
        lab.scratch.text("ip address add 192.168.11.2/24 dev vlan7");
        lab.scratch.text("ip link set vlan7 up");
        node.follow(underlay("vlan: {parent: eth1, id: 7}"));
        lab.ours([64514]);
        await until("the fabric has the tunnel endpoint", async () =>
          lab.scratch.text("ip route show 100.65.0.1").includes("via 192.168.11.3 dev vlan7"),
        );
        await isOver();
      },
    );

    test.skipIf(noMacvlan !== undefined)(
      "a link that a file wants otherwise is named, and stays",
      async () => {
        node.follow(underlay(macvlan));
        const before = node.text("ip -o link", "cw-underlay");
        node.follow(underlay("macvlan: {parent: eth1, mode: private}"));
        node.follow(underlay("bond: {members: [eth1], mode: active-backup}"));
        const problem = (as: string) =>
          `Underlay "rack": link fabric0 is there already, as ${as}, and does not change; give the new one another name`;
        expect(node.problems[0]).toBe(problem("macvlan in mode bridge"));
        expect(node.problems).toContain(problem("macvlan"));
        expect(before).toContain("fabric0@");
        node.problems.length = 0;
        node.follow(underlay(macvlan));
        expect(node.text("ip -o link", "cw-underlay")).toBe(before);
        await isOver();
      },
    );

    test.skipIf(noMacvlan !== undefined)(
      "a link without a parent is named, and made once that is there",
      async () => {
        const wanted = underlay("macvlan: {parent: eth9, mode: bridge}");
        node.follow(wanted);
        expect(node.problems).toEqual([
          'Underlay "rack": link fabric0 has no parent: there is no link eth9 on this node',
        ]);
        node.problems.length = 0;
        node.text("ip link add eth9 type bridge");
        node.follow(wanted);
        expect(node.text("ip -br address show dev fabric0", "cw-underlay")).toContain("192.168.11.3/24");
        await isOver();
      },
    );
  },
);
