/** What of an object an API server's own description (OpenAPI 2.0, /openapi/v2) does not know, or demands beside it. */
import type { Json } from "../../src/resources/mod.ts";

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly properties?: { readonly [name: string]: Schema };
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly "x-kubernetes-group-version-kind"?: readonly Readonly<
    Record<"group" | "version" | "kind", string>
  >[];
}

/** Description is as much of it as is looked at. */
export interface Description {
  readonly definitions: { readonly [name: string]: Schema };
}

type Fields = { readonly [name: string]: Json };

function isFields(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** openApiProblems returns one line for each; none for an object that the description allows. */
export function openApiProblems(object: Fields, { definitions }: Description): string[] {
  const { apiVersion, kind } = object;
  const [group, version] = String(apiVersion).includes("/")
    ? String(apiVersion).split("/")
    : ["", String(apiVersion)];
  const found = Object.values(definitions).find((one) =>
    one["x-kubernetes-group-version-kind"]?.some(
      (of) => of.group === group && of.version === version && of.kind === kind,
    ),
  );
  if (found === undefined) return [`there is no ${kind} of ${apiVersion}`];
  return problemsOf(object, found, `${kind} ${(object["metadata"] as Fields)["name"]}`);

  function problemsOf(value: Json, schema: Schema, path: string): string[] {
    if (schema.$ref !== undefined) {
      const name = schema.$ref.slice("#/definitions/".length);
      return problemsOf(value, definitions[name] as Schema, path);
    }
    const { type, format, items } = schema;
    if (type === "array")
      return Array.isArray(value)
        ? value.flatMap((one, i) => problemsOf(one, items as Schema, `${path}[${i}]`))
        : [`${path}: no list`];
    if (type === "object" || schema.properties !== undefined) return fieldProblems(value, schema, path);
    if (type === "integer") return Number.isInteger(value) ? [] : [`${path}: no integer`];
    if (format === "int-or-string" && typeof value === "number") return [];
    return type === undefined || typeof value === type ? [] : [`${path}: no ${type}`];
  }

  function fieldProblems(value: Json, schema: Schema, path: string): string[] {
    if (!isFields(value)) return [`${path}: no object`];
    const { properties, additionalProperties: others, required = [] } = schema;
    const missing = required.filter((name) => !(name in value)).map((name) => `${path}.${name}: is missing`);
    const wrong = Object.entries(value).flatMap(([name, one]) => {
      const known = properties?.[name] ?? (typeof others === "object" ? others : undefined);
      if (known !== undefined) return problemsOf(one, known, `${path}.${name}`);
      return properties === undefined ? [] : [`${path}.${name}: unknown`];
    });
    return [...missing, ...wrong];
  }
}

/** lost returns where `sent` has something that `kept` has not, or has otherwise. */
export function lost(sent: Json, kept: Json | undefined, path = ""): string[] {
  if (Array.isArray(sent))
    return sent.flatMap((one, i) => lost(one, Array.isArray(kept) ? kept[i] : undefined, `${path}[${i}]`));
  if (isFields(sent))
    return Object.entries(sent).flatMap(([name, one]) =>
      lost(one, kept !== undefined && isFields(kept) ? kept[name] : undefined, `${path}.${name}`),
    );
  return sent === kept ? [] : [path];
}
