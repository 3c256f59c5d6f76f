/** What is wrong with SecurityGroups that files of a node have: nobody has judged them before. */
import { countsBefore, type SecurityGroup, type TenantResources } from "../resources/mod.ts";
import { type Finding, place, wrong } from "./finding.ts";
import { byName, type EdgeFacts } from "./view.ts";

/**
 * groupFindings reports those of a VPC that is not there, not in a fabric, or not the one that the register has for their name; and names in their
 * rules that are no group of the VPC.
 */
export function groupFindings(tenants: TenantResources, { fileGroups = [] }: EdgeFacts): Finding[] {
  return byName(fileGroups).flatMap((group) => {
    const vpc = tenants.VPC.get(group.vpc);
    const at = place("SecurityGroup", group.name, "spec.vpc", group.vpc);
    if (!countsBefore(group, tenants)) {
      const other = tenants.SecurityGroup.get(group.name)?.vpc;
      return [
        wrong(at, `is VPC "${other}" in the register, whose group counts; give the file's another name`),
      ];
    }
    if (vpc === undefined)
      return [
        wrong(at, "is no VPC that is there; apply it, and this follows", {
          reason: "dependency",
          late: true,
        }),
      ];
    if (vpc.underlay === undefined)
      return [
        wrong(
          at,
          "is a VPC of the mesh, whose groups are the register's alone; apply it there instead: causeway apply -f FILE",
        ),
      ];
    return memberFindings(group, tenants);
  });
}

/** Members on nodes that know the group are let in all the same. */
function memberFindings({ name, vpc, rules }: SecurityGroup, { SecurityGroup }: TenantResources): Finding[] {
  return rules.flatMap(({ groups }, i) =>
    groups.flatMap((group, j) =>
      SecurityGroup.get(group)?.vpc === vpc
        ? []
        : [
            wrong(
              place("SecurityGroup", name, `spec.rules[${i}].groups[${j}]`, group),
              `is no SecurityGroup of VPC "${vpc}" that is there; apply it, and this follows`,
              { effect: "member", reason: "dependency", late: true },
            ),
          ],
    ),
  );
}
