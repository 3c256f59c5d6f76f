/** Every kind of custom resource at a real API server, through its restart. Prints one JSON object; run it inside a new namespace. */
import { parse } from "yaml";
import { Collection } from "../../src/kube/collection.ts";
import { KubeError, kubeGet, kubeWatch, kubeWrite } from "../../src/kube/client.ts";
import { resourcePath } from "../../src/kube/definition.ts";
import { Leadership } from "../../src/kube/leadership.ts";
import { kubeManifests, manifestPath } from "../../src/kube/manifests.ts";
import { fieldOf, parseMetadata } from "../../src/kube/metadata.ts";
import { until } from "../../src/lab/wait.ts";
import {
  floatingIpExample,
  gatewayExample,
  type Json,
  natGatewayExample,
  peeringExample,
  routeExample,
  securityGroupExample,
  subnetExample,
  type TenantKind,
  underlayExample,
  vpcExample,
} from "../../src/resources/mod.ts";
import { runSync } from "../../src/sys/mod.ts";
import { ApiServer } from "./api-server.ts";

type Object = { readonly [field: string]: Json };

const [program, etcd] = process.argv.slice(2) as [string, string];
runSync(["ip", "link", "set", "lo", "up"]);

const examples: { readonly [K in TenantKind]: string } = {
  VPC: vpcExample,
  Subnet: subnetExample,
  Peering: peeringExample,
  NatGateway: natGatewayExample,
  FloatingIP: floatingIpExample,
  SecurityGroup: securityGroupExample,
  Underlay: underlayExample,
  Gateway: gatewayExample,
  Route: routeExample,
};

/** What of each kind the API server itself refuses. */
const wrong: { readonly [K in TenantKind]: Object } = {
  VPC: { vni: 16_777_216 },
  Subnet: { prefixes: ["10.1.0.0"] },
  Peering: { vpcs: ["team-a"] },
  NatGateway: { externalAddresses: ["192.0.2.1", "192.0.2.2", "192.0.2.3"] },
  FloatingIP: { gateway: "" },
  SecurityGroup: { rules: [{ direction: "sideways" }] },
  Underlay: { links: [] },
  Gateway: { backend: "swift" },
  Route: { spi: 255 },
};

/** A valid change of each. */
const changed: { readonly [K in TenantKind]: Object } = {
  VPC: { allow: { namespaces: ["ci"] } },
  Subnet: { mtuBytes: 1400 },
  Peering: { prefixes: { storage: ["10.9.0.0/29"] } },
  NatGateway: { externalAddresses: ["203.0.113.21"] },
  FloatingIP: { target: "10.1.0.201" },
  SecurityGroup: { rules: [] },
  Underlay: { asn: 64_515 },
  Gateway: { mtuBytes: 1400 },
  Route: { prefixes: ["172.33.0.0/16"] },
};

/** What never changes: the register knows, and from 1.25 on the API server too. */
const fixed: { readonly [K in TenantKind]?: Object } = {
  VPC: { vni: 5001 },
  Subnet: { vpc: "another" },
  NatGateway: { vpc: "another" },
  SecurityGroup: { vpc: "another" },
};

const kinds = Object.keys(examples) as TenantKind[];
await using api = new ApiServer(program, etcd);
await api.start();
const access = api.access();
const named = (kind: TenantKind) => parse(examples[kind]) as { metadata: { name: string }; spec: Object };
const path = (kind: TenantKind, part?: "status") => resourcePath(kind, named(kind).metadata.name, part);
const apply = (kind: TenantKind, spec: Object) =>
  kubeWrite(access, { verb: "apply", path: path(kind), body: { ...named(kind), spec } });
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: KubeError) => `${error.status} ${error.message.replace(/^.*?: /, "")}`,
  );

const version = await api.version();
for (const manifest of kubeManifests(version))
  await kubeWrite(access, { verb: "apply", path: manifestPath(manifest), body: manifest });
for (const kind of kinds)
  await until(() => kubeGet(access, resourcePath(kind)).then(() => undefined, String), { what: kind });

const collections = kinds.map((kind) =>
  Collection.start({ access, path: resourcePath(kind), most: 100, parse: parseMetadata }),
);
const seen = () => collections.map(({ cache }) => cache.size);
const problems = () => collections.find(({ problem }) => problem !== undefined)?.problem;
const watched = (what: string, missing: () => string | undefined) => until(missing, { what });
await watched("all watches", problems);

const result: Record<string, unknown> = { minor: version.minor };
const made: Partial<Record<TenantKind, unknown>> = {};
for (const kind of kinds) made[kind] = await apply(kind, named(kind).spec);
const at = (value: unknown, ...keys: string[]) => keys.reduce(fieldOf, value);
result["created"] = kinds.map((kind) => at(made[kind], "metadata", "generation"));
result["kept"] = kinds.filter((kind) => !Bun.deepMatch(named(kind).spec, at(made[kind], "spec") as object));
result["defaulted"] = {
  routed: at(made.VPC, "spec", "routed"),
  protocols: (at(made.SecurityGroup, "spec", "rules") as Object[]).map(({ protocol }) => protocol),
  router: at(made.Underlay, "spec", "router"),
};
await watched("all objects", () => (seen().every((size) => size === 1) ? undefined : String(seen())));

const refused: Partial<Record<TenantKind, string>> = {};
for (const kind of kinds) refused[kind] = await refusal(apply(kind, { ...named(kind).spec, ...wrong[kind] }));
result["refused"] = refused;

const refixed: typeof refused = {};
for (const kind of Object.keys(fixed) as TenantKind[])
  refixed[kind] = await refusal(
    kubeWrite(access, {
      ...{ verb: "merge", path: `${path(kind)}?dryRun=All` },
      body: { spec: fixed[kind] as Object },
    }),
  );
result["fixed"] = refixed;

for (const kind of kinds) made[kind] = await apply(kind, { ...named(kind).spec, ...changed[kind] });
result["updated"] = kinds.map((kind) => at(made[kind], "metadata", "generation"));

const condition = {
  type: "Accepted",
  status: "False",
  reason: "NotAdmitted",
  message: "because",
  lastTransitionTime: "2020-01-01T00:00:00Z",
  observedGeneration: 2,
};
for (const kind of kinds)
  made[kind] = await kubeWrite(access, {
    verb: "merge",
    path: path(kind, "status"),
    body: { status: { observedGeneration: 2, conditions: [condition] }, spec: { vni: 1 } },
  });
result["status"] = kinds.map(
  (kind) => `${at(made[kind], "metadata", "generation")} ${at(made[kind], "status", "observedGeneration")}`,
);
result["badStatus"] = await refusal(
  kubeWrite(access, {
    verb: "merge",
    path: path("VPC", "status"),
    body: { status: { conditions: [{ type: "Accepted" }] } },
  }),
);

const old = JSON.parse(await kubeGet(access, path("VPC"))) as Object;
await apply("VPC", named("VPC").spec);
result["conflict"] = await refusal(kubeWrite(access, { verb: "replace", path: path("VPC"), body: old }));

const table = await fetch(`${access.server}${resourcePath("VPC")}`, {
  headers: {
    accept: "application/json;as=Table;g=meta.k8s.io;v=v1",
    authorization: `Bearer ${access.token?.()}`,
  },
  tls: { ca: access.tls.ca },
});
const { columnDefinitions, rows } = (await table.json()) as {
  columnDefinitions: { name: string }[];
  rows: { cells: Json[] }[];
};
result["table"] = {
  columns: columnDefinitions.map(({ name }) => name),
  row: rows[0]?.cells.slice(0, 8),
};

// The API server is killed and comes back; versions from before are too old for it. Who leads leads no more, and then again.
using leadership = Leadership.start({
  ...{ access, namespace: "kube-system", name: "scenario", identity: "one", leaseSeconds: 3 },
  onChange: () => {},
});
const leads = () => (leadership.leads ? undefined : "no leader");
await watched("a leader", leads);
await api.kill();
await watched("the watches to notice", () => (problems() === undefined ? "no problem" : undefined));
await watched("the leader to give up", () => (leadership.leads ? "it leads" : undefined));
await api.start();
await watched("the watches to go on", problems);
await watched("the leader to lead again", leads);
// One that was just started answers slowly, on a machine that has other work.
const late = () =>
  kubeWrite(access, {
    verb: "apply",
    path: resourcePath("VPC", "late"),
    body: { ...named("VPC"), metadata: { name: "late" } },
  });
await until(() => late().then(() => undefined, String), { what: "the first change" });
await kubeWrite(access, { verb: "delete", path: path("Peering") });
const expected = String([2, 1, 0, 1, 1, 1, 1, 1, 1]);
await watched("what changed afterwards", () => (String(seen()) === expected ? undefined : String(seen())));
result["afterRestart"] = seen();

const { promise, resolve } = Promise.withResolvers<string>();
using _watch = kubeWatch(access, `${resourcePath("VPC")}?watch=true&resourceVersion=1`, {
  opened: () => {},
  line: (line) => resolve(String(at(JSON.parse(line), "object", "code"))),
  ended: (error) => resolve(String(error.status)),
});
result["tooOld"] = await promise;

for (const kind of kinds) {
  const { items } = JSON.parse(await kubeGet(access, resourcePath(kind))) as { items: unknown[] };
  for (const item of items)
    await kubeWrite(access, {
      verb: "delete",
      path: resourcePath(kind, String(at(item, "metadata", "name"))),
    });
}
await watched("all to go", () => (seen().every((size) => size === 0) ? undefined : String(seen())));
result["deleted"] = seen();

for (const collection of collections) collection[Symbol.dispose]();
console.log(JSON.stringify(result));
