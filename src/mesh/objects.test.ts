import { describe, expect, test } from "bun:test";
import type { KernelObject } from "../engine/mod.ts";
import {
  formatEndpoint,
  formatIp,
  formatPrefix,
  parseEndpoint,
  parseIp,
  parsePrefix,
  PrivateKey,
  type PublicKey,
} from "../net/mod.ts";
import { newMesh, type Node } from "../resources/mod.ts";
import type { MeshFacts, PeerPath } from "./facts.ts";
import { pathMtu, tunnelMtu } from "./mtu.ts";
import { newcomerObjects } from "./objects.ts";
import { MeshScopes } from "./scopes.ts";

const mesh = newMesh("home", { endpoints: ["203.0.113.1:51820"], overlay6: "fd01:2:3::/64" });
const privateKey = PrivateKey.random();
const HUB_ENDPOINT = parseEndpoint("203.0.113.1:51820");

function node(name: string, number: number, more: Partial<Node> = {}): Node {
  return {
    name,
    publicKey: `key-${name}` as PublicKey,
    hub: number === 1,
    overlay4: parseIp(`10.90.0.${number}`),
    overlay6: parseIp(`fd01:2:3::${number}`),
    pods4: parsePrefix(`10.244.${number - 1}.0/24`),
    pods6: parsePrefix(`fd01:2:3:10${number - 1}::/64`),
    endpoints: [],
    local: [],
    observed: [],
    mapped: [],
    hubs: [],
    ...more,
  };
}

const hub = node("hub", 1, { mtuBytes: 1420 });
const a = node("a", 2, { mtuBytes: 1420 });
const b = node("b", 3, { mtuBytes: 1380 });

function factsOf(self: Node, nodes: Node[], more: Partial<MeshFacts> = {}): MeshFacts {
  return {
    mesh,
    self,
    nodes,
    privateKey,
    tunnelLink: "wireguard",
    listenPort: 51820,
    mtuBytes: 1420,
    ...more,
  };
}

/** All that is desired. */
function meshObjects(facts: MeshFacts) {
  return new MeshScopes().follow(facts).set;
}

/** Objects as text, in the idiom of ip(8) and wg(8). */
function show(object: KernelObject): string {
  switch (object.kind) {
    case "link":
      return `link ${object.name} ${object.type} mtu ${object.mtuBytes}`;
    case "address":
      return `addr ${formatIp(object.address.ip)}/${object.address.length}`;
    case "wireguard":
      return `wg port ${object.listenPort}`;
    case "peer": {
      const endpoint = object.endpoint === undefined ? "" : ` endpoint ${formatEndpoint(object.endpoint)}`;
      const keepalive = object.keepaliveSeconds === undefined ? "" : ` keepalive ${object.keepaliveSeconds}`;
      return `peer ${object.publicKey}${endpoint}${keepalive} allowed [${object.allowedIps.map(formatPrefix).join(" ")}]`;
    }
    case "route": {
      const source = object.source === undefined ? "" : ` src ${formatIp(object.source)}`;
      const mtu = object.mtuBytes === undefined ? "" : ` mtu ${object.mtuBytes}`;
      return `route ${object.type ?? ""} ${formatPrefix(object.destination)}${source}${mtu}`.replace(
        "  ",
        " ",
      );
    }
    case "sysctl":
      return `sysctl ${object.path}=${object.value}`;
    default:
      return object.kind;
  }
}

const scope = (facts: MeshFacts, name: string) => meshObjects(facts).get(name)?.map(show);

describe("a node", () => {
  const facts = factsOf(a, [hub, b], { advertisedLinks: ["eth0"] });

  test("has its tunnel, host addresses, routes with source, backstops, settings and one table", () => {
    expect(scope(facts, "mesh")).toEqual([
      "link cw0 wireguard mtu 1420",
      "wg port 51820",
      "addr 10.90.0.2/32",
      "addr fd01:2:3::2/128",
      "route 10.90.0.0/16 src 10.90.0.2",
      "route fd01:2:3::/64 src fd01:2:3::2",
      "route unreachable 10.90.0.0/16",
      "route unreachable fd01:2:3::/64",
      "route unreachable 10.244.0.0/16",
      "route unreachable fd01:2:3:100::/56",
      "sysctl net/ipv6/conf/cw0/disable_ipv6=0",
      "sysctl net/ipv4/ip_forward=1",
      "sysctl net/ipv6/conf/eth0/accept_ra=2",
      "sysctl net/ipv6/conf/all/forwarding=1",
      "sysctl net/ipv4/conf/cw0/rp_filter=2",
      "ruleset",
    ]);
    expect(meshObjects({ ...facts, tunnelLink: "external" }).get("mesh")?.[0]).toMatchObject({
      type: "external",
    });
  });

  test("has every other node as a peer with that node's prefixes, the hub like any other", () => {
    expect(scope(facts, "peer/hub")).toEqual([
      "peer key-hub allowed [10.90.0.1/32 fd01:2:3::1/128 10.244.0.0/24 fd01:2:3:100::/64]",
      "route 10.244.0.0/24 src 10.90.0.2",
      "route fd01:2:3:100::/64 src fd01:2:3::2",
    ]);
    expect(scope(facts, "peer/b")).toEqual([
      "peer key-b allowed [10.90.0.3/32 fd01:2:3::3/128 10.244.2.0/24 fd01:2:3:102::/64]",
      "route 10.90.0.3/32 src 10.90.0.2 mtu 1376",
      "route fd01:2:3::3/128 src fd01:2:3::2 mtu 1376",
      "route 10.244.2.0/24 src 10.90.0.2 mtu 1376",
      "route fd01:2:3:102::/64 src fd01:2:3::2 mtu 1376",
    ]);
  });

  test("a path is the peer's endpoint, and what fits on it", () => {
    const paths = (path: PeerPath) => ({ ...facts, paths: new Map([["b", path]]) });
    const relayed = paths({ endpoint: HUB_ENDPOINT, generation: 1, keepaliveSeconds: 25 });
    expect(scope(relayed, "peer/b")?.[0]).toBe(
      "peer key-b endpoint 203.0.113.1:51820 keepalive 25 allowed [10.90.0.3/32 fd01:2:3::3/128 10.244.2.0/24 fd01:2:3:102::/64]",
    );
    const narrow = paths({ endpoint: parseEndpoint("198.51.100.3:4"), mtuBytes: 1300 });
    expect(scope(narrow, "peer/b")).toContain("route 10.244.2.0/24 src 10.90.0.2 mtu 1296");
  });

  test("moving one path, or adding a node, changes that node's scope and no other", () => {
    const before = meshObjects(facts);
    const moved = meshObjects({ ...facts, paths: new Map([["b", { endpoint: HUB_ENDPOINT }]]) });
    const added = meshObjects({ ...facts, nodes: [hub, b, node("c", 4)] });
    const changed = (after: ReadonlyMap<string, readonly KernelObject[]>) =>
      [...after]
        .filter(([name, objects]) => !Bun.deepEquals(objects, before.get(name)))
        .map(([name]) => name);
    expect(changed(moved)).toEqual(["peer/b"]);
    expect(changed(added)).toEqual(["peer/c"]);
  });
});

describe("the hub", () => {
  const use = { publicKey: "key-use" as PublicKey, address: parseIp("fd01:2:3:1::abcd") };
  const facts = factsOf(hub, [a, b], {
    enrolments: [{ id: "t1", uses: [use] }],
  });

  test("confines each use of a token to its address", () => {
    expect(scope(facts, "enrol/t1")).toEqual(["peer key-use allowed [fd01:2:3:1::abcd/128]"]);
    expect(scope(facts, "mesh")).toContain("addr fd01:2:3:1::1/128");
    expect(scope(facts, "mesh")).toContain("route fd01:2:3:1::/64 src fd01:2:3:1::1");
    expect([...meshObjects(factsOf(a, [hub], { enrolments: [{ id: "t1", uses: [use] }] })).keys()]).toEqual([
      "mesh",
      "peer/hub",
    ]);
  });
});

test("a newcomer reaches the enrolment service and nothing else", () => {
  const use = { privateKey: PrivateKey.random(), address: parseIp("fd01:2:3:1::abcd") };
  const objects = newcomerObjects({
    enrol6: mesh.enrol6,
    use,
    hubKey: "key-hub" as PublicKey,
    hubEndpoint: HUB_ENDPOINT,
    tunnelLink: "external",
    listenPort: 0,
    mtuBytes: 1280,
  });
  expect(objects.map(show)).toEqual([
    "link cw0 external mtu 1280",
    "wg port 0",
    "sysctl net/ipv6/conf/cw0/disable_ipv6=0",
    "addr fd01:2:3:1::abcd/128",
    "route fd01:2:3:1::1/128 src fd01:2:3:1::abcd",
    "peer key-hub endpoint 203.0.113.1:51820 allowed [fd01:2:3:1::1/128]",
  ]);
});

test("a path's MTU is the least on it; below the own link's it is a multiple of 16, so that what is padded fits", () => {
  expect(pathMtu(1440, 1440, undefined)).toBe(1440);
  expect(pathMtu(1425, 1440, 1432)).toBe(1425);
  expect(pathMtu(1440, 1420)).toBe(1408);
  expect(pathMtu(1440, undefined, 1280)).toBe(1280);
});

test("the tunnel's MTU leaves room for the outer headers", () => {
  const cases = [
    [1500, 4, 1440],
    [1500, 6, 1420],
    [9000, 4, 8940],
    [1280, 6, 1280],
    [65536, 4, 65475],
  ] as const;
  for (const [underlayBytes, outerFamily, mtu] of cases)
    expect(tunnelMtu({ underlayBytes, outerFamily })).toBe(mtu);
});
