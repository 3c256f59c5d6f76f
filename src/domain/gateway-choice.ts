/**
 * Which node is a domain's way to the outside. All gateway nodes announce a default route (type 5) as long as they live; everybody follows
 * the first of them in the order of the NatGateway, and so all agree as far as they hear the same.
 *
 * A gateway node follows those before it only. Its own leg has a default route of a high metric, so when the last of them is gone it is
 * the gateway, without anything to be changed but that route's going.
 */
import { type Family, type Ip, ipEqual, type Prefix } from "../net/mod.ts";
import type { Domain, NatGateway, RemotePrefix } from "./model.ts";
import { FAMILIES } from "./prefix-set.ts";

type Hop = RemotePrefix["hops"][number];

/** GatewaySeat is where a node stands: its own name, and the VTEP of each node that is known. */
export interface GatewaySeat {
  readonly self: string;
  readonly vtepOf: (node: string) => Ip | undefined;
}

/** isDefault tells whether a prefix is all there is of its family. */
export function isDefault(prefix: Prefix): boolean {
  return prefix.length === 0;
}

/** gatewayUsers returns who may use a gateway. */
export function gatewayUsers(gateway: NatGateway, domain: Domain): readonly Prefix[] {
  return gateway.prefixes.length > 0
    ? gateway.prefixes
    : domain.segments.flatMap((segment) => segment.prefixes);
}

/** gatewayFamilies returns the families of which a gateway's nodes announce a default route. */
export function gatewayFamilies(gateway: NatGateway, domain: Domain): Family[] {
  const users = gatewayUsers(gateway, domain);
  return FAMILIES.filter((family) => users.some((prefix) => prefix.family === family));
}

/** followedHop returns the hop of a default route that a node follows; undefined when there is none, or the node is the gateway itself. */
export function followedHop(
  { hops }: Pick<RemotePrefix, "hops">,
  gateway: NatGateway,
  { self, vtepOf }: GatewaySeat,
): Hop | undefined {
  for (const node of gateway.nodes) {
    if (node === self) return undefined;
    const vtep = vtepOf(node);
    const hop = vtep && hops.find((one) => ipEqual(one.vtep, vtep));
    if (hop !== undefined) return hop;
  }
  return undefined;
}

/**
 * followedPrefix returns a prefix elsewhere as a node is to install it: of a default route in a domain with a gateway the one hop that it
 * follows; undefined when it is not to be installed.
 */
export function followedPrefix(
  remote: RemotePrefix,
  gateway: NatGateway | undefined,
  seat: GatewaySeat,
): RemotePrefix | undefined {
  if (gateway === undefined || !isDefault(remote.prefix)) return remote;
  const hop = followedHop(remote, gateway, seat);
  return hop && { ...remote, hops: [hop] };
}

/** isActiveGateway tells whether a node is the gateway now, as far as it hears: nobody before it announces a default route of the family. */
export function isActiveGateway(
  heard: readonly RemotePrefix[],
  gateway: NatGateway,
  { seat, family }: { readonly seat: GatewaySeat; readonly family: Family },
): boolean {
  if (!gateway.nodes.includes(seat.self)) return false;
  const hops = heard
    .filter(({ vni, prefix }) => vni === gateway.domain && prefix.family === family && isDefault(prefix))
    .flatMap((remote) => remote.hops);
  return followedHop({ hops }, gateway, seat) === undefined;
}
