/** Where chaos among VPCs happens: the nodes, who is there from the beginning, and what each has. */

export const NODES = ["hub", "a", "b", "c"];
/** Three tenants with the same addresses. */
export const TENANTS = ["red", "blue", "green"];
/** A VPC with addresses of its own, which one of the tenants at a time is peered with. */
export const SHARED = "shared";
export const VPCS = [...TENANTS, SHARED];
/** A machine on the wire that is no node. */
export const WORLD = "world";
export const WORLD_ADDRESS = "203.0.113.100";
/** Reflects, beside the hub. */
export const REFLECTOR = "b";

export const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-chaos }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
    - { name: c, networks: [wire], endpoint: auto }
  hosts:
    - { name: ${WORLD}, networks: [{ name: wire, address4: ${WORLD_ADDRESS} }] }
`;

/** subnetsOf returns the prefixes of a VPC's Subnets: dual stack in blocks of 16; IPv4 only in single addresses; routed to each other. */
export function subnetsOf(vpc: string): Readonly<Record<"web" | "db", string>> {
  const [web, db] = vpc === SHARED ? [8, 9] : [1, 2];
  return { web: `10.${web}.0.0/24, "fd00:${web}::/64"`, db: `10.${db}.0.0/27` };
}

/** resource returns the text of a resource. */
export function resource(kind: string, name: string, spec: string): string {
  return `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { ${spec} }\n---\n`;
}
