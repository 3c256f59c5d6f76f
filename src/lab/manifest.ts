/**
 * The manifest of a laboratory: `kind: Lab` in the resource form of everything else, checked field by field.
 *
 * What the fields mean together (names that exist, addresses that fit) is checked in plan.ts; errors of both read the same.
 */
import { parse } from "yaml";
import { z } from "zod";
import { type Family, type Ip, parseIp, parsePrefix, type Prefix } from "../net/mod.ts";
import { tunnelWishes } from "../tunnel/mod.ts";

// The executable is built without code generation from strings, which zod's compiled parsers need.
z.config({ jitless: true });

const API_VERSION = "causeway.network/v1alpha1";

/** LabError holds every mistake of a manifest, one line each: object, field, value, fix. */
export class LabError extends Error {
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.mistakes = mistakes;
  }
}

function parsed<T>(read: (text: string) => T) {
  return z.string().transform((text, context): T => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });
}

function prefix(family: Family) {
  return parsed((text): Prefix => {
    const value = parsePrefix(text);
    if (value.family !== family) throw new Error(`"${text}" is not an IPv${family} network`);
    const longest = family === 4 ? 29 : 64;
    if (value.length > longest) throw new Error(`"${text}" is too small; use /${longest} or shorter`);
    return value;
  });
}

function address(family: Family) {
  return parsed((text): Ip => {
    const value = parseIp(text);
    if (value.family !== family) throw new Error(`"${text}" is not an IPv${family} address`);
    return value;
  });
}

// A name is also the name of a namespace and of a bridge port, and Linux gives a link 15 bytes.
const name = parsed((text) => {
  if (!/^[a-z]([a-z0-9-]{0,13}[a-z0-9])?$/.test(text))
    throw new Error(
      `"${text}" is not a name here; use 1 to 15 lower-case letters, digits and "-", with a letter first`,
    );
  return text;
});

const endpoint = parsed((text) => {
  if (text !== "auto" && !/^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/.test(text))
    throw new Error(
      `"${text}" is not an endpoint; write HOST:PORT, or auto for the first address and the port`,
    );
  return text;
});

const loss = parsed((text) => {
  const match = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text);
  const basisPoints = Math.round(Number(match?.[1]) * 100);
  if (match === null || basisPoints < 1 || basisPoints > 10_000)
    throw new Error(`"${text}" is not a share; write it like 2% or 0.5%`);
  return basisPoints;
});

const delay = parsed((text) => {
  const match = /^(\d{1,4})ms$/.exec(text);
  if (match === null || Number(match[1]) === 0)
    throw new Error(`"${text}" is not a delay; write it like 20ms`);
  return Number(match[1]);
});

const attachment = z
  .union([z.string(), z.looseObject({})])
  .transform((value) => (typeof value === "string" ? { name: value } : value))
  .pipe(z.strictObject({ name, address4: address(4).optional(), address6: address(6).optional() }));

// NAT boxes speak IPv4 only.
const attachment4 = z
  .union([z.string(), z.looseObject({})])
  .transform((value) => (typeof value === "string" ? { name: value } : value))
  .pipe(z.strictObject({ name, address4: address(4).optional() }));

const attachments = z.array(attachment).min(1, "names no network; name at least one");

const network = z.strictObject({
  name,
  prefix4: prefix(4),
  prefix6: prefix(6).optional(),
  loss: loss.optional(),
  delay: delay.optional(),
  mtu: z.int().min(1280).max(9000).default(1500),
});

const blockUdp = z.boolean().default(false);

const router = z.discriminatedUnion("kind", [
  z.strictObject({ name, kind: z.literal("router"), networks: attachments, blockUdp }),
  ...(["cone", "restricted", "symmetric"] as const).map((kind) =>
    z.strictObject({
      name,
      kind: z.literal(kind),
      inside: attachment4,
      outside: attachment4,
      portMapping: z.boolean().default(false),
      blockUdp,
    }),
  ),
]);

const node = z.strictObject({
  name,
  role: z.enum(["hub", "member", "none"]).default("member"),
  networks: attachments,
  pods: z.int().min(0).max(200).default(0),
  site: z.string().optional(),
  endpoint: endpoint.optional(),
  agentOptions: z.array(z.string()).default([]),
});

const speaker = z.strictObject({
  name,
  kind: z.enum(["frr", "gobgp", "bird", "causeway"]),
  networks: attachments,
  loopback: z.array(parsed(parseIp)).default([]),
  config: z.string(),
  root: z.string().optional(),
});

const mesh = z.strictObject({
  overlay4: z.string().optional(),
  overlay6: z.string().optional(),
  pods4: z.string().optional(),
  pods6: z.string().optional(),
  nodeBits: z.int().min(1).max(24).optional(),
  port: z.int().min(1).max(65535).default(51820),
  mtu: z.int().min(1280).max(9000).optional(),
  expose: z.array(z.string()).default([]),
  tunnel: z.enum(tunnelWishes).optional(),
});

const manifest = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal("Lab"),
  metadata: z.strictObject({ name }),
  spec: z.strictObject({
    mesh: mesh.prefault({}),
    networks: z.array(network).min(1, "is empty; a lab has at least one network"),
    routers: z.array(router).default([]),
    nodes: z.array(node).default([]),
    speakers: z.array(speaker).default([]),
    hosts: z.array(z.strictObject({ name, networks: attachments })).default([]),
  }),
});

/** LabManifest is a manifest whose fields are each right in themselves. */
export type LabManifest = z.output<typeof manifest>;

/** ManifestAttachment is an interface as the manifest gives it, addresses optional. */
export type ManifestAttachment = z.output<typeof attachment>;

/** parseManifest reads YAML; LabError names every field that is wrong. */
export function parseManifest(text: string): LabManifest {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    throw new LabError([`Cannot read the lab: ${(error as Error).message}`]);
  }
  const result = manifest.safeParse(raw);
  if (result.success) return result.data;
  if (typeof raw !== "object" || raw === null)
    throw new LabError([
      "Cannot read the lab: it is not a manifest; start it with apiVersion, kind, metadata and spec",
    ]);
  const lab = `Lab ${String(at(raw, ["metadata", "name"]) ?? "without name")}`;
  throw new LabError(result.error.issues.map((issue) => `${lab}: ${describe(raw, issue)}`));
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}

/** A list's element is called by its name where it has one: `spec.nodes[hub].pods`. */
function fieldName(raw: unknown, path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => {
      if (typeof key !== "number") return `${index === 0 ? "" : "."}${String(key)}`;
      const element = at(raw, [...path.slice(0, index + 1), "name"]);
      return `[${typeof element === "string" ? element : key}]`;
    })
    .join("");
}

function article(type: string): string {
  return `${/^[aeio]/.test(type) ? "an" : "a"} ${type}`;
}

function describe(raw: unknown, issue: z.core.$ZodIssue): string {
  const field = fieldName(raw, issue.path) || "the manifest";
  const value = at(raw, issue.path);
  const shown = value === undefined || typeof value === "object" ? "" : ` "${String(value)}"`;
  switch (issue.code) {
    case "custom":
      return `${field}: ${issue.message}`;
    case "unrecognized_keys":
      return `${field}: ${issue.keys.map((key) => `"${key}"`).join(", ")} is not known here; remove it`;
    case "invalid_type":
      return value === undefined
        ? `${field} is missing; give ${article(issue.expected)}`
        : `${field}${shown}: ${article(issue.expected)} is expected`;
    case "invalid_value":
      return `${field}${shown}: use ${issue.values.map(String).join(" or ")}`;
    case "invalid_union":
      return `${field}${field.endsWith(".kind") ? "" : ".kind"}: use router, cone, restricted or symmetric`;
    case "too_small":
      return typeof value === "number"
        ? `${field}${shown}: use ${issue.minimum} or more`
        : `${field} ${issue.message}`;
    case "too_big":
      return `${field}${shown}: use ${issue.maximum} or less`;
    default:
      return `${field}${shown}: ${issue.message}`;
  }
}
