/** `causeway apply`, `get` and `delete`: the resources of tenants' networks in the register. */
import { MAX_APPLIED } from "../agent/asked/mod.ts";
import type { Results } from "../agent/mod.ts";
import {
  formatProblem,
  isTenantKind,
  noTenants,
  parseManifest,
  parseObject,
  type Resource,
  resourceJson,
  type TenantKind,
  tenantKindOf,
  tenantKinds,
  type TenantResource,
  tenantsOf,
  tenantWords,
} from "../resources/mod.ts";
import { ask } from "./client.ts";
import { type Command, type Given, UsageError, withJson } from "./command.ts";
import { printJson, printText, progress, readFile, readStandardInput } from "./output.ts";
import { resourceTable } from "./resource-table.ts";

const file = { about: "manifests, YAML or JSON (-: standard input)", value: "FILE", short: "f" };

/** kindOf reads a kind as people write it: `vpc`, `VPC`, `vpcs`, `NatGateway`, `nat-gateway`. */
export function kindOf(word: string): TenantKind | undefined {
  const plain = word.toLowerCase();
  const all = Object.keys(tenantKinds) as TenantKind[];
  for (const one of [plain, plain.replace(/s$/, "")]) {
    const kind = tenantKindOf(one) ?? all.find((name) => name.toLowerCase() === one);
    if (kind !== undefined) return kind;
  }
  return undefined;
}

function needKind(word: string, path: string): TenantKind {
  const kind = kindOf(word);
  if (kind === undefined)
    throw new UsageError(path, `"${word}" is not a kind; the kinds are ${tenantWords.join(", ")}`);
  return kind;
}

function readResources(given: Given): readonly Resource[] | undefined {
  const path = given.value("file");
  if (path === undefined) return undefined;
  const { resources, problems } = parseManifest(path === "-" ? readStandardInput() : readFile(path));
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  if (resources.length === 0)
    throw new Error(
      `Cannot read ${path}: it holds no object; write one of kind ${Object.keys(tenantKinds).join(", ")}`,
    );
  return resources;
}

/** Words of all kinds, in lines of a terminal. */
const kindLines = [tenantWords.slice(0, 6), tenantWords.slice(6)]
  .map((words) => words.join(", "))
  .join(",\n");

const label = (kind: TenantKind, name: string): string => `${tenantKinds[kind].word}/${name}`;

export const apply: Command = {
  name: "apply",
  about: "Make or change VPCs and what belongs to them, on a hub",
  more: `All objects of the file are taken, or none; what is wrong is said with object,
field, value and fix. What is left out of an object that is there gets its
default, except VNIs that were given: they stay. What a Kubernetes cluster put
there is changed there; with --force it is taken from the cluster.`,
  options: withJson({ file, force: { about: "also what belongs to a Kubernetes cluster" } }),
  examples: ["causeway apply -f team-a.yaml", "causeway get subnet a.web -o yaml | … | causeway apply -f -"],
  async run(given) {
    const read = readResources(given);
    if (read === undefined) throw new UsageError("causeway apply", "--file FILE is missing");
    const resources = read.map(resourceJson);
    const { length } = JSON.stringify(resources);
    if (length > MAX_APPLIED)
      throw new Error(
        `Cannot apply ${read.length} objects at once: they have ${length} characters as JSON, and ${MAX_APPLIED} are the most; split them, what others refer to first`,
      );
    const result = await ask({ op: "resource-apply", resources, force: given.flag("force") }, progress);
    if (given.flag("json")) return printJson(result);
    for (const { kind, name, change, vni } of result.resources)
      printText(`${label(kind, name)} ${change}${vni === undefined ? "" : `, VNI ${vni}`}\n`);
    return 0;
  },
};

function tenantsIn(resources: readonly unknown[]): TenantResource[] {
  return resources.flatMap((json) => {
    const resource = parseObject(json, { problems: [], strict: false });
    return resource !== undefined && isTenantKind(resource.kind) ? [resource as TenantResource] : [];
  });
}

async function printTables(result: Results["resource-get"], kind: TenantKind | undefined): Promise<void> {
  const shown = tenantsIn(result.resources);
  // Of a VPC its Subnets are counted.
  const all =
    kind === undefined || kind === "VPC" || kind === "Gateway"
      ? tenantsOf(tenantsIn((await ask({ op: "resource-get" }, progress)).resources))
      : noTenants;
  const tables = (Object.keys(tenantKinds) as TenantKind[]).flatMap((one) => {
    const values = shown.filter((resource) => resource.kind === one).map(({ value }) => value);
    if (values.length === 0 && one !== kind) return [];
    return [resourceTable(one, values as never, all)];
  });
  const notUp = notUpLines(result.resources);
  const parts = notUp.length === 0 ? tables : [...tables, notUp.join("")];
  printText(parts.length === 0 ? "none\n" : parts.join("\n"));
}

/** notUpLines returns a line for each resource of which nodes say that it is not as it asks. */
export function notUpLines(resources: readonly unknown[]): string[] {
  return resources.flatMap((resource) => {
    const { kind, metadata, status } = resource as ShownResource;
    if (status?.up !== false) return [];
    // What a node says goes to a terminal.
    const reason = (status.reason ?? "its node does not say why").replaceAll(/\p{C}/gu, "\u{fffd}");
    return [`${label(kind, metadata.name)} is not up: ${reason}\n`];
  });
}

interface ShownResource {
  readonly kind: TenantKind;
  readonly metadata: { readonly name: string };
  readonly status?: { readonly up?: boolean; readonly reason?: string };
}

export const get: Command = {
  name: "get",
  about: "Show VPCs and what belongs to them, as this node knows them",
  more: `Kinds: ${kindLines},\nand all.
On a hub also what nodes say of Routes and of what is in a fabric: a line for
each that is not as it asks, with nodes and causes; with --json in "status".`,
  positionals: ["KIND", "[NAME]"],
  choices: [...tenantWords, "all"],
  options: withJson({
    output: {
      about: "how: a table, or manifests",
      value: "FORM",
      short: "o",
      choices: ["table", "yaml", "json"],
    },
  }),
  examples: ["causeway get vpc", "causeway get subnet team-a.web -o yaml", "causeway get all --json"],
  async run(given) {
    const [word, name] = given.positionals as [string, string?];
    const kind = word.toLowerCase() === "all" ? undefined : needKind(word, "causeway get");
    if (kind === undefined && name !== undefined)
      throw new UsageError("causeway get", `"${name}" has no kind; name it instead of all`);
    const result = await ask(
      {
        op: "resource-get",
        ...(kind === undefined ? {} : { kind }),
        ...(name === undefined ? {} : { name }),
      },
      progress,
    );
    const form = given.flag("json") ? "json" : (given.value("output") ?? "table");
    if (form === "json") return printJson(name === undefined ? result.resources : result.resources[0]);
    if (form === "yaml") printText(result.manifest);
    else await printTables(result, kind);
    return 0;
  },
};

function namesIn(resources: readonly Resource[]): { readonly kind: TenantKind; readonly name: string }[] {
  return resources.map(({ kind, value }) => {
    if (isTenantKind(kind)) return { kind, name: value.name };
    throw new Error(
      `${kind} "${value.name}": kind ${kind} is not deleted like this; the kinds are ${tenantWords.join(", ")}`,
    );
  });
}

function namesOf(given: Given): { readonly kind: TenantKind; readonly name: string }[] {
  const path = "causeway delete";
  const [word, ...names] = given.positionals;
  const resources = readResources(given);
  if (resources !== undefined) {
    if (word !== undefined) throw new UsageError(path, `"${word}" is too much beside --file`);
    return namesIn(resources);
  }
  if (word === undefined) throw new UsageError(path, "KIND is missing (or --file FILE)");
  const kind = needKind(word, path);
  if (names.length === 0) throw new UsageError(path, "NAME is missing");
  return names.map((name) => ({ kind, name }));
}

export const remove: Command = {
  name: "delete",
  about: "Delete VPCs and what belongs to them, on a hub",
  more: `All that is named goes, or nothing. What something else refers to is refused,
and a Subnet of which nodes or owners have addresses: a node returns what its
last pod had after two minutes. With --force such a Subnet goes at once, and
pods that are still there lose their network. What a Kubernetes cluster put
there is deleted there, or here with --force.
Kinds: ${kindLines}.`,
  positionals: ["[KIND]", "[NAME…]"],
  choices: tenantWords,
  options: withJson({ file, force: { about: "also of a Kubernetes cluster, and Subnets in use" } }),
  examples: ["causeway delete subnet team-a.web team-a.db", "causeway delete -f team-a.yaml"],
  async run(given) {
    const resources = namesOf(given);
    await ask({ op: "resource-delete", resources, force: given.flag("force") }, progress);
    if (given.flag("json")) return printJson({ deleted: resources });
    for (const { kind, name } of resources) printText(`${label(kind, name)} deleted\n`);
    return 0;
  },
};
