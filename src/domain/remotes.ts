/**
 * What is elsewhere in one domain, and what follows from it here. Values in, changes of desired objects out; a change costs what it changes.
 *
 * | told | where its segment is active | where it is not |
 * |---|---|---|
 * | flood (type 3) | flooding entry | – |
 * | host (type 2) | forwarding entries, neighbour, and the route as there | route to the host by its VTEP's router |
 * | prefix (type 5) | route by the routers | the same |
 *
 * What is attached here hides what is told of the same address elsewhere: it has moved, and the news is on its way.
 */
import type { KernelObject, ScopeChange } from "../engine/mod.ts";
import {
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  ipEqual,
  type Mac,
  type Prefix,
  prefixContains,
} from "../net/mod.ts";
import { Claims, Counts } from "./claims.ts";
import { routesFamily } from "./domain-objects.ts";
import { guardPair } from "./guard.ts";
import type { Domain, DomainNode, LocalStation, Remote, RemoteChange, Segment } from "./model.ts";
import { routerMac } from "./names.ts";
import {
  floodEntry,
  hostNeighbour,
  hostRoute,
  prefixRoute,
  routerNeighbours,
  stationEntry,
} from "./remote-objects.ts";

/** Decision is what one thing that was told comes to: objects, VTEPs that may send with a VNI, and routers that must be reachable. */
interface Decision {
  readonly objects: readonly KernelObject[];
  readonly pairs: readonly (readonly [vni: number, vtep: Ip])[];
  readonly routers: readonly (readonly [vtep: Ip, mac: Mac])[];
}

type RemoteHost = Extract<Remote, { kind: "host" }>;
type RemotePrefix = Extract<Remote, { kind: "prefix" }>;

const NONE: readonly never[] = [];
const NOTHING: Decision = { objects: NONE, pairs: NONE, routers: NONE };

/** RemotesDelta is what changes in the domain's namespace, and of the guard in the host's. */
export interface RemotesDelta {
  readonly objects: Required<ScopeChange>;
  readonly guard: Required<ScopeChange>;
}

class Delta implements RemotesDelta {
  readonly objects = { put: [] as KernelObject[], drop: [] as KernelObject[] };
  readonly guard = { put: [] as KernelObject[], drop: [] as KernelObject[] };
}

/** Remotes keeps what is elsewhere in one domain. */
export class Remotes {
  #domain: Domain;
  #node: DomainNode;
  #segments: ReadonlyMap<number, Segment>;
  readonly #active = new Set<number>();
  readonly #floods = new Map<string, { readonly vni: number; readonly vtep: Ip }>();
  readonly #stations = new Claims<string, RemoteHost>();
  readonly #addresses = new Claims<string, RemoteHost>();
  readonly #prefixes = new Map<string, RemotePrefix>();
  /** Addresses of what is attached here. */
  readonly #local = new Counts<string>();
  readonly #localNow = new Set<string>();
  /** Under which address each VTEP routes, behind which VTEP each such address is, and how many decisions need the pair. */
  readonly #routers = new Claims<string, { readonly vtep: Ip; readonly mac: Mac }>();
  readonly #routerMacs = new Claims<Mac, Ip>();
  readonly #routerUses = new Counts<string>();
  readonly #pairs = new Counts<string>();
  /** The last pair of each VNI: thousands follow each other that have the same. */
  readonly #lastPairs = new Map<number, readonly [readonly [vni: number, vtep: Ip]]>();
  /** What was decided last of each thing, as long as it came to anything. */
  readonly #decided = new Map<string, Decision>();
  readonly #dirty = new Set<string>();

  constructor(domain: Domain, node: DomainNode) {
    this.#domain = domain;
    this.#node = node;
    this.#segments = bySegment(domain);
  }

  /** setDomain decides everything anew, by what the domain and the node are now. */
  setDomain(domain: Domain, node: DomainNode): void {
    this.#domain = domain;
    this.#node = node;
    this.#segments = bySegment(domain);
    this.#lastPairs.clear();
    for (const key of this.#keys()) this.#dirty.add(key);
  }

  /** setActive says whether a segment has a bridge here. */
  setActive(vni: number, active: boolean): void {
    if (active) this.#active.add(vni);
    else this.#active.delete(vni);
    const mark = ` ${vni} `;
    for (const key of this.#keys()) if (key.includes(mark)) this.#dirty.add(key);
  }

  /** attach hides what is told of an attachment's addresses until detach. */
  attach(attachment: LocalStation): void {
    for (const key of keysOf(attachment))
      if (this.#local.use(key)) {
        this.#localNow.add(key);
        this.#dirty.add(key);
      }
  }

  /** detach is the reverse of attach. */
  detach(attachment: LocalStation): void {
    for (const key of keysOf(attachment))
      if (this.#local.drop(key)) {
        this.#localNow.delete(key);
        this.#dirty.add(key);
      }
  }

  /** tell takes a change in. */
  tell({ op, remote }: RemoteChange): void {
    const set = op === "set";
    switch (remote.kind) {
      case "flood":
        return this.#tellFlood(remote, set);
      case "host":
        return this.#tellHost(remote, set);
      case "prefix": {
        const key = `prefix ${formatPrefix(remote.prefix)}`;
        if (set) this.#prefixes.set(key, remote);
        else this.#prefixes.delete(key);
        this.#dirty.add(key);
      }
    }
  }

  /** clear forgets everything that was told. */
  clear(): void {
    for (const key of this.#decided.keys()) this.#dirty.add(key);
    for (const known of [this.#floods, this.#stations, this.#addresses, this.#prefixes]) known.clear();
  }

  /** count returns how much is known: of one segment's hosts and VTEPs, or of networks. */
  count(): { readonly hosts: number; readonly prefixes: number; readonly floods: number } {
    return { hosts: this.#stations.size, prefixes: this.#prefixes.size, floods: this.#floods.size };
  }

  /** take returns what changed since it was last taken. */
  take(): RemotesDelta {
    const delta = new Delta();
    // What was told first; then the routers that this needs.
    while (this.#dirty.size > 0) {
      const keys = [...this.#dirty];
      this.#dirty.clear();
      for (const key of keys) this.#settle(key, delta);
    }
    return delta;
  }

  /** Decides anew; what before and now have in common is used all the time. */
  #settle(key: string, { objects, guard }: Delta): void {
    const before = this.#decided.get(key) ?? NOTHING;
    const now = this.#decide(key);
    for (const [vni, vtep] of now.pairs)
      if (this.#pairs.use(pairKey(vni, vtep))) guard.put.push(guardPair(vni, vtep));
    for (const [vni, vtep] of before.pairs)
      if (this.#pairs.drop(pairKey(vni, vtep))) guard.drop.push(guardPair(vni, vtep));
    for (const [vtep, mac] of now.routers) this.#useRouter(vtep, mac);
    for (const [vtep, mac] of before.routers) this.#dropRouter(vtep, mac);
    objects.put.push(...now.objects);
    objects.drop.push(...before.objects);
    if (now === NOTHING) this.#decided.delete(key);
    else this.#decided.set(key, now);
  }

  #tellFlood({ vni, vtep }: Extract<Remote, { kind: "flood" }>, set: boolean): void {
    const key = `flood ${vni} ${formatIp(vtep)}`;
    if (set) this.#floods.set(key, { vni, vtep });
    else this.#floods.delete(key);
    this.#dirty.add(key);
  }

  #tellHost(remote: RemoteHost, set: boolean): void {
    const { vni, mac, ip } = remote;
    const station = stationKey(vni, mac);
    if (set) this.#stations.set(station, ip === undefined ? "" : formatIp(ip), remote);
    else this.#stations.delete(station, ip === undefined ? "" : formatIp(ip));
    this.#dirty.add(station);
    if (ip === undefined) return;
    const address = addressKey(vni, ip);
    if (set) this.#addresses.set(address, formatMac(mac), remote);
    else this.#addresses.delete(address, formatMac(mac));
    this.#dirty.add(address);
  }

  /** neighbours returns those hosts that came, or changed, and that pods here reach without a router; as `take` found them. */
  neighbours(changes: readonly RemoteChange[]): RemoteHost[] {
    return changes.flatMap(({ op, remote }) => {
      if (op === "remove" || remote.kind !== "host" || remote.ip === undefined) return [];
      const { objects } = this.#decided.get(addressKey(remote.vni, remote.ip)) ?? NOTHING;
      const isHere = objects.some((one) => one.kind === "neighbour" && one.mac === remote.mac);
      return isHere ? [remote] : [];
    });
  }

  *#keys(): Iterable<string> {
    yield* this.#floods.keys();
    yield* this.#stations.keys();
    yield* this.#addresses.keys();
    yield* this.#prefixes.keys();
    yield* this.#routers.keys();
    for (const mac of this.#routerMacs.keys()) yield routerMacKey(mac);
  }

  #decide(key: string): Decision {
    switch (key.slice(0, key.indexOf(" "))) {
      case "flood":
        return this.#decideFlood(key);
      case "mac":
        return this.#decideStation(key);
      case "ip":
        return this.#decideAddress(key);
      case "prefix":
        return this.#decidePrefix(key);
      case "router":
        return this.#decideRouter(key);
      default:
        return this.#decideRouterMac(key);
    }
  }

  #decideFlood(key: string): Decision {
    const flood = this.#floods.get(key);
    if (flood === undefined || !this.#active.has(flood.vni) || !this.#isElsewhere(flood.vtep)) return NOTHING;
    const { vni, vtep } = flood;
    return { objects: [floodEntry(vni, vtep)], pairs: this.#pairsOf(vni, vtep), routers: NONE };
  }

  #decideStation(key: string): Decision {
    const host = this.#stations.get(key);
    const segment = host && this.#segments.get(host.vni);
    if (host === undefined || segment === undefined || !this.#active.has(host.vni)) return NOTHING;
    const { vni, mac, vtep } = host;
    if (this.#localNow.has(key) || mac === segment.gatewayMac || !isStation(mac) || !this.#isElsewhere(vtep))
      return NOTHING;
    return { objects: [stationEntry(vni, mac, vtep)], pairs: this.#pairsOf(vni, vtep), routers: NONE };
  }

  #decideAddress(key: string): Decision {
    const host = this.#addresses.get(key);
    const segment = host && this.#segments.get(host.vni);
    if (host?.ip === undefined || segment === undefined) return NOTHING;
    const { vni, mac, ip, vtep } = host;
    if (this.#localNow.has(key) || !isStation(mac) || !this.#isElsewhere(vtep)) return NOTHING;
    if (!isHost(segment, ip)) return NOTHING;
    const { routing, vni: l3vni } = this.#domain;
    const router = routing === undefined ? undefined : host.routerMac;
    const isActive = this.#active.has(vni);
    if (isActive && mac === segment.gatewayMac) return NOTHING;
    const near = isActive ? [hostNeighbour(vni, ip, mac)] : NONE;
    const pairs = router === undefined ? NONE : this.#pairsOf(l3vni, vtep);
    if (router === undefined || !routesFamily(this.#domain, ip.family))
      return isActive ? { objects: near, pairs, routers: NONE } : NOTHING;
    // Also where the segment is: what is routed goes on by the same way when a first pod of it comes here, or the last one goes.
    return { objects: [...near, hostRoute(l3vni, ip, vtep)], pairs, routers: [[vtep, router]] };
  }

  #decidePrefix(key: string): Decision {
    const told = this.#prefixes.get(key);
    const { routing, vni } = this.#domain;
    if (told === undefined || routing === undefined || !routesFamily(this.#domain, told.prefix.family))
      return NOTHING;
    const hops = told.hops.filter(
      (hop, index) =>
        this.#isElsewhere(hop.vtep) &&
        told.hops.findIndex((other) => ipEqual(other.vtep, hop.vtep)) === index,
    );
    if (hops.length === 0) return NOTHING;
    const vteps = hops.map((hop) => hop.vtep);
    return {
      objects: [prefixRoute(vni, told.prefix, vteps)],
      pairs: vteps.map((vtep) => [vni, vtep]),
      routers: hops.map((hop) => [hop.vtep, hop.routerMac]),
    };
  }

  #decideRouter(key: string): Decision {
    const router = this.#routers.get(key);
    if (router === undefined) return NOTHING;
    const families = ([4, 6] as const).filter((family) => routesFamily(this.#domain, family));
    const objects = routerNeighbours(this.#domain.vni, router.vtep, router.mac, families);
    return { objects, pairs: NONE, routers: NONE };
  }

  #decideRouterMac(key: string): Decision {
    const mac = Number(key.slice(key.indexOf(" ") + 1)) as Mac;
    const vtep = this.#routerMacs.get(mac);
    if (vtep === undefined || !isStation(mac) || mac === routerMac(this.#node.vtep)) return NOTHING;
    return { objects: [stationEntry(this.#domain.vni, mac, vtep)], pairs: NONE, routers: NONE };
  }

  #useRouter(vtep: Ip, mac: Mac): void {
    const address = formatIp(vtep);
    if (!this.#routerUses.use(`${address} ${mac}`)) return;
    this.#routers.set(routerKey(vtep), String(mac), { vtep, mac });
    this.#routerMacs.set(mac, address, vtep);
    this.#dirty.add(routerKey(vtep)).add(routerMacKey(mac));
  }

  #dropRouter(vtep: Ip, mac: Mac): void {
    const address = formatIp(vtep);
    if (!this.#routerUses.drop(`${address} ${mac}`)) return;
    this.#routers.delete(routerKey(vtep), String(mac));
    this.#routerMacs.delete(mac, address);
    this.#dirty.add(routerKey(vtep)).add(routerMacKey(mac));
  }

  #pairsOf(vni: number, vtep: Ip): Decision["pairs"] {
    const last = this.#lastPairs.get(vni);
    if (last !== undefined && ipEqual(last[0][1], vtep)) return last;
    const pairs = [[vni, vtep]] as const;
    this.#lastPairs.set(vni, pairs);
    return pairs;
  }

  #isElsewhere(vtep: Ip): boolean {
    return vtep.family === this.#node.vtep.family && !ipEqual(vtep, this.#node.vtep);
  }
}

function bySegment(domain: Domain): ReadonlyMap<number, Segment> {
  return new Map(domain.segments.map((segment) => [segment.vni, segment]));
}

/** Individual, and not the address that stands for everybody. */
function isStation(mac: Mac): boolean {
  return mac !== 0 && (Math.floor(mac / 2 ** 40) & 1) === 0;
}

/** Nobody is told to be the gateway, nor to be where a segment is not. */
function isHost({ gateways, prefixes }: Segment, address: Ip): boolean {
  if (gateways.some((gateway) => ipEqual(gateway.ip, address))) return false;
  const inside = (prefix: Prefix) => prefixContains(prefix, address);
  return prefixes.length === 0 || prefixes.some(inside);
}

function keysOf({ segment, mac, addresses }: LocalStation): string[] {
  return [stationKey(segment, mac), ...addresses.map((address) => addressKey(segment, address))];
}

function stationKey(vni: number, mac: Mac): string {
  return `mac ${vni} ${formatMac(mac)}`;
}

function addressKey(vni: number, address: Ip): string {
  return `ip ${vni} ${formatIp(address)}`;
}

function routerKey(vtep: Ip): string {
  return `router ${formatIp(vtep)}`;
}

function routerMacKey(mac: Mac): string {
  return `router-mac ${mac}`;
}

function pairKey(vni: number, vtep: Ip): string {
  return `${vni} ${formatIp(vtep)}`;
}
