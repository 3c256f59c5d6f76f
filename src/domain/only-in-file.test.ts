import { expect, test } from "bun:test";
import { parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { onlyInFile } from "./only-in-file.ts";

const parse = (...lines: readonly string[]): TenantResource[] =>
  parseManifest(
    lines.map((line) => `apiVersion: causeway.network/v1alpha1\n${line}`).join("\n---\n"),
  ).resources.map((one) => one as TenantResource);

const red = "kind: VPC\nmetadata: {name: red}\nspec: {vni: 100, underlay: {}}";
const web = "kind: Subnet\nmetadata: {name: red.web}\nspec: {vpc: red, vni: 110, prefixes: [10.1.0.0/24]}";
const db = "kind: Subnet\nmetadata: {name: red.db}\nspec: {vpc: red, vni: 120, prefixes: [10.2.0.0/24]}";

const why = (what: string) =>
  `${what} is only in a file on this node, and the register gives pods their addresses; apply VPC and Subnet there too, as they are in the file: causeway apply -f FILE`;

test("what a file alone has is refused, however it is named: also a VNI that would else be everybody's", () => {
  const facts = { files: parse(red, web), register: tenantsOf([]) };
  for (const wish of [{ subnet: "red.web" }, { vni: 110 }])
    expect(onlyInFile(wish, facts)).toBe(why("Subnet red.web of VPC red"));
  for (const wish of [{ vpc: "red" }, { vni: 100 }]) expect(onlyInFile(wish, facts)).toBe(why("VPC red"));
});

test("a Subnet that the VPC of the register has in a file alone", () => {
  const facts = { files: parse(red, web, db), register: tenantsOf(parse(red, web)) };
  expect(onlyInFile({ vpc: "red", subnet: "red.db" }, facts)).toBe(why("Subnet red.db of VPC red"));
  expect(onlyInFile({ vpc: "red", vni: 120 }, facts)).toBe(why("Subnet red.db of VPC red"));
});

test("what the register has too, and what nobody has, is not its affair", () => {
  const register = tenantsOf(parse(red, web));
  for (const wish of [{ vpc: "red" }, { subnet: "red.web" }, { vni: 110 }, { vpc: "blue" }, { vni: 7 }, {}])
    expect(onlyInFile(wish, { files: parse(red, web), register })).toBeUndefined();
  // A VNI is the register's Subnet, though a file has another one of that number.
  const blue = [red.replace("red", "blue").replace("100", "200"), web.replaceAll("red", "blue")];
  const other = tenantsOf(parse(...blue));
  for (const wish of [{ vni: 110 }, { vpc: "blue", vni: 110 }])
    expect(onlyInFile(wish, { files: parse(red, web), register: other })).toBeUndefined();
  expect(onlyInFile({ vpc: "red" }, { files: [], register: tenantsOf([]) })).toBeUndefined();
});
