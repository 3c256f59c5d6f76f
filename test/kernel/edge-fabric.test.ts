/** Two nodes' edges in a fabric of FRR, with FRR on the hosts as MetalLB runs it: routes of both sides, and packets with the addresses that they had. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { run } from "../../src/sys/mod.ts";
import { foreignRoot } from "../support/bgp-foreign.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

interface Side {
  readonly asn: number;
  readonly hostAsn: number;
  readonly net: string;
  readonly tor: string;
  readonly vtep: string;
}

const manifest = ({ asn, hostAsn, net, tor, vtep }: Side) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  routerIds: ${net}.200.0/24
  links: [{name: eth1}]
  neighbors: [{address: ${tor}, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [${vtep}/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: {}
  hostSession: {asn: ${asn}, peerAsn: ${hostAsn}, prefixes: [${net}.10.0/24], connectRetry: 1s}
`;

/** As MetalLB configures it: one peer, and the addresses of its services. */
const speaker = ({ asn, hostAsn, net }: Side, service: string) => `
router bgp ${hostAsn}
 bgp router-id ${net}.10.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 20 60
 bgp graceful-restart
 neighbor ${net}.10.1 remote-as ${asn}
 neighbor ${net}.10.1 timers connect 1
 address-family ipv4 unicast
  network ${service}
 exit-address-family
`;

const A: Side = { asn: 64514, hostAsn: 64515, net: "192.169", tor: "192.168.11.2", vtep: "100.65.0.1" };
const B: Side = { asn: 64524, hostAsn: 64525, net: "192.170", tor: "192.168.12.2", vtep: "100.65.0.2" };
const [SERVICE_A, SERVICE_B] = ["10.99.0.1", "10.98.0.1"];

describe.skipIf(lacks !== undefined)(`edge in a fabric${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let lab: EdgeLab;
  let a: EdgeNode;
  let b: EdgeNode;
  let server: { stop(): unknown };
  beforeAll(async () => {
    lab = new EdgeLab({ names: ["a", "b"], root: root as string });
    [a, b] = [lab.node("a"), lab.node("b")];
    a.text("ip route add 203.0.113.0/24 via 192.168.11.2 proto static metric 77");
    await lab.fabric([A.asn, B.asn]);
    for (const [node, side, service] of [
      [a, A, SERVICE_A],
      [b, B, SERVICE_B],
    ] as const) {
      node.text(`ip address add ${service}/32 dev lo`);
      node.start();
      node.follow(manifest(side));
      await lab.frr(node.netns, speaker(side, `${service}/32`));
    }
    server = b.netns.run(() =>
      Bun.serve({
        ...{ hostname: SERVICE_B, port: 8080 },
        fetch: (request, listening) => new Response(listening.requestIP(request)?.address),
      }),
    );
  });
  afterAll(async () => {
    await server?.stop();
    await lab?.[Symbol.asyncDispose]();
  });

  const routesTo = (node: EdgeNode, prefix: string, inside?: string) =>
    node.text(`ip route show ${prefix}`, inside);

  test("what a host announces reaches the other host, and packets keep their addresses", async () => {
    try {
      await until("the host of a knows the service of b", async () =>
        routesTo(a, SERVICE_B).includes("via 192.169.10.1"),
      );
      await until("the host of b knows the service of a", async () =>
        routesTo(b, SERVICE_A).includes("via 192.170.10.1"),
      );
    } catch (error) {
      for (const node of [a, b]) {
        console.log(
          node.name,
          node.problems,
          node.logged.join("\n"),
          JSON.stringify(node.edge.status(), null, 1),
        );
        for (const inside of [undefined, "cw-underlay", "cw-5100"])
          console.log(inside, node.text("ip -br address", inside), node.text("ip route", inside));
      }
      throw error;
    }
    const { stdout } = await curl(a);
    expect(stdout).toBe(SERVICE_A);
  });

  const curl = (node: EdgeNode) =>
    run(["curl", "-s", "--max-time", "5", "--interface", SERVICE_A, `http://${SERVICE_B}:8080/`], {
      netns: node.netns,
    });
});
