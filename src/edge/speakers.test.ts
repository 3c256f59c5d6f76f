import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { notDone } from "./not-done.ts";
import { planEdge } from "./plan.ts";
import { fabricRouter } from "./speakers.ts";

test("what a session says of BFD and of families gets to its speaker", () => {
  const { resources, problems } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors:
    - address: 192.168.11.2
      asn: internal
      bfd: {transmit: 50ms, passive: true, minimumTtl: 250}
      families: {ipv4-unicast: {}, l2vpn-evpn: {routeReflectorClient: true}}
    - {address: 192.168.11.9, asn: 64512, bfd: {}}
  tunnelEndpoint: {prefixes: [100.65.0.0/24]}
`);
  expect(problems.map(formatProblem)).toEqual([]);
  const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
  const [router] = planEdge(tenants, { node: { name: "a", hub: false, index: 0 } }).edge.routers;
  if (router === undefined) throw new Error("no router");
  expect(notDone(router)).toEqual([]);
  const [some, plain] = fabricRouter(router, { namespace: "/x" }).neighbors;
  expect(some?.bfd).toEqual({
    ...{ transmitMs: 50, receiveMs: 300, multiplier: 3 },
    ...{ passive: true, minimumTtl: 250 },
  });
  expect(some?.routeReflectorClient).toBeUndefined();
  expect(some?.families).toEqual({
    "ipv4-unicast": { nextHop: "self" },
    "l2vpn-evpn": { routeReflectorClient: true },
  });
  expect(plain?.bfd).toEqual({ transmitMs: 300, receiveMs: 300, multiplier: 3 });
});

test("only a reflector has a cluster: its clients would take what it tells for their own", () => {
  const routerOf = (client: string) => {
    const { resources, problems } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [{address: 192.168.11.2, asn: internal, families: {l2vpn-evpn: {${client}}}}]
`);
    expect(problems.map(formatProblem)).toEqual([]);
    const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
    const [router] = planEdge(tenants, { node: { name: "a", hub: false, index: 0 } }).edge.routers;
    if (router === undefined) throw new Error("no router");
    return fabricRouter(router, { namespace: "/x" });
  };
  expect(routerOf("routeReflectorClient: true").clusterId).toEqual(parseIp("192.0.2.1"));
  expect(routerOf("").clusterId).toBeUndefined();
});
