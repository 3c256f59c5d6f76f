/**
 * The host's ends of a router that stays as it is right after a restart: what is said of it cannot be, or not yet, so that nobody says what it consists
 * of. They are found behind the links of its namespaces, and wished for as they are.
 */
import { EDGE_LINK, routerNamespace } from "../edge/mod.ts";
import { ALIAS, type KernelObject, PROTOCOL } from "../engine/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { isNetns, Netns } from "../sys/mod.ts";
import { DomainNamespaces, NAMESPACES } from "./domain-namespaces.ts";
import type { LinkPlace } from "./edge-link-state.ts";

/** KeptPlace says where namespaces are bound, how those of the router's domains are marked, and what the host's is. */
export interface KeptPlace {
  readonly folder?: string | undefined;
  readonly alias: string;
  readonly home: LinkPlace;
  /** Also what leads to the router itself, and not only what leads to its domains. */
  readonly whole: boolean;
}

/** keptObjects returns what an earlier agent had wished for in the host's namespace for a router. */
export function keptObjects(
  router: string,
  { folder = NAMESPACES, alias, home, whole }: KeptPlace,
): KernelObject[] {
  const namespaces = new DomainNamespaces(folder, alias);
  const paths = [
    ...(whole ? [`${folder}/${routerNamespace(router)}`] : []),
    ...namespaces.list().map((vni) => namespaces.path(vni)),
  ];
  const ends = new Set(paths.filter(isNetns).flatMap(farEnds));
  const { route } = home;
  const links = route.links();
  // Before Linux 5.18 nobody tells who made an address.
  const isTold = route.addresses().some(({ protocol }) => protocol !== undefined);
  return links
    .filter(({ index, alias: mark }) => ends.has(index) && mark?.startsWith(ALIAS) === true)
    .flatMap(({ index, name, master }): KernelObject[] => {
      const bridge = links.find((link) => link.index === master && link.alias === ALIAS);
      return [
        { kind: "link", name, type: "external" },
        ...(bridge === undefined ? [] : [{ kind: "link", name: bridge.name, type: "bridge" } as const]),
        ...route
          .addresses({ linkIndex: index })
          .filter(({ scope, protocol }) => scope === 0 && (protocol === PROTOCOL || !isTold))
          .map(({ address }): KernelObject => ({ kind: "address", link: name, address })),
      ];
    });
}

/** Indices of the other ends of links to the host. */
function farEnds(path: string): number[] {
  using netns = Netns.open(path);
  using route = Rtnetlink.open({ netns });
  return route
    .links()
    .flatMap(({ name, kind, parent }) =>
      kind === "veth" && parent !== undefined && (name === EDGE_LINK || /^host\d+$/.test(name))
        ? [parent]
        : [],
    );
}
