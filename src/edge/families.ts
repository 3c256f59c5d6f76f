/** Which families a session with the fabric carries. They depend on the Underlay alone: a VPC that comes or goes resets no session. */
import {
  fabricFamilies,
  type FabricFamily,
  type HostSession,
  type Underlay,
  type UnderlayNeighbor,
} from "../resources/mod.ts";
import type { SessionFamily } from "./model.ts";

const unicast = (family: 4 | 6): FabricFamily => (family === 4 ? "ipv4-unicast" : "ipv6-unicast");

function wanted(
  neighbor: UnderlayNeighbor,
  underlay: Underlay,
  passthrough: HostSession | undefined,
): ReadonlySet<FabricFamily> {
  const { families, address, listen } = neighbor;
  if (families !== undefined) return new Set(Object.keys(families) as FabricFamily[]);
  const found = new Set([unicast(address?.family ?? listen?.family ?? 4)]);
  for (const { family } of passthrough?.prefixes ?? []) found.add(unicast(family));
  const endpoint = underlay.tunnelEndpoint;
  if (endpoint === undefined) return found;
  for (const { family } of endpoint.prefixes) found.add(unicast(family));
  return found.add("ipv4-unicast").add("l2vpn-evpn");
}

/** isInternal tells whether a neighbor is of our AS. */
export function isInternal(asn: number | "internal" | "external", own: number): boolean {
  return asn === "internal" || asn === own;
}

/** sessionFamilies returns the families of a session in a fixed order. */
export function sessionFamilies(
  neighbor: UnderlayNeighbor,
  underlay: Underlay,
  passthrough: HostSession | undefined,
): SessionFamily[] {
  const all = wanted(neighbor, underlay, passthrough);
  const internal = isInternal(neighbor.asn, underlay.asn);
  return fabricFamilies
    .filter((family) => all.has(family))
    .map((family) => ({
      family,
      routeReflectorClient: neighbor.families?.[family]?.routeReflectorClient === true,
      allowOwnAsn: !internal,
      nextHopSelf: internal && family !== "l2vpn-evpn",
    }));
}
