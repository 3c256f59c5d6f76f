/** What commands and metrics are told of a speaker: plain values, made when somebody asks. */
import { formatIp, hostPrefix, type Ip, ipFromBytes, type Mac, type Prefix } from "../../net/mod.ts";
import { neighborName } from "../../resources/mod.ts";
import { monotonicMs } from "../../sys/mod.ts";
import {
  advertised,
  countsOf,
  evpnTypes,
  LOCAL,
  matchesExtra,
  matchesKey,
  type RouteFilter as RibFilter,
  type RibPeer,
  routes,
  type RouteView,
} from "../rib/mod.ts";
import {
  type BgpFamily,
  decodeNlri,
  encodeRd,
  errorName,
  EVPN,
  familyName,
  MESSAGE,
  type Nlri,
  type PathAttributes,
  printAsPath,
  printCapability,
  printCommunity,
  printExtendedCommunity,
  printLargeCommunity,
  printNlri,
  printRd,
  rdOf,
  type RouteDistinguisher,
} from "../wire/mod.ts";
import { targetsOf } from "../evpn/mod.ts";
import type { Convergence } from "./work-loop.ts";
import type { Speaker } from "./speaker.ts";
import type { SpeakerNeighbor } from "./speaker-neighbor.ts";

/** FamilyStatus counts a neighbor's routes of one family. */
export interface FamilyStatus {
  readonly family: string;
  readonly received: number;
  readonly accepted: number;
  readonly best: number;
  readonly sent: number;
  /** Kept from a session that ended (RFC 4724). */
  readonly stale: boolean;
}

/** NeighborStatus is what is shown of a neighbor. */
export interface NeighborStatus {
  readonly router: string;
  readonly name: string;
  readonly description?: string | undefined;
  readonly state: string;
  readonly sinceSeconds: number;
  readonly dynamic: boolean;
  readonly address?: string | undefined;
  readonly localAddress?: string | undefined;
  readonly asn?: number | undefined;
  readonly routerId?: string | undefined;
  readonly hostname?: string | undefined;
  readonly software?: string | undefined;
  readonly holdSeconds?: number | undefined;
  readonly keepaliveSeconds?: number | undefined;
  readonly capabilities: readonly string[];
  readonly families: readonly FamilyStatus[];
  readonly messagesReceived: number;
  readonly messagesSent: number;
  readonly updatesReceived: number;
  readonly updatesSent: number;
  /** How often the session was lost. */
  readonly flaps: number;
  readonly established: number;
  readonly lastError?: string | undefined;
}

/** RouterStatus is what is shown of a router. */
export interface RouterStatus {
  readonly router: string;
  readonly asn: number;
  readonly routerId: string;
  readonly families: readonly {
    readonly family: string;
    readonly destinations: number;
    readonly paths: number;
  }[];
  readonly attributeSets: number;
  /** Destinations of EVPN by type. */
  readonly evpnTypes: Readonly<Record<string, number>>;
  /** Encoded, and not read by all neighbors yet. */
  readonly queuedBytes: number;
  readonly convergence: Convergence;
  /** Families whose selection waits for neighbors after a restart. */
  readonly deferred: readonly string[];
  readonly neighbors: readonly NeighborStatus[];
}

/** RouteStatus is one path as people see it. */
export interface RouteStatus {
  readonly router: string;
  readonly family: string;
  readonly route: string;
  readonly rd?: string | undefined;
  readonly best: boolean;
  readonly multipath: boolean;
  readonly stale: boolean;
  /** Whether the import policy let it in, and no loop was found. */
  readonly accepted: boolean;
  readonly neighbor: string;
  readonly nextHop?: string | undefined;
  readonly asPath: string;
  readonly origin: string;
  readonly localPreference?: number | undefined;
  readonly med?: number | undefined;
  readonly communities: readonly string[];
  readonly labels: readonly number[];
  /** For a MAC of a host with several links: all VTEPs that reach it (aliasing, RFC 7432 section 8.4). */
  readonly ways?: { readonly mode: string; readonly vteps: readonly string[] } | undefined;
  readonly pathId?: number | undefined;
  readonly ageSeconds?: number | undefined;
}

/** RouteFilter chooses routes; all that is there has to fit. */
export interface RouteFilter {
  readonly family?: BgpFamily | undefined;
  /** That prefix; with `longer` also those inside; an address: the longest match. */
  readonly prefix?: Prefix | undefined;
  readonly longer?: boolean | undefined;
  readonly address?: Ip | undefined;
  readonly evpnType?: number | undefined;
  readonly rd?: RouteDistinguisher | undefined;
  readonly mac?: Mac | undefined;
  readonly vni?: number | undefined;
  /** A community of any kind, as it is printed. */
  readonly community?: string | undefined;
  readonly neighbor?: string | undefined;
  /** What was sent to the neighbor, in place of what came from it. */
  readonly sent?: boolean | undefined;
  readonly best?: boolean | undefined;
}

/** routerStatus describes a router with its neighbors. */
export function routerStatus(speaker: Speaker): RouterStatus {
  const { router, rib } = speaker;
  return {
    router: router.name,
    asn: router.asn,
    routerId: formatIp(router.routerId),
    families: [...rib.tables].map(([family, { keys, paths }]) => ({
      family: familyName(family),
      destinations: keys.size,
      paths: paths.size,
    })),
    attributeSets: rib.store.size,
    evpnTypes: typesOf(speaker),
    queuedBytes: rib.pool.heldBytes,
    convergence: speaker.convergence,
    deferred: speaker.restart.deferred.map(familyName),
    neighbors: [...speaker.neighbors.map((one) => neighborStatus(speaker, one)), ...shutDown(speaker)],
  };
}

function typesOf({ rib }: Speaker): Readonly<Record<string, number>> {
  const table = rib.tables.get(EVPN);
  return table === undefined ? {} : Object.fromEntries(evpnTypes(table));
}

/** Neighbors that are configured as shut down have no session. */
function shutDown({ router }: Speaker): NeighborStatus[] {
  return router.neighbors
    .filter((wish) => (wish.shutdown ?? router.groups[wish.group ?? ""]?.shutdown) === true)
    .map((wish) => ({
      router: router.name,
      name: neighborName(wish),
      description: wish.description,
      state: "shutdown",
      sinceSeconds: 0,
      dynamic: false,
      capabilities: [],
      families: [],
      messagesReceived: 0,
      messagesSent: 0,
      updatesReceived: 0,
      updatesSent: 0,
      flaps: 0,
      established: 0,
    }));
}

/** Index 0 of counts has bytes. */
function sum(counts: Float64Array | undefined): number {
  let all = 0;
  for (let i = 1; i < (counts?.length ?? 0); i++) all += counts?.[i] ?? 0;
  return all;
}

/** neighborStatus describes one neighbor. */
export function neighborStatus(speaker: Speaker, neighbor: SpeakerNeighbor): NeighborStatus {
  const { session, peer, options } = neighbor;
  const { negotiated, connection, counts, lastEnded } = session;
  const stream = connection?.stream;
  const open = stream !== undefined && !stream.closed;
  const address = speaker.io.addressOf(neighbor.name);
  const configured = typeof options.asn === "number" ? options.asn : undefined;
  return {
    router: speaker.router.name,
    name: neighbor.name,
    description: options.description,
    state: session.state.main.fsm.kind,
    sinceSeconds: Math.floor((monotonicMs() - neighbor.sinceMs) / 1000),
    dynamic: neighbor.dynamic,
    address: address && formatIp(address),
    localAddress: open ? addressText(stream.local.address) : undefined,
    asn: negotiated?.remoteAs ?? configured,
    routerId: negotiated && formatIp(negotiated.remoteId),
    hostname: negotiated?.hostname,
    software: negotiated?.software,
    holdSeconds: negotiated && negotiated.holdMs / 1000,
    keepaliveSeconds: negotiated && negotiated.keepaliveMs / 1000,
    capabilities: negotiated?.capabilities.map(printCapability) ?? [],
    families: peer === undefined ? [] : familiesOf(speaker, neighbor, peer),
    messagesReceived: sum(counts?.received),
    messagesSent: sum(counts?.sent),
    updatesReceived: counts?.received[MESSAGE.update] ?? 0,
    updatesSent: counts?.sent[MESSAGE.update] ?? 0,
    flaps: session.established - (negotiated === undefined ? 0 : 1),
    established: session.established,
    lastError: lastEnded && endText(lastEnded.ended),
  };
}

function endText(ended: NonNullable<SpeakerNeighbor["session"]["lastEnded"]>["ended"]): string {
  const { error, by, text } = ended;
  const name = error === undefined ? "" : `${errorName(error.code, error.subcode)}: `;
  return `${by === "received" ? "from the neighbor: " : ""}${name}${text}`;
}

function familiesOf(speaker: Speaker, neighbor: SpeakerNeighbor, peer: RibPeer): FamilyStatus[] {
  const list: FamilyStatus[] = [];
  for (const [family, table] of speaker.rib.tables) {
    const state = peer.tables[table.index];
    if (state === undefined || (!state.active && state.routes === 0)) continue;
    const { received: all, accepted, best, advertised: sent } = countsOf(speaker.rib, peer, family);
    const stale = neighbor.helper.has(family);
    list.push({ family: familyName(family), received: all, accepted, best, sent, stale });
  }
  return list;
}

/** routesOf goes through the routes of a speaker that fit; undefined means: others may run now. */
export function* routesOf(speaker: Speaker, filter: RouteFilter): Generator<RouteStatus | undefined> {
  const { rib } = speaker;
  for (const family of rib.tables.keys()) {
    if (filter.family !== undefined && filter.family !== family) continue;
    const peer = filter.neighbor === undefined ? undefined : peerOf(speaker, filter.neighbor);
    if (filter.neighbor !== undefined && peer === undefined) continue;
    if (filter.sent === true) {
      if (peer !== undefined) yield* sentRoutes(speaker, peer, { ...filter, family });
      continue;
    }
    for (const view of routes(rib, ribFilter(filter, family, peer))) {
      const route = view && received(speaker, view);
      if (route === undefined || communityFits(filter, route)) yield route;
    }
  }
}

function peerOf({ rib, neighbors }: Speaker, name: string): RibPeer | undefined {
  return name === "local" ? rib.peers[LOCAL] : neighbors.find((one) => one.name === name)?.peer;
}

function ribFilter(filter: RouteFilter, family: BgpFamily, peer: RibPeer | undefined): RibFilter {
  const { prefix, longer, address, evpnType, rd, mac, vni, best } = filter;
  return {
    family,
    ...(prefix === undefined ? {} : { prefix, match: longer === true ? "longer" : "exact" }),
    ...(address === undefined ? {} : { prefix: hostPrefix(address), match: "longest" }),
    ...(evpnType === undefined ? {} : { type: evpnType }),
    ...(rd === undefined ? {} : { rd: Uint8Array.from(encodeRd(rd)) }),
    ...(mac === undefined ? {} : { mac }),
    ...(vni === undefined ? {} : { vni }),
    ...(peer === undefined ? {} : { peer: peer.number }),
    ...(best === true ? { bestOnly: true } : {}),
  };
}

function communityFits({ community }: RouteFilter, route: RouteStatus): boolean {
  return community === undefined || route.communities.includes(community);
}

function* sentRoutes(
  speaker: Speaker,
  peer: RibPeer,
  filter: RouteFilter & { readonly family: BgpFamily },
): Generator<RouteStatus | undefined> {
  const { rib } = speaker;
  const wanted = ribFilter(filter, filter.family, undefined);
  for (const sent of advertised(rib, peer, filter.family)) {
    if (sent === undefined) yield undefined;
    else if (matchesKey(wanted, sent.key) && matchesExtra(wanted, sent.key, sent.extra)) {
      const route = describe(speaker, {
        family: filter.family,
        nlri: decodeNlri(filter.family, sent.key, sent.extra),
        attributes: sent.attributes,
        peer: rib.peers[sent.source],
        best: true,
        multipath: false,
        stale: false,
        accepted: true,
        pathId: 0,
        ageSeconds: undefined,
      });
      if (communityFits(filter, route)) yield route;
    }
  }
}

function received(speaker: Speaker, view: RouteView): RouteStatus {
  return describe(speaker, {
    ...view,
    peer: speaker.rib.peers[view.peer],
    stale: view.stale || view.longLived,
    accepted: view.refused === undefined,
    ageSeconds: Math.max(0, Math.floor(monotonicMs() / 1000) - view.sinceSeconds),
  });
}

interface PathFacts {
  readonly family: BgpFamily;
  readonly nlri: Nlri;
  readonly attributes: PathAttributes;
  readonly peer: RibPeer | undefined;
  readonly best: boolean;
  readonly multipath: boolean;
  readonly stale: boolean;
  readonly accepted: boolean;
  readonly pathId: number;
  readonly ageSeconds: number | undefined;
}

function describe(speaker: Speaker, facts: PathFacts): RouteStatus {
  const { attributes, nlri, peer } = facts;
  const rd = rdOf(nlri);
  return {
    router: speaker.router.name,
    family: familyName(facts.family),
    route: printNlri(nlri),
    rd: rd && printRd(rd),
    best: facts.best,
    multipath: facts.multipath,
    stale: facts.stale,
    accepted: facts.accepted,
    neighbor: nameOf(speaker, peer),
    nextHop: attributes.nextHop && formatIp(attributes.nextHop.address),
    asPath: printAsPath(attributes.asPath),
    origin: attributes.origin,
    localPreference: attributes.localPreference,
    med: attributes.med,
    communities: [
      ...(attributes.communities?.map(printCommunity) ?? []),
      ...(attributes.extendedCommunities?.map(printExtendedCommunity) ?? []),
      ...(attributes.largeCommunities?.map(printLargeCommunity) ?? []),
    ],
    labels: labelsOf(nlri),
    ways: waysOf(speaker, nlri, attributes),
    pathId: facts.pathId === 0 ? undefined : facts.pathId,
    ageSeconds: facts.ageSeconds,
  };
}

function waysOf(
  { evpn: { segments } }: Speaker,
  nlri: Nlri,
  attributes: PathAttributes,
): RouteStatus["ways"] {
  const nextHop = attributes.nextHop?.address;
  if (nlri.kind !== "mac-ip" || nlri.esi === undefined || nextHop === undefined) return undefined;
  const { esi, tag } = nlri;
  const found = segments.waysTo({ esi, tag, nextHop, targets: targetsOf(attributes) });
  return found && { mode: found.mode, vteps: found.vteps.map(formatIp) };
}

function nameOf(speaker: Speaker, peer: RibPeer | undefined): string {
  if (peer === undefined) return "gone";
  if (peer.number === LOCAL) return "local";
  return speaker.neighbors.find((one) => one.peer === peer)?.name ?? addressText(peer.options.address);
}

function labelsOf(nlri: Nlri): readonly number[] {
  if (nlri.kind === "mac-ip") return nlri.labels ?? [];
  if (nlri.kind === "ip-prefix" || nlri.kind === "ethernet-auto-discovery")
    return nlri.label === undefined ? [] : [nlri.label];
  return [];
}

function addressText(bytes: Uint8Array): string {
  return formatIp(ipFromBytes(bytes));
}
