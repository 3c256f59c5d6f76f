/**
 * EvpnOrigin: what this VTEP announces: segments, routing, hosts and prefixes, each of them set and taken back by itself, at a cost that does not
 * depend on how many there are.
 */
import {
  anyTarget,
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  isAnyTarget,
  type Mac,
  type Prefix,
} from "../../net/mod.ts";
import {
  autoRd,
  autoTarget,
  type EvpnHost,
  type EvpnRouting,
  type EvpnSegment,
  type HostName,
  inclusiveMulticast,
  ipPrefix,
  type LocalHost,
  type LocalPrefix,
  type LocalRouting,
  type LocalSegment,
  macIp,
  type Originated,
  RdIndexes,
} from "../evpn/mod.ts";
import { type Administered, type Nlri, parseAdministered, printAdministered } from "../wire/mod.ts";
import type { SpeakerLog } from "./speaker-options.ts";
import { newStation, settle, type Station } from "./station.ts";
import type { TargetWishes } from "./target-wishes.ts";
import type { WishAnswers } from "./wish-answers.ts";

/** Until then the routes of others for a segment that has become active have come, also where no reflector says that these were all. */
const LOADED_MS = 3000;
/** So long a pod may be kept waiting for them: some round trips to a reflector. */
const PATIENCE_MS = 250;

interface Segment {
  readonly wish: LocalSegment;
  readonly sinceMs: number;
  readonly value: EvpnSegment;
  readonly imports: readonly string[];
  readonly stations: Map<Mac, Station>;
}

interface Routing {
  readonly wish: LocalRouting;
  readonly value: EvpnRouting;
  readonly imports: readonly string[];
  readonly prefixes: Map<string, LocalPrefix>;
}

/** EvpnOriginOptions say for whom, and how things are announced. */
export interface EvpnOriginOptions {
  readonly asn: number;
  readonly routerId: Ip;
  readonly wishes: TargetWishes;
  readonly answers: WishAnswers;
  readonly announce: (route: Originated) => void;
  readonly withdraw: (nlri: Nlri) => void;
  /** Routes of others for an address. */
  readonly others: (mac: Mac) => readonly EvpnHost[];
  /** There are hosts, or there are none any more. */
  readonly onHosts: (any: boolean) => void;
  /** `isElsewhere` answers differently for an address. */
  readonly onMoved: (vni: number, mac: Mac) => void;
  /** An address is announced with a higher sequence than before. */
  readonly onRaised: (vni: number, mac: Mac, sequence: number) => void;
  readonly log: SpeakerLog;
  readonly nowMs: () => number;
}

/** EvpnOrigin owns what is announced. */
export class EvpnOrigin {
  readonly #options: EvpnOriginOptions;
  readonly #rds = new RdIndexes();
  readonly #segments = new Map<number, Segment>();
  readonly #routings = new Map<number, Routing>();
  /** VNIs of the segments in which an address is. */
  readonly #vnisOf = new Map<Mac, Set<number>>();
  /** VNIs of segments by their L3VNI, whether it is active or not. */
  readonly #routed = new Map<number, Set<number>>();

  constructor(options: EvpnOriginOptions) {
    this.#options = options;
  }

  /** setSegment makes a segment active, or changes it. */
  setSegment(wish: LocalSegment): void {
    const before = this.#segments.get(wish.vni);
    if (before !== undefined && textOf(before.wish) === textOf(wish)) return;
    const segment: Segment = {
      wish,
      sinceMs: before?.sinceMs ?? this.#options.nowMs(),
      value: this.#segmentOf(wish),
      imports: this.#importsOf(wish),
      stations: before?.stations ?? new Map<Mac, Station>(),
    };
    this.#options.wishes.add(segment.imports);
    if (before !== undefined) this.#endSegment(before, segment);
    this.#segments.set(wish.vni, segment);
    if (wish.l3vni !== undefined) addTo(this.#routed, wish.l3vni, wish.vni);
    if (wish.flood) this.#options.announce(inclusiveMulticast(segment.value));
    for (const station of segment.stations.values()) this.#announceStation(segment, station);
  }

  /** removeSegment takes a segment back, with its hosts. */
  removeSegment(vni: number): void {
    const segment = this.#segments.get(vni);
    if (segment === undefined) return;
    this.#endSegment(segment, undefined);
    this.#segments.delete(vni);
    this.#rds.release(vni);
    for (const mac of segment.stations.keys()) this.#forget(vni, mac);
  }

  /** setHost announces an address that is here; the segment must be active. */
  setHost(vni: number, host: LocalHost): void {
    const segment = this.#segments.get(vni);
    if (segment === undefined)
      throw new Error(
        `Cannot announce ${formatMac(host.mac)} in VNI ${vni}: it is not active; call setSegment first`,
      );
    const { mac } = host;
    const known = segment.stations.get(mac);
    const station = known ?? newStation(host.sequence);
    if (known === undefined) {
      segment.stations.set(mac, station);
      if (this.#vnisOf.size === 0) this.#options.onHosts(true);
      addTo(this.#vnisOf, mac, vni);
    }
    const name = addressOf(host);
    const before = station.hosts.get(name);
    if (before !== undefined && textOf(before) === textOf(host)) return;
    station.hosts.set(name, host);
    if (this.#settle(segment, mac, { station, isNew: true })) this.#announceStation(segment, station);
    else if (!station.isElsewhere) this.#announceHost(segment, station, host);
  }

  /** removeHost takes an address back. */
  removeHost(vni: number, { mac, ip }: HostName): void {
    const segment = this.#segments.get(vni);
    const station = segment?.stations.get(mac);
    const name = addressOf({ mac, ...(ip === undefined ? {} : { ip }) });
    const host = station?.hosts.get(name);
    if (segment === undefined || station === undefined || host === undefined) return;
    this.#withdrawHost(segment, host);
    station.hosts.delete(name);
    if (station.hosts.size > 0) return;
    segment.stations.delete(mac);
    this.#forget(vni, mac);
  }

  /** setRouting makes an L3VNI active, or changes it. */
  setRouting(wish: LocalRouting): void {
    const before = this.#routings.get(wish.vni);
    if (before !== undefined && textOf(before.wish) === textOf(wish)) return;
    const routing: Routing = {
      wish,
      value: this.#routingOf(wish),
      imports: this.#importsOf(wish),
      prefixes: before?.prefixes ?? new Map<string, LocalPrefix>(),
    };
    this.#options.wishes.add(routing.imports);
    if (before !== undefined) this.#endRouting(before, routing);
    this.#routings.set(wish.vni, routing);
    for (const prefix of routing.prefixes.values()) this.#announcePrefix(routing, prefix);
    this.#reroute(wish.vni);
  }

  /** removeRouting takes an L3VNI back, with its prefixes; hosts are announced without it. */
  removeRouting(vni: number): void {
    const routing = this.#routings.get(vni);
    if (routing === undefined) return;
    this.#endRouting(routing, undefined);
    this.#routings.delete(vni);
    this.#rds.release(vni);
    this.#reroute(vni);
  }

  /** setPrefix announces a network that is reached here; the L3VNI must be active. */
  setPrefix(l3vni: number, local: LocalPrefix): void {
    const routing = this.#routings.get(l3vni);
    const name = formatPrefix(local.prefix);
    if (routing === undefined)
      throw new Error(`Cannot announce ${name} in VNI ${l3vni}: it is not active; call setRouting first`);
    routing.prefixes.set(name, local);
    this.#announcePrefix(routing, local);
  }

  /** removePrefix takes a network back. */
  removePrefix(l3vni: number, prefix: Prefix): void {
    const routing = this.#routings.get(l3vni);
    if (routing?.prefixes.delete(formatPrefix(prefix)) !== true) return;
    this.#options.withdraw(ipPrefix(routing.value, prefix).nlri);
  }

  /** contest looks at an address again of which others say something else now. */
  contest(mac: Mac): void {
    for (const vni of this.#vnisOf.get(mac) ?? []) {
      const segment = this.#segments.get(vni) as Segment;
      const station = segment.stations.get(mac) as Station;
      if (this.#settle(segment, mac, { station, isNew: false })) this.#announceStation(segment, station);
    }
  }

  /** isElsewhere tells whether an address that was set has moved to another VTEP. */
  isElsewhere(vni: number, mac: Mac): boolean {
    return this.#segments.get(vni)?.stations.get(mac)?.isElsewhere === true;
  }

  /** loaded resolves when routes of others that were there before a segment became active here have come, or soon after it did. */
  async loaded(vni: number): Promise<void> {
    const { answers, wishes, nowMs } = this.#options;
    const segment = this.#segments.get(vni);
    if (segment === undefined) return;
    const routing = this.#routings.get(segment.wish.l3vni ?? 0);
    const batch = wishes.batchOf([...segment.imports, ...(routing?.imports ?? [])]);
    await answers.answered(batch, { patienceMs: segment.sinceMs + PATIENCE_MS - nowMs() });
  }

  #isLoaded({ imports, sinceMs }: Segment, nowMs: number): boolean {
    const { answers, wishes } = this.#options;
    return nowMs - sinceMs >= LOADED_MS || answers.isAnswered(wishes.batchOf(imports));
  }

  #settle(
    segment: Segment,
    mac: Mac,
    { station, isNew }: { readonly station: Station; readonly isNew: boolean },
  ): boolean {
    const nowMs = this.#options.nowMs();
    // What comes later than that is newer than our address.
    const othersAreOlder = isNew || !this.#isLoaded(segment, nowMs);
    const others = this.#options
      .others(mac)
      .filter(({ targets }) => targets.some((target) => imports(segment, target)));
    const { isElsewhere, mobility } = station;
    const { changed, problem } = settle(station, others, { nowMs, othersAreOlder });
    if (station.isElsewhere !== isElsewhere) this.#options.onMoved(segment.wish.vni, mac);
    const { sequence = 0 } = station.mobility ?? {};
    if (sequence !== (mobility?.sequence ?? 0)) this.#options.onRaised(segment.wish.vni, mac, sequence);
    const fields = { vni: segment.wish.vni, mac: formatMac(mac) };
    if (problem === "sticky elsewhere") this.#options.log("evpn address is sticky elsewhere", fields);
    if (problem === "duplicate")
      this.#options.log("evpn address is a duplicate: it is here and elsewhere", fields);
    return changed;
  }

  /** What a segment announced that the one in its place does not. */
  #endSegment(before: Segment, next: Segment | undefined): void {
    const moved = next === undefined || textOf(before.value.rd) !== textOf(next.value.rd);
    if (
      before.wish.flood &&
      (moved || next?.wish.flood !== true || textOf(before.value.vtep) !== textOf(next.value.vtep))
    )
      this.#options.withdraw(inclusiveMulticast(before.value).nlri);
    if (moved)
      for (const { hosts } of before.stations.values())
        for (const host of hosts.values()) this.#withdrawHost(before, host);
    if (before.wish.l3vni !== undefined) deleteFrom(this.#routed, before.wish.l3vni, before.wish.vni);
    this.#options.wishes.remove(before.imports);
  }

  #endRouting(before: Routing, next: Routing | undefined): void {
    if (next === undefined || textOf(before.value.rd) !== textOf(next.value.rd))
      for (const { prefix } of before.prefixes.values())
        this.#options.withdraw(ipPrefix(before.value, prefix).nlri);
    this.#options.wishes.remove(before.imports);
  }

  /** Hosts of the segments of an L3VNI are announced as it is now. */
  #reroute(l3vni: number): void {
    for (const vni of this.#routed.get(l3vni) ?? []) {
      const before = this.#segments.get(vni) as Segment;
      const segment = { ...before, value: this.#segmentOf(before.wish) };
      this.#segments.set(vni, segment);
      for (const station of segment.stations.values()) this.#announceStation(segment, station);
    }
  }

  #announceStation(segment: Segment, station: Station): void {
    for (const host of station.hosts.values())
      if (station.isElsewhere) this.#withdrawHost(segment, host);
      else this.#announceHost(segment, station, host);
  }

  #announceHost(segment: Segment, station: Station, host: LocalHost): void {
    this.#options.announce(macIp(segment.value, host, station.mobility?.sequence ?? 0));
  }

  #withdrawHost(segment: Segment, host: LocalHost): void {
    this.#options.withdraw(macIp(segment.value, host, 0).nlri);
  }

  #announcePrefix(routing: Routing, { prefix, ...more }: LocalPrefix): void {
    this.#options.announce(ipPrefix(routing.value, prefix, more));
  }

  #forget(vni: number, mac: Mac): void {
    deleteFrom(this.#vnisOf, mac, vni);
    if (this.#vnisOf.size === 0) this.#options.onHosts(false);
  }

  #segmentOf(wish: LocalSegment): EvpnSegment {
    const { vni, vtep, l3vni } = wish;
    const routed = l3vni === undefined ? undefined : this.#routings.get(l3vni)?.value;
    return { vni, vtep, ...this.#identity(wish), ...(routed === undefined ? {} : { routed }) };
  }

  #routingOf(wish: LocalRouting): EvpnRouting {
    const { vni, vtep, routerMac } = wish;
    return { vni, vtep, routerMac, ...this.#identity(wish) };
  }

  #identity({
    vni,
    rd,
    exportTargets,
  }: LocalSegment | LocalRouting): Pick<EvpnSegment, "rd" | "exportTargets"> {
    const { asn, routerId } = this.#options;
    const parsed = (text: string) => parseAdministered(text) as Administered;
    return {
      rd: rd === undefined ? autoRd(routerId, this.#rds.of(vni)) : parsed(rd),
      exportTargets: exportTargets === undefined ? [autoTarget(asn, vni)] : exportTargets.map(parsed),
    };
  }

  #importsOf({ vni, importTargets }: LocalSegment | LocalRouting): readonly string[] {
    return [...new Set(importTargets ?? [printAdministered(autoTarget(this.#options.asn, vni))])];
  }
}

function imports({ imports: wanted }: Segment, target: string): boolean {
  return wanted.some((one) => one === target || (isAnyTarget(one) && one === anyTarget(target)));
}

function addressOf({ ip }: HostName): string {
  return ip === undefined ? "" : formatIp(ip);
}

function textOf(value: object): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? String(part) : part));
}

function addTo<K>(sets: Map<K, Set<number>>, key: K, value: number): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function deleteFrom<K>(sets: Map<K, Set<number>>, key: K, value: number): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
