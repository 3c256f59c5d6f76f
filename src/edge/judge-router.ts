/** What is wrong with a router of a node: its Underlay, its pools, and its host sessions. */
import { formatInterfaceAddress, formatPrefix, type Prefix } from "../net/mod.ts";
import { selectsEdge, type EdgeNode, type Passthrough, type Underlay, type Vpc } from "../resources/mod.ts";
import { clash, type Finding, formatPlace, place, type Place, wrong } from "./finding.ts";
import { overlaps } from "./overlaps.ts";
import { endpointOf, Full, hostAddress, linkAddress, routerIdOf } from "./pool.ts";
import type { RouterView } from "./view.ts";

/** several reports a second Underlay of one router on a node. */
export function several({ router, underlays }: RouterView): Finding[] {
  const [first, ...more] = underlays;
  return more.map((second) =>
    clash(
      place("Underlay", second.name, "spec.nodes"),
      place("Underlay", (first as Underlay).name, "spec.nodes"),
      (other) =>
        `fit a node that has router "${router}" from ${formatPlace(other)}, and a router of a node has one Underlay; choose other nodes, or another router`,
      "router",
    ),
  );
}

interface Taken extends Place {
  readonly moved: boolean;
}

/** The host's links that an Underlay moves, and those that must stay with the host for it. */
function hostLinksOf({ name, links }: Underlay): Taken[] {
  return links.flatMap((link, i): Taken[] => {
    const at = (field: string, value: string) => place("Underlay", name, `spec.links[${i}].${field}`, value);
    const { made } = link;
    if (made.type === "move") return [{ ...at("name", link.name), moved: true }];
    if (made.type === "bond")
      return made.members.map((member, j) => ({ ...at(`bond.members[${j}]`, member), moved: true }));
    return "parent" in made ? [{ ...at(`${made.type}.parent`, made.parent), moved: false }] : [];
  });
}

/** sharedLinks reports links of the host that one router moves, and another one moves too or needs there. */
export function sharedLinks(underlays: readonly Underlay[]): Finding[] {
  const owners = new Map<string, Taken>();
  const found: Finding[] = [];
  for (const at of underlays.flatMap(hostLinksOf)) {
    const link = at.value as string;
    const other = owners.get(link);
    if (other === undefined) owners.set(link, at);
    else if (other.name !== at.name && (other.moved || at.moved))
      found.push(
        clash(
          at,
          other,
          (one) => `is that of another router on the same host: ${formatPlace(one)}; choose another link`,
          "router",
        ),
      );
  }
  return found;
}

/** passthroughsOf returns host sessions of an Underlay that fit a node. */
export function passthroughsOf(
  underlay: Underlay,
  node: EdgeNode,
): { session: Passthrough; field: string }[] {
  return underlay.hostSessions.flatMap((session, i) =>
    selectsEdge(session.nodes, node) ? [{ session, field: `spec.hostSessions[${i}]` }] : [],
  );
}

/** passthroughFindings reports several host sessions of one router on a node. */
export function passthroughFindings(underlay: Underlay, node: EdgeNode): Finding[] {
  const [first, ...more] = passthroughsOf(underlay, node);
  return more.map(({ session, field }) =>
    wrong(
      place("Underlay", underlay.name, `${field}.nodes`, session.name),
      `fits a node that ${first?.session.name} fits too, and a node has one host session of a router; choose other nodes`,
      { effect: "passthrough" },
    ),
  );
}

function full(at: Place, effect: Finding["effect"], work: () => unknown): Finding[] {
  try {
    work();
    return [];
  } catch (error) {
    if (error instanceof Full) return [wrong(at, error.message, { effect })];
    throw error;
  }
}

/** poolFindings reports pools of an Underlay that have nothing for a node. */
export function poolFindings(underlay: Underlay, index: number): Finding[] {
  const { name, routerIds, tunnelEndpoint: endpoint } = underlay;
  return [
    ...full(place("Underlay", name, "spec.routerIds", formatPrefix(routerIds)), "router", () =>
      routerIdOf(routerIds, index),
    ),
    ...(endpoint?.prefixes ?? []).flatMap((prefix, i) =>
      full(
        place("Underlay", name, `spec.tunnelEndpoint.prefixes[${i}]`, formatPrefix(prefix)),
        "router",
        () => endpointOf(prefix, endpoint?.start ?? 0, index),
      ),
    ),
    ...underlay.links.flatMap(({ addressesFrom }, i) =>
      addressesFrom.flatMap((first, j) =>
        full(
          place("Underlay", name, `spec.links[${i}].addressesFrom[${j}]`, formatInterfaceAddress(first)),
          "router",
          () => linkAddress(first, index),
        ),
      ),
    ),
  ];
}

/** hostPoolFindings reports pools of host sessions that have nothing for a node. */
export function hostPoolFindings(
  at: Place,
  prefixes: readonly Prefix[],
  index: number,
  effect: Finding["effect"],
): Finding[] {
  return prefixes.flatMap((prefix, i) =>
    full({ ...at, field: `${at.field}[${i}]`, value: formatPrefix(prefix) }, effect, () =>
      hostAddress(prefix, index),
    ),
  );
}

interface Pool extends Place {
  readonly prefix: Prefix;
}

const poolsOf = (of: Place, prefixes: readonly Prefix[]): Pool[] =>
  prefixes.map((prefix, i) => ({
    ...of,
    field: `${of.field}[${i}]`,
    value: formatPrefix(prefix),
    prefix,
  }));

/** hostOverlaps reports networks of host sessions that overlap: they all lead into the host's one table of routes. */
export function hostOverlaps(
  vpcs: readonly Vpc[],
  passthroughs: readonly {
    readonly underlay: string;
    readonly session: Passthrough;
    readonly field: string;
  }[],
): Finding[] {
  const pools = [
    ...passthroughs.flatMap(({ underlay, session, field }) =>
      poolsOf(place("Underlay", underlay, `${field}.prefixes`), session.prefixes),
    ),
    ...vpcs.flatMap(({ name, hostSession }) =>
      poolsOf(place("VPC", name, "spec.hostSession.prefixes"), hostSession?.prefixes ?? []),
    ),
  ];
  return overlaps(pools).map(([other, one]) =>
    clash(
      one,
      other,
      (place) =>
        `overlaps ${place.value} of ${formatPlace(place)} on the same host; choose networks that share no address`,
      "router",
    ),
  );
}
