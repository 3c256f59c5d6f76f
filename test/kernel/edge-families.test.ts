/** Tunnel endpoints of both families on one node: each VPC over its own, with machines behind bridges of two hosts. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { notRoot } from "../support/scratch.ts";
import { seen } from "../support/seen.ts";

setDefaultTimeout(120_000);

/** Node 1 or 2; what leads to tunnel endpoints is static. */
const manifest = (node: number, blue = "underlay: {family: 6}") => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${64513 + node}
  links: [{name: eth1}]
  neighbors: [{address: 192.168.${10 + node}.2, asn: 64512, connectRetry: 1s, families: {l2vpn-evpn: {}}}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32, "fd65::${node}/128"]}
  routes:
    - {prefix: 100.65.0.${3 - node}/32, via: 192.168.${10 + node}.2}
    - {prefix: "fd65::${3 - node}/128", via: "fd0${node}::2"}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {}}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: blue}
spec: {vni: 5200, underlay: {family: 6}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: blue.web}
spec: {vpc: blue, vni: 5210, prefixes: [10.1.0.0/24], hostBridge: {}, ${blue}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: blue.own${node}}
spec: {vpc: blue, vni: ${5210 + node}, prefixes: [10.2.${node}.0/24], hostBridge: {}, underlay: {family: 6, nodes: {node: [${node === 1 ? "a" : "b"}]}}}
`;

describe.skipIf(notRoot !== undefined)(
  `tunnel endpoints of both families${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let nodes: readonly [EdgeNode, EdgeNode];
    let serial = 0;
    beforeAll(() => {
      lab = new EdgeLab({ names: ["a", "b"] });
      nodes = [lab.node("a"), lab.node("b")];
      lab.scratch.text("sysctl -qw net.ipv6.conf.all.forwarding=1");
      lab.ours([64514, 64515]);
      for (const [i, node] of nodes.entries()) {
        const [number, name] = [i + 1, node.name];
        lab.scratch.text(`ip address add fd0${number}::2/64 dev to-${name} nodad`);
        lab.scratch.text(`ip route add 100.65.0.${number} via 192.168.${10 + number}.3`);
        lab.scratch.text(`ip route add fd65::${number} via fd0${number}::3`);
        node.text(`ip address add fd0${number}::3/64 dev eth1 nodad`);
        node.start();
        node.follow(manifest(number));
        expect(node.problems).toEqual([]);
      }
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    function machine(node: EdgeNode, bridge: string, address: string): Netns {
      const netns = lab.scratch.another();
      const name = `m${++serial}`;
      node.text(`ip link add ${name} type veth peer name eth0 netns ${netns.path}`);
      node.text(`ip link set ${name} master ${bridge} up`);
      lab.scratch.text(`ip address add ${address}/24 dev eth0`, netns);
      lab.scratch.text("ip link set eth0 up", netns);
      lab.scratch.text(`ip route add default via ${address.replace(/\d+$/, "1")}`, netns);
      lab.serve(netns);
      return netns;
    }

    test("machines of one VPC reach each other over IPv4, of another with the same addresses over IPv6", async () => {
      const [a, b] = nodes;
      const red = machine(a, "cwb5110", "10.1.0.5");
      const blue = machine(a, "cwb5210", "10.1.0.5");
      machine(b, "cwb5110", "10.1.0.6");
      machine(b, "cwb5210", "10.1.0.7");
      expect(await seen(red, "10.1.0.6")).toBe("10.1.0.5");
      expect(await seen(blue, "10.1.0.7")).toBe("10.1.0.5");
      expect(pings(red, "10.1.0.7")).toBe(false);
      const linksOf = (inside: string) => a.text("ip -d -o link show type vxlan", inside);
      expect(linksOf("cw-5100")).toContain("local 100.65.0.1 ");
      expect(linksOf("cw-5100")).not.toContain("fd65::");
      expect(linksOf("cw-5200")).toContain("local fd65::1 ");
      expect(linksOf("cw-5200")).not.toContain("100.65.");
    });

    test("a VPC over IPv6 is routed between nodes", async () => {
      const [a, b] = nodes;
      const here = machine(a, "cwb5211", "10.2.1.5");
      machine(b, "cwb5212", "10.2.2.5");
      expect(await seen(here, "10.2.2.5")).toBe("10.2.1.5");
      expect(a.text("ip route show 10.2.2.0/24", "cw-5200")).toContain("via inet6 fd65::2 dev br5200");
    });

    test("an endpoint of the other family that comes and goes changes nothing of a VPC", () => {
      const [a] = nodes;
      const link = () => a.text("ip -o link show dev vx5200", "cw-5200");
      const before = link();
      a.follow(manifest(1).replace("100.65.0.1/32, ", ""));
      expect(link()).toBe(before);
      a.follow(manifest(1));
      expect(link()).toBe(before);
      expect(a.text("ip -d -o link show dev vx5100", "cw-5100")).toContain("local 100.65.0.1 ");
      expect(a.problems).toEqual([]);
    });

    test("a Subnet over another family than its VPC is named, and left out", () => {
      const [a] = nodes;
      a.follow(manifest(1, "underlay: {family: 4}"));
      expect(a.problems).toEqual([
        'Subnet "blue.web": spec.underlay.family 4 and that of VPC "blue" (spec.underlay.family) are IPv4 and IPv6, and VXLAN of a VPC ends at one address; write the same',
      ]);
      expect(a.edge.place(5100)).toBeDefined();
      expect(a.edge.place(5200)).toBeDefined();
      expect(a.text("ip -br link", "cw-5200")).not.toContain("br5210");
    });
  },
);
