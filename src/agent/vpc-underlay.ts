/** What carries VXLAN: the overlay, or where Mesh.vxlanLink says so a link of each node, in one network without routers. */
import { type DomainNode, guardText, isLeg, LEG_RULES } from "../domain/mod.ts";
import { sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import { LINK, type MeshFacts } from "../mesh/mod.ts";
import { type Ip, ipEqual, networkOf, type Prefix, prefixContains, prefixOf } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Mesh, Node, TenantResources } from "../resources/mod.ts";

/**
 * VpcRules says what VPCs need in the node's own table of family inet: the guard, with or without any VPC; the rules of legs, which cost each packet of
 * the node something, once there is a NatGateway, or a Gateway of a VPC, anywhere. They stay as long as the agent runs: a leg goes after its resource.
 */
export class VpcRules {
  #hasLegs: boolean | undefined;

  /** `hasLegs` says whether an earlier agent left legs; without a word the kernel is asked. */
  constructor(hasLegs?: boolean) {
    this.#hasLegs = hasLegs;
  }

  /** of returns them; before what follows from the same resources in domains is made. */
  of({ mesh, tenants }: Pick<MeshView, "mesh" | "tenants">): Pick<MeshFacts, "vxlan" | "moreRules"> {
    const { vxlanLink: link = LINK } = mesh;
    this.#hasLegs ??= legsHere();
    this.#hasLegs ||=
      tenants.NatGateway.size > 0 || [...tenants.Gateway.values()].some(({ vpc }) => vpc !== undefined);
    const guard = guardText(link, { hasLegs: this.#hasLegs });
    return { vxlan: { link, guard }, ...(this.#hasLegs && { moreRules: LEG_RULES }) };
  }
}

/** Whether an earlier agent left legs. */
function legsHere(): boolean {
  using route = Rtnetlink.open();
  return route.links().some(({ name }) => isLeg(name));
}

/** domainNode returns this node as a VTEP; `mtuBytes` is the tunnel's. */
export function domainNode(
  { vxlanLink }: Mesh,
  { overlay4, name }: Node,
  mtuBytes: number,
): DomainNode | { readonly error: string } {
  if (vxlanLink === undefined) return { vtep: overlay4, underlayLink: LINK, underlayMtuBytes: mtuBytes };
  using route = Rtnetlink.open();
  const link = route.link(vxlanLink);
  const fix = `give the node one, or change Mesh.spec.vxlanLink`;
  if (link === undefined)
    return { error: `Mesh.spec.vxlanLink: node ${name} has no link ${vxlanLink}; ${fix}` };
  const addresses = route.addresses({ linkIndex: link.index }).filter(({ scope }) => scope === 0);
  const first = addresses.find(({ address }) => address.ip.family === 4) ?? addresses[0];
  if (first === undefined)
    return { error: `Mesh.spec.vxlanLink: link ${vxlanLink} of node ${name} has no address; ${fix}` };
  return { vtep: first.address.ip, underlayLink: vxlanLink, underlayMtuBytes: link.mtuBytes };
}

/** vxlanNetwork returns the network of the link that carries VXLAN; undefined where that is the overlay, or the address of the link is gone. */
export function vxlanNetwork(node: DomainNode): Prefix | undefined {
  if (node.underlayLink === LINK) return undefined;
  using route = Rtnetlink.open();
  const ours = route.addresses().find(({ address }) => ipEqual(address.ip, node.vtep));
  return ours && networkOf(ours.address);
}

/** vtepsOf returns where VXLAN for nodes goes, by name: their overlay addresses, or which of their own addresses is in the network of ours. */
export function vtepsOf(
  nodes: readonly Pick<Node, "name" | "overlay4" | "local">[],
  node: DomainNode,
): ReadonlyMap<string, Ip> {
  const network = vxlanNetwork(node);
  return new Map(
    nodes.map(({ name, overlay4, local }) => {
      const there = network && local.find(({ ip }) => prefixContains(network, ip));
      return [name, there?.ip ?? overlay4];
    }),
  );
}

/** outsideLinks returns the links of this node in whose networks outside addresses of gateways are. */
export function outsideLinks({ NatGateway: gateways, FloatingIP: floating }: TenantResources): string[] {
  const addresses = [
    ...[...gateways.values()].flatMap(({ externalAddresses }) => externalAddresses),
    ...[...floating.values()].map(({ address }) => address),
  ];
  if (addresses.length === 0) return [];
  using route = Rtnetlink.open();
  const names = new Map(route.links().map(({ index, name }) => [index, name]));
  const found = route.addresses().flatMap(({ linkIndex, address: { ip, length } }) => {
    const name = names.get(linkIndex) ?? "";
    const network = prefixOf(ip, length);
    const isOurs = name === "lo" || name.startsWith("cw");
    return !isOurs && addresses.some((address) => prefixContains(network, address)) ? [name] : [];
  });
  return [...new Set(found)];
}

/** sameSeats tells whether nodes are the same in all that VPCs ask of them. */
export function sameSeats(a: readonly Node[], b: readonly Node[]): boolean {
  if (a === b) return true;
  const same = (x: Node, y: Node | undefined) =>
    x === y ||
    (y !== undefined &&
      x.name === y.name &&
      x.hub === y.hub &&
      x.role === y.role &&
      x.site === y.site &&
      ipEqual(x.overlay4, y.overlay4) &&
      sameValue(x.local, y.local));
  return a.length === b.length && a.every((node, i) => same(node, b[i]));
}
