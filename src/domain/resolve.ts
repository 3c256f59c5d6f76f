/** What an attachment's wish means: which domain and segment, and whether the pod may be there. */
import {
  countsBefore,
  type Node,
  type NodeSelector,
  formatSelector,
  selects,
  type Subnet,
  type TenantResources,
  type Vpc,
  type VpcAllow,
} from "../resources/mod.ts";
import { compileDomains, MAX_OPEN_VNI, openDomain } from "./compile.ts";
import type { Domain, Segment } from "./model.ts";
import { VXLAN_PORT } from "./vxlan-port.ts";

/** SegmentWish names a segment, and says who wants to be there. */
export interface SegmentWish {
  readonly vpc?: string;
  /** May be left out where the VPC has one. */
  readonly subnet?: string;
  readonly vni?: number;
  /** UDP port of VXLAN. */
  readonly dstPort?: number;
  /** Names of SecurityGroups. */
  readonly groups: readonly string[];
  /** Absent: the runtime did not say. */
  readonly pod?: {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  };
}

/** Resolved is where an attachment belongs; `vpc` and `subnet` are absent for an open VNI. */
export interface Resolved {
  readonly domain: Domain;
  readonly segment: Segment;
  readonly vpc?: Vpc;
  readonly subnet?: Subnet;
}

/** SegmentContext is what a node knows. */
export interface SegmentContext {
  readonly tenants: TenantResources;
  /** Groups that files of the node have: in VPCs of a fabric they count before the register's. */
  readonly fileGroups?: TenantResources["SecurityGroup"];
  /** What compileDomains made of them, if it is there already. */
  readonly domains?: readonly Domain[];
  readonly mesh: { readonly asn: number; readonly openVnis: boolean };
  readonly node: Pick<Node, "name" | "hub" | "role" | "site">;
}

/** Not is why a wish is refused: a sentence for people, with object, field, value and fix. */
export interface Not {
  readonly error: string;
}

const not = (error: string): Not => ({ error });

/** resolveSegment finds what a wish means. */
export function resolveSegment(wish: SegmentWish, context: SegmentContext): Resolved | Not {
  const subnet = subnetOf(wish, context.tenants);
  if (subnet === undefined) return open(wish, context);
  if ("error" in subnet) return subnet;
  const vpc = context.tenants.VPC.get(subnet.vpc);
  const domains = context.domains ?? compileDomains(context.tenants, context.mesh);
  const domain = domains.find(({ name, vni }) => name === subnet.vpc && vni === vpc?.vni);
  const segment = domain?.segments.find(({ vni }) => vni === subnet.vni);
  if (vpc === undefined || domain === undefined || segment === undefined)
    return not(`VPC ${subnet.vpc} of Subnet ${subnet.name} is not known on this node yet; try again`);
  const refused =
    refusedPort(wish, subnet) ??
    refusedPod(wish, vpc) ??
    refusedNode(vpc, context.node) ??
    refusedGroups(wish, vpc, context);
  return refused === undefined ? { domain, segment, vpc, subnet } : not(refused);
}

function names(values: Iterable<{ readonly name: string }>): string {
  const all = [...values].map(({ name }) => name).sort();
  const few = all.slice(0, 8).join(", ");
  return all.length > 8 ? `${few} and ${all.length - 8} more` : few || "none";
}

/** The Subnet that is meant; undefined for a VNI that no Subnet has. */
function subnetOf(wish: SegmentWish, tenants: TenantResources): Subnet | Not | undefined {
  if (wish.subnet !== undefined) {
    const subnet = tenants.Subnet.get(wish.subnet);
    if (subnet === undefined)
      return not(
        `subnet ${wish.subnet}: there is no Subnet with this name; see causeway get subnet, or apply it`,
      );
    if (wish.vpc !== undefined && wish.vpc !== subnet.vpc)
      return not(`subnet ${wish.subnet} is of VPC ${subnet.vpc}, not of ${wish.vpc}; name one of the two`);
    return sameVni(wish, subnet);
  }
  if (wish.vpc !== undefined) {
    if (!tenants.VPC.has(wish.vpc))
      return not(`vpc ${wish.vpc}: there is no VPC with this name; see causeway get vpc, or apply it`);
    const of = [...tenants.Subnet.values()].filter(({ vpc }) => vpc === wish.vpc);
    const fitting = wish.vni === undefined ? of : of.filter(({ vni }) => vni === wish.vni);
    const [only, second] = fitting;
    if (only === undefined)
      return not(
        wish.vni === undefined
          ? `vpc ${wish.vpc} has no Subnet; apply one`
          : `vni ${wish.vni} is of no Subnet of VPC ${wish.vpc}; its Subnets are ${names(of)}`,
      );
    if (second !== undefined) return not(`vpc ${wish.vpc} has several Subnets; name one of ${names(of)}`);
    return only;
  }
  return [...tenants.Subnet.values()].find(({ vni }) => vni === wish.vni && vni !== undefined);
}

function sameVni(wish: SegmentWish, subnet: Subnet): Subnet | Not {
  if (wish.vni === undefined || wish.vni === subnet.vni) return subnet;
  return not(`vni ${wish.vni} is not that of Subnet ${subnet.name}, ${subnet.vni}; leave it out`);
}

function open(wish: SegmentWish, { tenants, mesh }: SegmentContext): Resolved | Not {
  const { vni, groups } = wish;
  if (vni === undefined) return not("neither vpc, subnet nor vni is given; name one of them");
  const vpc = [...tenants.VPC.values()].find((one) => one.vni === vni);
  if (vpc !== undefined)
    return not(
      `vni ${vni} is what VPC ${vpc.name} routes with, no Subnet's; name one of its Subnets: ${names(
        [...tenants.Subnet.values()].filter((subnet) => subnet.vpc === vpc.name),
      )}`,
    );
  if (!mesh.openVnis)
    return not(
      `vni ${vni} is no Subnet's, and the mesh lets nobody use others (openVnis: false); apply a Subnet with it`,
    );
  if (vni > MAX_OPEN_VNI)
    return not(
      `vni ${vni} is no Subnet's; apply a Subnet with it, or take one from 1 to ${MAX_OPEN_VNI}, which are open to all`,
    );
  if (groups.length > 0)
    return not(
      `groups ${groups.join(", ")} are of VPCs, and vni ${vni} is open to all; leave them out, or apply a Subnet`,
    );
  const domain = openDomain(vni, { asn: mesh.asn, dstPort: wish.dstPort });
  return { domain, segment: domain.segments[0] as Segment };
}

function refusedPort({ dstPort }: SegmentWish, { name, port = VXLAN_PORT }: Subnet): string | undefined {
  if (dstPort === undefined || dstPort === port) return undefined;
  return `port ${dstPort} is not that of Subnet ${name}, ${port}; leave it out, or change Subnet.spec.port`;
}

/** mayUse tells whether a VPC lets a pod in, which may be unknown. */
export function mayUse(allow: VpcAllow | undefined, pod: SegmentWish["pod"]): boolean {
  if (allow === undefined) return false;
  const { namespaces, labels = {} } = allow;
  const anyName = namespaces === undefined || namespaces.includes("*");
  return (
    (anyName || (pod !== undefined && namespaces.includes(pod.namespace))) &&
    Object.entries(labels).every(([key, value]) => pod !== undefined && pod.labels[key] === value)
  );
}

function refusedPod({ pod }: SegmentWish, { name, allow }: Vpc): string | undefined {
  if (mayUse(allow, pod)) return undefined;
  if (allow === undefined) return `VPC ${name} lets no pod in; add spec.allow to it: {namespaces: [NAME]}`;
  const whom = [
    allow.namespaces === undefined ? undefined : `namespaces ${allow.namespaces.join(", ")}`,
    allow.labels &&
      `labels ${Object.entries(allow.labels)
        .map((pair) => pair.join("="))
        .join(", ")}`,
  ]
    .filter(Boolean)
    .join(" with ");
  if (pod === undefined)
    return `VPC ${name} lets in ${whom}, and the container runtime does not say whose pod this is (CNI_ARGS K8S_POD_NAMESPACE); allow {namespaces: ["*"]}`;
  return `VPC ${name} lets in ${whom}, and not pod ${pod.namespace}/${pod.name}; change spec.allow of the VPC, or use another`;
}

function refusedNode(vpc: Vpc, node: SegmentContext["node"]): string | undefined {
  if (mayServe(vpc, node)) return undefined;
  return `VPC ${vpc.name} is for ${formatSelector(vpc.nodes as NodeSelector)}, and not for this node, ${node.name}; let the pod run there, or change spec.nodes of the VPC`;
}

/** mayServe tells whether a node may serve a VPC. */
export function mayServe({ nodes }: Pick<Vpc, "nodes">, node: SegmentContext["node"]): boolean {
  return nodes === undefined || selects(nodes, node);
}

function refusedGroups(
  { groups }: SegmentWish,
  vpc: Vpc,
  { tenants, fileGroups }: SegmentContext,
): string | undefined {
  const ofFile = (name: string) => {
    const group = vpc.underlay === undefined ? undefined : fileGroups?.get(name);
    return group !== undefined && countsBefore(group, tenants) ? group : undefined;
  };
  for (const name of groups) {
    const inFile = ofFile(name);
    const group = inFile ?? tenants.SecurityGroup.get(name);
    if (group === undefined)
      return `group ${name}: there is no SecurityGroup with this name; see causeway get security-group, or apply it`;
    const where = inFile === undefined ? "" : " (in a file on this node)";
    if (group.vpc !== vpc.name)
      return `group ${name} is of VPC ${group.vpc}${where}, and the pod is to be in ${vpc.name}; name groups of ${vpc.name}`;
  }
  return undefined;
}
