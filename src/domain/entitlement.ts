/**
 * What a node may announce, as route reflectors see it: a route must lead to the node itself, be named after it, and belong to a VPC that the node
 * may serve. A node that was taken over can then harm its own pods, and those of VPCs that it serves, and nobody else's.
 *
 * ```
 *  RD 10.90.0.7:300 ─ the node's own        next hop 10.90.0.7 ─ the session's VTEP
 *  type 2, 3: VNI of a segment              targets of that segment, and of its domain where it is routed
 *  type 5:    VNI of a domain               targets of that domain
 * ```
 */
import type { EvpnClaim, EvpnHost, EvpnRoute } from "../bgp/mod.ts";
import { formatIp, formatMac, formatPrefix, type Ip, ipEqual } from "../net/mod.ts";
import type { Domain, Segment } from "./model.ts";
import type { EntitledNode } from "./vtep-claims.ts";

/** VNIs up to this one need no resource where the mesh leaves them open. */
export const LAST_OPEN_VNI = 4095;

/** EntitlementFacts are what the register says. */
export interface EntitlementFacts {
  readonly asn: number;
  /** Mesh.openVnis. */
  readonly openVnis: boolean;
  readonly domains: readonly Domain[];
  readonly nodes: readonly EntitledNode[];
  /** Whether a node may serve a domain; absent: all may. */
  readonly mayServe?: (domain: Domain, node: string) => boolean;
}

interface Place {
  readonly domain: Domain;
  readonly segment: Segment;
}

/** Entitlement judges routes. */
export class Entitlement {
  readonly #facts: EntitlementFacts;
  readonly #nodes: ReadonlyMap<string, EntitledNode>;
  readonly #domains: ReadonlyMap<number, Domain>;
  readonly #segments: ReadonlyMap<number, Place>;
  #session: Ip | undefined;
  #node: EntitledNode | undefined;

  constructor(facts: EntitlementFacts) {
    this.#facts = facts;
    this.#nodes = new Map(facts.nodes.map((node) => [formatIp(node.overlay4), node]));
    this.#domains = new Map(facts.domains.map((domain) => [domain.vni, domain]));
    this.#segments = new Map(
      facts.domains.flatMap((domain) =>
        domain.segments.map((segment) => [segment.vni, { domain, segment }] as const),
      ),
    );
  }

  /** refusal returns why a node may not announce a route, by the address of its session; undefined where it may. */
  refusal(session: Ip, claim: EvpnClaim): string | undefined {
    const node = this.#nodeAt(session);
    if (node === undefined) return `${formatIp(session)} is no node`;
    const { route } = claim;
    if (route === undefined) return `${node.name} announces an EVPN route that no node has`;
    const problem = this.#problem(node, route, claim);
    return problem === undefined ? undefined : `${node.name} announces ${routeText(route)} ${problem}`;
  }

  /** Asked for each route: nothing is made where all is well. */
  #problem(node: EntitledNode, route: EvpnRoute, { rdRouter, nextHop }: EvpnClaim): string | undefined {
    if (rdRouter === undefined || !ipEqual(rdRouter, node.overlay4))
      return "with a route distinguisher that is not its own";
    if (nextHop === undefined) return "by no next hop";
    for (const vtep of [route.vtep, nextHop])
      if (!node.vteps.some((own) => ipEqual(own, vtep))) return `by ${formatIp(vtep)}, which is not its VTEP`;
    const allowed = route.kind === "prefix" ? this.#ofDomain(node, route.vni) : this.#ofSegment(node, route);
    if (typeof allowed === "string") return `where ${allowed}`;
    const foreign = route.targets.find((target) => !allowed.includes(target));
    if (foreign !== undefined) return `with route target ${foreign}, which is not of that network`;
    return route.targets.length === 0 ? "without route target" : undefined;
  }

  /** A session asks many times in a row, with the same object. */
  #nodeAt(session: Ip): EntitledNode | undefined {
    if (session !== this.#session) {
      this.#session = session;
      this.#node = this.#nodes.get(formatIp(session));
    }
    return this.#node;
  }

  /** Route targets that a prefix of an L3VNI may have, or why it may not be there. */
  #ofDomain(node: EntitledNode, vni: number): readonly string[] | string {
    const domain = this.#domains.get(vni);
    if (domain?.routing === undefined) return `VNI ${vni} is no routed VPC's`;
    return this.#serves(domain, node) ?? domain.routing.exportTargets;
  }

  #ofSegment(node: EntitledNode, route: Exclude<EvpnRoute, { kind: "prefix" }>): readonly string[] | string {
    const l3vni = route.kind === "host" ? route.l3vni : undefined;
    const place = this.#segments.get(route.vni);
    if (place === undefined) {
      if (!this.#isOpen(route.vni)) return `VNI ${route.vni} is no subnet's`;
      return l3vni === undefined ? [this.#auto(route.vni)] : `VNI ${route.vni} is not routed`;
    }
    const { domain, segment } = place;
    const refused = this.#serves(domain, node);
    if (refused !== undefined) return refused;
    if (l3vni === undefined) return segment.exportTargets;
    if (domain.routing === undefined || l3vni !== domain.vni)
      return `VNI ${l3vni} is not that of VPC ${domain.name}`;
    return [...segment.exportTargets, ...domain.routing.exportTargets];
  }

  #isOpen(vni: number): boolean {
    return this.#facts.openVnis && vni >= 1 && vni <= LAST_OPEN_VNI && !this.#domains.has(vni);
  }

  #serves(domain: Domain, node: EntitledNode): string | undefined {
    return this.#facts.mayServe?.(domain, node.name) === false
      ? `it may not serve VPC ${domain.name}`
      : undefined;
  }

  #auto(vni: number): string {
    return `${this.#facts.asn}:${vni}`;
  }
}

function routeText(route: EvpnRoute): string {
  switch (route.kind) {
    case "host":
      return hostText(route);
    case "flood":
      return `VNI ${route.vni}`;
    case "prefix":
      return `${formatPrefix(route.prefix)} in VNI ${route.vni}`;
  }
}

function hostText({ mac, ip, vni }: EvpnHost): string {
  return `${formatMac(mac)}${ip === undefined ? "" : ` ${formatIp(ip)}`} in VNI ${vni}`;
}
