/**
 * Manifests: resources as YAML or JSON. One bad resource is refused with object, field, value and fix; the others are kept.
 */
import { parseAllDocuments, stringify } from "yaml";
import { z } from "zod";
import { type BgpRouter, bgpRouterFields, bgpRouterFromSpec, bgpRouterSpec } from "./bgp-router.ts";
import { canonicalJson, type Json } from "./canonical.ts";
import { type Mesh, meshFields, meshFromSpec, meshSpec } from "./mesh.ts";
import { type Node, nodeFields, nodeFromSpec, nodeSpec, nodeStatus, nodeStatusFields } from "./node.ts";
import { type ExternalPeer, peerFields, peerFromSpec, peerSpec } from "./peer.ts";
import { nameProblem } from "./scalars.ts";
import { isTenantKind, type TenantKind, tenantKinds, type TenantResource } from "./tenant.ts";

/** API_VERSION stands first in every manifest. */
export const API_VERSION = "causeway.network/v1alpha1";

/** MANIFEST_FILES are names of files in a folder that are read as manifests. */
export const MANIFEST_FILES = /\.(ya?ml|json)$/;

/** MAX_MANIFEST is the greatest manifest that is read, in characters. */
export const MAX_MANIFEST = 4 * 1024 * 1024;

/** Resource is one parsed manifest. */
export type Resource =
  | { readonly kind: "Mesh"; readonly value: Mesh }
  | { readonly kind: "Node"; readonly value: Node }
  | { readonly kind: "Peer"; readonly value: ExternalPeer }
  | { readonly kind: "BgpRouter"; readonly value: BgpRouter }
  | TenantResource;

/** ManifestProblem says what was refused and how to mend it. */
export interface ManifestProblem {
  /** `Mesh "home"`, or `document 2` when it has no name. */
  readonly object: string;
  /** `spec.pods4`; absent when the whole object is meant. */
  readonly field?: string;
  /** The value found, as text. */
  readonly value?: string;
  /** Cause and fix. */
  readonly problem: string;
}

/** formatProblem returns one sentence: object, field, value, cause, fix. */
export function formatProblem(problem: ManifestProblem): string {
  const field = problem.field === undefined ? "" : ` ${problem.field}`;
  const value = problem.value === undefined ? "" : ` ${problem.value}`;
  return `${problem.object}:${field}${value} ${problem.problem}`.replaceAll(/ +/g, " ");
}

/** RefusedManifest is one with problems, as far as it can be told which. */
export interface RefusedManifest {
  readonly kind: string;
  readonly name: string;
  /** As it was written. */
  readonly spec: unknown;
}

type Problems = ManifestProblem[];
type Fields = { readonly [name: string]: z.ZodType };

interface Envelope {
  readonly object: string;
  readonly name: string;
  readonly spec: unknown;
  readonly status: unknown;
  /** Unknown fields are an error in what people write, and are passed over in what a newer hub sends. */
  readonly strict: boolean;
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let here = value;
  for (const key of path) here = (here as { [k: PropertyKey]: unknown } | undefined | null)?.[key];
  return here;
}

function shown(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function namesIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...namesIn(inner)]);
}

/** Whether a value may be a password or a key that somebody wrote where its place belongs. */
function holdsSecret(path: readonly PropertyKey[], value: unknown): boolean {
  const names = [path.join("."), ...namesIn(value)];
  return names.some((name) => /pass|pre-?shared|psk|secret|private-?key/i.test(name));
}

/** readFields parses one part of a manifest and adds its problems; undefined when there are some. */
function readFields<F extends Fields>(
  fields: F,
  part: "spec" | "status",
  envelope: Envelope,
  problems: Problems,
): z.output<z.ZodObject<F>> | undefined {
  const input = envelope[part] ?? {};
  const schema = envelope.strict ? z.strictObject(fields) : z.object(fields);
  const result = schema.safeParse(input);
  if (result.success) return result.data as z.output<z.ZodObject<F>>;
  for (const issue of result.error.issues) {
    if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
      for (const key of issue.keys)
        problems.push({
          object: envelope.object,
          field: `${part}.${key}`,
          problem: `is not a field; the fields are ${Object.keys(fields).join(", ")}`,
        });
      continue;
    }
    const value = at(input, issue.path);
    const missing = value === undefined && issue.path.length > 0;
    const names = issue.path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
    const text = holdsSecret(issue.path, value) ? undefined : shown(value);
    // A value that the message quotes already is not shown a second time.
    const quoted = text !== undefined && issue.message.startsWith(text);
    problems.push({
      object: envelope.object,
      field: `${part}${names.join("")}`,
      ...(text === undefined || quoted ? {} : { value: text }),
      problem: missing ? "is missing; add it" : issue.message,
    });
  }
  return undefined;
}

type Reader = (envelope: Envelope, problems: Problems) => unknown;

/** readSpec makes the reader of a kind that has a spec alone; `fromSpec` reports what does not fit together. */
function readSpec<F extends Fields>(
  fields: F,
  fromSpec: (
    name: string,
    spec: z.output<z.ZodObject<F>>,
    report: (field: string, value: string, problem: string) => void,
  ) => unknown,
): Reader {
  return (envelope, problems) => {
    const spec = readFields(fields, "spec", envelope, problems);
    if (spec === undefined) return undefined;
    const before = problems.length;
    const value = fromSpec(envelope.name, spec, (field, text, problem) =>
      problems.push({ object: envelope.object, field, ...(text === "" ? {} : { value: text }), problem }),
    );
    return problems.length > before ? undefined : value;
  };
}

const readers: { readonly [K in Resource["kind"]]: Reader } = {
  Mesh: readSpec(meshFields, meshFromSpec),
  Node(envelope, problems) {
    const spec = readFields(nodeFields, "spec", envelope, problems);
    const status = readFields(nodeStatusFields, "status", envelope, problems);
    return spec && status && nodeFromSpec(envelope.name, spec, status);
  },
  Peer: readSpec(peerFields, peerFromSpec),
  BgpRouter: readSpec(bgpRouterFields, bgpRouterFromSpec),
  ...(Object.fromEntries(
    Object.entries(tenantKinds).map(([kind, { fields, fromSpec }]) => [
      kind,
      readSpec(fields, fromSpec as never),
    ]),
  ) as { [K in TenantKind]: Reader }),
};

const members: readonly string[] = ["apiVersion", "kind", "metadata", "spec", "status"];

/** parseObject reads one manifest that was parsed to plain data; adds to `problems` and returns undefined if there are any. */
export function parseObject(
  data: unknown,
  options: { readonly problems: ManifestProblem[]; readonly where?: string; readonly strict?: boolean },
): Resource | undefined {
  const { problems, where = "object", strict = true } = options;
  const refuse = (object: string, problem: string, field?: string, value?: unknown) => {
    const text = shown(value);
    problems.push({
      object,
      ...(field && { field }),
      ...(text === undefined ? {} : { value: text }),
      problem,
    });
    return undefined;
  };
  if (typeof data !== "object" || data === null || Array.isArray(data))
    return refuse(where, "is not an object; start it with apiVersion, kind, metadata and spec");
  const record = data as { readonly [key: string]: unknown };
  const name = at(record, ["metadata", "name"]);
  const object =
    typeof name === "string" && typeof record.kind === "string" ? `${record.kind} "${name}"` : where;
  if (record.apiVersion !== API_VERSION)
    return refuse(object, `is not known; write ${API_VERSION}`, "apiVersion", record.apiVersion);
  const kind = record.kind;
  if (typeof kind !== "string" || !Object.hasOwn(readers, kind))
    return refuse(object, `is not a kind; the kinds are ${Object.keys(readers).join(", ")}`, "kind", kind);
  if (typeof name !== "string") return refuse(object, "is missing; add it", "metadata.name", name);
  const wrongName = nameProblem(name);
  if (wrongName !== undefined) return refuse(object, wrongName, "metadata.name", name);
  const stray = Object.keys(record).find((key) => !members.includes(key));
  if (strict && stray !== undefined)
    return refuse(object, `is not a field; the fields are ${members.join(", ")}`, stray);
  const envelope: Envelope = { object, name, spec: record.spec, status: record.status, strict };
  const value = readers[kind as Resource["kind"]](envelope, problems);
  return value === undefined ? undefined : ({ kind, value } as Resource);
}

/** ReadManifests are what a text comes to. */
export interface ReadManifests {
  readonly resources: readonly Resource[];
  readonly problems: readonly ManifestProblem[];
  /** Of the problems, those of manifests that have kind and name. */
  readonly refused: readonly RefusedManifest[];
}

/** No resource has lists and maps in more of them. */
const MOST_DEPTH = 100;

/** Throws for what no schema, and no message, would come to the end of: an alias that stands for what it is in. */
function needTree(value: unknown, around: readonly unknown[] = []): void {
  if (typeof value !== "object" || value === null) return;
  if (around.includes(value)) throw new Error("an alias stands for what it is in");
  if (around.length === MOST_DEPTH) throw new Error(`it is nested deeper than ${MOST_DEPTH}`);
  const inside = [...around, value];
  for (const inner of Object.values(value)) needTree(inner, inside);
}

/** parseManifest reads a YAML (or JSON) text of one or more documents. Resources that are valid are returned beside the problems of others. */
export function parseManifest(yamlText: string): ReadManifests {
  const resources: Resource[] = [];
  const problems: ManifestProblem[] = [];
  const refused: RefusedManifest[] = [];
  if (yamlText.length > MAX_MANIFEST)
    return {
      resources,
      refused,
      problems: [{ object: "manifest", problem: `is longer than ${MAX_MANIFEST} characters; split it` }],
    };
  const documents = parseAllDocuments(yamlText, { prettyErrors: true, logLevel: "error" });
  const seen = new Set<string>();
  (Array.isArray(documents) ? documents : []).forEach((document, i) => {
    const where = `document ${i + 1}`;
    const error = document.errors[0];
    if (error !== undefined) {
      problems.push({
        object: where,
        problem: `is not YAML: ${error.message.split("\n")[0]}; mend the text there`,
      });
      return;
    }
    let data: unknown;
    try {
      data = document.toJS({ maxAliasCount: 100 });
      needTree(data);
    } catch (cause) {
      problems.push({
        object: where,
        problem: `cannot be read: ${(cause as Error).message}; write it plainly, without aliases`,
      });
      return;
    }
    if (data === null) return;
    const resource = parseObject(data, { problems, where });
    if (resource === undefined) {
      const [kind, name] = [at(data, ["kind"]), at(data, ["metadata", "name"])];
      if (typeof kind === "string" && typeof name === "string")
        refused.push({ kind, name, spec: at(data, ["spec"]) });
      return;
    }
    const key = `${resource.kind} "${resource.value.name}"`;
    if (seen.has(key)) problems.push({ object: key, problem: "is there twice; keep one" });
    else resources.push(resource);
    seen.add(key);
  });
  return { resources, problems, refused };
}

/** resourceJson returns a resource as plain data in the order in which people write it. */
export function resourceJson(resource: Resource): { readonly [key: string]: Json } {
  const head = { apiVersion: API_VERSION, kind: resource.kind, metadata: { name: resource.value.name } };
  if (isTenantKind(resource.kind))
    return { ...head, spec: tenantKinds[resource.kind].spec(resource.value as never) };
  switch (resource.kind) {
    case "Mesh":
      return { ...head, spec: meshSpec(resource.value) };
    case "Node":
      return { ...head, spec: nodeSpec(resource.value), status: nodeStatus(resource.value) };
    case "Peer":
      return { ...head, spec: peerSpec(resource.value) };
    case "BgpRouter":
      return { ...head, spec: bgpRouterSpec(resource.value) };
  }
}

/** formatResource returns canonical JSON: the text that is stored, hashed and signed. */
export function formatResource(resource: Resource): string {
  return canonicalJson(resourceJson(resource));
}

/** formatManifest returns YAML of one or more documents. */
export function formatManifest(resources: readonly Resource[]): string {
  return resources.map((resource) => stringify(resourceJson(resource), { lineWidth: 0 })).join("---\n");
}

/** newMesh makes a Mesh from the fields of a spec, defaults filled in; throws one error that names all problems. */
export function newMesh(name: string, spec: { readonly [field: string]: Json }): Mesh {
  const problems: ManifestProblem[] = [];
  const data = { apiVersion: API_VERSION, kind: "Mesh", metadata: { name }, spec };
  const resource = parseObject(data, { problems });
  if (resource?.kind !== "Mesh") throw new Error(problems.map(formatProblem).join("\n"));
  return resource.value;
}
