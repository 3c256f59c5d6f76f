/** What a route reflector believes: routes of nodes are judged by what the register allows them, again when that may have changed. */
import type { Speaker } from "../bgp/mod.ts";
import {
  type Domain,
  type DomainNode,
  Entitlement,
  mayServe,
  outsideEntitled,
  outsideMayServe,
  VtepClaims,
} from "../domain/mod.ts";
import { sameValue } from "../engine/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { Mesh, Node, TenantResources } from "../resources/mod.ts";
import { vxlanNetwork } from "./vpc-underlay.ts";

/** GuardFacts is what the register says. */
export interface GuardFacts {
  readonly mesh: Mesh;
  readonly self: Node;
  readonly nodes: readonly Node[];
  readonly domains: readonly Domain[];
  readonly tenants: TenantResources;
  /** Where VXLAN ends at the reflector itself; the same object as long as it is the same. */
  readonly node: DomainNode;
}

/** ReflectorGuard remembers by what routes were judged last. */
export class ReflectorGuard {
  readonly #claims = new VtepClaims();
  /** As it was found last. */
  #network: { readonly node: DomainNode; readonly prefix: Prefix | undefined } | undefined;
  #last: { readonly basis: object; readonly places: object } | undefined;

  /** follow has a speaker judge by these; undefined where this node reflects nothing. */
  follow(speaker: Speaker | undefined, facts: GuardFacts): void {
    const { mesh, self, nodes: others, domains, tenants, node: here } = facts;
    const nodes = [self, ...others];
    const prefix = this.#networkOf(here);
    const { vteps = [] } = mesh;
    // Over the overlay there are none but nodes.
    const outside = prefix === undefined ? [] : outsideEntitled(vteps);
    const entitled = this.#claims.entitled(nodes, prefix, outside);
    const places = [
      ...nodes.map(({ hub, role, site }, i) => ({ ...entitled[i], hub, role, site })),
      ...vteps,
    ];
    const takesOutside = prefix !== undefined;
    const basis = { speaker, takesOutside, domains, tenants, openVnis: mesh.openVnis, asn: mesh.asn };
    // Nodes change all the time in what does not matter here.
    if (sameParts(basis, this.#last?.basis) && sameValue(places, this.#last?.places)) return;
    this.#last = { basis, places };
    const byName = new Map(nodes.map((node) => [node.name, node]));
    const entitlement = new Entitlement({
      asn: mesh.asn,
      openVnis: mesh.openVnis,
      domains,
      nodes: [...entitled, ...outside],
      mayServe: (domain, name) => {
        const outside = outsideMayServe(vteps, domain.name, name);
        if (outside !== undefined) return outside;
        const vpc = tenants.VPC.get(domain.name);
        const node = byName.get(name);
        return vpc === undefined || (node !== undefined && mayServe(vpc, node));
      },
    });
    speaker?.guardEvpn((neighbor, claim) => entitlement.refusal(neighbor, claim));
  }

  /** Of an address that is gone for a moment the network stays: others announce out of it meanwhile. */
  #networkOf(node: DomainNode): Prefix | undefined {
    const before = this.#network?.node === node ? this.#network.prefix : undefined;
    const prefix = vxlanNetwork(node) ?? before;
    this.#network = { node, prefix };
    return prefix;
  }
}

/** Large values that are replaced as a whole are the same, or not. */
function sameParts(a: object, b: object | undefined): boolean {
  const [one, other] = [Object.values(a), Object.values(b ?? {})];
  return one.length === other.length && one.every((part, i) => part === other[i]);
}
