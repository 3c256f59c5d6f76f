import { expect, test } from "bun:test";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { notDone } from "./not-done.ts";
import { planEdge } from "./plan.ts";
import { fabricRouter, fabricSpeaker, hostSpeaker } from "./speakers.ts";

function routerOf(text: string) {
  const { resources, problems } = parseManifest(text);
  expect(problems.map(formatProblem)).toEqual([]);
  const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
  const [router] = planEdge(tenants, { node: { name: "a", hub: false, index: 0 } }).edge.routers;
  if (router === undefined) throw new Error("no router");
  return router;
}

const underlay = (neighbor: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [${neighbor}]
  tunnelEndpoint: {prefixes: [100.65.0.0/24]}
`;

test("what is acted on is not spoken of", () => {
  expect(notDone(routerOf(underlay("{address: 192.168.11.2, asn: 64512, bfd: {}}")))).toEqual([]);
});

test("a session whose password cannot be read does not run without one", () => {
  const router = routerOf(
    underlay("{address: 192.168.11.2, asn: 64512, password: {secret: {namespace: x, name: y}}}"),
  );
  expect(notDone(router)).toEqual([
    "neighbor 192.168.11.2 waits: a password from a Secret is not read yet; write password: {file: …}",
  ]);
  expect(fabricRouter(router, { namespace: "/x" }).neighbors).toEqual([]);
});

test("next hops in rules of VPCs are told of", () => {
  const router = routerOf(`${underlay("{address: 192.168.11.2, asn: 64512}")}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {import: [{set: {nextHop: 192.0.2.1}, action: accept}]}}
`);
  expect(notDone(router)).toEqual([
    'VPC "red": nextHop in underlay.import changes nothing: tunnel endpoints stay',
  ]);
});

test("no speaker of a router is called like that of another's domain", () => {
  expect(fabricSpeaker("rack-5100")).not.toBe(hostSpeaker("rack", 5100));
});
