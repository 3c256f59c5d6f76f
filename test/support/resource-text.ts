/** Manifests as people write them. */

/** resource returns the text of one object, with the fields of `spec` in YAML's short form; several can stand behind each other. */
export function resource(kind: string, name: string, spec: string): string {
  return `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { ${spec} }\n---\n`;
}
