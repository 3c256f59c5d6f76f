/** What `causeway kube manifests` prints, and the examples, at a real API server. Prints one JSON object; run it inside a new namespace. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { registerOf } from "../../src/agent/kube-controller.ts";
import { HubRole } from "../../src/agent/hub-role.ts";
import { Register } from "../../src/hub/mod.ts";
import { usualSettings } from "../../src/kube/agent-pod.ts";
import { ClusterController } from "../../src/kube/cluster-controller.ts";
import { type KubeError, kubeGet, kubeWrite } from "../../src/kube/client.ts";
import { resourcePath, type Manifest } from "../../src/kube/definition.ts";
import { kubeManifests, kubeRemoval, manifestPath } from "../../src/kube/manifests.ts";
import { fieldOf } from "../../src/kube/metadata.ts";
import { PodWatch } from "../../src/kube/pod-watch.ts";
import { until } from "../../src/lab/wait.ts";
import { PrivateKey, SigningSecret } from "../../src/net/mod.ts";
import { type Json, newMesh, type TenantKind } from "../../src/resources/mod.ts";
import { runSync } from "../../src/sys/mod.ts";
import { ApiServer } from "./api-server.ts";
import { type Description, lost, openApiProblems } from "./openapi-problems.ts";

const [program, etcd, kubectl] = process.argv.slice(2) as [string, string, string];
runSync(["ip", "link", "set", "lo", "up"]);
const at = (value: unknown, ...keys: string[]) => keys.reduce(fieldOf, value);
const result: Record<string, unknown> = {};

const user = (name: string) => `system:serviceaccount:causeway-system:${name}`;
const [AGENT, CONTROLLER] = [user("causeway-agent"), user("causeway-controller")];
await using api = new ApiServer(program, etcd, [AGENT, CONTROLLER]);
await api.start();
const access = api.access();
const send = async (method: string, path: string, body: Json) => {
  const answer = await fetch(`${access.server}${path}`, {
    ...{ method, body: JSON.stringify(body), tls: { ca: access.tls.ca } },
    headers: {
      authorization: `Bearer ${access.token?.()}`,
      "content-type": method === "PATCH" ? "application/apply-patch+yaml" : "application/json",
    },
  });
  return { status: answer.status, object: (await answer.json()) as { readonly [field: string]: Json } };
};
const apply = (manifest: Manifest, more = "") =>
  send("PATCH", `${manifestPath(manifest)}?fieldManager=test${more}`, manifest);
/** Where the API server keeps less than was sent, or why it refuses. */
const applied = async (manifest: Manifest, more?: string) => {
  const { status, object } = await apply(manifest, more);
  if (status >= 300) return [`${manifestPath(manifest)}: ${String(object["message"])}`];
  return lost(manifest, object).map((path) => `${manifestPath(manifest)} ${path}`);
};

// The schema of the API server; then the API server itself, which keeps nothing (dry run), and then does.
const settings = { image: "registry.example.com/causeway:1", ...usualSettings };
const manifests = kubeManifests(await api.version(), settings);
const removal = kubeRemoval(settings);
const description = JSON.parse(await kubeGet(access, "/openapi/v2")) as Description;
result["schema"] = [...manifests, ...removal].flatMap((one) => openApiProblems(one, description));
const [own, ...others] = manifests as [Manifest, ...Manifest[]];
await until(async () => (await applied(own))[0], { what: "our namespace" });
const dry: string[] = [];
for (const one of [...others, ...removal]) dry.push(...(await applied(one, "&dryRun=All")));
result["dryRun"] = dry;
const kept: string[] = [];
for (const one of others) kept.push(...(await applied(one)));
result["applied"] = kept;

// Pods as the DaemonSets' controller would make them.
const pods: Record<string, unknown> = {};
for (const one of [...others, ...removal].filter(({ kind }) => kind === "DaemonSet")) {
  const metadata = { generateName: "a-", ...(at(one, "spec", "template", "metadata") as object) };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: at(one, "spec", "template", "spec") as Json };
  const { object } = await send("POST", "/api/v1/namespaces/causeway-system/pods?dryRun=All", pod);
  pods[String(at(one, "metadata", "name"))] = at(object, "spec", "priority") ?? object["message"];
}
result["priorities"] = pods;

// The examples, by kubectl where there is one.
const folder = mkdtempSync(join(tmpdir(), "causeway-examples-"));
writeFileSync(join(folder, "config"), stringify(api.kubeconfig("admin")));
const byKubectl = (text: string, ...more: string[]) => {
  const argv = [kubectl, "--kubeconfig", join(folder, "config"), "apply", "-f", "-", ...more];
  const { status, stderr } = runSync(argv, { input: text, env: { HOME: folder }, timeoutMs: 60_000 });
  return status === 0 ? "" : stderr.trim();
};
const documents = (text: string) =>
  parseAllDocuments(text).map((one) => one.toJS() as Manifest & { kind: string });
const places: Readonly<Record<string, string>> = { Namespace: "namespaces", Pod: "namespaces/team-a/pods" };
const byRequests = async (text: string, dryRun: boolean) => {
  const problems: string[] = [];
  for (const one of documents(text)) {
    const name = String(at(one, "metadata", "name"));
    const place = places[one.kind];
    const path =
      place === undefined ? resourcePath(one.kind as TenantKind, name) : `/api/v1/${place}/${name}`;
    const query = `?fieldManager=test${dryRun ? "&dryRun=All" : ""}`;
    const { status, object } = await send("PATCH", `${path}${query}`, one);
    if (status >= 300) problems.push(String(object["message"]));
  }
  return problems.join("\n");
};
const given = async (text: string, dryRun = false) =>
  kubectl === "" ? await byRequests(text, dryRun) : byKubectl(text, ...(dryRun ? ["--dry-run=server"] : []));

const register = Register.open(":memory:");
const key = PrivateKey.random();
using role = new HubRole(register, { node: key, signing: SigningSecret.random() });
await role.registrar.init(newMesh("home", { endpoints: ["h:1"], overlay6: "fd01:2:3::/64" }), {
  ...{ name: "hub", publicKey: key.publicKey, endpoints: [] },
});
using controller = ClusterController.start({
  access: api.access(CONTROLLER),
  ...{ identity: "one", register: registerOf(role) },
});
register.subscribe(() => controller.registerChanged());

const example = (name: string) =>
  readFileSync(new URL(`../../examples/kubernetes/${name}`, import.meta.url), "utf8");
const files = ["team-a.yaml", "rack.yaml", "pods.yaml"] as const;
const answers: Record<string, string> = {};
for (const name of files)
  await until(async () => (answers[name] = await given(example(name))) || undefined, {
    what: `the API server to take ${name}`,
  });
result["examples"] = answers;
const read = async (kind: TenantKind, name: string): Promise<unknown> =>
  JSON.parse(await kubeGet(access, resourcePath(kind, name)));
const verdicts: string[] = [];
const ours = files
  .flatMap((name) => documents(example(name)))
  .filter(({ kind }) => places[kind] === undefined)
  .map((one) => ({ kind: one.kind as TenantKind, name: String(at(one, "metadata", "name")) }));
for (const { kind, name } of ours) {
  const verdict = async () => at(await read(kind, name), "status", "conditions", "0");
  await until(
    async () => (at(await verdict(), "reason") === "Accepted" ? undefined : JSON.stringify(await verdict())),
    {
      what: `${kind} ${name} to be accepted`,
    },
  );
  verdicts.push(`${kind} ${name}`);
}
result["accepted"] = verdicts;
result["defaulted"] = {
  routed: at(await read("VPC", "team-a"), "spec", "routed"),
  protocol: at(await read("SecurityGroup", "team-a.web"), "spec", "rules", "1", "protocol"),
  router: at(await read("Underlay", "rack-a"), "spec", "router"),
};

/** What users get wrong: words of an example, and what stands there instead. */
type Wrong = Readonly<Record<string, string>>;
const changed = (name: string, wrong: Wrong) =>
  Object.entries(wrong).reduce((text, [words, instead]) => {
    if (!text.includes(words)) throw new Error(`${name} has no ${words}`);
    return text.replace(words, () => instead);
  }, example(name));
const refusedByApi: Readonly<Record<string, Wrong>> = {
  "rack.yaml": { "vni: 5100": "vni: 0", "- { name: eth1 }": "[]" },
  "team-a.yaml": {
    "10.1.0.0/24": "10.1.0.0/33",
    "vpcs: [team-a, storage]": "vpcs: [team-a]",
    "[203.0.113.20]": "[192.0.2.1, 192.0.2.2, 192.0.2.3]",
    "gateway: team-a-out": 'gateway: ""',
    "direction: egress": "direction: sideways",
  },
};
const refused: Record<string, string> = {};
for (const [name, wrong] of Object.entries(refusedByApi))
  refused[name] = await given(changed(name, wrong), true);
result["refused"] = refused;

// What the API server cannot see is refused at reconcile, in the object's status.
result["taken"] = await given(
  changed("team-a.yaml", {
    "address: 203.0.113.21": "address: nowhere",
    "groups: [team-a.web]": "groups: [team-a.nobody]",
  }),
);
const judged: Record<string, unknown> = {};
for (const [kind, name] of [
  ["FloatingIP", "team-a-web"],
  ["SecurityGroup", "team-a.web"],
] as const)
  await until(
    async () => {
      const condition = at(await read(kind, name), "status", "conditions", "0");
      judged[kind] = `${at(condition, "reason")}: ${at(condition, "message")}`;
      return at(condition, "status") === "False" ? undefined : "accepted";
    },
    { what: `${kind} ${name} to be refused` },
  );
result["judged"] = judged;
// An agent's identity reads pods and namespaces, and nothing else.
const agent = api.access(AGENT);
using watch = PodWatch.start({ access: agent, node: "n1" });
await until(() => watch.status.problem, { what: "the agent's watches" });
const { annotations } = await watch.find("team-a", "web");
const status = (path: string) =>
  kubeGet(agent, path).then(
    () => 200,
    (error: KubeError) => error.status,
  );
const theirs = ["/api/v1/nodes", "/api/v1/secrets", resourcePath("VPC", "team-a")];
result["agent"] = {
  vpc: annotations["causeway.network/vpc"],
  namespace: await status("/api/v1/namespaces/team-a"),
  others: await Promise.all(theirs.map(status)),
};
// Deleted in the order of the files, each goes when nothing refers to it any more.
for (const { kind, name } of ours)
  await kubeWrite(access, { verb: "delete", path: resourcePath(kind, name) });
for (const { kind, name } of ours)
  await until(
    () =>
      read(kind, name).then(
        () => "it is there",
        (error: KubeError) => (error.status === 404 ? undefined : error.message),
      ),
    { what: `${kind} ${name} to go` },
  );
const { tenants } = role.view();
result["left"] = ours.filter(({ kind, name }) => tenants[kind].has(name));
rmSync(folder, { recursive: true });
console.log(JSON.stringify(result));
process.exit(0);
