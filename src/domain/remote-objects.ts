/** Objects of a domain's namespace for what is elsewhere, each from one decision. Words of the tables: RFC 7432, RFC 9135, RFC 9136. */
import type { FdbEntry, KernelObject, Neighbour, Route } from "../engine/mod.ts";
import { hostPrefix, type Ip, ip, type Mac, type Prefix } from "../net/mod.ts";
import { bridgeOf, vxlanOf } from "./names.ts";

/** Behind the kernel's own routes to what is on a link (0 for IPv4, 256 for IPv6), so that a host and a network of one address differ. */
const HOST_METRIC = 1023;
const PREFIX_METRIC = 1024;

/** Flooding goes to the all-zero address (bridge(8)). */
const EVERYBODY = 0 as Mac;

/** floodEntry sends a segment's broadcast to a VTEP (type 3). */
export function floodEntry(vni: number, vtep: Ip): FdbEntry {
  return { kind: "fdb", link: vxlanOf(vni), mac: EVERYBODY, dst: vtep };
}

/** stationEntry says behind which VTEP an Ethernet address is: for the bridge, and for the VXLAN device. */
export function stationEntry(vni: number, mac: Mac, vtep: Ip): FdbEntry {
  return { kind: "fdb", link: vxlanOf(vni), mac, dst: vtep, both: true, externLearn: true };
}

/** hostNeighbour is a host of a segment that is here too: the bridge answers for it, the router need not ask. */
export function hostNeighbour(vni: number, address: Ip, mac: Mac): Neighbour {
  return { kind: "neighbour", link: bridgeOf(vni), ip: address, mac, externLearn: true };
}

/** hostRoute leads to a host of a segment, here or not, by way of its VTEP's router (type 2 of symmetric IRB). */
export function hostRoute(l3vni: number, address: Ip, vtep: Ip): Route {
  return { ...prefixRoute(l3vni, hostPrefix(address), [vtep]), metric: HOST_METRIC };
}

/** prefixRoute leads to a network behind one router or several (type 5). */
export function prefixRoute(l3vni: number, destination: Prefix, vteps: readonly Ip[]): Route {
  const dev = bridgeOf(l3vni);
  const hops = vteps.map((vtep) => ({ via: hopOf(vtep, destination.family), dev, onlink: true }));
  return { kind: "route", destination, metric: PREFIX_METRIC, hops };
}

/** routerObjects make a VTEP's router reachable, under each form of its address that routes name. */
export function routerNeighbours(
  l3vni: number,
  vtep: Ip,
  mac: Mac,
  families: readonly (4 | 6)[],
): KernelObject[] {
  const forms = new Map(families.map((family) => [hopOf(vtep, family).family, hopOf(vtep, family)]));
  return [...forms.values()].map((address) => hostNeighbour(l3vni, address, mac));
}

/** The kernel takes an IPv6 next hop for IPv4, but for IPv6 only an IPv6 one: then the address is mapped (RFC 4291, section 2.5.5.2). */
function hopOf(vtep: Ip, family: 4 | 6): Ip {
  return family === 6 && vtep.family === 4 ? ip(6, (0xffffn << 32n) | vtep.value) : vtep;
}
