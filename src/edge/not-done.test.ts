import { describe, expect, test } from "bun:test";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { notDone } from "./not-done.ts";
import type { EdgeRouter } from "./model.ts";
import { passwordsOf, type PasswordState, withPasswords } from "./passwords.ts";
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

describe("a session with a password of a Secret", () => {
  const router = routerOf(
    underlay("{address: 192.168.11.2, asn: 64512, password: {secret: {namespace: x, name: y}}}"),
  );
  const withState = (state?: PasswordState) => {
    const known = new Map(state === undefined ? [] : [["secret x/y/password", state] as const]);
    const [one] = withPasswords({ routers: [router] }, known).routers;
    const made = one as EdgeRouter;
    const [neighbor] = fabricRouter(made, { namespace: "/x" }).neighbors;
    return { told: notDone(made), file: neighbor?.passwordFile, runs: neighbor !== undefined };
  };

  test("says where it is", () => {
    expect(passwordsOf({ routers: [router] })).toEqual([
      { secret: { namespace: "x", name: "y", key: "password" } },
    ]);
  });
  test("does not run without", () => {
    expect(withState()).toEqual({ told: [], file: undefined, runs: false });
    expect(withState({ problem: "there is no Secret x/y; make it" })).toEqual({
      told: ["neighbor 192.168.11.2 waits: there is no Secret x/y; make it"],
      ...{ file: undefined, runs: false },
    });
  });
  test("runs with its file, and says that the Secret is gone", () => {
    expect(withState({ file: "/f" })).toEqual({ told: [], file: "/f", runs: true });
    expect(withState({ file: "/f", note: "there is no Secret x/y; make it" })).toEqual({
      told: ["neighbor 192.168.11.2 goes on with the password that it had: there is no Secret x/y; make it"],
      ...{ file: "/f", runs: true },
    });
  });
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

test("an AS number of a passthrough that is not its Underlay's is told of", () => {
  const router = routerOf(
    underlay("{address: 192.168.11.2, asn: 64512}").replace(
      "  tunnelEndpoint",
      "  hostSessions: [{name: x, asn: 7, peerAsn: 64515, prefixes: [192.0.2.0/24]}]\n  tunnelEndpoint",
    ),
  );
  expect(notDone(router)).toEqual(["host session: asn 7 changes nothing: it has the Underlay's, 64514"]);
});

test("no speaker of a router is called like that of another's domain", () => {
  expect(fabricSpeaker("rack-5100")).not.toBe(hostSpeaker("rack", 5100));
});
