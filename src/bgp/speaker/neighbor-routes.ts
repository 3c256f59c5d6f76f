/** Unicast routes that a router has from its neighbors, for those who carry them elsewhere. */
import type { Prefix } from "../../net/mod.ts";
import { LOCAL, type RibTable } from "../rib/mod.ts";
import {
  type AsPath,
  attributesOf,
  decodeNlri,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type LargeCommunity,
} from "../wire/mod.ts";
import type { Speaker } from "./speaker.ts";

/** NeighborRoute is a network, and how it came; without a path the neighbors have it no more. */
export interface NeighborRoute {
  readonly prefix: Prefix;
  readonly asPath?: AsPath;
  readonly communities?: readonly number[];
  readonly largeCommunities?: readonly LargeCommunity[];
}

/** neighborRoutes has a listener told of the best route to each network where it is a neighbor's: of all there are, and then of what changes. */
export function neighborRoutes(
  { rib }: Pick<Speaker, "rib">,
  listener: (route: NeighborRoute) => void,
): Disposable {
  const tell = (table: RibTable, destination: number): void => {
    const nlri = decodeNlri(table.family, table.keys.copyOf(destination));
    if (nlri.kind !== "prefix") return;
    const path = table.bestOf(destination);
    if (path === 0 || table.paths.peer[path] === LOCAL) return listener({ prefix: nlri.prefix });
    const {
      asPath = [],
      communities,
      largeCommunities,
    } = attributesOf(rib.store.copyOf(table.paths.accepted[path] as number));
    listener({
      ...{ prefix: nlri.prefix, asPath },
      ...(communities === undefined ? {} : { communities }),
      ...(largeCommunities === undefined ? {} : { largeCommunities }),
    });
  };
  const listening = new DisposableStack();
  for (const family of [IPV4_UNICAST, IPV6_UNICAST]) {
    const table = rib.tables.get(family);
    for (let destination = 1; destination < (table?.first.length ?? 0); destination++)
      if (table?.keys.has(destination) === true) tell(table, destination);
    listening.use(rib.onBest(family, tell));
  }
  return listening;
}
