/** Manifests as people write them. */
import { formatProblem, parseManifest, type TenantResource } from "../../src/resources/mod.ts";

/** resource returns the text of one object, with the fields of `spec` in YAML's short form; several can stand behind each other. */
export function resource(kind: string, name: string, spec: string): string {
  return `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { ${spec} }\n---\n`;
}

/** tenantResources reads a line for each: `KIND NAME {spec}`. Throws what is wrong with them. */
export function tenantResources(text: string): TenantResource[] {
  const documents = text
    .trim()
    .split("\n")
    .map((line) => {
      const [, kind, name, spec] = /^\s*(\S+) (\S+) \{(.*)\}$/.exec(line) as unknown as [
        string,
        string,
        string,
        string,
      ];
      return resource(kind, name, spec);
    });
  const { resources, problems } = parseManifest(documents.join(""));
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  return resources as TenantResource[];
}
