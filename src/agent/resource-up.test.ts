import { expect, test } from "bun:test";
import { FactBook } from "../hub/mod.ts";
import { type TenantKind, type TenantResource, parseManifest, tenantsOf } from "../resources/mod.ts";
import { upOf } from "./resource-up.ts";

const { resources } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: mesh}
spec: {vni: 5200}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: mesh.web}
spec: {vpc: mesh, vni: 5210, prefixes: [10.1.0.0/24]}
`);

test("nodes speak of what is in a fabric, and of a Route the one that runs it", () => {
  const book = new FactBook();
  const tenants = tenantsOf(resources as TenantResource[]);
  const role = {
    view: () => ({ tenants }) as never,
    routes: (node: string) => book.routes(node),
    edges: book.edges,
  };
  const up = (kind: TenantKind, name: string) => upOf(role, { kind, name });
  expect([up("VPC", "mesh"), up("Subnet", "mesh.web"), up("Underlay", "none"), up("Peering", "x")]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(up("VPC", "red")).toMatchObject({ up: undefined });
  const message = "spec.vpc red is not here";
  const failed = [{ kind: "Subnet", name: "red.web", reason: "dependency" as const, message }];
  book.edges.say("a", { failed, more: 0 }, 1);
  expect([up("VPC", "red"), up("Subnet", "red.web")]).toEqual([
    { up: true },
    { up: false, reason: `on a: ${message}` },
  ]);
  expect(up("Route", "unknown")).toEqual({ up: undefined });
});
