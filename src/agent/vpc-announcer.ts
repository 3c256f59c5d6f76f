/**
 * What this node's VPCs have, told by BGP: a segment where something is attached (type 3), each address (type 2), and where it is routed the
 * prefixes of active segments (type 5). The speaker may come later than what it has to tell, and another one in its place.
 */
import type { LocalHost, LocalPrefix, LocalRouting, LocalSegment, Speaker } from "../bgp/mod.ts";
import { type Domain, groupTag, type LocalStation, type Segment } from "../domain/mod.ts";
import { sameValue } from "../engine/mod.ts";
import { formatPrefix, type Ip, type Mac, type Prefix } from "../net/mod.ts";

/** HereDomain is a domain that is active, with what BGP is to tell of it. */
export interface HereDomain {
  readonly domain: Domain;
  /** Segments that something is attached to. */
  readonly segments: readonly Segment[];
  /** Told beside the prefixes of its segments: defaults of a gateway. */
  readonly prefixes: readonly Prefix[];
  /** Prefixes of its segments are not told unless they stand in `prefixes`. */
  readonly only?: true;
  /** Where others send to it, if not to the VTEP of all. */
  readonly vtep?: Vtep;
  /** What a network goes to others as, undefined for one that does not; absent: all go. Another function is another rule. */
  readonly exports?: ExportRule | undefined;
}

/** ExportRule returns what a network is told as. */
export type ExportRule = (local: LocalPrefix) => LocalPrefix | undefined;

/** Vtep is this node as others send to it. */
export interface Vtep {
  readonly address: Ip;
  readonly routerMac: Mac;
}

/** HostClaim is since when an address is here, and the sequence with which it was announced last (RFC 7432 section 15). */
export interface HostClaim {
  readonly claim: "arrived" | "known";
  readonly sequence?: number | undefined;
}

type Told = Omit<Speaker["evpn"], "listen">;

/** What is told of domains, each part by its name. */
interface Parts {
  readonly segments: Map<number, LocalSegment>;
  readonly routings: Map<number, LocalRouting>;
  /** By L3VNI and text. */
  readonly prefixes: Map<string, { readonly vni: number; readonly local: LocalPrefix }>;
}

/** VpcAnnouncer remembers what is to be told, and tells what differs. A domain more costs the same however many there are. */
export class VpcAnnouncer {
  #evpn: Told | undefined;
  #vtep: Vtep | undefined;
  #here: ReadonlyMap<number, HereDomain> = new Map();
  /** VNIs of active segments. */
  readonly #segments = new Set<number>();
  readonly #hosts = new Map<string, { readonly vni: number; readonly hosts: readonly LocalHost[] }>();

  /** setSpeaker gives the speaker that is to tell it all; undefined while there is none. */
  setSpeaker(speaker: Speaker | undefined): void {
    this.#evpn = speaker?.evpn;
    const [evpn, vtep] = [this.#evpn, this.#vtep];
    if (evpn === undefined || vtep === undefined) return;
    const { routings, segments, prefixes } = partsOf([...this.#here.values()], vtep);
    for (const routing of routings.values()) evpn.setRouting(routing);
    for (const segment of segments.values()) evpn.setSegment(segment);
    for (const { vni, local } of prefixes.values()) evpn.setPrefix(vni, local);
    this.#tellHosts(this.#segments);
  }

  /** setDomains says what is active now. Hosts of a segment that is active no more are taken back before. */
  setDomains(here: readonly HereDomain[], vtep: Vtep): void {
    const before = this.#here;
    const next = new Map(here.map((one) => [one.domain.vni, one]));
    const moved = !sameValue(vtep, this.#vtep);
    const isOther = (one: HereDomain, others: ReadonlyMap<number, HereDomain>) =>
      moved || !isSameHere(one, others.get(one.domain.vni));
    // Of hundreds of domains one changes at a time: only what differs is looked into.
    const ended = [...before.values()].filter((one) => isOther(one, next));
    const begun = here.filter((one) => isOther(one, before));
    const old = partsOf(ended, this.#vtep ?? vtep);
    const parts = partsOf(begun, vtep);
    this.#here = next;
    this.#vtep = vtep;
    for (const vni of old.segments.keys()) this.#segments.delete(vni);
    for (const vni of parts.segments.keys()) this.#segments.add(vni);
    this.#tellParts(old, parts);
    // A Subnet that was deleted under its pods, and made again.
    const fresh = [...parts.segments.keys()].filter((vni) => !old.segments.has(vni));
    if (fresh.length > 0) this.#tellHosts(new Set(fresh));
  }

  #tellParts(old: Parts, { segments, routings, prefixes }: Parts): void {
    const evpn = this.#evpn;
    if (evpn === undefined) return;
    for (const [key, { vni, local }] of old.prefixes)
      if (!prefixes.has(key)) evpn.removePrefix(vni, local.prefix);
    for (const vni of old.segments.keys()) if (!segments.has(vni)) evpn.removeSegment(vni);
    for (const vni of old.routings.keys()) if (!routings.has(vni)) evpn.removeRouting(vni);
    for (const [vni, routing] of routings)
      if (!sameValue(routing, old.routings.get(vni))) evpn.setRouting(routing);
    for (const [vni, segment] of segments)
      if (!sameValue(segment, old.segments.get(vni))) evpn.setSegment(segment);
    for (const [key, { vni, local }] of prefixes)
      if (!sameValue(local, old.prefixes.get(key)?.local)) evpn.setPrefix(vni, local);
  }

  /** setHost tells where an attachment or another station is, at once or as soon as its segment is active. */
  setHost({ id, segment, mac, addresses, groups }: LocalStation, { claim, sequence }: HostClaim): void {
    const colors = groups.length === 0 ? {} : { colors: groups.map(groupTag) };
    const station = { mac, claim, ...colors, ...(sequence === undefined ? {} : { sequence }) };
    const hosts: LocalHost[] =
      addresses.length === 0 ? [station] : addresses.map((ip) => ({ ...station, ip }));
    // Who is told later learns nothing new.
    this.#hosts.set(id, { vni: segment, hosts: hosts.map((host) => ({ ...host, claim: "known" })) });
    if (this.#segments.has(segment)) for (const host of hosts) this.#evpn?.setHost(segment, host);
  }

  /** raise says that an address is announced with that sequence from now on, by whatever speaker comes. */
  raise(vni: number, mac: Mac, sequence: number): void {
    for (const [id, told] of this.#hosts)
      if (told.vni === vni && told.hosts.some((host) => host.mac === mac))
        this.#hosts.set(id, { vni, hosts: told.hosts.map((host) => ({ ...host, sequence })) });
  }

  #tellHosts(segments: ReadonlySet<number>): void {
    for (const { vni, hosts } of this.#hosts.values())
      if (segments.has(vni)) for (const host of hosts) this.#evpn?.setHost(vni, host);
  }

  /** removeHost takes it back, but for what another attachment here has too: a virtual machine's next pod begins before its last one ends. */
  removeHost(id: string): void {
    const told = this.#hosts.get(id);
    this.#hosts.delete(id);
    if (told === undefined) return;
    const { vni, hosts } = told;
    const others = [...this.#hosts.values()].flatMap((one) => (one.vni === vni ? one.hosts : []));
    for (const host of hosts)
      if (!others.some((other) => isSame(other, host))) this.#evpn?.removeHost(vni, host);
  }
}

const asItIs: ExportRule = (local) => local;

function isSameHere(one: HereDomain, other: HereDomain | undefined): boolean {
  return (
    one.domain === other?.domain &&
    one.exports === other.exports &&
    one.segments.length === other.segments.length &&
    one.segments.every((segment, index) => segment === other.segments[index]) &&
    sameValue(one.prefixes, other.prefixes) &&
    sameValue(one.vtep, other.vtep)
  );
}

function partsOf(here: readonly HereDomain[], common: Vtep): Parts {
  const parts: Parts = { segments: new Map(), routings: new Map(), prefixes: new Map() };
  for (const { domain, segments: active, prefixes: more, only, exports = asItIs, vtep = common } of here) {
    // Addresses of a Subnet are routed to by others where they may know its networks.
    const isTold = ({ prefixes }: Segment) => prefixes.every((prefix) => exports({ prefix }) !== undefined);
    for (const segment of active)
      parts.segments.set(segment.vni, localSegment(segment, { domain, vtep, routed: isTold(segment) }));
    if (domain.routing === undefined) continue;
    const { vni } = domain;
    parts.routings.set(vni, { vni, vtep: vtep.address, routerMac: vtep.routerMac, ...domain.routing });
    for (const prefix of [...(only ? [] : active.flatMap((segment) => segment.prefixes)), ...more]) {
      const local = exports({ prefix });
      if (local !== undefined) parts.prefixes.set(`${vni} ${formatPrefix(prefix)}`, { vni, local });
    }
  }
  return parts;
}

function isSame(one: LocalHost, other: LocalHost): boolean {
  return one.mac === other.mac && sameValue(one.ip, other.ip);
}

function localSegment(
  segment: Segment,
  { domain, vtep, routed }: { readonly domain: Domain; readonly vtep: Vtep; readonly routed: boolean },
): LocalSegment {
  const { vni, importTargets, exportTargets, rd } = segment;
  return {
    ...(rd === undefined ? {} : { rd }),
    ...{ vni, vtep: vtep.address, flood: true, importTargets, exportTargets },
    ...(domain.routing === undefined || !routed ? {} : { l3vni: domain.vni }),
  };
}
