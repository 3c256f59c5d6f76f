/** Tenants of the bench's laboratory: a VPC with one Subnet of the same name each. */
import type { Lab } from "../../src/lab/mod.ts";

/** How many resources one `apply` brings. */
const AT_ONCE = 100;

const resource = (kind: string, name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { ${spec} }\n---\n`;

const tenant = (name: string) =>
  resource("VPC", name, 'allow: { namespaces: ["*"] }') +
  resource("Subnet", name, `vpc: ${name}, prefixes: [10.1.0.0/16, "fd00:1::/64"]`);

/** applyTenants makes them at the hub. */
export async function applyTenants(lab: Lab, names: readonly string[]): Promise<void> {
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const text = names.slice(from, from + AT_ONCE).map(tenant);
    await lab.causewayJson("hub", ["apply", "-f", "-"], text.join(""));
  }
}
