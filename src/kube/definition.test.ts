import { expect, test } from "bun:test";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { type TenantKind, tenantKinds } from "../resources/mod.ts";
import { customDefinitions } from "./definition.ts";
import { formatKubeManifests, kubeManifests } from "./manifests.ts";
import { structuralSchema } from "./structural-schema.ts";

type Schema = { readonly [keyword: string]: unknown };

/** What the API server demands of a structural schema, and what it does not know. */
function problemsOf(schema: Schema, path: string): string[] {
  const { properties, items, additionalProperties, type, pattern } = schema;
  const free = schema["x-kubernetes-preserve-unknown-fields"] ?? schema["x-kubernetes-int-or-string"];
  const found: string[] = [];
  if (type === undefined && free !== true) found.push(`${path}: no type`);
  if (properties !== undefined && additionalProperties !== undefined)
    found.push(`${path}: both kinds of members`);
  if (type === "array" && items === undefined) found.push(`${path}: no items`);
  if (typeof pattern === "string") {
    // RE2 has no looking around, and repeats nothing more than 1,000 times.
    const counts = [...pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].flatMap(([, ...all]) => all.map(Number));
    if (pattern.includes("(?") || counts.some((count) => count > 1000))
      found.push(`${path}: RE2 does not know ${pattern}`);
  }
  for (const keyword of [
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "const",
    "prefixItems",
    "propertyNames",
    "$ref",
    "$schema",
  ])
    if (keyword in schema) found.push(`${path}: ${keyword}`);
  for (const [name, value] of Object.entries((properties ?? {}) as { [name: string]: Schema }))
    found.push(...problemsOf(value, `${path}.${name}`));
  if (items !== undefined) found.push(...problemsOf(items as Schema, `${path}[]`));
  if (additionalProperties !== undefined)
    found.push(...problemsOf(additionalProperties as Schema, `${path}{}`));
  return found;
}

const definitions = customDefinitions({ major: 1, minor: 30 });
const at = (value: unknown, ...path: (string | number)[]) =>
  path.reduce((here, key) => (here as { [key: string]: unknown })[key], value) as never;

test("the schema of every kind is structural", () => {
  for (const definition of definitions) {
    const schema: Schema = at(definition, "spec", "versions", 0, "schema", "openAPIV3Schema");
    expect(problemsOf(schema, at(definition, "spec", "names", "kind"))).toEqual([]);
  }
});

test("every kind has a definition, and no two share a name", () => {
  const kinds = definitions.map((one) => at(one, "spec", "names", "kind") as TenantKind);
  expect(kinds).toEqual(Object.keys(tenantKinds) as TenantKind[]);
  const names = definitions.flatMap((one) => {
    const { plural, singular, shortNames } = at(one, "spec", "names") as Record<string, unknown>;
    return [plural, ...(plural === singular ? [] : [singular]), ...(shortNames as string[])];
  });
  expect(new Set(names).size).toBe(names.length);
});

test("rules are for API servers that know them", () => {
  const text = (minor: number) => JSON.stringify(kubeManifests({ major: 1, minor }));
  expect(text(24)).not.toContain("x-kubernetes-validations");
  expect(text(25)).toContain("x-kubernetes-validations");
});

test("the manifests are YAML that says the same", () => {
  const manifests = kubeManifests({ major: 1, minor: 30 });
  const text = formatKubeManifests(manifests);
  expect(text).not.toMatch(/[&*]a\d/);
  expect(parseAllDocuments(text).map((document) => document.toJS() as unknown)).toEqual(
    manifests as unknown[],
  );
});

test("what is not of one type is checked by nobody but us, or is an integer or a string", () => {
  const of = (type: z.ZodType) => at(structuralSchema({ field: type.optional() }), "properties", "field");
  expect(of(z.union([z.string(), z.array(z.string())]))).toEqual({
    "x-kubernetes-preserve-unknown-fields": true,
  } as never);
  expect(of(z.union([z.string(), z.number()]))).toEqual({ "x-kubernetes-int-or-string": true } as never);
  expect(of(z.literal([4, 6]))).toEqual({ type: "integer", enum: [4, 6] } as never);
  expect(of(z.number().nullable())).toEqual({ type: "number", nullable: true } as never);
  expect(of(z.string().regex(/^(?!a)/))).toEqual({ type: "string" } as never);
  expect(of(z.tuple([z.string(), z.string()]))).toEqual({
    type: "array",
    items: { type: "string" },
    minItems: 2,
    maxItems: 2,
  } as never);
});
