/** One node's edge while its resources and labels change. Numbers in names are those of OpenPERouter's end-to-end cases (docs/edge-tests.md). */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

interface Underlay {
  readonly name?: string;
  readonly links?: string;
  readonly tor?: string;
  readonly pool?: string;
  readonly more?: string;
}

const underlay = ({
  name = "rack",
  links = "{name: eth1}",
  tor = "192.168.11.2",
  pool = "100.65.0.1/32",
  more = "",
}: Underlay = {}) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: ${name}}
spec:
  asn: 64514
  links: [${links}]
  neighbors: [{address: ${tor}, asn: 64512, connectRetry: 1s, hold: 9s, keepalive: 3s}]
  restartTime: 0
  tunnelEndpoint: {prefixes: [${pool}]}
${more}`;
const session = (prefixes: string) =>
  `{asn: 64514, peerAsn: 64515, prefixes: [${prefixes}], connectRetry: 1s}`;
const vpc = (name: string, vni: number, prefixes: string, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec:
  vni: ${vni}
  underlay: {${more}}
  hostSession: ${session(prefixes)}
`;
const subnet = (name: string, vni: number, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}}
spec: {vpc: ${name.split(".")[0]}, vni: ${vni}, prefixes: [10.1.0.0/24], hostBridge: {}, underlay: {${more}}}
`;
const RED = vpc("red", 5100, "192.169.10.0/24");
const WEB = subnet("red.web", 5110);
const on = (rack: string) => `nodes: {labels: [rack=${rack}]}`;

describe.skipIf(notRoot !== undefined)(
  `changes of an edge${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    const fabric = (command: string) => lab.scratch.text(command);
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      fabric(`ip link add to-a2 mtu 1600 type veth peer name eth2 netns ${node.netns.path}`);
      fabric("ip address add 192.168.12.2/24 dev to-a2");
      fabric("ip link set to-a2 up");
      node.text("ip address add 192.168.12.3/24 dev eth2");
      node.text("ip link set eth2 mtu 1600 up");
      node.start();
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    /** What an edge has on the host, by name. */
    const links = () => (node.text("ip -br link").match(/\b(cw\w+|eth\d)\b/g) ?? []).sort();
    const settled = (...wanted: readonly string[]) =>
      until("the host's links are those", async () => Bun.deepEquals(links(), [...wanted].sort()));
    const isThere = (inside: string) => node.text("ip -br link", inside) !== "";
    const knows = (address: string, via: string) =>
      until(`the fabric has ${address}`, async () =>
        fabric(`ip route show ${address}`).includes(`via ${via}`),
      );
    const forgets = (address: string) =>
      until(`the fabric has no ${address}`, async () => fabric(`ip route show ${address}`).trim() === "");
    const vtep = (vni: number) =>
      / local (\S+) /.exec(node.text(`ip -d -o link show dev vx${vni}`, `cw-${vni}`))?.[1];

    test("3, 11: what had another number is gone, and what has the new one is there", async () => {
      node.follow(underlay() + RED + WEB);
      await settled("cwh5100", "cwl5110", "cwb5110", "eth2");
      node.follow(underlay() + vpc("red", 5101, "192.169.10.0/24") + subnet("red.web", 5111));
      expect(node.problems).toEqual([]);
      await settled("cwh5101", "cwl5111", "cwb5111", "eth2");
      expect(() => node.text("ip link", "cw-5100")).toThrow();
      expect(node.text("ip -br link", "cw-5101")).toMatch(/vx5101[^]*vx5111|vx5111[^]*vx5101/);
    });

    test("4: another pool of tunnel endpoints: VXLAN ends there, the old address goes, the session stays", async () => {
      lab.ours([64514]);
      node.follow(underlay() + RED);
      await knows("100.65.0.1", "192.168.11.3");
      node.logged.length = 0;
      node.follow(underlay({ pool: "100.66.0.1/32" }) + RED);
      await knows("100.66.0.1", "192.168.11.3");
      await forgets("100.65.0.1");
      expect(vtep(5100)).toBe("100.66.0.1");
      expect(node.text("ip -o address show dev lo", "cw-underlay")).not.toContain("100.65.0.1");
      expect(node.logged.filter((line) => line.includes("session is down"))).toEqual([]);
    });

    test("4, 15: a link that is not there is named, and nothing of the rest goes; another link takes over, and the first is the host's", async () => {
      const other = { links: "{name: eth2}", tor: "192.168.12.2" };
      lab.speaker("fabric", lab.scratch.netns, {
        ...{ asn: 64512, routerId: "10.0.1.1" },
        neighbors: ["192.168.11.3", "192.168.12.3"].map((address) => ({
          ...{ address, asn: 64514, connectRetry: "1s" },
          families: { "ipv4-unicast": {}, "l2vpn-evpn": {} },
        })),
      });
      node.follow(underlay() + RED);
      await knows("100.65.0.1", "192.168.11.3");
      node.follow(underlay({ links: "{name: eth9}" }) + RED);
      expect(node.problems.join()).toContain("there is no link eth9 on this node; plug it in");
      expect(isThere("cw-5100")).toBe(true);
      node.follow(underlay(other) + RED);
      // The ToR that lost its link finds that out by its hold timer.
      await knows("100.65.0.1", "192.168.12.3");
      expect(node.text("ip -o -4 address show dev eth1")).toContain("inet 192.168.11.3/24");
      expect(node.edge.status()[0]?.problems).toEqual([]);
      await settled("cwh5100", "eth1");
    });

    test("5, 6, 7: domains of IPv6 alone, of both and of IPv4 alone side by side, each with its session", async () => {
      node.follow(
        underlay() +
          vpc("six", 5300, '"2001:db8:169:12::/64"') +
          vpc("both", 5200, '192.169.11.0/24, "2001:db8:169:11::/64"') +
          RED,
      );
      expect(node.problems).toEqual([]);
      expect(node.text("ip -4 -o address show dev host0", "cw-5100")).toContain("192.169.10.1/24");
      expect(node.text("ip -4 -o address show dev host0", "cw-5300")).toBe("");
      expect(node.text("ip -6 -o address show dev host0 scope global", "cw-5100")).toBe("");
      const peers = [
        ["192.169.10.1", "ipv4-unicast"],
        ["192.169.11.1", "ipv4-unicast"],
        ["2001:db8:169:11::1", "ipv6-unicast"],
        ["2001:db8:169:12::1", "ipv6-unicast"],
      ] as const;
      lab.speaker("host", node.netns, {
        ...{ asn: 64515, routerId: "10.0.2.1", networks: ["10.99.0.1/32", "2001:db8:99::1/128"] },
        neighbors: peers.map(([address, family]) => ({
          ...{ address, asn: 64514, connectRetry: "1s", families: { [family]: {} } },
        })),
      });
      for (const [address] of peers)
        await until(`${address} is reached`, async () => pings(node.netns, address));
      const fromHost = (vni: number) =>
        [...(node.edge.status()[0]?.domains.find((one) => one.vni === vni)?.fromHost ?? [])].sort();
      const [four, six] = ["10.99.0.1/32", "2001:db8:99::1/128"];
      for (const [vni, wanted] of [
        [5100, [four]],
        [5200, [four, six]],
        [5300, [six]],
      ] as const)
        await until(`VNI ${vni} has what its host announces`, async () =>
          Bun.deepEquals(fromHost(vni), [...wanted]),
        );
    });

    test("8, 12, 13, 16: labels decide what of it a node has, whenever they change", async () => {
      const all =
        underlay({
          more: `  ${on("a")}\n  hostSessions: [{name: plain, nodes: {labels: [plain]}, asn: 64514, peerAsn: 64515, prefixes: [192.169.9.0/24]}]\n`,
        }) +
        "---" +
        underlay({ name: "other", more: `  ${on("b")}\n`, links: "{name: eth2}" }) +
        vpc("red", 5100, "192.169.10.0/24", "nodes: {labels: [red]}") +
        subnet("red.web", 5110, "nodes: {labels: [web]}") +
        vpc("blue", 5200, "192.169.11.0/24");
      const labelled = async (labels: Record<string, string>, ...wanted: readonly string[]) => {
        node.labels = labels;
        node.follow(all);
        await settled(...wanted);
      };
      await labelled({}, "eth1", "eth2");
      await labelled({ rack: "a" }, "cwh5200", "eth2");
      await labelled({ rack: "a", red: "" }, "cwh5100", "cwh5200", "eth2");
      await labelled(
        { rack: "a", red: "", web: "", plain: "" },
        ...["cwh5100", "cwh5200", "cwl5110", "cwb5110", "cwpunderlay", "eth2"],
      );
      expect(node.problems).toEqual([]);
      await labelled({ rack: "a", web: "", plain: "" }, "cwh5200", "cwpunderlay", "eth2");
      expect(node.problems).toEqual([
        'Subnet "red.web": spec.vpc red is a VPC that is not on node a; change its spec.underlay.nodes, or those of the Subnet',
      ]);
      await labelled({ rack: "b", red: "" }, "cwh5100", "cwh5200", "eth1");
      await labelled({ red: "" }, "eth1", "eth2");
      expect(() => node.text("ip link", "cw-underlay")).toThrow();
    });
  },
);
