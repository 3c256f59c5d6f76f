/**
 * Structural schemas (Kubernetes' custom resources, "Specifying a structural schema"): as much of what a resource's schema says as the API
 * server can check. It has one type for each value, patterns of RE2, and no unions but "integer or string"; what it lets pass is refused where
 * the resource is read, with the words of `resources`.
 */
import { z } from "zod";
import { canonicalJson, type Json } from "../resources/mod.ts";

/** StructuralSchema is a JSONSchemaProps of apiextensions.k8s.io/v1. */
export interface StructuralSchema {
  readonly [keyword: string]: Json;
}

interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** Keywords that mean the same there. */
const SAME = [
  ...["minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "enum", "format", "default"],
] as const;

/** structuralSchema returns the schema of an object with these fields. Unknown ones are dropped by the API server. */
export function structuralSchema(fields: { readonly [name: string]: z.ZodType }): StructuralSchema {
  const schema = z.toJSONSchema(z.strictObject(fields), { io: "input", unrepresentable: "any" });
  return convert(schema as JsonSchema);
}

/** ANYTHING is checked by nobody but us. */
const ANYTHING: StructuralSchema = { "x-kubernetes-preserve-unknown-fields": true };

function convert(schema: JsonSchema): StructuralSchema {
  const kept = Object.fromEntries(
    SAME.flatMap((key) => (schema[key] === undefined ? [] : [[key, schema[key] as Json]])),
  );
  if (Array.isArray(schema["anyOf"])) return union(schema["anyOf"] as JsonSchema[], kept);
  if (Array.isArray(schema["type"]))
    return union(
      schema["type"].map((type) => ({ type })),
      kept,
    );
  const pattern = schema["pattern"];
  // RE2, by which the API server reads them, looks neither ahead nor behind.
  const patterned = typeof pattern === "string" && !pattern.includes("(?") ? { pattern } : {};
  const constant = schema["const"] === undefined ? {} : { enum: [schema["const"] as Json] };
  switch (schema["type"]) {
    case "object":
      return { type: "object", ...members(schema), ...kept };
    case "array":
      return { type: "array", ...items(schema), ...kept };
    case "string":
      return { type: "string", ...patterned, ...constant, ...kept };
    case "integer":
    case "number":
    case "boolean":
      return whole({ type: schema["type"], ...constant, ...kept });
    default:
      return ANYTHING;
  }
}

function members(schema: JsonSchema): StructuralSchema {
  const { properties, additionalProperties, required } = schema;
  if (properties === undefined)
    return typeof additionalProperties === "object" && additionalProperties !== null
      ? { additionalProperties: convert(additionalProperties as JsonSchema) }
      : ANYTHING;
  const converted = Object.entries(properties as { [name: string]: JsonSchema }).map(
    ([name, value]) => [name, convert(value)] as const,
  );
  return {
    properties: Object.fromEntries(converted),
    ...(Array.isArray(required) && required.length > 0 ? { required: required as string[] } : {}),
  };
}

function items(schema: JsonSchema): StructuralSchema {
  const tuple = schema["prefixItems"] as readonly JsonSchema[] | undefined;
  if (tuple === undefined) return { items: convert(schema["items"] as JsonSchema) };
  const [first = {}, ...others] = tuple.map(convert);
  const same = others.every((other) => canonicalJson(other) === canonicalJson(first));
  return { items: same ? first : ANYTHING, minItems: tuple.length, maxItems: tuple.length };
}

/** One type for all branches, or an integer or a string; else anything. */
function union(branches: readonly JsonSchema[], kept: StructuralSchema): StructuralSchema {
  const some = branches.filter(({ type }) => type !== "null").map(convert);
  const nullable = some.length < branches.length ? { nullable: true } : {};
  const [only] = some;
  if (some.length === 1 && only !== undefined) return { ...only, ...kept, ...nullable };
  const types = new Set(some.map(({ type }) => (type === "integer" ? "number" : type)));
  const [type] = types;
  if (types.size === 1 && typeof type === "string" && ["string", "number", "boolean"].includes(type)) {
    const values = some.map((schema) => schema["enum"]);
    const all = values.every(Array.isArray) ? { enum: values.flat() } : {};
    const integer = some.every((schema) => schema["type"] === "integer");
    return { type: integer ? "integer" : type, ...all, ...kept, ...nullable };
  }
  if (types.size === 2 && types.has("string") && types.has("number"))
    return { "x-kubernetes-int-or-string": true, ...kept, ...nullable };
  return { ...ANYTHING, ...nullable };
}

/** Numbers of which only some may stand there are an integer if all of these are. */
function whole(schema: StructuralSchema): StructuralSchema {
  const values = schema["enum"];
  const integers = Array.isArray(values) && values.every(Number.isInteger);
  return integers ? { ...schema, type: "integer" } : schema;
}
