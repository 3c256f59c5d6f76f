import { expect, test } from "bun:test";
import { parseManifest, type TenantResource, tenantsOf, type TenantValues } from "../resources/mod.ts";
import { words } from "./completion.ts";
import { helpText } from "./help.ts";
import { kindOf, notUpLines } from "./resource.ts";
import { resourceTable } from "./resource-table.ts";
import { rootFor } from "./commands.ts";

const root = await rootFor();

test("kinds are read as people write them", () => {
  const all = [
    "vpc",
    "VPC",
    "vpcs",
    "Subnet",
    "natgateways",
    "nat-gateway",
    "NatGateway",
    "floatingip",
    "vm",
  ];
  expect(all.map(kindOf)).toEqual([
    "VPC",
    "VPC",
    "VPC",
    "Subnet",
    "NatGateway",
    "NatGateway",
    "NatGateway",
    "FloatingIP",
    undefined,
  ]);
});

test("kinds and forms are completed, and options have their letters", () => {
  expect(words(root, ["get", "s"])).toEqual(["subnet", "security-group"]);
  expect(words(root, ["get", "vpc", "-o", ""])).toEqual(["table", "yaml", "json"]);
  expect(words(root, ["delete", "nat"])).toEqual(["nat-gateway"]);
  expect(words(root, ["apply", "-f", ""])).toEqual([]);
  const apply = root.commands?.find(({ name }) => name === "apply");
  expect(helpText(apply as NonNullable<typeof apply>, "causeway apply")).toContain("-f, --file FILE");
});

const manifest = `
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: team-a}
spec: {vni: 5000, allow: {namespaces: [team-a], labels: {tier: db}}, nodes: {role: worker}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: team-a.web}
spec: {vpc: team-a, vni: 5001, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: Peering
metadata: {name: s3}
spec: {vpcs: [team-a, storage], prefixes: {storage: [10.9.0.0/28]}}
---
apiVersion: causeway.network/v1alpha1
kind: NatGateway
metadata: {name: out}
spec: {vpc: team-a, nodes: {node: [e1, e2]}}
`;

test("tables say of each kind what people look for", () => {
  const { resources, problems } = parseManifest(manifest);
  expect(problems).toEqual([]);
  const all = tenantsOf(resources as TenantResource[]);
  const shown = <K extends keyof TenantValues>(kind: K) =>
    resourceTable(kind, [...all[kind].values()] as TenantValues[K][], all)
      .split("\n")[1]
      ?.split(/ {2,}/);
  expect(shown("VPC")).toEqual(["team-a", "5000", "1", "team-a, tier=db", "role worker"]);
  expect(shown("Subnet")).toEqual(["team-a.web", "team-a", "5001", "10.1.0.0/24", "10.1.0.1"]);
  expect(shown("Peering")).toEqual(["s3", "team-a, storage", "team-a: all; storage: 10.9.0.0/28"]);
  expect(shown("NatGateway")).toEqual(["out", "team-a", "node e1|e2", "all", "the node's address"]);
  expect(resourceTable("SecurityGroup", [], all)).toBe("none\n");
});

test("what is not up is said with its reason, in characters that a terminal shows", () => {
  const one = (status?: object) => ({ kind: "Subnet", metadata: { name: "red.web" }, spec: {}, status });
  expect(notUpLines([one(), one({ up: true }), one({ reason: "nobody has said anything" })])).toEqual([]);
  expect(notUpLines([one({ up: false, reason: "on a: no \u001b[2Jbridge" }), one({ up: false })])).toEqual([
    "subnet/red.web is not up: on a: no \u{fffd}[2Jbridge\n",
    "subnet/red.web is not up: its node does not say why\n",
  ]);
});
