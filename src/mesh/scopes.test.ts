import { expect, test } from "bun:test";
import type { KernelObject } from "../engine/mod.ts";
import {
  formatPrefix,
  parseEndpoint,
  parseIp,
  parsePrefix,
  type Prefix,
  PrivateKey,
  Secret,
} from "../net/mod.ts";
import { newMesh, type Node } from "../resources/mod.ts";
import type { MeshFacts, PeerPath } from "./facts.ts";
import { MeshScopes } from "./scopes.ts";

const hubAt = parseEndpoint("203.0.113.1:51820");

function node(name: string, number: number): Node {
  return {
    name,
    publicKey: PrivateKey.random().publicKey,
    hub: false,
    overlay4: parseIp(`10.90.0.${number}`),
    overlay6: parseIp(`fd01:2:3::${number}`),
    pods4: parsePrefix(`10.244.${number}.0/24`),
    endpoints: [],
    local: [],
    observed: [],
    mapped: [],
    hubs: [],
  };
}

const [self, a, b] = [node("self", 1), node("a", 2), node("b", 3)];
const facts: MeshFacts = {
  mesh: newMesh("home", { endpoints: ["203.0.113.1:51820"], overlay6: "fd01:2:3::/64" }),
  self,
  nodes: [a, b],
  privateKey: PrivateKey.random(),
  tunnelLink: "external",
  listenPort: 51820,
  mtuBytes: 1440,
  paths: new Map([
    ["a", { endpoint: hubAt, generation: 0 }],
    ["b", { endpoint: hubAt, generation: 0 }],
  ]),
};

/** Scopes of other nodes that are to be set after a change. */
function changed(more: Partial<MeshFacts>): string[] {
  const scopes = new MeshScopes();
  scopes.follow(facts);
  return [...scopes.follow({ ...facts, ...more }).set.keys()].filter((scope) => scope.startsWith("peer/"));
}

test("of other nodes, those are computed of which something is new", () => {
  expect(changed({})).toEqual([]);
  // The same in another value, as after each step of a path.
  expect(changed({ paths: new Map([...(facts.paths ?? [])].map(([k, v]) => [k, { ...v }])) })).toEqual([]);
  const paths = new Map([...(facts.paths ?? []), ["b", { endpoint: hubAt, generation: 1 }] as const]);
  expect(changed({ paths })).toEqual(["peer/b"]);
  expect(changed({ nodes: [{ ...a, mtuBytes: 1380 }, b] })).toEqual(["peer/a"]);
  expect(changed({ heardNext: new Set(["a"]) })).toEqual(["peer/a"]);
  expect(changed({ pairKeys: new Map([["b", new Secret(new Uint8Array(32).fill(1))]]) })).toEqual(["peer/b"]);
  expect(changed({ nodes: [a, b, node("c", 4)] })).toEqual(["peer/c"]);
});

test("what all depend on has all computed anew", () => {
  expect(changed({ mtuBytes: 1420 })).toEqual(["peer/a", "peer/b"]);
  expect(changed({ self: { ...self, overlay4: parseIp("10.90.0.9") } })).toEqual(["peer/a", "peer/b"]);
  expect(changed({ self: { ...self, hubs: [{ hub: "hub", rttMs: 5 }] } })).toEqual([]);
});

test("who is gone is gone once, and one that moves is the only one that is computed", () => {
  const scopes = new MeshScopes();
  scopes.follow(facts);
  expect(scopes.follow({ ...facts, nodes: [b] }).gone).toEqual(["peer/a"]);
  expect(scopes.follow({ ...facts, nodes: [b] }).gone).toEqual([]);
  expect(scopes.has("peer/a")).toBe(false);
  const paths = new Map([["b", { endpoint: parseEndpoint("192.0.2.7:1"), generation: 0 }]]);
  expect([...scopes.move([b], { ...facts, paths }).keys()]).toEqual(["peer/b"]);
  expect(scopes.move([b], { ...facts, paths }).size).toBe(0);
  scopes.doubt();
  expect(scopes.move([b], { ...facts, paths }).size).toBe(1);
});

/** Routes of a scope, as `destination mtu`. */
function routesOf(objects: readonly KernelObject[] | undefined): string[] {
  return (objects ?? []).flatMap((object) =>
    object.kind === "route" && object.type === undefined
      ? [`${formatPrefix(object.destination)} ${object.mtuBytes ?? "-"}`]
      : [],
  );
}

test("nodes at rest share routes, with the least MTU of them all; who talks has its own", () => {
  const rests = { endpoint: hubAt, rests: true };
  const narrow: Node = { ...b, mtuBytes: 1380 };
  const nodes = [a, narrow];
  const scopes = new MeshScopes();
  const paths = new Map<string, PeerPath>([
    ["a", rests],
    ["b", { endpoint: hubAt }],
  ]);
  const first = scopes.follow({ ...facts, nodes, paths }).set;
  const pods4 = formatPrefix(facts.mesh.pods4 as Prefix);
  expect(routesOf(first.get("mesh"))).toContain(`${pods4} -`);
  expect(routesOf(first.get("peer/a"))).toEqual([]);
  expect(routesOf(first.get("peer/b"))).toEqual([
    "10.90.0.3/32 1376",
    "fd01:2:3::3/128 1376",
    "10.244.3.0/24 1376",
  ]);
  // The narrower one goes to rest too: all that rest have its MTU, from the move on and after the next look at all.
  const moved = scopes.move([narrow], { ...facts, nodes, paths: new Map([["b", rests]]) });
  expect(routesOf(moved.get("peer/b"))).toEqual([]);
  expect(routesOf(moved.get("mesh"))).toContain(`${pods4} 1376`);
  // The other begins to talk: its own routes have its own MTU, which is the link's.
  const talks = new Map<string, PeerPath>([
    ["a", { endpoint: hubAt }],
    ["b", rests],
  ]);
  const last = scopes.follow({ ...facts, nodes, paths: talks }).set;
  expect(routesOf(last.get("mesh"))).toContain(`${pods4} 1376`);
  expect(routesOf(last.get("peer/a"))).toEqual(["10.90.0.2/32 -", "fd01:2:3::2/128 -", "10.244.2.0/24 -"]);
  // Nobody rests: no route leads to pods that are nobody's.
  const none = scopes.follow({ ...facts, nodes }).set;
  expect(routesOf(none.get("mesh")).map((route) => route.split(" ")[0])).not.toContain(pods4);
});
