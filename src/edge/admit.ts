/**
 * Admission of what concerns the edge: a change is judged on every node that is known, by the same rules by which nodes plan. So what would be
 * left out somewhere is refused here. Nothing that was there before the change is held against it.
 */
import { sameValue } from "../engine/mod.ts";
import { formatIp, formatPrefix, type Prefix, prefixesOverlap } from "../net/mod.ts";
import {
  type EdgeNode,
  formatProblem,
  type ManifestProblem,
  type Mesh,
  selectsEdge,
  type Subnet,
  type TenantKind,
  type TenantResource,
  type TenantResources,
  type Underlay,
  type Vpc,
} from "../resources/mod.ts";
import { underlayUnchanged, vpcUnchanged } from "./admit-unchanged.ts";
import { type Finding, type Place, problemOf } from "./finding.ts";
import { judgeNode } from "./judge.ts";
import { selectionsOf } from "./selections.ts";
import { routerViews } from "./view.ts";

/** EdgeChange is a change of resources, before and after it. */
export interface EdgeChange {
  readonly before: TenantResources;
  readonly after: TenantResources;
  readonly set: readonly TenantResource[];
  /** Networks of these are on the same hosts. */
  readonly mesh?: Pick<Mesh, "overlay4" | "overlay6" | "pods4" | "pods6" | "services">;
  readonly nodes: readonly EdgeNode[];
}

/** Where no node is known, what is for all nodes is judged nevertheless. */
const ANY: EdgeNode = { name: "any", hub: false };

/** edgeProblems returns what is wrong with a change, each problem told of an object of the change. */
export function edgeProblems(given: EdgeChange): ManifestProblem[] {
  // What is said again as it is passes, also where an earlier version let it in that knew fewer rules.
  const change = { ...given, set: given.set.filter((resource) => isOther(resource, given.before)) };
  const problems: ManifestProblem[] = [];
  const report = (kind: TenantKind, name: string, problem: Omit<ManifestProblem, "object">) =>
    problems.push({ object: `${kind} "${name}"`, ...problem });
  for (const resource of change.set) {
    unchanged(resource, change, report);
    if (resource.kind === "Subnet") subnetProblems(resource.value, change, report);
    if (resource.kind === "VPC") {
      hostRangeProblems(resource.value, change, report);
      nextHopProblems(resource.value, report);
    }
    if (resource.kind === "Underlay") underlayProblems(resource.value, change, report);
  }
  return [...problems, ...nodeProblems(change)];
}

function isOther({ kind, value }: TenantResource, before: TenantResources): boolean {
  return !sameValue(before[kind].get(value.name), value);
}

type Report = (kind: TenantKind, name: string, problem: Omit<ManifestProblem, "object">) => void;

function unchanged({ kind, value }: TenantResource, { before }: EdgeChange, report: Report): void {
  const say = (field: string, text: string, was: string, fix: string) =>
    report(kind, value.name, {
      field,
      ...(text === "" ? {} : { value: text }),
      problem: `was ${was}, and never changes; ${fix}`,
    });
  if (kind === "VPC") {
    const old = before.VPC.get(value.name);
    if (old !== undefined) vpcUnchanged(old, value, say);
  }
  if (kind === "Underlay") {
    const old = before.Underlay.get(value.name);
    if (old !== undefined) underlayUnchanged(old, value, say);
  }
}

function subnetProblems(subnet: Subnet, { after }: EdgeChange, report: Report): void {
  const { name, vpc } = subnet;
  const of = after.VPC.get(vpc);
  if (of === undefined || of.underlay !== undefined) return;
  for (const field of ["underlay", "hostLink", "hostBridge"] as const)
    if (subnet[field] !== undefined)
      report("Subnet", name, {
        field: `spec.${field}`,
        problem: `is for Subnets of a VPC in a fabric, and VPC "${vpc}" is in the mesh; add underlay: {} there, or remove it`,
      });
}

/** The host routes to all of these. */
function hostRanges({ mesh }: EdgeChange): { readonly field: string; readonly prefix: Prefix }[] {
  if (mesh === undefined) return [];
  const { overlay4, overlay6, pods4, pods6, services } = mesh;
  return [
    ...Object.entries({ overlay4, overlay6, pods4, pods6 }).flatMap(([field, prefix]) =>
      prefix === undefined ? [] : [{ field, prefix }],
    ),
    ...services.map((prefix) => ({ field: "services", prefix })),
  ];
}

function rangeProblems(
  at: Omit<Place, "value">,
  prefixes: readonly Prefix[],
  change: EdgeChange,
  report: Report,
) {
  prefixes.forEach((prefix, i) => {
    const other = hostRanges(change).find((range) => prefixesOverlap(range.prefix, prefix));
    if (other !== undefined)
      report(at.kind, at.name, {
        field: `${at.field}[${i}]`,
        value: formatPrefix(prefix),
        problem: `overlaps the mesh's ${other.field} ${formatPrefix(other.prefix)} on the same hosts; choose another network`,
      });
  });
}

function hostRangeProblems({ name, hostSession }: Vpc, change: EdgeChange, report: Report): void {
  const at = { kind: "VPC", name, field: "spec.hostSession.prefixes" } as const;
  rangeProblems(at, hostSession?.prefixes ?? [], change, report);
}

/** Rules of a VPC are about what VXLAN carries: its next hops are tunnel endpoints. */
function nextHopProblems({ name, underlay }: Vpc, report: Report): void {
  for (const field of ["import", "export"] as const)
    underlay?.[field]?.forEach(({ set }, i) => {
      if (set.nextHop !== undefined)
        report("VPC", name, {
          field: `spec.underlay.${field}[${i}].set.nextHop`,
          value: formatIp(set.nextHop),
          problem: "changes nothing, as next hops of a VPC are tunnel endpoints; remove it",
        });
    });
}

function underlayProblems(underlay: Underlay, change: EdgeChange, report: Report): void {
  const { name, index, hostSessions } = underlay;
  hostSessions.forEach(({ asn, prefixes }, i) => {
    const at = { kind: "Underlay", name, field: `spec.hostSessions[${i}].prefixes` } as const;
    rangeProblems(at, prefixes, change, report);
    if (asn !== underlay.asn)
      report("Underlay", name, {
        field: `spec.hostSessions[${i}].asn`,
        value: `${asn}`,
        problem: `is another than spec.asn ${underlay.asn}, and one speaker has both; write ${underlay.asn} here, and on the host as its peer's`,
      });
  });
  if (index === undefined || !("number" in index)) return;
  const on = change.nodes.filter((node) =>
    routerViews(change.after, node).some(({ underlays }) => underlays.some((one) => one.name === name)),
  );
  if (on.length > 1)
    report("Underlay", name, {
      field: "spec.index.number",
      value: `${index.number}`,
      problem: `is for one node, and this is for ${on.length}, ${on[0]?.name} and ${on[1]?.name} among them; name one in spec.nodes, or write {link: …}`,
    });
}

/** One node of each sort: those that the same selections fit. */
function sorts({ nodes, after }: EdgeChange): EdgeNode[] {
  const selections = selectionsOf(after);
  const sorts = new Map<string, EdgeNode>();
  for (const node of [ANY, ...nodes]) {
    const key = selections.map((selector) => (selectsEdge(selector, node) ? "1" : "0")).join("");
    const known = sorts.get(key);
    // A pool that has an address for the highest index has one for all.
    if (known === undefined || (node.index ?? -1) > (known.index ?? -1)) sorts.set(key, node);
  }
  return [...sorts.values()];
}

function nodeProblems(change: EdgeChange): ManifestProblem[] {
  const changed = new Set(change.set.map(({ kind, value }) => `${kind}/${value.name}`));
  const isOurs = ({ kind, name }: Place) => changed.has(`${kind}/${name}`);
  const told = new Map<string, ManifestProblem>();
  const tell = (problem: ManifestProblem) => told.set(JSON.stringify(problem), problem);
  for (const node of sorts(change)) {
    const others: Finding[] = [];
    for (const finding of judgeNode(change.after, { node }).findings) {
      const at = blamed(finding, isOurs);
      if (at !== undefined) tell(problemOf(finding, at));
      else if (finding.late !== true && finding.reason === "invalid") others.push(finding);
    }
    for (const problem of consequences(others, node, change)) tell(problem);
  }
  return [...told.values()];
}

/** What is wrong with others since this change, as when an Underlay comes to a node where two VPCs do not go together. */
function consequences(
  findings: readonly Finding[],
  node: EdgeNode,
  { before, set }: EdgeChange,
): ManifestProblem[] {
  const [first] = set;
  if (findings.length === 0 || first === undefined) return [];
  const told = (finding: Finding) => formatProblem(problemOf(finding));
  const old = new Set(judgeNode(before, { node }).findings.map(told));
  const by = set.find(({ kind }) => kind === "Underlay") ?? first;
  return findings
    .map(told)
    .filter((text) => !old.has(text))
    .map((text) => ({
      object: `${by.kind} "${by.value.name}"`,
      field: "spec",
      problem: `cannot be on node ${node.name} as others are: ${text}`,
    }));
}

/** The place of the change that is to blame. */
function blamed({ at, other, late }: Finding, isOurs: (place: Place) => boolean): Place | undefined {
  if (late === true) return undefined;
  if (isOurs(at)) return at;
  return other !== undefined && isOurs(other) ? other : undefined;
}
