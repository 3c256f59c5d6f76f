/**
 * Tunnel endpoints on a link of the fabric: its own address on one node, one of a pool on the other, with machines behind bridges of the hosts. Over IPv4
 * with FRR between them, over IPv6 with a router of ours.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { bridgedMachine } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

/** Node 1 or 2: a Subnet of both, and one of its own. */
const manifest = (
  node: number,
  { tor, endpoint, family }: { readonly tor: string; readonly endpoint: string; readonly family: 4 | 6 },
) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${64504 + 10 * node}
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [{address: "${tor}", asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {link: eth1${endpoint}}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {family: ${family}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {}, underlay: {family: ${family}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.own${node}}
spec: {vpc: red, vni: ${5110 + node}, prefixes: [10.2.${node}.0/24], hostBridge: {}, underlay: {family: ${family}}}
`;

const reaches = (from: Netns, address: string) =>
  until(`${address} is reached`, async () => pings(from, address));
const endpointOf = (node: EdgeNode) =>
  / local (\S+) /.exec(node.text("ip -d -o link show dev vx5100", "cw-5100"))?.[1];
const wayTo = (node: EdgeNode, prefix: string, inside: string) =>
  node.text(`ip route show ${prefix}`, inside).replace(/ nhid \d+/, "");
/** Addresses of the fabric's link, and of the loopback interface, in the router's namespace. */
const addressesOf = (node: EdgeNode, link: string) =>
  (node.text(`ip -o address show dev ${link} scope global`, "cw-underlay").match(/inet6? \S+/g) ?? []).sort();

/** Machines of the Subnet of both nodes, and of a's own. */
function machinesOf(lab: EdgeLab, [a, b]: readonly [EdgeNode, EdgeNode]): readonly [Netns, Netns] {
  const here = bridgedMachine(lab, a, { bridge: "cwb5110", address: "10.1.0.5" });
  const own = bridgedMachine(lab, a, { bridge: "cwb5111", address: "10.2.1.5" });
  bridgedMachine(lab, b, { bridge: "cwb5110", address: "10.1.0.6" });
  bridgedMachine(lab, b, { bridge: "cwb5112", address: "10.2.2.5" });
  return [here, own];
}

describe.skipIf(lacks !== undefined)(
  `tunnel endpoints on a link, over IPv4${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let tor: Foreign;
    let machines: readonly [Netns, Netns];
    const A = manifest(1, { tor: "192.168.11.2", endpoint: "", family: 4 });
    const B = (pool = "100.65.0.2/32") =>
      manifest(2, { tor: "192.168.12.2", endpoint: `, prefixes: [${pool}]`, family: 4 });
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"], root: root as string });
      [a, b] = [lab.node("a"), lab.node("b")];
      tor = await lab.fabric([64514, 64524]);
      // A link's network is the fabric's affair.
      tor.ask("configure", "router bgp 64512", "address-family ipv4 unicast", "network 192.168.11.0/24");
      for (const [node, text] of [
        [a, A],
        [b, B()],
      ] as const) {
        node.start();
        node.follow(text);
        expect(node.problems).toEqual([]);
      }
      machines = machinesOf(lab, [a, b]);
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    test("packets of one Subnet and between two go from the link's own address to one of a pool on a link", async () => {
      await reaches(machines[0], "10.1.0.6");
      await reaches(machines[1], "10.2.2.5");
      expect([a, b].map(endpointOf)).toEqual(["192.168.11.3", "100.65.0.2"]);
      expect(addressesOf(a, "eth1")).toEqual(["inet 192.168.11.3/24"]);
      expect(addressesOf(b, "eth1")).toEqual(["inet 100.65.0.2/32", "inet 192.168.12.3/24"]);
      expect([a, b].map((node) => addressesOf(node, "lo"))).toEqual([[], []]);
    });

    test("tables of both sides: the pool's address is announced, the link's own is not", () => {
      const table = tor.ask("show bgp l2vpn evpn");
      for (const line of [
        /\[3\]:\[0\]:\[32\]:\[192\.168\.11\.3\]\n +192\.168\.11\.3 .*64514 i/,
        /\[5\]:\[0\]:\[24\]:\[10\.2\.1\.0\]\n +192\.168\.11\.3 .*64514 i/,
        /\[3\]:\[0\]:\[32\]:\[100\.65\.0\.2\]\n +100\.65\.0\.2 .*64524 i/,
        /\[5\]:\[0\]:\[24\]:\[10\.2\.2\.0\]\n +100\.65\.0\.2 .*64524 i/,
      ])
        expect(table).toMatch(line);
      const { routes } = tor.json("show bgp ipv4 unicast json");
      expect(Object.keys(routes).sort()).toEqual(["100.65.0.2/32", "192.168.11.0/24"]);
      expect(wayTo(a, "10.2.2.0/24", "cw-5100")).toStartWith("10.2.2.0/24 via 100.65.0.2 dev br5100 ");
      expect(wayTo(b, "10.2.1.0/24", "cw-5100")).toStartWith("10.2.1.0/24 via 192.168.11.3 dev br5100 ");
      expect(wayTo(a, "100.65.0.2", "cw-underlay")).toStartWith(
        "100.65.0.2 via 192.168.11.2 dev eth1 proto bgp",
      );
      expect(b.text("bridge fdb show dev vx5110", "cw-5100")).toContain("dst 192.168.11.3");
    });

    test("another pool: the link has its address alone, VXLAN ends there, and packets follow", async () => {
      b.follow(B("100.66.0.2/32"));
      expect(endpointOf(b)).toBe("100.66.0.2");
      expect(addressesOf(b, "eth1")).toEqual(["inet 100.66.0.2/32", "inet 192.168.12.3/24"]);
      await until("a sends there", async () =>
        wayTo(a, "10.2.2.0/24", "cw-5100").includes("via 100.66.0.2 dev br5100"),
      );
      await reaches(machines[0], "10.1.0.6");
      await reaches(machines[1], "10.2.2.5");
      expect([...a.problems, ...b.problems]).toEqual([]);
    });

    test("an agent that begins anew finds it, and the host gets its link back without the pool's address", async () => {
      const before = b.text("ip -o link", "cw-5100");
      b.stop();
      b.start();
      b.follow(B("100.66.0.2/32"));
      expect(b.text("ip -o link", "cw-5100")).toBe(before);
      await reaches(machines[1], "10.2.2.5");
      b.follow("");
      expect(b.text("ip -4 -o address show dev eth1").match(/inet \S+/g)).toEqual(["inet 192.168.12.3/24"]);
    });
  },
);

describe.skipIf(notRoot !== undefined)(
  `tunnel endpoints on a link, over IPv6${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let machines: readonly [Netns, Netns];
    beforeAll(() => {
      lab = new EdgeLab({ names: ["a", "b"] });
      [a, b] = [lab.node("a"), lab.node("b")];
      lab.scratch.text("sysctl -qw net.ipv6.conf.all.forwarding=1");
      for (const [i, node] of lab.nodes.entries()) {
        lab.scratch.text(`ip address add fd0${i + 1}::2/64 dev to-${node.name} nodad`);
        node.text(`ip address add fd0${i + 1}::3/64 dev eth1 nodad`);
      }
      lab.speaker("fabric", lab.scratch.netns, {
        ...{ asn: 64512, routerId: "10.0.1.1", networks: ["fd01::/64"] },
        neighbors: [1, 2].map((node) => ({
          ...{ address: `fd0${node}::3`, asn: 64504 + 10 * node, connectRetry: "1s" },
          families: { "ipv6-unicast": {}, "l2vpn-evpn": {} },
        })),
      });
      for (const [node, endpoint] of [
        [a, ""],
        [b, ', prefixes: ["fd65::2/128"]'],
      ] as const) {
        const number = node === a ? 1 : 2;
        node.start();
        node.follow(manifest(number, { tor: `fd0${number}::2`, endpoint, family: 6 }));
        expect(node.problems).toEqual([]);
      }
      machines = machinesOf(lab, [a, b]);
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    test("packets of one Subnet and between two go from the link's own IPv6 address to one of a pool", async () => {
      await reaches(machines[0], "10.1.0.6");
      await reaches(machines[1], "10.2.2.5");
      expect([a, b].map(endpointOf)).toEqual(["fd01::3", "fd65::2"]);
      expect(addressesOf(b, "eth1")).toEqual([
        "inet 192.168.12.3/24",
        "inet6 fd02::3/64",
        "inet6 fd65::2/128",
      ]);
      expect(wayTo(a, "10.2.2.0/24", "cw-5100")).toStartWith("10.2.2.0/24 via inet6 fd65::2 dev br5100 ");
      expect(wayTo(b, "10.2.1.0/24", "cw-5100")).toStartWith("10.2.1.0/24 via inet6 fd01::3 dev br5100 ");
      expect(b.text("bridge fdb show dev vx5110", "cw-5100")).toContain("dst fd01::3");
      expect([...a.problems, ...b.problems]).toEqual([]);
    });
  },
);
