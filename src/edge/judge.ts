/**
 * Judges everything that is meant for a node, and says what of it can be. What is wrong leaves out as little as possible:
 *
 * 1. Resources are taken in order of names, so that which of two is first is the same everywhere and always.
 * 2. A wrong Underlay, a link of the host that another router has, or host sessions that overlap: the router is not touched at all, and goes on
 *    as it is.
 * 3. A wrong VPC or Subnet is left out, and the Subnets of a VPC with it; of a VNI the VPC is kept before the Subnet.
 * 4. Networks that overlap inside a VPC: the VPC is left out, since either might be the wrong one.
 * 5. Several host sessions of one Underlay: none.
 */
import { selectsEdge, type Subnet, type TenantResources, type Underlay, type Vpc } from "../resources/mod.ts";
import { type Finding, place, wrong } from "./finding.ts";
import { groupFindings } from "./judge-groups.ts";
import {
  endpointFinding,
  familyFindings,
  leakFindings,
  linkFindings,
  networkFindings,
  vniFindings,
} from "./judge-domain.ts";
import {
  hostOverlaps,
  hostPoolFindings,
  passthroughFindings,
  passthroughsOf,
  poolFindings,
  several,
  sharedLinks,
} from "./judge-router.ts";
import { passthroughLink } from "./names.ts";
import { byName, type EdgeFacts, indexFor, isOnNode, type RouterView, routerViews } from "./view.ts";

/** JudgedRouter is what of a router can be. */
export interface JudgedRouter {
  readonly router: string;
  readonly underlay: Underlay;
  /** Absent only where the router stays as it is. */
  readonly index?: number;
  readonly passthrough?: { readonly session: Underlay["hostSessions"][number]; readonly field: string };
  readonly vpcs: readonly Vpc[];
  readonly subnets: readonly Subnet[];
  /** Nothing of it is to be changed. */
  readonly kept: boolean;
}

/** Judged is what of a node can be, and all that is wrong. */
export interface Judged {
  readonly routers: readonly JudgedRouter[];
  readonly findings: readonly Finding[];
}

/** judgeNode judges what is meant for a node. */
export function judgeNode(tenants: TenantResources, facts: EdgeFacts): Judged {
  const work = new Work();
  const routers = routerViews(tenants, facts.node).map((view) => judgeRouter(view, facts, work));
  const all = <T>(of: (router: JudgedRouter) => readonly T[]) => routers.flatMap(of);
  const vpcs = () => all((router) => router.vpcs).filter((vpc) => work.has("VPC", vpc));
  const subnets = () => all((router) => router.subnets).filter((subnet) => work.has("Subnet", subnet));
  work.cascade(subnets());
  work.add(vniFindings(vpcs(), subnets()));
  work.cascade(subnets());
  const of = subnetsByVpc(subnets());
  for (const vpc of vpcs()) work.add(networkFindings(vpc, of.get(vpc.name) ?? []));
  const passthroughs = all(({ passthrough, underlay, router }) =>
    passthrough === undefined ? [] : [{ underlay: underlay.name, router, ...passthrough }],
  );
  work.add(linkFindings(vpcs(), subnets(), passthroughs.map(passthroughPlace)));
  work.cascade(subnets());
  work.add(leakFindings(vpcs()));
  work.add(strayFindings(tenants, facts));
  work.add(groupFindings(tenants, facts));
  const shared = sharedLinks(routers.map(({ underlay }) => underlay));
  work.add(shared);
  const overlapping = hostOverlaps(vpcs(), passthroughs);
  work.add(overlapping);
  return {
    routers: routers.map((router) => ({
      ...router,
      vpcs: router.vpcs.filter((vpc) => work.has("VPC", vpc)),
      subnets: router.subnets.filter((subnet) => work.has("Subnet", subnet)),
      kept:
        router.kept ||
        shared.some(({ at }) => at.name === router.underlay.name) ||
        overlapping.some((finding) => concerns(finding, router)),
    })),
    findings: work.findings,
  };
}

/** subnetsByVpc returns Subnets by the name of their VPC. */
export function subnetsByVpc(subnets: readonly Subnet[]): ReadonlyMap<string, readonly Subnet[]> {
  const found = new Map<string, Subnet[]>();
  for (const subnet of subnets) {
    const list = found.get(subnet.vpc);
    if (list === undefined) found.set(subnet.vpc, [subnet]);
    else list.push(subnet);
  }
  return found;
}

function passthroughPlace({
  underlay,
  router,
  session,
  field,
}: {
  readonly underlay: string;
  readonly router: string;
  readonly session: Underlay["hostSessions"][number];
  readonly field: string;
}) {
  return place("Underlay", underlay, `${field}.link`, session.link ?? passthroughLink(router));
}

/** Whether one of the two places is the router's. */
function concerns({ at, other }: Finding, { underlay, vpcs }: JudgedRouter): boolean {
  return [at, other].some(
    (one) =>
      one !== undefined &&
      (one.kind === "Underlay" ? underlay.name === one.name : vpcs.some(({ name }) => name === one.name)),
  );
}

function judgeRouter(view: RouterView, facts: EdgeFacts, work: Work): JudgedRouter {
  const underlay = view.underlays[0] as Underlay;
  const index = indexFor(underlay, facts);
  const broken = [...several(view), ...(index === undefined ? [unknownIndex(underlay)] : [])];
  if (index !== undefined) broken.push(...poolFindings(underlay, index));
  work.add(broken);
  const passthrough = passthroughOf(underlay, facts, index, work);
  for (const vpc of view.vpcs) work.add(vpcFindings(vpc, underlay, index));
  for (const { name, underlay: own } of view.subnets)
    work.add(endpointFinding({ kind: "Subnet", name, family: own?.family }, underlay));
  const of = subnetsByVpc(view.subnets.filter((subnet) => work.has("Subnet", subnet)));
  for (const vpc of view.vpcs) work.add(familyFindings(vpc, of.get(vpc.name) ?? [], underlay));
  return {
    router: view.router,
    underlay,
    ...(index === undefined ? {} : { index }),
    ...(passthrough === undefined ? {} : { passthrough }),
    vpcs: view.vpcs,
    subnets: view.subnets,
    kept: broken.length > 0,
  };
}

function unknownIndex({ name, index }: Underlay): Finding {
  const at = place("Underlay", name, "spec.index");
  const problem =
    index !== undefined && "link" in index
      ? `is read from link ${index.link}, which has no such address here; give it one, or write {number: …}`
      : "is missing, and no register gives one here; write {number: …}, or {link: …}";
  return wrong(at, problem, { effect: "router", reason: "dependency", late: true });
}

function passthroughOf(
  underlay: Underlay,
  { node }: EdgeFacts,
  index: number | undefined,
  work: Work,
): JudgedRouter["passthrough"] {
  const all = passthroughsOf(underlay, node);
  const [only] = all;
  const found = passthroughFindings(underlay, node);
  if (only !== undefined && index !== undefined)
    found.push(
      ...hostPoolFindings(
        place("Underlay", underlay.name, `${only.field}.prefixes`),
        only.session.prefixes,
        index,
        "passthrough",
      ),
    );
  work.add(found);
  return found.length > 0 ? undefined : only;
}

function vpcFindings(vpc: Vpc, underlay: Underlay, index: number | undefined): Finding[] {
  const { name, hostSession, underlay: own } = vpc;
  return [
    ...endpointFinding({ kind: "VPC", name, family: own?.family }, underlay),
    ...(hostSession === undefined || index === undefined
      ? []
      : hostPoolFindings(
          place("VPC", name, "spec.hostSession.prefixes"),
          hostSession.prefixes,
          index,
          "resource",
        )),
  ];
}

/** Subnets that say themselves that they are for this node, and whose VPC is not on it. */
function strayFindings(tenants: TenantResources, { node }: EdgeFacts): Finding[] {
  return byName(tenants.Subnet.values()).flatMap((subnet) => {
    const { name, vpc, underlay, hostBridge, hostLink } = subnet;
    const of = tenants.VPC.get(vpc);
    const says = underlay?.nodes !== undefined && selectsEdge(underlay.nodes, node);
    const means = of === undefined ? says || hostBridge !== undefined || hostLink !== undefined : says;
    if (!means || (of !== undefined && isOnNode(of, node))) return [];
    return [
      wrong(
        place("Subnet", name, "spec.vpc", vpc),
        of === undefined
          ? "is no VPC that is there; apply it, and this follows"
          : `is a VPC that is not on node ${node.name}; change its spec.underlay.nodes, or those of the Subnet`,
        { reason: "dependency", late: true },
      ),
    ];
  });
}

/** Work collects findings, and what they leave out. */
class Work {
  readonly findings: Finding[] = [];
  readonly #out = new Set<string>();

  add(findings: readonly Finding[]): void {
    for (const finding of findings) {
      this.findings.push(finding);
      const { at, effect, vpc } = finding;
      if (effect === "resource") this.#out.add(`${at.kind}/${at.name}`);
      else if (effect === "vpc") this.#out.add(`VPC/${vpc}`);
    }
  }

  has(kind: "VPC" | "Subnet", { name }: { readonly name: string }): boolean {
    return !this.#out.has(`${kind}/${name}`);
  }

  /** Subnets go with their VPC. */
  cascade(subnets: readonly Subnet[]): void {
    for (const { name, vpc } of subnets)
      if (!this.has("VPC", { name: vpc }))
        this.add([
          wrong(place("Subnet", name, "spec.vpc", vpc), "is a VPC that is left out; mend that first", {
            reason: "dependency",
            late: true,
          }),
        ]);
  }
}
