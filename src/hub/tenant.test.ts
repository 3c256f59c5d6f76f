import { expect, test } from "bun:test";
import { PrivateKey } from "../net/mod.ts";
import {
  type LabelChange,
  newMesh,
  noTenants,
  parseManifest,
  type TenantResource,
  tenantList,
  resourceJson,
} from "../resources/mod.ts";
import type { CommandJson } from "./command.ts";
import { Register } from "./register.ts";
import { NoLog } from "./register-log.ts";
import { Registrar } from "./registrar.ts";
import { meshView } from "./view.ts";
import { Visibility } from "./visibility.ts";

const read = (kind: string, name: string, spec: string) =>
  parseManifest(
    `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`,
  ).resources[0] as TenantResource;

/** A log that keeps what was submitted, for another hub. */
class Recorder extends NoLog {
  readonly commands: unknown[] = [];

  override submit(command: CommandJson): Promise<unknown> {
    this.commands.push(JSON.parse(JSON.stringify(command)));
    return super.submit(command);
  }
}

async function open() {
  const register = Register.open(":memory:");
  const log = new Recorder(register);
  const registrar = new Registrar(register, log);
  const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  return { register, registrar, log, mesh, [Symbol.dispose]: () => register.close() };
}

const said = async (work: Promise<unknown>) =>
  work.then(
    () => "accepted",
    (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
  );
const names = (register: Register) =>
  tenantList(register.view("hub").tenants).map(({ kind, value }) => `${kind} ${value.name}`);

test("resources are put, published with what was given, and seen by every node", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  expect(register.view("hub").tenants).toBe(noTenants);
  const made = await registrar.putResources([
    read("VPC", "a", "{}"),
    read("Subnet", "a.web", "{vpc: a, prefixes: [10.1.0.0/24]}"),
  ]);
  expect(made.map(({ resource, change }) => [resource.value, change])).toMatchObject([
    [{ name: "a", vni: 4096 }, "created"],
    [{ name: "a.web", vni: 4097 }, "created"],
  ]);
  expect(JSON.parse(register.entries().get("vpc/a") as string).spec.vni).toBe(4096);
  expect(register.changesSince("any-node", 2)?.map(({ key }) => key)).toEqual(["subnet/a.web", "vpc/a"]);
  expect(register.view("hub").tenants.Subnet.get("a.web")?.vni).toBe(4097);
});

test("a change is a change; the same again is none, and gives no revision", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  await registrar.putResources([read("VPC", "a", "{}")]);
  const before = register.revision;
  const again = await registrar.putResources([read("VPC", "a", "{}")]);
  expect(again.map(({ change }) => change)).toEqual(["unchanged"]);
  expect(register.revision).toBe(before);
  const next = await registrar.putResources([read("VPC", "a", "{allow: {namespaces: [x]}}")]);
  expect(next.map(({ change }) => change)).toEqual(["changed"]);
  expect(register.revision).toBe(before + 1);
});

test("what does not go together changes nothing, and the VNIs that it would have got go to others", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  const wrong = [read("VPC", "a", "{}"), read("Subnet", "x", "{vpc: nobody}")];
  expect(await said(registrar.putResources(wrong))).toBe(
    'not-admitted: Subnet "x": spec.vpc nobody is no VPC that is there; apply it too, or name one of a',
  );
  expect(names(register)).toEqual([]);
  // Also between others in one entry of the log; and one that cannot be understood takes its whole entry with it.
  const put = (...resources: TenantResource[]) => ({
    op: "put-resources",
    resources: resources.map((one) => resourceJson(one)),
  });
  register.applyEntry(1, [
    put(read("VPC", "b", "{}")),
    put(...wrong),
    put(read("Subnet", "b.1", "{vpc: b}")),
  ]);
  expect(() => register.applyEntry(2, [put(read("VPC", "c", "{}")), { op: "of-another-version" }])).toThrow();
  expect(names(register)).toEqual(["VPC b", "Subnet b.1"]);
  const { VPC, Subnet } = register.view("hub").tenants;
  expect([VPC.get("b")?.vni, Subnet.get("b.1")?.vni]).toEqual([4096, 4097]);
  expect(await said(registrar.putResources([read("Subnet", "c.1", "{vpc: c}")]))).toContain(
    "spec.vpc c is no VPC",
  );
});

test("Gateways are put by a command of their own: a hub that does not know them stops, and passes over none", async () => {
  using hub = await open();
  using other = await open();
  const { registrar, log } = hub;
  const side = (i: number) => `{interface: eth${i}, address4: {ip: 192.0.${i}.1, nextHop: 192.0.${i}.254}}`;
  const gateway = read("Gateway", "g", `{node: hub, private: ${side(1)}, public: [${side(2)}]}`);
  const since = log.commands.length;
  await registrar.putResources([read("VPC", "a", "{}")]);
  await registrar.putResources([read("VPC", "b", "{}"), gateway]);
  const commands = log.commands.slice(since) as CommandJson[];
  expect(commands.map(({ op }) => op)).toEqual(["put-resources", "put-gateways"]);
  other.register.applyEntry(1, commands);
  expect(names(other.register)).toEqual(["VPC a", "VPC b", "Gateway g"]);
  expect(names(hub.register)).toEqual(names(other.register));
});

test("what is no resource of a tenant is refused", async () => {
  using hub = await open();
  const { register, mesh } = hub;
  const odd = [null, 5, {}, [], { kind: "VPC" }, resourceJson({ kind: "Mesh", value: mesh })];
  for (const json of odd)
    expect(() => register.apply({ op: "put-resources", resources: [json] })).toThrow(
      "A resource cannot be understood; use the same version everywhere",
    );
  expect(names(register)).toEqual([]);
});

test("they are deleted together with what uses them, and withdrawn; their VNIs are not given again soon", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  await registrar.putResources([read("VPC", "a", "{}"), read("Subnet", "a.web", "{vpc: a}")]);
  const vpc = { kind: "VPC", name: "a" } as const;
  expect(await said(registrar.deleteResources([vpc]))).toBe(
    'not-admitted: VPC "a": is used by Subnet "a.web" (spec.vpc); delete that first',
  );
  await registrar.deleteResources([vpc, { kind: "Subnet", name: "a.web" }]);
  expect(names(register)).toEqual([]);
  expect(register.entries().has("vpc/a")).toBe(false);
  await registrar.putResources([read("VPC", "a", "{}")]);
  expect(register.view("hub").tenants.VPC.get("a")?.vni).toBe(4098);
});

test("the AS number stays while VPCs are there, whose automatic targets begin with it", async () => {
  using hub = await open();
  const { registrar, mesh } = hub;
  await registrar.putResources([read("VPC", "a", "{}")]);
  expect(await said(registrar.updateMesh({ ...mesh, asn: 65000 }))).toContain(
    "asn is 64512 and in use by VPCs; delete them first",
  );
  await registrar.deleteResources([{ kind: "VPC", name: "a" }]);
  expect(await said(registrar.updateMesh({ ...mesh, asn: 65000 }))).toBe("accepted");
});

test("where rules say who may talk, everybody still knows all VPCs: whose pods come is not known before", async () => {
  using hub = await open();
  const { register, registrar, mesh } = hub;
  await registrar.updateMesh({ ...mesh, rules: [] });
  await registrar.putResources([read("VPC", "a", "{}")]);
  expect([...new Visibility(register.entries()).shared("anybody").entries.keys()]).toEqual([
    "mesh",
    "node/hub",
    "vpc/a",
  ]);
});

test("two hubs that apply the same commands hold the same, also after a snapshot and where one is refused", async () => {
  using hub = await open();
  const { register, registrar, log } = hub;
  await registrar.putResources([read("VPC", "a", "{}"), read("Subnet", "a.web", "{vpc: a}")]);
  await said(registrar.putResources([read("VPC", "b", "{vni: 4096}")]));
  await registrar.deleteResources([{ kind: "Subnet", name: "a.web" }]);
  using other = Register.open(":memory:");
  other.applyEntry(1, log.commands);
  expect(other.dump()).toEqual(register.dump());
  using third = Register.open(":memory:");
  third.restore(register.dump(), 1);
  const command = { op: "put-resources", resources: [JSON.parse(register.entries().get("vpc/a") as string)] };
  for (const one of [register, third]) one.applyEntry(2, [command]);
  expect(third.dump()).toEqual(register.dump());
});

test("a view is the same object as long as nothing of it changed; what cannot be read is not there", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  await registrar.putResources([read("VPC", "a", "{}")]);
  const { tenants } = register.view("hub");
  await registrar.setConfigured("hub", { endpoints: ["192.0.2.9:51820"] });
  expect(register.view("hub").tenants).toBe(tenants);
  await registrar.putResources([read("VPC", "b", "{}")]);
  expect([...register.view("hub").tenants.VPC.keys()]).toEqual(["a", "b"]);
  const entries = new Map(register.entries()).set("vpc/new", '{"kind":"VPC","spec":{"vni":"many"}}');
  expect([...meshView(entries, "hub").tenants.VPC.keys()]).toEqual(["a", "b"]);
});

test("what is for the edge is judged on every node of the register", async () => {
  using hub = await open();
  const { registrar } = hub;
  const underlay = (name: string, more: string) =>
    read(
      "Underlay",
      name,
      `{asn: 64514, links: [{name: eth1}], neighbors: [{link: eth1, asn: 64512}], tunnelEndpoint: {prefixes: [100.65.0.0/24]}${more}}`,
    );
  const session = "hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.0.2.0/24]}";
  await registrar.putResources([
    underlay("fabric", ", nodes: {node: hub}"),
    read("VPC", "red", `{vni: 5100, underlay: {}, ${session}}`),
    read("Subnet", "red.a", "{vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {}}"),
  ]);
  expect(await said(registrar.putResources([underlay("two", ", nodes: {role: hub}")]))).toStartWith(
    'not-admitted: Underlay "two": spec.nodes fit a node that has router "underlay" from Underlay "fabric" (spec.nodes)',
  );
  expect(await said(registrar.putResources([underlay("two", ", nodes: {node: other}")]))).toBe("accepted");
  expect(
    await said(registrar.putResources([read("VPC", "blue", `{vni: 5200, underlay: {}, ${session}}`)])),
  ).toContain('VPC "blue": spec.hostSession.prefixes[0] 192.0.2.0/24 overlaps 192.0.2.0/24 of VPC "red"');
  expect(
    await said(registrar.putResources([underlay("fabric", ", nodes: {node: hub}, routerIds: 10.0.0.0/32")])),
  ).toBe(
    'not-admitted: Underlay "fabric": spec.routerIds 10.0.0.0/32 has no address for a node with index 0; use a larger network than 10.0.0.0/32',
  );
});

test("labels of nodes are looked at by selections, seen by the node, and the same to every hub", async () => {
  using hub = await open();
  const { register, registrar, log } = hub;
  const underlay = (name: string, nodes: string) =>
    read(
      "Underlay",
      name,
      `{asn: 64514, links: [{name: eth1}], neighbors: [{link: eth1, asn: 64512}], nodes: {labels: [${nodes}]}}`,
    );
  await registrar.putResources([underlay("a", "rack=a"), underlay("b", "gpu")]);
  const label = (name: string, change: LabelChange) => registrar.labelNodes(new Map([[name, change]]));
  await label("hub", { rack: "a", spare: "" });
  expect(register.view("hub").self?.labels).toEqual({ rack: "a", spare: "" });
  const { revision } = register;
  await label("hub", { rack: "a", none: null });
  expect(register.revision).toBe(revision);
  expect(await said(registrar.putResources([underlay("c", "spare")]))).toStartWith(
    'not-admitted: Underlay "c": spec.nodes fit a node that has router "underlay" from Underlay "a" (spec.nodes)',
  );
  await label("hub", { spare: null });
  expect(await said(registrar.putResources([underlay("c", "spare")]))).toBe("accepted");
  expect(await said(label("none", { rack: "a" }))).toContain("none");
  const both = new Map([
    ["hub", { rack: "b" }],
    ["none", { rack: "b" }],
  ]);
  expect(await said(registrar.labelNodes(both))).toContain("none");
  expect(register.view("hub").self?.labels).toEqual({ rack: "a" });
  const many = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, ""]));
  expect(await said(label("hub", many))).toBe(
    "bad-request: Cannot label node hub: it would have more than 64 labels; take some away: causeway node label hub KEY-",
  );
  using other = Register.open(":memory:");
  for (const command of log.commands) await said(new NoLog(other).submit(command as CommandJson));
  expect(other.view("hub").self?.labels).toEqual({ rack: "a" });
});
