import { expect, test } from "bun:test";
import { formatIp, formatPrefix } from "../net/mod.ts";
import { parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { compileFloatingIps, compileGateways, compileGroups } from "./compile-outside.ts";

const object = (kind: string, name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const { resources } = parseManifest(
  [
    object("VPC", "a", "{vni: 5000}"),
    object("VPC", "b", "{vni: 5001}"),
    object("NatGateway", "a.out", "{vpc: a, nodes: {node: [z, y, gone]}, externalAddresses: [203.0.113.20]}"),
    object("NatGateway", "b.out", "{vpc: b, nodes: {role: edge}, prefixes: [10.1.0.0/25]}"),
    object("NatGateway", "lost", "{vpc: nobody, nodes: {}}"),
    object("FloatingIP", "web", "{address: 203.0.113.21, gateway: b.out, target: 10.1.0.9}"),
    object("FloatingIP", "lost", "{address: 203.0.113.22, gateway: nobody, target: 10.1.0.9}"),
    object("SecurityGroup", "a.in", "{vpc: a, rules: [{direction: ingress, groups: [a.in]}]}"),
    object("SecurityGroup", "b.in", "{vpc: b}"),
  ].join("---\n"),
);
const tenants = tenantsOf(resources as TenantResource[]);
const node = (name: string, role = "edge") => ({ name, role, hub: false });
const nodes = [node("x"), node("y", "worker"), node("z"), node("c")];

test("a gateway's nodes are in the order in which they are named, or by name; those that are not there are left out", () => {
  const made = compileGateways(tenants, nodes).map((gateway) => [
    gateway.name,
    gateway.domain,
    gateway.nodes.join(),
    gateway.prefixes.map(formatPrefix).join(),
    gateway.externalAddresses.map(formatIp).join(),
  ]);
  expect(made).toEqual([
    ["a.out", 5000, "z,y", "", "203.0.113.20"],
    ["b.out", 5001, "c,x,z", "10.1.0.0/25", ""],
  ]);
});

test("a floating address is in the domain of its gateway", () => {
  expect(
    compileFloatingIps(tenants).map(({ name, domain, outside, inside }) => [
      name,
      domain,
      formatIp(outside),
      formatIp(inside),
    ]),
  ).toEqual([["web", 5001, "203.0.113.21", "10.1.0.9"]]);
});

test("a domain has the groups of its VPC", () => {
  const groups = compileGroups(tenants);
  expect([...(groups.get(5000) ?? [])]).toMatchObject([["a.in", { rules: [{ groups: ["a.in"] }] }]]);
  expect([...(groups.get(5001)?.keys() ?? [])]).toEqual(["b.in"]);
});
