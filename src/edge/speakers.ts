/** The BGP speakers of a router: one for the fabric, with the passthrough's session, and one for the host's session of each domain. */
import { formatIp, type Ip, parseEndpoint, type Prefix } from "../net/mod.ts";
import type {
  BfdOptions,
  BgpRouter,
  DynamicNeighbors,
  EdgeSession,
  FamilyOptions,
  Neighbor,
  NeighborOptions,
  PolicyRule,
} from "../resources/mod.ts";
import type {
  EdgeDomain,
  EdgeRouter,
  FabricSession,
  HostLeg,
  PlannedSession,
  SessionFamily,
} from "./model.ts";

/** All edges of a cluster have one AS number; as often as FRR's `allowas-in` takes it. */
const OWN_ASN_TIMES = 3;

const LISTEN = ["0.0.0.0:179", "[::]:179"].map(parseEndpoint);

/** Where a router's speakers live. */
export interface SpeakerPlace {
  /** Path of the network namespace. */
  readonly namespace: string;
}

/** fabricSpeaker names the speaker of a router. */
export function fabricSpeaker(router: string): string {
  return `edge-${router}`;
}

/** hostSpeaker names the speaker of a domain's host session; no name of a router has a dot. */
export function hostSpeaker(router: string, vni: number): string {
  return `edge-${router}.${vni}`;
}

type Policies = Record<string, readonly PolicyRule[]>;

function base(
  { routerId, clusterId, restartMs, sessions }: EdgeRouter,
  { namespace }: SpeakerPlace,
): Omit<BgpRouter, "name" | "asn" | "networks" | "neighbors" | "policies"> {
  const reflects = sessions.some(({ families }) =>
    families.some(({ routeReflectorClient }) => routeReflectorClient),
  );
  return {
    ...{ routerId, namespace, restartMs },
    // All nodes have one in their resource: a client that took it as its own would reject what the reflector tells (RFC 4456 section 8).
    ...(reflects ? { clusterId } : {}),
    listen: LISTEN,
    maximumPaths: 16,
    alwaysCompareMed: false,
    install: true,
    redistribute: [],
    // What is not said of a session is taken and given, as in FRR with `no bgp ebgp-requires-policy`.
    requirePolicy: false,
    longLivedMs: 0,
    exportTargets: [],
    importTargets: [],
    groups: {},
    dynamicNeighbors: [],
  };
}

/** fabricRouter returns the speaker of a router in the fabric, and of its passthrough. */
export function fabricRouter(router: EdgeRouter, place: SpeakerPlace): BgpRouter {
  const policies: Policies = {};
  const groups: Record<string, NeighborOptions> = {};
  const neighbors: Neighbor[] = [];
  const dynamicNeighbors: DynamicNeighbors[] = [];
  router.sessions.forEach((session, i) => {
    if (!hasPassword(session)) return;
    const options = fabricOptions(session, { name: `fabric-${i}`, policies });
    if ("address" in session.peer) neighbors.push({ address: session.peer.address, ...options });
    else if ("link" in session.peer) neighbors.push({ interface: session.peer.link, ...options });
    else {
      groups[`fabric-${i}`] = options;
      dynamicNeighbors.push({
        ...{ prefix: session.peer.listen, limit: session.peer.limit },
        group: `fabric-${i}`,
      });
    }
  });
  if (router.passthrough !== undefined) neighbors.push(...legNeighbors(router.passthrough, policies));
  return {
    ...base(router, place),
    name: fabricSpeaker(router.name),
    asn: router.asn,
    networks: router.announce,
    ...{ groups, neighbors, dynamicNeighbors, policies },
  };
}

/** hostRouter returns the speaker of a domain's host session. */
export function hostRouter(
  router: EdgeRouter,
  { domain, leg, ...place }: SpeakerPlace & { readonly domain: EdgeDomain; readonly leg: HostLeg },
): BgpRouter {
  const policies: Policies = {};
  // The host's own address is announced by its link.
  const isLeg = (prefix: Prefix) =>
    leg.host.some(({ ip }) => ip.family === prefix.family && ip.value === prefix.value);
  return {
    ...base(router, place),
    name: hostSpeaker(router.name, domain.vni),
    asn: leg.asn,
    networks: domain.routing?.announce.filter((prefix) => !isLeg(prefix)) ?? [],
    neighbors: legNeighbors(leg, policies),
    policies,
  };
}

/** A session that is to have a password never runs without; why it has none is told (not-done.ts). */
function hasPassword({ password, waits }: PlannedSession): boolean {
  return waits === undefined && (password === undefined || "file" in password);
}

interface Named {
  readonly name: string;
  /** Rules are put there under a name of their own. */
  readonly policies: Policies;
}

function policiesOf({ import: from, export: to }: EdgeSession, { name, policies }: Named): FamilyOptions {
  if (from !== undefined) policies[`${name}-import`] = from;
  if (to !== undefined) policies[`${name}-export`] = to;
  return {
    ...(from === undefined ? {} : { import: `${name}-import` }),
    ...(to === undefined ? {} : { export: `${name}-export` }),
  };
}

function sessionOptions(session: EdgeSession): NeighborOptions {
  const { port, password, holdMs, keepaliveMs, connectRetryMs, bfd } = session;
  return {
    ...(port === undefined ? {} : { port }),
    ...(password !== undefined && "file" in password ? { passwordFile: password.file } : {}),
    ...(holdMs === undefined ? {} : { holdMs }),
    ...(keepaliveMs === undefined ? {} : { keepaliveMs }),
    ...(connectRetryMs === undefined ? {} : { connectRetryMs }),
    ...(bfd === undefined ? {} : { bfd: bfdOptions(bfd) }),
  };
}

function bfdOptions({ passive, ...bfd }: NonNullable<EdgeSession["bfd"]>): BfdOptions {
  return { ...bfd, ...(passive ? { passive } : {}) };
}

function fabricOptions(session: FabricSession, named: Named): NeighborOptions {
  const { asn, multihop, families, maximumPrefixes } = session;
  const rules = policiesOf(session, named);
  const optionsOf = ({ allowOwnAsn, nextHopSelf, routeReflectorClient }: SessionFamily): FamilyOptions => ({
    ...rules,
    ...(maximumPrefixes === undefined ? {} : { maximumPrefixes }),
    ...(allowOwnAsn ? { allowOwnAsn: OWN_ASN_TIMES } : {}),
    ...(nextHopSelf ? { nextHop: "self" } : {}),
    ...(routeReflectorClient ? { routeReflectorClient } : {}),
  });
  return {
    ...sessionOptions(session),
    asn,
    ...(multihop === undefined ? {} : { multihop }),
    families: Object.fromEntries(families.map((family) => [family.family, optionsOf(family)])),
  };
}

/** One session for each address of the host, with routes of that family. */
function legNeighbors(leg: HostLeg, policies: Policies): Neighbor[] {
  if (!hasPassword(leg.session)) return [];
  return leg.host.map(({ ip }) => ({
    address: ip,
    source: edgeSide(leg, ip),
    ...sessionOptions(leg.session),
    asn: leg.peerAsn,
    families: {
      [ip.family === 4 ? "ipv4-unicast" : "ipv6-unicast"]: {
        ...policiesOf(leg.session, { name: `host-${ip.family}`, policies }),
        ...(leg.session.maximumPrefixes === undefined
          ? {}
          : { maximumPrefixes: leg.session.maximumPrefixes }),
        // The fabric's next hops are not the host's to reach.
        ...(leg.internal ? { nextHop: "self" as const } : {}),
      },
    },
  }));
}

function edgeSide({ edge }: HostLeg, host: Ip): Ip {
  const found = edge.find(({ ip }) => ip.family === host.family);
  if (found === undefined) throw new Error(`host session of ${formatIp(host)} has no address of the edge`);
  return found.ip;
}
