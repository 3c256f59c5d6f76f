/** A node's edge as route reflector of others, as where ToRs speak no EVPN: case 72 of OpenPERouter's (docs/edge-tests.md). */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Netns, run } from "../../src/sys/mod.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(180_000);

const REFLECTOR = 1;

/** Nodes 1, 2 and 3; the first reflects for the others, and has no domain. */
function manifest(node: number): string {
  const others = [1, 2, 3].filter((one) => one !== node && (node === REFLECTOR || one === REFLECTOR));
  const options = node === REFLECTOR ? "routeReflectorClient: true" : "";
  const neighbors = others.map(
    (one) =>
      `{address: 192.168.1${one}.3, asn: internal, connectRetry: 1s, families: {l2vpn-evpn: {${options}}}}`,
  );
  const routes = others.map((one) => `{prefix: 192.168.1${one}.0/24, via: 192.168.1${node}.2}`);
  return `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.1${node}.2, asn: 64512, connectRetry: 1s, families: {ipv4-unicast: {}}}, ${neighbors.join(", ")}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32]}
  routes: [${routes.join(", ")}]
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: stretched}
spec: {routed: false, underlay: {nodes: {node: [b, c]}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: stretched.l2}
spec: {vpc: stretched, vni: 5310, hostBridge: {}}
`;
}

describe.skipIf(notRoot !== undefined)(
  `an edge that reflects${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    const machines: Netns[] = [];
    beforeAll(() => {
      lab = new EdgeLab({ names: ["a", "b", "c"] });
      lab.speaker("fabric", lab.scratch.netns, {
        ...{ asn: 64512, routerId: "10.0.1.1" },
        neighbors: [1, 2, 3].map((node) => ({
          ...{ address: `192.168.1${node}.3`, asn: 64514, connectRetry: "1s" },
          families: { "ipv4-unicast": {} },
        })),
      });
      for (const [i, node] of lab.nodes.entries()) {
        node.start();
        node.follow(manifest(i + 1));
      }
      for (const node of lab.nodes.slice(1)) machines.push(machine(node));
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    function machine(node: EdgeNode): Netns {
      const netns = lab.scratch.another();
      const last = node.name === "b" ? 5 : 6;
      node.text(
        `ip link add m0 type veth peer name eth0 netns ${netns.path} address 02:00:00:00:00:0${last}`,
      );
      node.text("ip link set m0 master cwb5310 up");
      lab.scratch.text(`ip address add 10.1.0.${last}/24 dev eth0`, netns);
      lab.scratch.text("ip link set eth0 up", netns);
      return netns;
    }

    test("72: machines of two clients reach each other, from node to node; the reflector has nothing of it but routes", async () => {
      const [a, b] = lab.nodes as [EdgeNode, EdgeNode, EdgeNode];
      const [near] = machines;
      // Speakers of ours are in this process, and go on meanwhile.
      await until("10.1.0.6 is reached", async () => {
        const ping = await run(["ping", "-n", "-c", "1", "-W", "2", "10.1.0.6"], { netns: near as Netns });
        return ping.status === 0;
      }).catch((error: Error) => {
        const seen = lab.nodes.map(
          (node) => `${node.name}: ${node.logged.join("\n")}\n${node.text("ip route", "cw-underlay")}`,
        );
        throw new Error([error.message, ...seen, b.text("bridge fdb show dev vx5310", "cw-5310")].join("\n"));
      });
      await until("b knows where the other one is", async () =>
        b.text("bridge fdb show dev vx5310", "cw-5310").includes("02:00:00:00:00:06 dst 100.65.0.3"),
      );
      expect(a.text("ip -br link", "cw-underlay")).not.toContain("vx");
      expect(() => a.text("ip link", "cw-5310")).toThrow();
      expect(lab.nodes.map(({ name, problems }) => [name, ...problems])).toEqual([["a"], ["b"], ["c"]]);
    });
  },
);
