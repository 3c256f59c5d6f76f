/** Two controllers on one register at a real API server. Prints one JSON object; run it inside a new namespace. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Agent } from "../../src/agent/agent.ts";
import { HubRole } from "../../src/agent/hub-role.ts";
import { ClusterControl, registerOf } from "../../src/agent/kube-controller.ts";
import { Register, tokenUse } from "../../src/hub/mod.ts";
import { ClusterController, type ControllerRegister } from "../../src/kube/cluster-controller.ts";
import { type KubeError, kubeGet, kubeWrite } from "../../src/kube/client.ts";
import { resourcePath } from "../../src/kube/definition.ts";
import { kubeManifests, manifestPath } from "../../src/kube/manifests.ts";
import { fieldOf } from "../../src/kube/metadata.ts";
import { until } from "../../src/lab/wait.ts";
import { formatIp, formatPrefix, type Prefix, PrivateKey, SigningSecret } from "../../src/net/mod.ts";
import {
  API_VERSION,
  type Json,
  newMesh,
  parseObject,
  type TenantKind,
  type TenantResource,
} from "../../src/resources/mod.ts";
import { monotonicMs, runSync } from "../../src/sys/mod.ts";
import { ApiServer } from "./api-server.ts";

const [program, etcd] = process.argv.slice(2) as [string, string];
runSync(["ip", "link", "set", "lo", "up"]);
const result: Record<string, unknown> = {};
const at = (value: unknown, ...keys: string[]) => keys.reduce(fieldOf, value);

const register = Register.open(":memory:");
const key = PrivateKey.random();
using role = new HubRole(register, { node: key, signing: SigningSecret.random() });
const { registrar } = role;
await registrar.init(newMesh("home", { endpoints: ["h:1"], overlay6: "fd01:2:3::/64" }), {
  ...{ name: "hub", publicKey: key.publicKey, endpoints: [] },
});
const tenants = () => role.view().tenants;

// The identity that our own manifests give rights to.
const USER = "system:serviceaccount:causeway-system:causeway-controller";
await using api = new ApiServer(program, etcd, [USER]);
await api.start();
const admin = api.access();
const version = await api.version();
result["minor"] = version.minor;
const manifests = kubeManifests(version);
for (const manifest of manifests)
  await kubeWrite(admin, { verb: "apply", path: manifestPath(manifest), body: manifest });

// As Multus's own installation has it (deployments/multus-daemonset.yml).
const networks = "network-attachment-definitions";
const multus = `${networks}.k8s.cni.cncf.io`;
await kubeWrite(admin, {
  verb: "apply",
  path: `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${multus}`,
  body: {
    ...{
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: multus },
    },
    spec: {
      ...{ group: "k8s.cni.cncf.io", scope: "Namespaced" },
      names: {
        plural: networks,
        singular: "network-attachment-definition",
        kind: "NetworkAttachmentDefinition",
      },
      versions: [
        {
          ...{ name: "v1", served: true, storage: true },
          schema: {
            openAPIV3Schema: {
              type: "object",
              properties: { spec: { type: "object", properties: { config: { type: "string" } } } },
            },
          },
        },
      ],
    },
  },
});
const attachments = async () => {
  const { items } = JSON.parse(await kubeGet(admin, `/apis/k8s.cni.cncf.io/v1/${networks}`)) as {
    items: unknown[];
  };
  return items
    .map(
      (one) =>
        `${at(one, "metadata", "namespace")}/${at(one, "metadata", "name")} ${at(one, "spec", "config")}`,
    )
    .sort();
};
await until(() => attachments().then(() => undefined, String), { what: "Multus's definition" });

let writes = 0;
let heard = 0;
const problems = new Set<string>();
const ours = registerOf(role);
const counted: ControllerRegister = {
  ...ours,
  put(resources, owner) {
    writes++;
    if (resources.some(({ value }) => value.name === "rack-a"))
      result["labelled"] ??= register.nodes()[0]?.labels ?? {};
    return ours.put(resources, owner);
  },
  remove: (resource, owner) => (writes++, ours.remove(resource, owner)),
  // One is heard whenever somebody asks, and the others never.
  heard: (name) => (name === "laptop" ? ++heard : undefined),
  // Another one reaches other hubs only.
  reaches: (name) => name !== "far" && ours.reaches(name),
};
const controllers = new Map<string, ClusterController>();
const begin = (identity: string) => {
  const controller = ClusterController.start({
    ...{ access: api.access(USER), identity, leaseSeconds: 3, awayMs: 300 },
    register: counted,
    onProblem: (problem) => problem !== undefined && problems.add(problem),
  });
  register.subscribe(() => controller.registerChanged());
  controllers.set(identity, controller);
};
const leader = () => [...controllers].filter(([, { leads }]) => leads).map(([name]) => name);
begin("a");
await until(() => (leader().length === 1 ? undefined : "none"), { what: "a leader" });
begin("b");

const apply = (kind: TenantKind, name: string, spec: Json) =>
  kubeWrite(admin, {
    ...{ verb: "apply", path: resourcePath(kind, name) },
    body: { apiVersion: API_VERSION, kind, metadata: { name }, spec },
  });
const drop = (kind: TenantKind, name: string) =>
  kubeWrite(admin, { verb: "delete", path: resourcePath(kind, name) });
const read = async (kind: TenantKind, name: string): Promise<unknown> =>
  JSON.parse(await kubeGet(admin, resourcePath(kind, name)));
const verdict = (object: unknown) => {
  const generation = at(object, "metadata", "generation");
  const condition = at(object, "status", "conditions", "0");
  if (at(condition, "observedGeneration") !== generation) return "not judged yet";
  return `${at(condition, "reason")}: ${at(condition, "message")}`;
};
/** Waits for a verdict on the present generation that fits. */
const judged = async (kind: TenantKind, name: string, fits: RegExp) => {
  let last = "";
  const missing = async () => (fits.test((last = verdict(await read(kind, name)))) ? undefined : last);
  await until(missing, { what: `${kind} ${name}` });
  return last;
};

// All at once, in an order in which they cannot be admitted one by one.
await apply("Peering", "a-b", { vpcs: ["a", "b"] });
await apply("Subnet", "a.web", { vpc: "a", prefixes: ["10.1.0.0/24"] });
await apply("VPC", "a", { vni: 5000 });
result["subnet"] = await judged("Subnet", "a.web", /^Accepted/);
result["vni"] =
  Number(at(await read("Subnet", "a.web"), "status", "vni")) === tenants().Subnet.get("a.web")?.vni;
result["peering"] = await judged("Peering", "a-b", /^NotAdmitted/);
await apply("VPC", "b", {});
await judged("Peering", "a-b", /^Accepted/);

// Rules of ours that the API server does not know, at reconcile; what was accepted stays.
await apply("VPC", "b", { services: [{ ports: ["tcp/http"] }] });
result["invalid"] = await judged("VPC", "b", /^Invalid/);
// From 1.25 on this one the API server knows too, and nobody else is asked.
result["unchanged"] = await apply("VPC", "a", { vni: 5001 }).then(
  () => judged("VPC", "a", /^NotAdmitted/),
  ({ status, message }: KubeError) => `${status} ${message}`,
);
result["stays"] = [tenants().VPC.get("a")?.vni, tenants().VPC.get("b")?.services.length];

// Deleted in whatever order, it goes when nothing refers to it any more.
await drop("VPC", "a");
result["inUse"] = await judged("VPC", "a", /^InUse/);
await drop("Peering", "a-b");
await drop("Subnet", "a.web");
const gone = async () =>
  (await read("VPC", "a").then(
    () => "there",
    () => undefined,
  )) ?? (tenants().VPC.has("a") ? "in the register" : undefined);
await until(gone, { what: "the VPC to go" });

// What a hand or another cluster made is not touched, whatever is applied and deleted here; and a hand does not touch what is ours.
const vpc = (name: string, spec: Json = {}) => {
  const json = { apiVersion: API_VERSION, kind: "VPC", metadata: { name }, spec };
  return [parseObject(json, { problems: [] }) as TenantResource];
};
await registrar.putResources(vpc("by-hand"));
await registrar.putResources(vpc("elsewhere"), { owner: "another" });
await apply("VPC", "by-hand", { allow: { namespaces: ["here"] } });
await apply("VPC", "elsewhere", {});
const others = ["by-hand", "elsewhere"];
result["others"] = await Promise.all(others.map((name) => judged("VPC", name, /^NotAdmitted/)));
for (const name of others) await drop("VPC", name);
const absent = (name: string) =>
  read("VPC", name).then(
    () => "there",
    () => undefined,
  );
for (const name of others) await until(() => absent(name), { what: `${name} to go` });
result["spared"] = others.map((name) => tenants().VPC.has(name));
const uid = String(at(JSON.parse(await kubeGet(admin, "/api/v1/namespaces/kube-system")), "metadata", "uid"));
result["undone"] = await registrar.putResources(vpc("b", { allow: { namespaces: ["hand"] } })).then(
  () => "changed",
  (error: Error) => error.message.replace(uid, "UID"),
);

// A former leader's put that came after the object had gone.
await registrar.putResources(vpc("late"), { owner: uid });
await until(() => (tenants().VPC.has("late") ? "there" : undefined), { what: "what came late to go" });

// The API server refuses every change of one object, since its definition became narrower: others go on.
await apply("VPC", "odd", { vni: 9000 });
await judged("VPC", "odd", /^Accepted/);
const definition = manifests.find(({ metadata }) => at(metadata, "name") === "vpcs.causeway.network");
if (definition === undefined) throw new Error("no definition of VPCs");
const narrow = structuredClone(definition);
const schema = at(narrow, "spec", "versions", "0", "schema", "openAPIV3Schema") as object;
const vni = at(schema, "properties", "spec", "properties", "vni") as object;
// From 1.30 on a field may stay wrong in changes that leave it as it is.
if (version.minor < 30) Object.assign(vni, { maximum: 8999 });
else Object.assign(schema, { "x-kubernetes-validations": [{ rule: "self.metadata.name != 'odd'" }] });
const path = manifestPath(definition);
await kubeWrite(admin, { verb: "apply", path, body: narrow });
const touch = () =>
  kubeWrite(admin, {
    ...{ verb: "merge", path: resourcePath("VPC", "odd") },
    body: { metadata: { labels: { at: String(monotonicMs()) } } },
  });
const refuses = (work: () => Promise<unknown>) => () =>
  work().then(
    () => "it may be changed",
    () => undefined,
  );
await until(refuses(touch), { what: "the narrower definition" });
await drop("VPC", "odd");
await until(() => (tenants().VPC.has("odd") ? "there" : undefined), { what: "the odd one to go" });
await apply("VPC", "next", {});
await judged("VPC", "next", /^Accepted/);
await drop("VPC", "next");
await until(() => absent("next"), { what: "the next one to go" });
result["problem"] = [...problems].filter((one) => one.includes("/vpcs/odd")).length > 0;
await kubeWrite(admin, { verb: "apply", path, body: definition });
await until(() => touch().then(() => undefined, String), { what: "the former definition" });
await until(() => absent("odd"), { what: "the odd one's object to go" });

// Multus is told of Subnets where they may be used; what others made is not touched.
const theirs = `/apis/k8s.cni.cncf.io/v1/namespaces/default/${networks}`;
await kubeWrite(admin, {
  ...{ verb: "create", path: theirs },
  body: {
    ...{ apiVersion: "k8s.cni.cncf.io/v1", kind: "NetworkAttachmentDefinition", metadata: { name: "b-web" } },
    spec: { config: "theirs" },
  },
});
const shown = async (what: string, fits: (all: readonly string[]) => boolean) => {
  await until(async () => (fits(await attachments()) ? undefined : (await attachments()).join("; ")), {
    what,
  });
  return await attachments();
};
await apply("Subnet", "b.web", { vpc: "b", prefixes: ["10.1.0.0/24"] });
await apply("VPC", "b", { allow: { namespaces: ["kube-public", "not-there-yet"] } });
result["attachments"] = await shown("an attachment", (all) => all.length === 2);
// What somebody else writes into ours does not stay.
await kubeWrite(admin, {
  ...{ verb: "merge", path: `/apis/k8s.cni.cncf.io/v1/namespaces/kube-public/${networks}/b-web` },
  body: { spec: { config: "another" } },
});
await shown("ours as it was", (all) => all.every((one) => !one.endsWith("another")));
await apply("VPC", "b", { allow: { namespaces: ["*"] } });
const inTheWay = () => [...problems].some((one) => one.includes("default/b-web is not ours"));
result["theirs"] = await shown("only theirs", (all) => all.length === 1 && inTheWay());
await kubeWrite(admin, { verb: "delete", path: `${theirs}/b-web` });
await shown("ours in its place", (all) => all.length === 1 && all[0] !== "default/b-web theirs");
await drop("Subnet", "b.web");
await shown("none", (all) => all.length === 0);

// The nodes' ranges, by their overlay address.
const node = register.nodes()[0];
if (node?.pods4 === undefined) throw new Error("no node");
const kubeNode = async (name: string, address: string, spec: Json) => {
  await kubeWrite(admin, {
    ...{ verb: "create", path: "/api/v1/nodes" },
    body: { apiVersion: "v1", kind: "Node", metadata: { name }, spec },
  });
  await kubeWrite(admin, {
    ...{ verb: "merge", path: `/api/v1/nodes/${name}/status` },
    body: { status: { addresses: [{ type: "InternalIP", address }] } },
  });
};
await kubeNode("one", formatIp(node.overlay4), {});
// Labels of Nodes that selections look at, and no others.
const label = (labels: Json) =>
  kubeWrite(admin, { verb: "merge", path: "/api/v1/nodes/one", body: { metadata: { labels } } });
const labels = () => JSON.stringify(register.nodes()[0]?.labels ?? {});
const labelled = (text: string) =>
  until(async () => (labels() === text ? undefined : labels()), { what: `labels ${text}` });
const underlay = (name: string, label: string) =>
  apply("Underlay", name, {
    ...{ asn: 64512, links: [{ name: "eth1" }], nodes: { labels: [label] } },
    neighbors: [{ address: "192.168.11.2", asn: 64513 }],
  });
await label({ rack: "a", seen: "x", unseen: "x" });
await underlay("seen", "seen=x");
await labelled('{"seen":"x"}');
await drop("Underlay", "seen");
await until(() => (tenants().Underlay.has("seen") ? "there" : undefined), { what: "the first one to go" });
// The controller knows of rack by now, and the register does not.
await underlay("rack-a", "rack=a");
await labelled('{"rack":"a","seen":"x"}');
await label({ rack: "b" });
await labelled('{"rack":"b","seen":"x"}');
await label({ rack: null });
await labelled('{"seen":"x"}');
// Which of two Nodes is the machine is not known.
await kubeNode("two", formatIp(node.overlay6), { podCIDR: "10.7.0.0/24", podCIDRs: ["10.7.0.0/24"] });
const isDisputed = () => [...problems].some((one) => one.startsWith("Nodes one and two have"));
await until(async () => (isDisputed() ? undefined : "none"), { what: "the dispute" });
await drop("Underlay", "rack-a");

const ranges = async (name: string) =>
  String(at(JSON.parse(await kubeGet(admin, `/api/v1/nodes/${name}`)), "spec", "podCIDRs"));
const own = formatPrefix(node.pods4);
await until(async () => ((await ranges("one")) === own ? undefined : await ranges("one")), {
  what: "the range",
});
const events = async (reason: string) => {
  const list = JSON.parse(await kubeGet(admin, "/api/v1/namespaces/default/events")) as { items: unknown[] };
  return list.items.filter((one) => at(one, "reason") === reason).map((one) => String(at(one, "message")));
};
const mismatch = () => events("PodCIDRMismatch");
await until(async () => ((await mismatch()).length > 0 ? undefined : "none"), { what: "the event" });
result["events"] = [...(await mismatch()), ...(await events("Invalid")), ...(await events("InUse"))];

// Nodes that are deleted. One leaves pods behind, is replaced by another machine under its name, and is released when the pods have gone.
const { token } = await registrar.createToken({
  ...{ uses: 4, nowMs: 0, expiresAtMs: 1, signingKey: SigningSecret.random().publicKey },
});
for (const [i, name] of ["old", "new", "laptop", "far"].entries()) {
  const wanted = { address: tokenUse(token, i).address, publicKey: PrivateKey.random().publicKey };
  await registrar.registerNode({ ...wanted, name, endpoints: [] }, 0);
}
const member = (name: string) => register.node(name) as NonNullable<ReturnType<typeof register.node>>;
await apply("VPC", "shop", {});
await apply("Subnet", "shop.web", { vpc: "shop", prefixes: ["10.3.0.0/24"] });
await judged("Subnet", "shop.web", /^Accepted/);
await registrar.claimBlocks("old", { subnet: "shop.web", wants: [{ family: 4, count: 1 }], have: [] });
await kubeNode("worker", formatIp(member("old").overlay4), {});
for (const name of ["laptop", "far"]) await kubeNode(name, formatIp(member(name).overlay4), {});
const pods = "/api/v1/namespaces/default/pods";
await kubeWrite(admin, {
  ...{ verb: "create", path: pods },
  body: {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "left" } },
    spec: { nodeName: "worker", containers: [{ name: "c", image: "i" }] },
  },
});
const known = async () =>
  Object.keys(
    (at(
      JSON.parse(await kubeGet(admin, "/api/v1/namespaces/causeway-system/configmaps/causeway-nodes")),
      "data",
    ) ?? {}) as object,
  );
await until(async () => ((await known()).length === 4 ? undefined : String(await known())), {
  what: "Nodes to be known",
});
for (const name of ["worker", "laptop", "far"])
  await kubeWrite(admin, { verb: "delete", path: `/api/v1/nodes/${name}` });
const said = async (reason: string, fits: RegExp) => {
  let found: string | undefined;
  const missing = async () =>
    (found = (await events(reason)).find((one) => fits.test(one))) === undefined
      ? (await events(reason)).join("; ")
      : undefined;
  await until(missing, { what: `the event ${reason}` });
  return found;
};
result["waits"] = await said("ReleaseWaits", /last pod/);
// A kubelet makes the Node anew, by another address: it may be the same machine's. What is known survives that its ConfigMap is deleted.
await kubeNode("worker", "192.0.2.7", {});
await said("ReleaseWaits", /the Node that has its name now is deleted/);
const nodesMap = "/api/v1/namespaces/causeway-system/configmaps/causeway-nodes";
await kubeWrite(admin, { verb: "delete", path: nodesMap });
await kubeWrite(admin, { verb: "delete", path: `${pods}/left?gracePeriodSeconds=0` });
await kubeNode("three", formatIp(member("new").overlay4), {});
await until(
  async () => ((await known().catch((): string[] => [])).includes("new") ? undefined : "not anew"),
  {
    what: "the ConfigMap to be made anew",
  },
);
result["known"] = (await known()).filter((name) => name !== "laptop").sort();
result["held"] = (await registrar.claims("shop.web")).blocks.map(({ node: name }) => name);
await kubeWrite(admin, { verb: "delete", path: "/api/v1/nodes/worker" });
result["releasedNode"] = await said("Released", /node old/);
result["stays in the mesh"] = await said("StaysInMesh", /laptop/);
await kubeNode("worker", formatIp(member("new").overlay4), {});
const range = formatPrefix(member("new").pods4 as Prefix);
await until(async () => ((await ranges("worker")) === range ? undefined : await ranges("worker")), {
  what: "the range of the machine that came in its place",
});
result["members"] = register.nodes().map(({ name }) => name);
result["blocks"] = (await registrar.claims("shop.web")).blocks.length;
await drop("Subnet", "shop.web");
await drop("VPC", "shop");
await until(() => absent("shop"), { what: "the shop to go" });

// The leader is gone without a word, then one says that it goes. (A restart of the API server is in the other scenario: it takes long.)
const succeeded = async (how: string, work: () => void | Promise<void>) => {
  const begunMs = monotonicMs();
  await work();
  if (controllers.size > 0) await until(() => (leader().length === 1 ? undefined : "none"), { what: how });
  // An API server that was just started answers slowly, on a machine that has other work.
  const spec = { allow: { namespaces: [how] } };
  await until(() => apply("VPC", "b", spec).then(() => undefined, String), { what: "the change" });
  await judged("VPC", "b", /^Accepted/);
  if (tenants().VPC.get("b")?.allow?.namespaces?.[0] !== how)
    throw new Error(`${how} is not in the register`);
  console.error(`${how}: ${Math.round(monotonicMs() - begunMs)} ms`);
};
const end = async (how: "die" | "end") => {
  const [name] = leader() as [string];
  const controller = controllers.get(name);
  controllers.delete(name);
  if (how === "end") return await controller?.end();
  controller?.[Symbol.dispose]();
};
await succeeded("died", () => end("die"));
// The third one is an agent's, by a kubeconfig.
const folder = mkdtempSync(join(tmpdir(), "causeway-controller-"));
writeFileSync(join(folder, "config"), stringify(api.kubeconfig(USER)));
const control = new ClusterControl({ role } as never as Agent, join(folder, "config"));
const holder = async () => {
  const path = "/apis/coordination.k8s.io/v1/namespaces/causeway-system/leases/causeway-controller";
  return String(at(JSON.parse(await kubeGet(admin, path)), "spec", "holderIdentity"));
};
await succeeded("ended", async () => {
  await end("end");
  await until(async () => ((await holder()).startsWith("hub_") ? undefined : "another"), {
    what: "the agent",
  });
});
// What nodes say of their edges becomes a condition, and another one when they say something else.
const up = async () => {
  const conditions = at(await read("Underlay", "rack-b"), "status", "conditions");
  const found = Array.isArray(conditions)
    ? conditions.find((one) => fieldOf(one, "type") === "Up")
    : undefined;
  return `${at(found, "status")} ${at(found, "reason")}: ${at(found, "message")}`;
};
const becomes = (text: string) =>
  until(async () => ((await up()) === text ? undefined : await up()), { what: `condition ${text}` });
const message = "link eth1 is not there";
const eth1 = { kind: "Underlay", name: "rack-b", reason: "failed" as const, message };
role.edges.say("hub", { failed: [eth1], more: 0 }, 1);
await underlay("rack-b", "rack=b");
await becomes(`False Degraded: on hub: ${message}`);
role.edges.say("hub", { failed: [], more: 0 }, 2);
await becomes("True Up: no node says that it is not as asked");
await drop("Underlay", "rack-b");
await control.end();
result["released"] = await holder();
// A refusal that is asked for again at each change of the register would be one that never ends.
result["writes"] = writes < 80 ? "few" : writes;
rmSync(folder, { recursive: true });
// Every right is one that was used.
const asked = api.asked();
type Rule = Readonly<Record<"apiGroups" | "resources" | "verbs", readonly string[]>>;
const rights = manifests.flatMap((one) => (at(one, "rules") ?? []) as readonly Rule[]);
result["unused"] = rights
  .flatMap(({ apiGroups: [group], resources, verbs }) => {
    // Of kinds that are treated alike, one speaks for all.
    const alike = (verb: string) =>
      resources.some((name) => asked.has(`${verb} ${group === "" ? "" : `${group}/`}${name}`));
    return verbs.filter((verb) => !alike(verb)).map((verb) => `${verb} ${group}/${resources[0]}`);
  })
  .sort();
result["register"] = [...tenants().VPC.keys()].sort();
console.log(JSON.stringify(result));
