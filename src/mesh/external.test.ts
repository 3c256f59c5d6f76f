import { describe, expect, test } from "bun:test";
import type { KernelObject } from "../engine/mod.ts";
import {
  formatIp,
  formatPrefix,
  parseEndpoint,
  parseIp,
  parsePrefix,
  type PublicKey,
  Secret,
} from "../net/mod.ts";
import { type ExternalPeer, newMesh, type Node, parseManifest } from "../resources/mod.ts";
import { carriedPrefixes, type ExternalFacts, externalObjects, subnetRules, subnetsOf } from "./external.ts";

const mesh = newMesh("home", { endpoints: ["203.0.113.1:51820"], overlay6: "fd01:2:3::/64" });
const node = (name: string, number: number, more: Partial<Node> = {}): Node => ({
  name,
  publicKey: `key-${name}` as PublicKey,
  hub: number === 1,
  overlay4: parseIp(`10.90.0.${number}`),
  overlay6: parseIp(`fd01:2:3::${number}`),
  endpoints: [],
  local: [],
  observed: [],
  mapped: [],
  hubs: [],
  ...more,
});
const peer = (name: string, more: Partial<ExternalPeer> = {}): ExternalPeer => ({
  name,
  publicKey: `key-${name}` as PublicKey,
  hub: "hub",
  overlay4: parseIp("10.90.255.254"),
  overlay6: parseIp("fd01:2:3::fffe"),
  allowed: [],
  presharedKey: false,
  ...more,
});
const hub = node("hub", 1);
const attic = node("attic", 2);
const LAN = [parsePrefix("192.168.7.0/24"), parsePrefix("fd77::/64")];
const router = peer("router", { allowed: LAN });

function factsOf(self: Node, more: Partial<ExternalFacts> = {}): ExternalFacts {
  return {
    mesh,
    self,
    nodes: [hub, attic].filter(({ name }) => name !== self.name),
    mtuBytes: 1420,
    peers: [router],
    ...more,
  };
}

function show(object: KernelObject): string {
  if (object.kind === "route")
    return `route ${formatPrefix(object.destination)} src ${object.source && formatIp(object.source)}${object.mtuBytes === undefined ? "" : ` mtu ${object.mtuBytes}`}`;
  if (object.kind !== "peer") return object.kind;
  const psk = object.presharedKey === undefined ? "" : " psk";
  return `peer ${object.publicKey} ${object.allowedIps.map(formatPrefix).join(",")}${psk}${object.endpoint === undefined ? "" : " endpoint"}`;
}
const shown = (facts: ExternalFacts) =>
  Object.fromEntries([...externalObjects(facts)].map(([scope, objects]) => [scope, objects.map(show)]));
const carried = (facts: ExternalFacts, of = hub) => carriedPrefixes(of, facts).map(formatPrefix);

describe("an external peer", () => {
  test("at the hub that carries it: a WireGuard peer, held to its networks, and routes behind it", () => {
    expect(shown(factsOf(hub))).toEqual({
      "external/router": [
        "peer key-router 10.90.255.254/32,fd01:2:3::fffe/128,192.168.7.0/24,fd77::/64",
        "route 192.168.7.0/24 src 10.90.0.1",
        "route fd77::/64 src fd01:2:3::1",
      ],
    });
  });

  test("at other nodes: allowed IPs of the hub's peer and routes, and nothing for another hub", () => {
    expect(carried(factsOf(attic))).toEqual([
      "10.90.255.254/32",
      "fd01:2:3::fffe/128",
      "192.168.7.0/24",
      "fd77::/64",
    ]);
    expect(shown(factsOf(attic))).toEqual({
      "external/router": ["route 192.168.7.0/24 src 10.90.0.2", "route fd77::/64 src fd01:2:3::2"],
    });
    expect(carried(factsOf(attic), node("other", 3, { hub: true }))).toEqual([]);
    expect(carried(factsOf(hub), attic)).toEqual([]);
    expect(shown(factsOf(attic, { peers: [peer("laptop")] }))).toEqual({});
    expect(shown(factsOf(attic, { peers: [] }))).toEqual({});
  });

  test("a hub with a smaller tunnel: routes say so, also for the peer's own addresses", () => {
    const facts = factsOf(attic, { nodes: [node("hub", 1, { mtuBytes: 1380 })] });
    expect(shown(facts)["external/router"]).toEqual([
      "route 10.90.255.254/32 src 10.90.0.2 mtu 1376",
      "route fd01:2:3::fffe/128 src fd01:2:3::2 mtu 1376",
      "route 192.168.7.0/24 src 10.90.0.2 mtu 1376",
      "route fd77::/64 src fd01:2:3::2 mtu 1376",
    ]);
  });

  test("its pre-shared key is used; without the key it is not there, rather than there without it", () => {
    const secret = peer("laptop", { presharedKey: true, endpoint: parseEndpoint("198.51.100.7:1") });
    const keys = new Map([["laptop", Secret.random()]]);
    const keyed = shown(factsOf(hub, { peers: [secret], presharedKeys: keys }));
    expect(keyed).toEqual({
      "external/laptop": ["peer key-laptop 10.90.255.254/32,fd01:2:3::fffe/128 psk endpoint"],
    });
    expect(shown(factsOf(hub, { peers: [secret] }))).toEqual({});
    expect(
      shown(factsOf(hub, { peers: [peer("laptop")], presharedKeys: keys }))["external/laptop"]?.[0],
    ).not.toContain("psk");
  });

  test("rules: a node that may not talk to it has nothing of it; its role is `external` unless it has another", () => {
    const rules = [{ from: { role: ["external"] }, to: { node: ["attic"] } }];
    const ruled = { ...mesh, rules };
    expect(carried(factsOf(attic, { mesh: ruled }))).not.toEqual([]);
    const cellar = factsOf(node("cellar", 4), { mesh: ruled });
    expect([carried(cellar), shown(cellar)]).toEqual([[], {}]);
    expect(carried(factsOf(attic, { mesh: ruled, peers: [peer("x", { role: "guest" })] }))).toEqual([]);
    // The hub carries it in any case.
    expect(Object.keys(shown(factsOf(hub, { mesh: ruled })))).toEqual(["external/router"]);
  });
});

describe("networks behind nodes", () => {
  const behind = node("attic", 2, { subnets: LAN });

  test("others route them, unless they are in them themselves", () => {
    expect(subnetsOf(behind, hub).map(formatPrefix)).toEqual(["192.168.7.0/24", "fd77::/64"]);
    const there = node("cellar", 3, {
      local: [parseEndpoint("192.168.7.9:51820"), parseEndpoint("10.0.0.1:51820")],
    });
    expect(subnetsOf(behind, there).map(formatPrefix)).toEqual(["fd77::/64"]);
    expect(subnetsOf(attic, hub)).toEqual([]);
    expect(shown(factsOf(there))["external/router"]).toEqual(["route fd77::/64 src fd01:2:3::3"]);
  });

  test("the node masquerades what comes for them out of the tunnel", () => {
    expect(subnetRules(behind)).toEqual([
      `iifname "cw0" oifname != { "lo", "cw0" } ip daddr 192.168.7.0/24 counter masquerade`,
      `iifname "cw0" oifname != { "lo", "cw0" } ip6 daddr fd77::/64 counter masquerade`,
    ]);
    expect(subnetRules(attic)).toEqual([]);
  });
});

test("as a manifest: what is wrong is told", async () => {
  const { peerExample } = await import("../resources/mod.ts");
  const { resources, problems } = parseManifest(peerExample);
  expect(problems).toEqual([]);
  expect(resources[0]).toMatchObject({
    kind: "Peer",
    value: { name: "laptop", hub: "hub", presharedKey: false },
  });
  const read = (from: string, to: string) =>
    parseManifest(peerExample.replace(from, to)).problems.map(({ problem }) => problem);
  expect(read("192.168.7.0/24", "192.168.7.1/24")).toEqual([
    '"192.168.7.1/24" has bits set after its length; write 192.168.7.0/24',
  ]);
  expect(
    read("presharedKey: false", "presharedKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=")[0],
  ).toContain("the key itself is never written here");
  const none = peerExample.replace(/ {2}overlay.*\n/g, "");
  expect(parseManifest(none).problems.map(({ problem }) => problem)).toEqual([
    "is missing, and overlay6 too; add one of them",
  ]);
});
