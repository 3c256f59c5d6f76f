/** What is wrong with VPCs and Subnets of a node's edge. */
import { type Family, formatPrefix, type Prefix } from "../net/mod.ts";
import type { Subnet, Underlay, Vpc } from "../resources/mod.ts";
import { clash, type Finding, formatPlace, place, type Place, wrong } from "./finding.ts";
import { overlaps } from "./overlaps.ts";
import { hostLegLink, segmentHostBridge, segmentHostLink } from "./names.ts";

/** endpointFamilies returns which families of tunnel endpoints an Underlay has; of a link's own addresses both may be. */
export function endpointFamilies({ tunnelEndpoint: endpoint }: Underlay): readonly Family[] {
  if (endpoint === undefined) return [];
  if (endpoint.prefixes.length === 0) return [4, 6];
  return endpoint.prefixes.map(({ family }) => family);
}

/** endpointFinding reports a VPC or Subnet whose tunnel endpoint is not there. */
export function endpointFinding(
  of: { readonly kind: "VPC" | "Subnet"; readonly name: string; readonly family: Family | undefined },
  underlay: Underlay,
): Finding[] {
  const { kind, name, family } = of;
  const there = endpointFamilies(underlay);
  if (there.length === 0)
    return [
      wrong(
        place(kind, name, "spec.underlay"),
        `needs a tunnel endpoint, and Underlay "${underlay.name}" has none; add spec.tunnelEndpoint there`,
        { reason: "dependency" },
      ),
    ];
  if (family === undefined || there.includes(family)) return [];
  return [
    wrong(
      place(kind, name, "spec.underlay.family", `${family}`),
      `is not among the tunnel endpoints of Underlay "${underlay.name}"; add a network of IPv${family} to spec.tunnelEndpoint there, or leave the field out`,
      { reason: "dependency" },
    ),
  ];
}

/** familyOf returns the family of the tunnel endpoint that VXLAN of a VPC or Subnet ends at: IPv4 before IPv6. */
export function familyOf(wish: Family | undefined, underlay: Underlay): Family {
  return wish ?? (endpointFamilies(underlay).includes(4) ? 4 : 6);
}

/** familyFindings reports Subnets over another family than their VPC, or than its first Subnet where nothing is routed: a domain has one endpoint. */
export function familyFindings(vpc: Vpc, subnets: readonly Subnet[], underlay: Underlay): Finding[] {
  const [first] = subnets;
  if (first === undefined) return [];
  const own = vpc.routed ? vpc.underlay?.family : first.underlay?.family;
  const other = vpc.routed
    ? place("VPC", vpc.name, "spec.underlay.family")
    : place("Subnet", first.name, "spec.underlay.family");
  const family = familyOf(own, underlay);
  return subnets.flatMap(({ name, underlay: wish }) => {
    const one = familyOf(wish?.family, underlay);
    if (one === family) return [];
    const at = place("Subnet", name, "spec.underlay.family", `${one}`);
    return [
      clash(
        at,
        other,
        (place) =>
          `and that of ${formatPlace(place)} are IPv4 and IPv6, and VXLAN of a VPC ends at one address; write the same`,
      ),
    ];
  });
}

/** vniFindings reports VNIs that somebody has already: a VPC before a Subnet, then the first by name. */
export function vniFindings(vpcs: readonly Vpc[], subnets: readonly Subnet[]): Finding[] {
  const owners = new Map<number, Place>();
  const found: Finding[] = [];
  const take = (kind: "VPC" | "Subnet", { name, vni, ...rest }: Vpc | Subnet) => {
    if (vni === undefined) {
      // Where nothing is routed a VPC has no VNI of its own on the wire.
      if (kind === "Subnet" || (rest as Vpc).routed)
        found.push(
          wrong(place(kind, name, "spec.vni"), "is missing, and no register gives one here; write it"),
        );
      return;
    }
    const at = place(kind, name, "spec.vni", `${vni}`);
    const other = owners.get(vni);
    if (other === undefined) owners.set(vni, at);
    else found.push(clash(at, other, (one) => `is that of ${one.kind} "${one.name}"; choose another`));
  };
  for (const vpc of vpcs) take("VPC", vpc);
  for (const subnet of subnets) take("Subnet", subnet);
  return found;
}

interface Network extends Place {
  readonly prefix: Prefix;
}

/** networkFindings reports networks of Subnets and of the host session that overlap inside one VPC; the whole VPC is left out. */
export function networkFindings(vpc: Vpc, subnets: readonly Subnet[]): Finding[] {
  const at = (of: Place, prefixes: readonly Prefix[]): Network[] =>
    prefixes.map((prefix, i) => ({
      ...of,
      field: `${of.field}[${i}]`,
      value: formatPrefix(prefix),
      prefix,
    }));
  const networks = [
    ...at(place("VPC", vpc.name, "spec.hostSession.prefixes"), vpc.hostSession?.prefixes ?? []),
    ...subnets.flatMap(({ name, prefixes }) => at(place("Subnet", name, "spec.prefixes"), prefixes)),
  ];
  return overlaps(networks).map(([other, one]) => ({
    ...clash(
      one,
      other,
      (place) =>
        `overlaps ${place.value} of ${formatPlace(place)} in VPC "${vpc.name}"; choose networks that share no address`,
      "vpc",
    ),
    vpc: vpc.name,
  }));
}

/** linkFindings reports names of links on the host that two would have; `taken` are others that are there. A bridge that is not ours may have several ports. */
export function linkFindings(
  vpcs: readonly Vpc[],
  subnets: readonly Subnet[],
  taken: readonly Place[],
): Finding[] {
  const owners = new Map<string, Place & { readonly shared: boolean }>();
  const found: Finding[] = [];
  const take = (at: Place, shared = false) => {
    const name = at.value as string;
    const other = owners.get(name);
    if (other === undefined) owners.set(name, { ...at, shared });
    else if (!shared || !other.shared)
      found.push(clash(at, other, (one) => `is a link of ${formatPlace(one)} too; choose another name`));
  };
  for (const at of taken) take(at);
  for (const { name, hostSession, vni } of vpcs)
    if (hostSession !== undefined && vni !== undefined)
      take(place("VPC", name, "spec.hostSession.link", hostSession.link ?? hostLegLink(vni)));
  for (const { name, hostLink, hostBridge, vni } of subnets) {
    if (vni === undefined) continue;
    if (hostLink !== undefined || hostBridge !== undefined)
      take(place("Subnet", name, "spec.hostLink", hostLink ?? segmentHostLink(vni)));
    if (hostBridge !== undefined) {
      const bridge = hostBridge.name ?? segmentHostBridge(vni);
      take(place("Subnet", name, "spec.hostBridge.name", bridge), !hostBridge.managed);
    }
  }
  return found;
}

/** leakFindings reports leaks from VPCs that are not on the node. */
export function leakFindings(vpcs: readonly Vpc[]): Finding[] {
  const at = (router: string | undefined, name: string) => `${router}/${name}`;
  const here = new Set(vpcs.map(({ name, underlay }) => at(underlay?.router, name)));
  return vpcs.flatMap(({ name, underlay }) =>
    (underlay?.leaks ?? []).flatMap(({ from }, i) =>
      here.has(at(underlay?.router, from))
        ? []
        : [
            wrong(
              place("VPC", name, `spec.underlay.leaks[${i}].from`, from),
              "is no VPC of this router on this node; let it be there (spec.underlay.nodes)",
              { effect: "leak", reason: "dependency", late: true },
            ),
          ],
    ),
  );
}
