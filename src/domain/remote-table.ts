/**
 * RemoteTable: EVPN routes of others become what the data plane needs: imported by the route targets of what is active here, and one winner for
 * each address. Pure; a change costs the same however many routes there are.
 *
 * ```
 *  EvpnChange (by route) ─▶ imports ─▶ candidates of each identity ─▶ winner ─▶ RemoteChange
 *
 *  flood   VNI, VTEP      of active segments
 *  host    VNI, IP        of active segments, and by the L3VNI of those that are not active here (symmetric IRB, RFC 9135)
 *          VNI, MAC       for a MAC without address
 *  prefix  L3VNI, prefix  of active domains; all VTEPs with the best preference
 * ```
 */
import type { EvpnChange, EvpnHost, EvpnPrefix, EvpnRoute } from "../bgp/mod.ts";
import { anyTarget, formatIp, formatPrefix, type Ip, ipCompare, ipEqual, isAnyTarget } from "../net/mod.ts";
import type { Domain, Remote, RemoteChange, RemotePrefix } from "./model.ts";

/** So many ways to a prefix are used at most, those with the lowest addresses: the kernel's next-hop groups stay small. */
export const MOST_HOPS = 32;

/** RoutedRoute is a route that leads to a network or an address by an L3VNI. */
export type RoutedRoute = EvpnPrefix | (EvpnHost & { readonly ip: Ip });

/** ImportRule returns what a route is to a domain, undefined where the domain does not take it. */
export type ImportRule = <R extends RoutedRoute>(route: R) => R | undefined;

/** ActiveDomain is a domain that is active here, and which of its segments are. */
export interface ActiveDomain {
  readonly domain: Domain;
  /** VNIs. */
  readonly segments: readonly number[];
  /** Of what its L3VNI imports; absent: all is taken as it is. Another function is another rule. */
  readonly accepts?: ImportRule | undefined;
}

/** Import targets of one segment or domain. */
interface Targets {
  readonly all: ReadonlySet<string>;
  /** Whether one of them is met by any administrator's: only the edge has such. */
  readonly hasAny: boolean;
}

/** What a route is imported to: nothing else of the active ones matters to it. */
interface Import {
  readonly segments: ReadonlyMap<number, Targets>;
  readonly routings: ReadonlyMap<number, RoutingImport>;
}

interface RoutingImport extends Targets {
  readonly accepts: ImportRule | undefined;
}

interface Candidates {
  /** Ids of routes: nearly always one, of a prefix one for each VTEP. */
  readonly ids: number[];
  /** What the data plane was told last. */
  told: Remote | undefined;
}

/** RemoteTable owns routes and winners. */
export class RemoteTable {
  #own: readonly Ip[];
  /** By id: of what tells us now, and below 0 of what told us before it. */
  readonly #routes = new Map<number, EvpnRoute>();
  /** Routes by route target, so that what becomes active costs what it brings. */
  readonly #byTarget = new Map<string, Set<number>>();
  readonly #names = new Map<number, string>();
  readonly #candidates = new Map<string, Candidates>();
  /** What the data plane was told of prefixes: by domain, and by name. */
  readonly #prefixes = new Map<number, Map<string, RemotePrefix>>();
  /** Who has told, by key; and how many routes each. */
  readonly #vteps = new Map<bigint, { readonly vtep: Ip; routes: number }>();
  #vtepsSeen = 0;
  #lost: ReadonlySet<bigint> = new Set();
  #formerIds = 0;
  #active: Import = { segments: new Map(), routings: new Map() };

  /** `own` are the addresses of this VTEP: routes that lead here are nobody else's. */
  constructor({ own }: { readonly own: readonly Ip[] }) {
    this.#own = own;
  }

  /** How many things the data plane was told of. */
  get size(): number {
    return this.#candidates.size;
  }

  /** prefixes returns what the data plane was told of a domain's prefixes, for those who come later. */
  prefixes(vni: number): RemotePrefix[] {
    return [...(this.#prefixes.get(vni)?.values() ?? [])];
  }

  /** setOwn says under which addresses others reach this VTEP from now on; what was told before stays as it was judged. */
  setOwn(own: readonly Ip[]): void {
    this.#own = own;
  }

  /** How many VTEPs have come so far. */
  get vtepsSeen(): number {
    return this.#vtepsSeen;
  }

  /** vteps returns who has told of anything, imported or not. */
  vteps(): Ip[] {
    return [...this.#vteps.values()].map(({ vtep }) => vtep);
  }

  /** setLost says which VTEPs nothing leads to: what they have told is not used until it does. What follows for the data plane is returned. */
  setLost(vteps: readonly Ip[]): readonly RemoteChange[] {
    const before = this.#lost;
    this.#lost = new Set(vteps.map(vtepKey));
    const changed = this.#lost.symmetricDifference(before);
    const dirty = new Set<string>();
    if (changed.size > 0)
      for (const [id, route] of this.#routes)
        if (changed.has(vtepKey(route.vtep))) this.#place(id, route, dirty);
    return this.#settle(dirty);
  }

  /** setActive takes what is active here now; what follows for the data plane is returned. */
  setActive(active: readonly ActiveDomain[]): readonly RemoteChange[] {
    const before = this.#active;
    this.#active = importOf(active);
    const touched = new Set<number>();
    for (const target of changedTargets(before, this.#active))
      for (const id of this.#idsOf(target)) touched.add(id);
    const dirty = new Set<string>();
    for (const id of touched) this.#place(id, this.#routes.get(id) as EvpnRoute, dirty);
    return this.#settle(dirty);
  }

  *#idsOf(target: string): Iterable<number> {
    if (!isAnyTarget(target)) return yield* this.#byTarget.get(target) ?? [];
    for (const [one, ids] of this.#byTarget) if (anyTarget(one) === target) yield* ids;
  }

  /** apply takes changes of routes; what follows for the data plane is returned, in order. */
  apply(changes: readonly EvpnChange[]): readonly RemoteChange[] {
    const dirty = new Set<string>();
    for (const change of changes) {
      this.#forget(change.id, dirty);
      if (change.op === "remove") continue;
      const { id, route } = change;
      if (this.#own.some((own) => ipEqual(own, route.vtep))) continue;
      this.#keep(id, route, dirty);
      this.#forgetFormer(id, dirty);
    }
    return this.#settle(dirty);
  }

  /** What was known before of what this route tells anew: addresses may have moved meanwhile, and begun to be counted anew. */
  #forgetFormer(id: number, dirty: Set<string>): void {
    if (this.#formerIds === 0) return;
    const ids = this.#candidates.get(this.#names.get(id) ?? "")?.ids ?? [];
    for (const other of ids.filter((one) => one < 0)) this.#forget(other, dirty);
  }

  #keep(id: number, route: EvpnRoute, dirty: Set<string>): void {
    this.#routes.set(id, route);
    this.#use(route.vtep);
    for (const target of route.targets) {
      const ids = this.#byTarget.get(target);
      if (ids === undefined) this.#byTarget.set(target, new Set([id]));
      else ids.add(id);
    }
    this.#place(id, route, dirty);
  }

  /** renew says that another speaker tells everything anew: what is known counts where that one has said nothing, until `settle`. */
  renew(): void {
    const former = [...this.#routes].filter(([id]) => id >= 0);
    const dirty = new Set<string>();
    for (const [id] of former) this.#forget(id, dirty);
    for (const [, route] of former) this.#keep(--this.#formerIds, route, dirty);
  }

  /** settle forgets what was not told anew; what follows for the data plane is returned. */
  settle(): readonly RemoteChange[] {
    const dirty = new Set<string>();
    for (const id of [...this.#routes.keys()]) if (id < 0) this.#forget(id, dirty);
    this.#formerIds = 0;
    return this.#settle(dirty);
  }

  #forget(id: number, dirty: Set<string>): void {
    const route = this.#routes.get(id);
    if (route === undefined) return;
    this.#routes.delete(id);
    this.#unuse(route.vtep);
    for (const target of route.targets) {
      const ids = this.#byTarget.get(target);
      ids?.delete(id);
      if (ids?.size === 0) this.#byTarget.delete(target);
    }
    this.#unplace(id, dirty);
  }

  #use(vtep: Ip): void {
    const key = vtepKey(vtep);
    const known = this.#vteps.get(key);
    if (known !== undefined) known.routes++;
    else {
      this.#vteps.set(key, { vtep, routes: 1 });
      this.#vtepsSeen++;
    }
  }

  #unuse(vtep: Ip): void {
    const key = vtepKey(vtep);
    const known = this.#vteps.get(key);
    if (known !== undefined && --known.routes === 0) this.#vteps.delete(key);
  }

  /** Makes a route a candidate where it is imported, and none where it is not any more. */
  #place(id: number, route: EvpnRoute, dirty: Set<string>): void {
    const isLost = this.#lost.size > 0 && this.#lost.has(vtepKey(route.vtep));
    const name = !isLost && isImported(route, this.#active) ? nameOf(route) : undefined;
    if (this.#names.get(id) !== name) this.#unplace(id, dirty);
    if (name === undefined) return;
    const known = this.#candidates.get(name);
    const candidates = known ?? { ids: [], told: undefined };
    if (known === undefined) this.#candidates.set(name, candidates);
    if (this.#names.get(id) !== name) candidates.ids.push(id);
    this.#names.set(id, name);
    dirty.add(name);
  }

  #unplace(id: number, dirty: Set<string>): void {
    const name = this.#names.get(id);
    if (name === undefined) return;
    this.#names.delete(id);
    const ids = this.#candidates.get(name)?.ids ?? [];
    const at = ids.indexOf(id);
    if (at >= 0) ids.splice(at, 1);
    dirty.add(name);
  }

  #settle(dirty: ReadonlySet<string>): readonly RemoteChange[] {
    const removed: RemoteChange[] = [];
    const set: RemoteChange[] = [];
    for (const name of dirty) {
      const candidates = this.#candidates.get(name) as Candidates;
      const before = candidates.told;
      const routes = candidates.ids.map((id) => this.#routes.get(id) as EvpnRoute);
      const next = winnerOf(routes, this.#active);
      candidates.told = next;
      this.#index(name, before, next);
      if (next === undefined) this.#candidates.delete(name);
      if (before !== undefined && (next === undefined || identityOf(before) !== identityOf(next)))
        removed.push({ op: "remove", remote: before });
      if (next !== undefined && (before === undefined || textOf(before) !== textOf(next)))
        set.push({ op: "set", remote: next });
    }
    // An address that changes its MAC goes before it comes.
    return [...removed, ...set];
  }

  #index(name: string, before: Remote | undefined, next: Remote | undefined): void {
    if (next?.kind === "prefix") {
      const known = this.#prefixes.get(next.vni) ?? new Map();
      this.#prefixes.set(next.vni, known.set(name, next));
    } else if (before?.kind === "prefix") {
      const known = this.#prefixes.get(before.vni);
      known?.delete(name);
      if (known?.size === 0) this.#prefixes.delete(before.vni);
    }
  }
}

/** Of both families together: no IPv6 address has so many bits. */
function vtepKey({ family, value }: Ip): bigint {
  return family === 4 ? value | (1n << 128n) : value;
}

const targetsByList = new WeakMap<readonly string[], Targets>();

/** Of hundreds of domains one changes at a time: a list that stays the same has the same value. */
function targetsOf(list: readonly string[]): Targets {
  const known = targetsByList.get(list) ?? { all: new Set(list), hasAny: list.some(isAnyTarget) };
  targetsByList.set(list, known);
  return known;
}

function importOf(active: readonly ActiveDomain[]): Import {
  const segments = new Map<number, Targets>();
  const routings = new Map<number, RoutingImport>();
  for (const { domain, segments: vnis, accepts } of active) {
    if (domain.routing !== undefined)
      routings.set(domain.vni, { ...targetsOf(domain.routing.importTargets), accepts });
    for (const segment of domain.segments)
      if (vnis.includes(segment.vni)) segments.set(segment.vni, targetsOf(segment.importTargets));
  }
  return { segments, routings };
}

/** Targets of whatever is active in another way than before: routes that have one of them are looked at again. */
function changedTargets(before: Import, next: Import): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const part of ["segments", "routings"] as const)
    for (const vni of new Set([...before[part].keys(), ...next[part].keys()])) {
      const [a, b] = [before[part].get(vni)?.all, next[part].get(vni)?.all];
      const sameRule = part === "segments" || before[part].get(vni)?.accepts === next[part].get(vni)?.accepts;
      if (a === b && sameRule) continue;
      const isSame = a !== undefined && b !== undefined && a.size === b.size && a.isSubsetOf(b);
      if (isSame && sameRule) continue;
      for (const target of [...(a ?? []), ...(b ?? [])]) changed.add(target);
    }
  return changed;
}

function takes(targets: Targets | undefined, route: EvpnRoute): boolean {
  if (targets === undefined) return false;
  const { all, hasAny } = targets;
  return route.targets.some((target) => all.has(target) || (hasAny && all.has(anyTarget(target))));
}

function isImported(route: EvpnRoute, { segments, routings }: Import): boolean {
  switch (route.kind) {
    case "flood":
      return takes(segments.get(route.vni), route);
    case "host":
      return takes(segments.get(route.vni), route) || isRouted(route, routings);
    case "prefix":
      return accepted(route, routings.get(route.vni)) !== undefined;
  }
}

/** What a route is to a domain; undefined where it is not imported. */
function accepted<R extends RoutedRoute>(route: R, routing: RoutingImport | undefined): R | undefined {
  if (routing === undefined || !takes(routing, route)) return undefined;
  return routing.accepts === undefined ? route : routing.accepts(route);
}

/** What routes that are imported are by a domain's rules. */
function ruled(routes: readonly EvpnPrefix[], routing: RoutingImport | undefined): readonly EvpnPrefix[] {
  const accepts = routing?.accepts;
  return accepts === undefined ? routes : routes.flatMap((route) => accepts(route) ?? []);
}

/** A host is routed to by its L3VNI, to the router there. */
function isRouted(route: EvpnHost, routings: Import["routings"]): boolean {
  const { ip, l3vni, routerMac } = route;
  if (ip === undefined || routerMac === undefined || l3vni === undefined) return false;
  return accepted(route as EvpnHost & { readonly ip: Ip }, routings.get(l3vni)) !== undefined;
}

/** Routes of one name compete. */
function nameOf(route: EvpnRoute): string {
  switch (route.kind) {
    case "flood":
      return `flood ${route.vni} ${formatIp(route.vtep)}`;
    case "host":
      return `host ${route.vni} ${route.ip === undefined ? route.mac : formatIp(route.ip)}`;
    case "prefix":
      return `prefix ${route.vni} ${formatPrefix(route.prefix)}`;
  }
}

function winnerOf(routes: readonly EvpnRoute[], active: Import): Remote | undefined {
  const [first] = routes;
  switch (first?.kind) {
    case undefined:
      return undefined;
    case "flood":
      return { kind: "flood", vni: first.vni, vtep: first.vtep };
    case "host":
      return hostRemote(bestHost(routes as readonly EvpnHost[]), active);
    case "prefix":
      return prefixRemote(ruled(routes as readonly EvpnPrefix[], active.routings.get(first.vni)));
  }
}

/** RFC 7432 section 15.2: a sticky address does not move; section 15: the highest sequence, then the lowest address. */
function bestHost(routes: readonly EvpnHost[]): EvpnHost {
  return routes.reduce((best, one) => {
    if (one.sticky !== best.sticky) return one.sticky ? one : best;
    if (one.sequence !== best.sequence) return one.sequence > best.sequence ? one : best;
    const order = ipCompare(one.vtep, best.vtep) || one.mac - best.mac;
    return order < 0 ? one : best;
  });
}

function hostRemote(host: EvpnHost, { routings }: Import): Remote {
  const { vni, mac, ip, vtep, routerMac, colors } = host;
  return {
    kind: "host",
    vni,
    mac,
    ...(ip === undefined ? {} : { ip }),
    vtep,
    ...(routerMac !== undefined && isRouted(host, routings) ? { routerMac } : {}),
    ...(colors === undefined ? {} : { groups: colors }),
  };
}

function prefixRemote(routes: readonly EvpnPrefix[]): RemotePrefix | undefined {
  const [first] = routes;
  if (first === undefined) return undefined;
  const { vni, prefix } = first;
  const best = Math.max(...routes.map(({ localPreference }) => localPreference));
  const hops = routes
    .filter(({ localPreference }) => localPreference === best)
    .sort((a, b) => ipCompare(a.vtep, b.vtep))
    // A VTEP that says it twice, under two distinguishers, is one way.
    .filter(({ vtep }, i, all) => i === 0 || !ipEqual(vtep, (all[i - 1] as EvpnPrefix).vtep))
    .slice(0, MOST_HOPS)
    .map(({ vtep, routerMac }) => ({ vtep, routerMac }));
  const asPath = routes.find(({ localPreference }) => localPreference === best)?.asPath;
  return { kind: "prefix", vni, prefix, hops, ...(asPath === undefined ? {} : { asPath }) };
}

function identityOf(remote: Remote): string {
  switch (remote.kind) {
    case "flood":
      return `flood ${remote.vni} ${formatIp(remote.vtep)}`;
    case "host":
      return `host ${remote.vni} ${remote.mac} ${remote.ip === undefined ? "" : formatIp(remote.ip)}`;
    case "prefix":
      return `prefix ${remote.vni} ${formatPrefix(remote.prefix)}`;
  }
}

function textOf(remote: Remote): string {
  return JSON.stringify(remote, (_, part: unknown) => (typeof part === "bigint" ? String(part) : part));
}
