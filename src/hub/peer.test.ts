import { expect, test } from "bun:test";
import { formatIp, formatPrefix, parseEndpoint, parsePrefix, PrivateKey, SigningSecret } from "../net/mod.ts";
import { type ExternalPeer, newMesh, type Node } from "../resources/mod.ts";
import { Register } from "./register.ts";
import { type LogState, NoLog } from "./register-log.ts";
import { type NewPeer, Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

/** A log as that of several hubs, which only such a register may have. */
class SharedLog extends NoLog {
  override state(): LogState {
    return { kind: "etcd", position: 0 };
  }
}

const NOW = 1_800_000_000_000;
const signing = SigningSecret.random();
const key = () => PrivateKey.random().publicKey;

async function open(spec: { readonly [field: string]: string | number | string[] } = {}, hubNumber?: number) {
  const registrar = new Registrar(Register.open(":memory:"));
  const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64", ...spec });
  await registrar.init(mesh, { name: "hub", publicKey: key(), endpoints: [], number: hubNumber });
  const { register } = registrar;
  const peer = (name: string, fields: Partial<NewPeer> = {}): Promise<ExternalPeer> =>
    registrar.addPeer({
      name,
      publicKey: key(),
      hub: "hub",
      families: [4, 6],
      allowed: [],
      presharedKey: false,
      ...fields,
    });
  const join = async (
    name: string,
    options: { readonly node?: string; readonly site?: string } = {},
  ): Promise<Node> => {
    const { node, site } = options;
    const times = { uses: 1, nowMs: NOW, expiresAtMs: NOW + 60_000, signingKey: signing.publicKey };
    const { token } = await registrar.createToken({ ...times, ...(node === undefined ? {} : { node }) });
    const wanted = { address: tokenUse(token, 0).address, publicKey: key(), name, endpoints: [] };
    return registrar.registerNode({ ...wanted, ...(site === undefined ? {} : { site }) }, NOW);
  };
  return { registrar, register, peer, join, [Symbol.dispose]: () => register.close() };
}

const addresses = (of: { readonly overlay4?: Node["overlay4"]; readonly overlay6?: Node["overlay6"] }) =>
  [of.overlay4, of.overlay6].map((address) => address && formatIp(address)).join(" ");
const said = async (work: Promise<unknown>) =>
  work.then(
    () => "accepted",
    (error: Error) => error.message,
  );

test("external peers are numbered from the end, nodes from the start; what is removed is free again", async () => {
  using mesh = await open();
  expect(addresses(await mesh.peer("laptop"))).toBe("10.90.255.254 fd01:2:3::fffe");
  expect(addresses(await mesh.peer("phone"))).toBe("10.90.255.253 fd01:2:3::fffd");
  expect(addresses(await mesh.join("attic"))).toBe("10.90.0.2 fd01:2:3::2");
  await mesh.registrar.removePeer("laptop");
  expect(addresses(await mesh.peer("tablet"))).toBe("10.90.255.254 fd01:2:3::fffe");
  expect(mesh.register.peers().map(({ name }) => name)).toEqual(["phone", "tablet"]);
});

test("in a small network both meet, and the next is refused", async () => {
  using mesh = await open({ overlay4: "10.6.0.0/29", nodeBits: 3 });
  for (const name of ["a", "b", "c"]) await mesh.peer(name);
  expect(addresses(await mesh.join("n"))).toBe("10.6.0.2 fd01:2:3::2");
  await mesh.peer("d");
  expect(await said(mesh.peer("e"))).toContain("Cannot add peer e: all addresses of 10.6.0.0/29");
  expect(await said(mesh.join("m"))).toContain("all addresses of 10.6.0.0/29 are given");
});

test("it is published, without its number, and seen by every node; removing it withdraws it", async () => {
  using mesh = await open();
  await mesh.join("attic");
  const endpoint = parseEndpoint("198.51.100.7:51820");
  const allowed = [parsePrefix("192.168.7.0/24")];
  const made = await mesh.peer("router", {
    allowed,
    endpoint,
    presharedKey: true,
    role: "edge",
    site: "home",
  });
  expect(JSON.parse(mesh.register.entries().get("peer/router") as string)).toEqual({
    apiVersion: "causeway.network/v1alpha1",
    kind: "Peer",
    metadata: { name: "router" },
    spec: {
      publicKey: made.publicKey,
      hub: "hub",
      overlay4: "10.90.255.254",
      overlay6: "fd01:2:3::fffe",
      allowed: ["192.168.7.0/24"],
      presharedKey: true,
      endpoint: "198.51.100.7:51820",
      role: "edge",
      site: "home",
    },
  });
  expect(mesh.register.view("attic").peers).toEqual([made]);
  await mesh.registrar.removePeer("router");
  expect(mesh.register.view("attic").peers).toEqual([]);
  expect(await said(mesh.registrar.removePeer("router"))).toContain(
    "there is none with this name; see causeway peer list",
  );
});

test("a name, a key and a number belong to one machine, node or peer", async () => {
  using mesh = await open();
  const laptop = await mesh.peer("laptop");
  const attic = await mesh.join("attic");
  expect(await said(mesh.peer("laptop"))).toContain("another peer has this name");
  expect(await said(mesh.peer("attic"))).toContain("another node has this name");
  expect(await said(mesh.join("laptop"))).toContain("ask for a token made with --node laptop");
  expect(await said(mesh.peer("x", { publicKey: attic.publicKey }))).toContain(
    "its key belongs to attic already",
  );
  expect(await said(mesh.peer("x", { publicKey: laptop.publicKey }))).toContain(
    "its key belongs to laptop already",
  );
  expect(await said(mesh.peer("x", { number: 2 }))).toContain("number 2 of the overlay is given");
  expect(await said(mesh.peer("x", { number: 65535 }))).toContain("or outside of it");
  expect(await said(mesh.peer("X"))).toContain("is not a name");
  expect(await said(mesh.peer("x", { hub: "attic" }))).toContain("attic, which shall carry it, is no hub");
  expect(mesh.register.peers()).toHaveLength(1);
});

test("of a mesh that is taken over: numbers are kept, and a peer that joins keeps number, addresses and name", async () => {
  using mesh = await open({ overlay4: "10.6.0.0/24", overlay6: "fd06::/64" }, 3);
  expect(addresses(mesh.register.node("hub") as Node)).toBe("10.6.0.3 fd06::3");
  const two = await mesh.peer("peer-2", {
    number: 2,
    families: [4],
    allowed: [parsePrefix("192.168.7.0/24")],
  });
  expect(addresses(two)).toBe("10.6.0.2 ");
  await mesh.peer("peer-4", { number: 4 });
  expect(addresses(await mesh.join("new"))).toBe("10.6.0.1 fd06::1");
  const node = await mesh.join("peer-2", { node: "peer-2", site: "home" });
  expect(addresses(node)).toBe("10.6.0.2 fd06::2");
  expect([node.name, node.site, node.pods4 && formatPrefix(node.pods4), node.subnets]).toEqual([
    "peer-2",
    "home",
    "10.244.1.0/24",
    undefined,
  ]);
  expect(mesh.register.isRevoked(two.publicKey)).toBe(true);
  expect(mesh.register.peers().map(({ name }) => name)).toEqual(["peer-4"]);
  expect(mesh.register.entries().has("peer/peer-2")).toBe(false);
  // Not the lowest number that is free.
  await mesh.peer("peer-9", { number: 9 });
  expect(addresses(await mesh.join("peer-9", { node: "peer-9" }))).toBe("10.6.0.9 fd06::9");
  expect(await said(mesh.join("x", { node: "nobody" }))).toContain("no node is named nobody");
});

test("networks behind nodes: approved once, taken back, gone with the node", async () => {
  using mesh = await open();
  await mesh.join("attic");
  const lan = parsePrefix("192.168.7.0/24");
  const spec = () => JSON.parse(mesh.register.entries().get("node/attic") as string).spec.subnets;
  await mesh.registrar.approveSubnet("attic", lan);
  await mesh.registrar.approveSubnet("attic", lan);
  await mesh.registrar.approveSubnet("attic", parsePrefix("fd77::/64"));
  expect(spec()).toEqual(["192.168.7.0/24", "fd77::/64"]);
  expect(mesh.register.view("hub").nodes[0]?.subnets?.map(formatPrefix)).toEqual([
    "192.168.7.0/24",
    "fd77::/64",
  ]);
  await mesh.registrar.revokeSubnet("attic", lan);
  expect(spec()).toEqual(["fd77::/64"]);
  expect(await said(mesh.registrar.revokeSubnet("attic", lan))).toContain("it is not approved");
  expect(await said(mesh.registrar.approveSubnet("nobody", lan))).toContain("there is none with this name");
  await mesh.registrar.removeNode("attic");
  await mesh.join("cellar");
  await mesh.registrar.approveSubnet("cellar", parsePrefix("fd77::/64"));
});

test("a network that is somebody's already is refused, whichever way it comes", async () => {
  using mesh = await open({ services: ["10.96.0.0/12"] });
  await mesh.join("attic");
  await mesh.join("cellar");
  await mesh.registrar.approveSubnet("attic", parsePrefix("192.168.7.0/24"));
  await mesh.peer("router", {
    allowed: [parsePrefix("192.168.8.0/24")],
    endpoint: parseEndpoint("198.51.100.7:1"),
  });
  const wrong: [string, string][] = [
    ["10.90.7.0/24", "overlaps the mesh's overlay4 10.90.0.0/16"],
    ["fd01:2:3::/48", "overlaps the mesh's overlay6 fd01:2:3::/64"],
    ["fd01:2:3:1::/80", "overlaps the mesh's enrol6"],
    ["10.244.0.0/24", "overlaps the mesh's pods4 10.244.0.0/16"],
    ["10.100.0.0/24", "overlaps the mesh's services 10.96.0.0/12"],
    ["0.0.0.0/0", "overlaps 0.0.0.0/8, which is reserved"],
    ["169.254.1.0/24", "which is reserved"],
    ["192.168.7.128/25", "overlaps 192.168.7.0/24 of node attic"],
    ["192.168.0.0/16", "overlaps 192.168.7.0/24 of node attic"],
    ["192.168.8.0/24", "overlaps 192.168.8.0/24 of peer router"],
    ["192.0.2.0/24", "holds an endpoint of the mesh"],
    ["198.51.100.0/24", "holds an endpoint of the mesh"],
  ];
  for (const [text, cause] of wrong) {
    const prefix = parsePrefix(text);
    expect(await said(mesh.registrar.approveSubnet("cellar", prefix)), text).toContain(
      `Cannot route ${text} to node cellar: it ${cause}`.slice(0, 40),
    );
    expect(await said(mesh.registrar.approveSubnet("cellar", prefix)), text).toContain(cause);
    expect(await said(mesh.peer("other", { allowed: [prefix] })), text).toContain(cause);
  }
  const twice = [parsePrefix("172.16.0.0/16"), parsePrefix("172.16.1.0/24")];
  expect(await said(mesh.peer("other", { allowed: twice }))).toContain(
    "overlaps another network that is given",
  );
  expect(mesh.register.peers()).toHaveLength(1);
});

test("a hub that carries peers is not removed", async () => {
  using mesh = await open();
  const times = { uses: 1, nowMs: NOW, expiresAtMs: NOW + 60_000, signingKey: signing.publicKey };
  const { token } = await new Registrar(mesh.register, new SharedLog(mesh.register)).createToken({
    ...times,
    role: "hub",
  });
  const wanted = { address: tokenUse(token, 0).address, publicKey: key(), name: "second", endpoints: [] };
  await mesh.registrar.registerNode(wanted, NOW);
  await mesh.peer("laptop", { hub: "second" });
  expect(await said(mesh.registrar.removeHub("second"))).toContain(
    "it carries peer laptop; remove them first",
  );
  await mesh.registrar.removePeer("laptop");
  expect(await said(mesh.registrar.removeHub("second"))).toBe("accepted");
});

test("two hubs that apply the same commands hold the same", async () => {
  using one = await open();
  await one.join("attic");
  await one.peer("router", { allowed: [parsePrefix("192.168.8.0/24")] });
  await one.registrar.approveSubnet("attic", parsePrefix("fd77::/64"));
  using other = Register.open(":memory:");
  other.restore(one.register.dump(), 7);
  expect(other.dump()).toEqual(one.register.dump());
  expect(other.peers()).toEqual(one.register.peers());
});
