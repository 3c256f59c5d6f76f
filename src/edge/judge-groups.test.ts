import { expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { formatProblem, tenantsOf, withFiles } from "../resources/mod.ts";
import { planEdge } from "./plan.ts";

const register = `Underlay fabric {asn: 64514, links: [{name: eth1}], neighbors: [{address: 192.168.11.2, asn: 64512}], tunnelEndpoint: {prefixes: [100.65.0.0/24]}}
  VPC red {vni: 100, underlay: {}}
  VPC blue {vni: 200, underlay: {}}
  VPC mesh {vni: 300}
  SecurityGroup red.web {vpc: red}
  SecurityGroup blue.web {vpc: blue}`;

/** What is wrong with groups of a file, together with the register. */
function told(text: string): string[] {
  const files = tenantResources(text);
  const tenants = withFiles(tenantsOf(tenantResources(register)), files);
  const fileGroups = [...tenantsOf(files).SecurityGroup.values()];
  const { problems } = planEdge(tenants, { node: { name: "a", hub: false, index: 0 }, fileGroups });
  return problems.map(
    ({ kind, name, field, value = "", problem, effect, reason }) =>
      `${effect} ${reason}: ${formatProblem({ object: `${kind} "${name}"`, field, value, problem })}`,
  );
}

test("groups of files are judged in the sum: their VPC, and names in their rules", () => {
  expect(
    told("SecurityGroup red.db {vpc: red, rules: [{direction: ingress, groups: [red.web, red.db]}]}"),
  ).toEqual([]);
  expect(
    told(`SecurityGroup a {vpc: gone}
      SecurityGroup b {vpc: mesh}
      SecurityGroup c {vpc: red, rules: [{direction: egress}, {direction: ingress, groups: [red.web, blue.web, none]}]}`),
  ).toEqual([
    'resource dependency: SecurityGroup "a": spec.vpc gone is no VPC that is there; apply it, and this follows',
    'resource invalid: SecurityGroup "b": spec.vpc mesh is a VPC of the mesh, whose groups are the register\'s alone; apply it there instead: causeway apply -f FILE',
    'member dependency: SecurityGroup "c": spec.rules[1].groups[1] blue.web is no SecurityGroup of VPC "red" that is there; apply it, and this follows',
    'member dependency: SecurityGroup "c": spec.rules[1].groups[2] none is no SecurityGroup of VPC "red" that is there; apply it, and this follows',
  ]);
});

test("what a file says of a group or a VPC counts before the register", () => {
  expect(told("SecurityGroup blue.web {vpc: blue, rules: [{direction: egress}]}")).toEqual([]);
  // Its pods would have no rules here, and so neither send nor be reached.
  expect(told("SecurityGroup blue.web {vpc: red}")).toEqual([
    'resource invalid: SecurityGroup "blue.web": spec.vpc red is VPC "blue" in the register, whose group counts; give the file\'s another name',
  ]);
  expect(told("VPC mesh {vni: 300, underlay: {}}\nSecurityGroup b {vpc: mesh}")).toEqual([]);
});
