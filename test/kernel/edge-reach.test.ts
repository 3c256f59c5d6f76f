/** A VTEP whose EVPN routes stay, told on by the fabric, while no route leads to it any more: it leaves use, and comes back. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

/** Without unicast from the fabric: what leads to tunnel endpoints is static. */
const underlay = (
  { asn, net, vtep }: { readonly asn: number; readonly net: string; readonly vtep: string },
  more: string,
) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  links: [{name: eth1}]
  neighbors: [{address: ${net}.2, asn: 64512, connectRetry: 1s, families: {l2vpn-evpn: {}}}]
  tunnelEndpoint: {prefixes: [${vtep}/32]}
  ${more}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {announce: [198.51.${asn - 64500}.0/24]}}
`;
const A = { asn: 64514, net: "192.168.11", vtep: "100.65.0.1" };
const B = { asn: 64524, net: "192.168.12", vtep: "100.65.0.2" };
const WAY = `routes: [{prefix: ${B.vtep}/32, via: 192.168.11.2}]`;

describe.skipIf(notRoot !== undefined)(
  `VTEPs that nothing leads to${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    beforeAll(() => {
      lab = new EdgeLab({ names: ["a", "b"] });
      a = lab.node("a");
      const b = lab.node("b");
      lab.ours([A.asn, B.asn]);
      a.start();
      a.follow(underlay(A, WAY));
      b.start();
      b.follow(underlay(B, ""));
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    const way = () => a.text("ip route show 198.51.24.0/24", "cw-5100");
    const entries = () => a.text("bridge fdb show dev vx5100", "cw-5100");

    test("it is used as long as a route leads to it, whatever the fabric tells", async () => {
      await until("a has b's network", async () => way().includes("via 100.65.0.2"));
      await until("a has b's router", async () => entries().includes("dst 100.65.0.2"));
      a.follow(underlay(A, ""));
      await until("b's network is not used", async () => way() === "");
      await until("b's router is not used", async () => !entries().includes("dst 100.65.0.2"));
      a.follow(underlay(A, WAY));
      await until("a has b's network again", async () => way().includes("via 100.65.0.2"));
      expect(a.problems).toEqual([]);
    });
  },
);
