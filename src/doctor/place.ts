/**
 * What this node is in the mesh, as the kernel has it: so it is known without an agent. The tunnel's link has the node's addresses, the pods'
 * bridge its range; the mesh's own networks have an unreachable route each, by which nothing of them leaves in plain text (mesh/objects.ts).
 */
import { LINK, PODS_LINK } from "../mesh/mod.ts";
import { type Ip, ipEqual, networkOf, type Prefix, prefixAddress, prefixContains } from "../net/mod.ts";
import type { AddressInfo, LinkInfo, RouteInfo } from "../netlink/mod.ts";

/** Place is what the firewall must let through, and what no other network may overlap. */
export interface Place {
  /** Addresses of the node itself in the overlay. */
  readonly own: readonly Ip[];
  readonly overlay: readonly Prefix[];
  /** The mesh's pod networks, and this node's ranges of them. */
  readonly pods: readonly Prefix[];
  readonly ownPods: readonly Prefix[];
  /** Of a hub: where newcomers come from, and the address that they ask. */
  readonly enrolment?: { readonly from: Prefix; readonly service: Ip };
  /** The tunnel's UDP port. */
  readonly tunnelPort?: number;
}

/** KernelView is what the kernel says of links, addresses and routes. */
export interface KernelView {
  readonly links: readonly LinkInfo[];
  readonly addresses: readonly AddressInfo[];
  readonly routes: readonly RouteInfo[];
}

const GLOBAL = 0;

/** addressesOf returns the global addresses of a link. */
export function addressesOf({ links, addresses }: KernelView, name: string): readonly AddressInfo[] {
  const index = links.find((link) => link.name === name)?.index;
  return addresses.filter(({ linkIndex, scope }) => linkIndex === index && scope === GLOBAL);
}

/** OwnTable is what the node's own nftables table says of it. */
export type OwnTable = Pick<Place, "enrolment" | "tunnelPort">;

/** placeOf returns undefined where the tunnel's link has no address. */
export function placeOf(view: KernelView, table: OwnTable = {}): Place | undefined {
  const service = table.enrolment?.service;
  const own = addressesOf(view, LINK)
    .map(({ address }) => address.ip)
    .filter((address) => service === undefined || !ipEqual(address, service));
  if (own.length === 0) return undefined;
  const meshes = view.routes
    .filter(({ type, destination }) => type === "unreachable" && destination.length > 0)
    .map(({ destination }) => destination);
  const ownPods = addressesOf(view, PODS_LINK).map(({ address }) => networkOf(address));
  const holding = (addresses: readonly Ip[]) =>
    meshes.filter((prefix) => addresses.some((address) => prefixContains(prefix, address)));
  return {
    own,
    overlay: holding(own),
    pods: holding(ownPods.map(prefixAddress)),
    ownPods,
    ...table,
  };
}
