import { expect, test } from "bun:test";
import { planEdge } from "../edge/mod.ts";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { shownRouter } from "./edge-status.ts";

const routerOf = (endpoint: string) => {
  const { resources, problems } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}, {name: eth2}]
  neighbors: [{link: eth1, asn: external}]
  tunnelEndpoint: ${endpoint}
  hostSessions: [{name: pt, asn: 64514, peerAsn: internal, prefixes: [192.169.9.0/24]}]
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {}, hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24, "fd00:9::/64"]}}
`);
  expect(problems.map(formatProblem)).toEqual([]);
  const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
  return planEdge(tenants, { node: { name: "a", hub: false, index: 3 } }).edge.routers[0];
};

test("a router is shown with the addresses that the node has of pools", () => {
  const legs = [
    { link: "cwpunderlay", edge: ["192.169.9.1/24"], host: ["192.169.9.5/24"] },
    {
      ...{ vpc: "red", link: "cwh5100" },
      edge: ["192.169.10.1/24", "fd00:9::1/64"],
      host: ["192.169.10.5/24", "fd00:9::5/64"],
    },
  ];
  const same = { underlay: "rack", asn: 64514, routerId: "10.0.0.4", links: ["eth1", "eth2"], legs };
  expect(shownRouter(routerOf("{prefixes: [100.65.0.0/24]}"))).toEqual({
    ...same,
    endpoints: ["100.65.0.3"],
  });
  expect(shownRouter(routerOf("{link: eth2}"))).toEqual({ ...same, endpoints: ["eth2", "eth2"] });
  expect(shownRouter(undefined)).toEqual({ underlay: "" });
});
