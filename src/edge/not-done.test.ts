import { expect, test } from "bun:test";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { legOf, notDone, waits } from "./not-done.ts";
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

test("leaks and rules of VPCs are told of", () => {
  const router = routerOf(`${underlay("{address: 192.168.11.2, asn: 64512}")}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {import: [{action: accept}]}}
`);
  expect(notDone(router)).toEqual([
    'VPC "red" waits, and neither announces nor imports: underlay.import and underlay.export are not acted on yet; remove them, and filter in sessions',
  ]);
});

test("a VPC with rules that nothing acts on has no session with the host, and waits", () => {
  const vpc = (more: string) => `${underlay("{address: 192.168.11.2, asn: 64512}")}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: ${more}
  hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24]}
`;
  const seen = (more: string) =>
    routerOf(vpc(more)).domains.map((domain) => [waits(domain), legOf(domain) !== undefined]);
  expect(seen("{}")).toEqual([[false, true]]);
  expect(seen("{export: [{action: accept}]}")).toEqual([[true, false]]);
  expect(seen("{import: [{action: reject}]}")).toEqual([[true, false]]);
});

test("no speaker of a router is called like that of another's domain", () => {
  expect(fabricSpeaker("rack-5100")).not.toBe(hostSpeaker("rack", 5100));
});
