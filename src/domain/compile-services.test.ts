import { expect, test } from "bun:test";
import { formatPrefix, parsePrefix } from "../net/mod.ts";
import { noTenants, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { compileServices } from "./compile-services.ts";

const services = ["10.96.0.0/12", "fd00:96::/112"].map(parsePrefix);
const vpc = (name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: VPC\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const compiled = (...texts: string[]) => {
  const { resources } = parseManifest(texts.join("---\n"));
  return compileServices(tenantsOf(resources as TenantResource[]), { services }).map(
    ({ prefix, protocol, port }) => `${formatPrefix(prefix)} ${protocol}/${port}`,
  );
};

test("by default DNS, at the mesh's services; without VPCs nothing", () => {
  expect(compiled(vpc("a", "{}"), vpc("b", "{}"))).toEqual([
    "10.96.0.0/12 udp/53",
    "10.96.0.0/12 tcp/53",
    "fd00:96::/112 udp/53",
    "fd00:96::/112 tcp/53",
  ]);
  expect(compileServices(noTenants, { services })).toEqual([]);
});

test("networks and ranges of ports are written out, and what several allow is there once", () => {
  const api = "{prefixes: [10.96.0.1/32], ports: [tcp/443-444]}";
  expect(
    compiled(
      vpc("a", `{services: [${api}]}`),
      vpc("b", `{services: [${api}, {prefixes: [10.9.0.0/24], ports: [udp/1]}]}`),
    ),
  ).toEqual(["10.96.0.1/32 tcp/443", "10.96.0.1/32 tcp/444", "10.9.0.0/24 udp/1"]);
});
