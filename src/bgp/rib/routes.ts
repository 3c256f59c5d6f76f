/** Routes of a RIB as values, for commands, pages and metrics. Iterations give way: they yield undefined where others may be let run. */
import { bitsOf, prefixAddress } from "../../net/mod.ts";
import {
  attributesOf,
  type BgpFamily,
  decodeNlri,
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type Nlri,
  type PathAttributes,
} from "../wire/mod.ts";
import { PATH_FLAG } from "./paths.ts";
import type { PeerTable, RibPeer } from "./peer.ts";
import type { Rib } from "./rib.ts";
import { matchesAttributes, matchesExtra, matchesKey, prefixKey, type RouteFilter } from "./route-filter.ts";
import type { RibTable } from "./table.ts";

/** RouteView is one path as it is now. */
export interface RouteView {
  readonly family: BgpFamily;
  readonly nlri: Nlri;
  readonly key: Uint8Array;
  readonly extra: Uint8Array;
  /** The peer it came from; 0 is this router. */
  readonly peer: number;
  /** The peer's identifier of the path, 0 without add-path. */
  readonly pathId: number;
  /** What it is used with; as received, where it is not used. */
  readonly attributes: PathAttributes;
  readonly sinceSeconds: number;
  readonly best: boolean;
  readonly multipath: boolean;
  readonly stale: boolean;
  readonly longLived: boolean;
  /** Why it is not used: the import policy or a loop, or a next hop that cannot be reached. */
  readonly refused: "policy" | "nextHop" | undefined;
}

/** Destinations between two points where an iteration gives way. */
const STRIDE = 2048;

/** routes goes through the paths that a filter names, best paths of a destination first; undefined means: others may run now. */
export function* routes(rib: Rib, filter: RouteFilter): Generator<RouteView | undefined, void> {
  const table = rib.tables.get(filter.family);
  if (table === undefined) return;
  const found = direct(table, filter);
  if (found !== undefined) {
    for (const id of found) yield* pathsOf(rib, table, id, filter);
    return;
  }
  let longest: { readonly id: number; readonly bits: number } | undefined;
  for (let id = 1; id < table.keys.end; id++) {
    if (id % STRIDE === 0) yield undefined;
    if (!table.keys.has(id)) continue;
    const key = table.keys.copyOf(id);
    if (!matchesKey(filter, key)) continue;
    if (filter.match !== "longest") yield* pathsOf(rib, table, id, filter);
    else if (longest === undefined || (key[13] as number) > longest.bits)
      longest = { id, bits: key[13] as number };
  }
  if (longest !== undefined) yield* pathsOf(rib, table, longest.id, filter);
}

/** usedOf are the paths that a destination is used with, the best one first: what a listener of best paths asks for. */
export function usedOf(rib: Rib, table: RibTable, destination: number): readonly RouteView[] {
  return [...pathsOf(rib, table, destination, { family: table.family })].filter(({ multipath }) => multipath);
}

/** advertised goes through what a peer was sent (adj-out), as it was sent but for what is written for a session; undefined as above. */
export function* advertised(
  rib: Rib,
  peer: RibPeer,
  family: BgpFamily,
): Generator<
  | {
      readonly key: Uint8Array;
      readonly extra: Uint8Array;
      readonly attributes: PathAttributes;
      readonly source: number;
    }
  | undefined,
  void
> {
  const table = rib.tables.get(family);
  const group = table === undefined ? undefined : peer.tables[table.index]?.group;
  if (table === undefined || group === undefined) return;
  const { adjOut, addPath } = group;
  const end = addPath === undefined ? table.keys.end : table.paths.end;
  for (let id = 1; id < end; id++) {
    if (id % STRIDE === 0) yield undefined;
    const set = adjOut.attributes(id);
    const source = adjOut.source(id);
    if (set === 0 || source === peer.number) continue;
    const destination = addPath === undefined ? id : (table.paths.destination[id] as number);
    const attributes = attributesOf(rib.store.copyOf(set));
    yield {
      key: table.keys.copyOf(destination),
      extra: rib.extras.copyOf(adjOut.extra(id)),
      attributes,
      source,
    };
  }
}

/** evpnTypes counts the destinations of an EVPN table by the number of their type. */
export function evpnTypes({ keys }: RibTable): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (let id = 1; id < keys.end; id++) {
    if (!keys.has(id)) continue;
    const type = keys.memoryOf(id)[keys.offsetIn(id)] as number;
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

/** Counts are a peer's routes of one family. */
export interface Counts {
  readonly received: number;
  readonly accepted: number;
  readonly best: number;
  readonly advertised: number;
  readonly stale: number;
}

/** countsOf counts a peer's routes. Advertised and stale ones are counted one by one: not for the hot path. */
export function countsOf(rib: Rib, peer: RibPeer, family: BgpFamily): Counts {
  const table = rib.tables.get(family);
  const state = table === undefined ? undefined : peer.tables[table.index];
  if (table === undefined || state === undefined)
    return { received: 0, accepted: 0, best: 0, advertised: 0, stale: 0 };
  const { routes: received, accepted, best, group } = state;
  let sent = group?.adjOut.size ?? 0;
  // A route from the peer itself is known to the group, and not sent to it.
  if (group !== undefined && received > 0) {
    const end = group.addPath === undefined ? table.keys.end : table.paths.end;
    for (let id = 1; id < end; id++)
      if (group.adjOut.source(id) === peer.number && group.adjOut.attributes(id) !== 0) sent--;
  }
  return {
    received,
    accepted,
    best,
    advertised: sent,
    stale: state.hasStale ? staleOf(table, peer, state) : 0,
  };
}

function staleOf(table: RibTable, peer: RibPeer, state: PeerTable): number {
  const { paths } = table;
  let stale = 0;
  for (let path = 1; path < paths.end; path++)
    if (
      paths.destination[path] !== 0 &&
      paths.peer[path] === peer.number &&
      paths.epoch[path] !== state.epoch &&
      ((paths.flags[path] as number) & PATH_FLAG.gone) === 0
    )
      stale++;
  return stale;
}

/** Destinations that can be found without a search: a prefix itself, or the longest one around an address. */
function direct(
  table: RibTable,
  { family, prefix, match = "exact" }: RouteFilter,
): readonly number[] | undefined {
  if (prefix === undefined || match === "longer") return undefined;
  if (family !== IPV4_UNICAST && family !== IPV6_UNICAST) return undefined;
  const address = prefixAddress(prefix);
  if (bitsOf(address.family) !== (family === IPV4_UNICAST ? 32 : 128)) return [];
  for (let bits = prefix.length; bits >= 0; bits--) {
    const key = prefixKey(address, bits);
    const id = table.keys.find(key, 0, key.length);
    if (id !== 0) return [id];
    if (match === "exact") return [];
  }
  return [];
}

function* pathsOf(rib: Rib, table: RibTable, id: number, filter: RouteFilter): Generator<RouteView, void> {
  const { paths } = table;
  for (let path = table.first[id] as number; path !== 0; path = paths.next[path] as number) {
    const view = viewOf(rib, table, path, filter);
    if (view !== undefined) yield view;
  }
}

function viewOf(rib: Rib, table: RibTable, path: number, filter: RouteFilter): RouteView | undefined {
  const { paths, keys, family } = table;
  const flags = paths.flags[path] as number;
  const peer = paths.peer[path] as number;
  const best = (flags & PATH_FLAG.best) !== 0;
  if ((flags & PATH_FLAG.gone) !== 0 || (filter.bestOnly === true && !best)) return undefined;
  if (filter.peer !== undefined && filter.peer !== peer) return undefined;
  const accepted = paths.accepted[path] as number;
  const id = accepted === 0 ? (paths.received[path] as number) : accepted;
  const key = keys.copyOf(paths.destination[path] as number);
  const extra = rib.extras.copyOf(paths.extra[path] as number);
  if (!matchesExtra(filter, key, extra) || !matchesAttributes(filter, rib.store, id)) return undefined;
  const epoch = rib.peers[peer]?.tables[table.index]?.epoch;
  return {
    family,
    nlri: decodeNlri(family, key, extra),
    key,
    extra,
    peer,
    pathId: paths.pathId[path] as number,
    attributes: attributesOf(rib.store.copyOf(id)),
    sinceSeconds: paths.sinceSeconds[path] as number,
    best,
    multipath: (flags & PATH_FLAG.multipath) !== 0,
    stale: paths.epoch[path] !== epoch,
    longLived: (flags & PATH_FLAG.longLived) !== 0,
    refused:
      accepted === 0
        ? "policy"
        : family === EVPN || rib.nextHops.valid[rib.store.nextHop[id] as number] === 1
          ? undefined
          : "nextHop",
  };
}
