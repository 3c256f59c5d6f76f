/**
 * DomainHost: the data plane of routing domains on this node. A domain is here only while something is attached to it, or another domain
 * that is here is peered with it.
 *
 * ```
 *   attach, detach ──▶ which domains and segments are here ──▶ onActive ──▶ BGP announces and asks
 *   apply ◀── what BGP hears of elsewhere
 * ```
 * It knows neither BGP nor the register, and keeps nothing on disk: after a restart `adopt` says again what is attached.
 */
import {
  type Domain,
  type DomainNode,
  domainNamespace,
  type LocalAttachment,
  type RemoteChange,
  routerMac,
} from "../domain/mod.ts";
import {
  ALIAS,
  type Engine,
  type KernelObject,
  type ObjectStatus,
  type ScopeChange,
  weather,
} from "../engine/mod.ts";
import { formatIp, type InterfaceAddress, type Mac } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { every, type Netns } from "../sys/mod.ts";
import { DomainNamespaces } from "./domain-namespaces.ts";
import { DomainPlace } from "./domain-place.ts";
import { type Connected, gatewaysOf, makeInside, makePair, missing } from "./domain-port.ts";
import { type DomainStatus, domainStatus, refusedStatus } from "./domain-status.ts";
import { VxlanGuard } from "./vxlan-guard.ts";

/**
 * DOMAIN_ROUND_MS is the time in which every domain is compared as a whole once, one after the other: a look costs milliseconds, a node may
 * have hundreds, and events tell of nearly everything before.
 */
const DOMAIN_ROUND_MS = 600_000;
/** What the kernel refused for a moment is not to stay away until resources change. */
const REFUSED_S = 30;

/** DomainHostOptions say where. */
export interface DomainHostOptions {
  /** Engine of the host's namespace; its table of family inet has the guard's sets (guardText). */
  readonly home: Engine;
  /** The host's namespace; default that of the calling thread. */
  readonly netns?: Netns;
  readonly node: DomainNode;
  /** Where namespaces are bound; default /run/netns. */
  readonly folder?: string;
  /** By which namespaces and links are known as this host's; default that of the mesh's VPCs. */
  readonly alias?: string;
  readonly onProblem: (error: Error) => void;
  /** A domain that an earlier agent left came after `sweep`, or is refused no more: what that one knew of elsewhere is to go once EVPN has told all, by `settling`. */
  readonly onLate?: () => void;
}

/** ActiveDomains are VNIs. */
export interface ActiveDomains {
  readonly domains: readonly number[];
  readonly segments: readonly number[];
}

const noDomain = (vni: number) =>
  new Error(`Cannot attach to VNI ${vni}: there is no such VPC; create it: causeway apply`);

/** DomainHost owns the namespaces and engines of domains. */
export class DomainHost implements Disposable {
  readonly #options: DomainHostOptions;
  readonly #namespaces: DomainNamespaces;
  readonly #underlay: Rtnetlink;
  readonly #guard: VxlanGuard;
  #node: DomainNode;
  /** By an address of its own. */
  readonly #nodes = new Map<string, DomainNode>();
  #domains: ReadonlyMap<number, Domain> = new Map();
  /** VNI of a segment → Domain.vni. */
  #owners: ReadonlyMap<number, number> = new Map();
  readonly #places = new Map<number, DomainPlace>();
  /** Id of an attachment → Domain.vni. */
  readonly #attached = new Map<string, number>();
  /** Domains that somebody needs and the kernel refuses, and why. */
  readonly #refused = new Map<number, string>();
  /** What an earlier agent attached to such domains; taken up when they come. */
  readonly #waiting = new Map<string, LocalAttachment>();
  #seconds = 0;
  /** All that was to be here at the beginning is, or was refused. */
  #isSwept = false;
  /** Who keeps a domain here beside attachments. */
  readonly #keepers = new Map<number, Set<string>>();
  readonly #listeners = new Set<(active: ActiveDomains) => void>();
  #told: ActiveDomains = { domains: [], segments: [] };
  #turn = 0;
  /** How many domains are to be looked at now. */
  #due = 0;
  readonly #rounds: Disposable;

  private constructor(options: DomainHostOptions) {
    this.#options = options;
    this.#node = options.node;
    this.#namespaces = new DomainNamespaces(options.folder, options.alias);
    this.#underlay = Rtnetlink.open(options.netns === undefined ? {} : { netns: options.netns });
    this.#guard = new VxlanGuard(options.home);
    this.#rounds = every(1_000, () => this.#checkSome());
  }

  /** open changes nothing; then come setDomains, adopt with all that is attached, and sweep. */
  static open(options: DomainHostOptions): DomainHost {
    return new DomainHost(options);
  }

  /** routerMac is the address under which this node routes, in all domains. */
  get routerMac(): Mac {
    return routerMac(this.#node.vtep);
  }

  /** The node as a domain has it; the same value as long as it is the same. */
  #nodeOf({ vtep }: Domain): DomainNode {
    if (vtep === undefined) return this.#node;
    const name = formatIp(vtep);
    const node = this.#nodes.get(name) ?? { ...this.#node, vtep };
    this.#nodes.set(name, node);
    return node;
  }

  /** setDomains takes in what the register says; domains that are here change in place. */
  setDomains(domains: readonly Domain[]): void {
    this.#domains = new Map(domains.map((domain) => [domain.vni, domain]));
    this.#owners = new Map(
      domains.flatMap(({ vni, segments }) => segments.map((segment) => [segment.vni, vni])),
    );
    for (const [vni, place] of this.#places) {
      const domain = this.#domains.get(vni);
      if (domain !== undefined) this.#bear(() => place.setDomain(domain, this.#nodeOf(domain)));
    }
    this.#settleNeeds(this.#refused.keys());
    this.#tell();
  }

  /** setNode says where this node's VXLAN ends now. */
  setNode(node: DomainNode): void {
    this.#node = node;
    this.#nodes.clear();
    for (const place of this.#places.values())
      this.#bear(() => place.setDomain(place.domain, this.#nodeOf(place.domain)));
  }

  /**
   * attach makes a pod's link; the kernel forwards when nothing is `missing` any more. When it throws, nothing stays. `addresses` gives lengths where
   * the segment has no prefixes. `netns` stays the caller's.
   */
  attach(
    attachment: LocalAttachment,
    netns: Netns,
    options: { readonly addresses?: readonly InterfaceAddress[] } = {},
  ): Connected {
    const { id } = attachment;
    if (this.#attached.has(id)) throw new Error(`Cannot attach ${id}: it is attached; detach it first`);
    try {
      const place = this.#enter(attachment);
      const { domain } = place;
      const segment = place.segment(attachment.segment);
      makePair(attachment, netns, place);
      place.connect(attachment);
      const routes = makeInside(attachment, { domain, segment, netns, addresses: options.addresses });
      this.#tell();
      return { gateways: gatewaysOf(segment, attachment), routes };
    } catch (error) {
      this.detach(id);
      throw error;
    }
  }

  /** missing returns the names of what does not work yet of an attachment; when there are none, the kernel forwards. */
  missing(attachment: LocalAttachment, netns: Netns): string[] {
    const place = this.#places.get(attachment.domain);
    return place === undefined ? [] : missing(attachment, { netns, place });
  }

  /**
   * adopt takes over after a restart what an earlier agent attached, in the order in which it came. What is missing of it is reported as a problem;
   * what is in a domain that the kernel refuses now is taken over when that comes.
   */
  adopt(attachments: readonly LocalAttachment[]): void {
    for (const one of attachments) if (!this.#attached.has(one.id)) this.#waiting.set(one.id, one);
    for (const vni of new Set(attachments.map(({ domain }) => domain)))
      if (!this.#domains.has(vni)) this.#options.onProblem(noDomain(vni));
    this.#settleNeeds();
    this.#tell();
  }

  /** detach removes an attachment, and what nobody needs any more; false when it was not there, which is not an error. */
  detach(id: string): boolean {
    const vni = this.#attached.get(id);
    const place = vni === undefined ? undefined : this.#places.get(vni);
    this.#attached.delete(id);
    this.#waiting.delete(id);
    place?.leave(id);
    this.#settleNeeds();
    this.#tell();
    return vni !== undefined;
  }

  /** setElsewhere says that a station of a segment has moved to another node, where it is reached from here too; false: it is back again. */
  setElsewhere(segment: number, mac: Mac, isElsewhere: boolean): void {
    for (const place of this.#places.values())
      for (const attachment of place.attachments.values())
        if (attachment.segment === segment && attachment.mac === mac)
          this.#bear(() => place.setElsewhere(attachment.id, isElsewhere));
  }

  /** allHere says that nothing has moved, as far as anybody knows. */
  allHere(): void {
    for (const place of this.#places.values())
      for (const id of place.attachments.keys()) this.#bear(() => place.setElsewhere(id, false));
  }

  /** apply takes in what EVPN tells; what concerns no domain that is here is forgotten. */
  apply(changes: readonly RemoteChange[]): void {
    const domainOf = ({ remote }: RemoteChange) =>
      remote.kind === "prefix" ? remote.vni : (this.#owners.get(remote.vni) ?? this.#forgotten(remote.vni));
    for (const [vni, list] of Map.groupBy(changes, domainOf)) {
      const place = vni === undefined ? undefined : this.#places.get(vni);
      if (place !== undefined) this.#bear(() => place.tell(list));
    }
  }

  /** A segment that the register has forgotten, and that still has pods here. */
  #forgotten(segment: number): number | undefined {
    for (const [vni, { segments }] of this.#places) if (segments.includes(segment)) return vni;
    return undefined;
  }

  /** keep has a domain be here without attachments, as long as somebody asks for it; false ends that. Said again, one that was refused is tried again. */
  keep(vni: number, who: string, wanted = true): void {
    const keepers = this.#keepers.get(vni) ?? new Set();
    if (wanted ? keepers.has(who) && this.#places.has(vni) : !keepers.has(who)) return;
    if (wanted) keepers.add(who);
    else keepers.delete(who);
    if (keepers.size > 0) this.#keepers.set(vni, keepers);
    else this.#keepers.delete(vni);
    this.#settleNeeds(wanted ? [vni] : []);
    this.#tell();
  }

  /** setScope says what else is to be in a domain's namespace (rules, links to others); forgotten when the domain goes. */
  setScope(vni: number, scope: string, objects: readonly KernelObject[]): void {
    const engine = this.#places.get(vni)?.engine;
    if (engine === undefined) return;
    this.#bear(() => {
      if (objects.length > 0) engine.set(scope, objects);
      else engine.remove(scope);
      engine.apply(scope);
    });
  }

  /** changeScope adds to such a scope, or takes away from it; it costs what it changes. */
  changeScope(vni: number, scope: string, change: ScopeChange): void {
    const engine = this.#places.get(vni)?.engine;
    if (engine === undefined) return;
    this.#bear(() => {
      engine.change(scope, change);
      engine.apply(scope);
    });
  }

  /** problems tells what of a scope of a domain is not as it should be. */
  problems(vni: number, scope: string): readonly string[] {
    const status = this.#places.get(vni)?.engine.status(scope) ?? [];
    return status
      .filter(({ state }) => state !== "ready")
      .map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`);
  }

  /** refused returns why a domain is not here that somebody keeps; undefined where it is. */
  refused(vni: number): string | undefined {
    return this.#refused.get(vni);
  }

  /** netns returns the namespace of a domain that is here; it stays the host's. */
  netns(vni: number): Netns | undefined {
    return this.#places.get(vni)?.netns;
  }

  /** place returns a domain that is here, for whoever keeps it; it stays the host's. */
  place(vni: number): DomainPlace | undefined {
    return this.#places.get(vni);
  }

  /** domainOf returns the VNI of the domain that an attachment is in; undefined when it is not here. */
  domainOf(id: string): number | undefined {
    return this.#attached.get(id);
  }

  /** attachments returns what is attached to a domain. */
  attachments(vni: number): readonly LocalAttachment[] {
    return [...(this.#places.get(vni)?.attachments.values() ?? [])];
  }

  /** active returns what is here: domains that route or not, and segments. */
  active(): ActiveDomains {
    const segments: number[] = [];
    for (const place of this.#places.values()) segments.push(...place.segments);
    return { domains: [...this.#places.keys()], segments };
  }

  /** onActive has a function called whenever `active` changed. */
  onActive(listener: (active: ActiveDomains) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /**
   * sweep removes namespaces and pods' links of an earlier agent that nothing is attached to; to be called once all is adopted. What the
   * register has forgotten cannot be adopted, and stays as it is while there are pods in it: `used`. So does what the kernel refuses now.
   */
  sweep(used: ReadonlySet<number> = new Set()): void {
    this.#isSwept = true;
    for (const place of this.#places.values()) this.#bear(() => place.strays());
    for (const vni of this.#namespaces.list()) {
      if (this.#places.has(vni) || this.#refused.has(vni) || used.has(vni)) continue;
      this.#bear(() => {
        const domain = { name: domainNamespace(vni), vni, segments: [], peerings: [] };
        using place = this.#open(domain, this.#namespaces.take(vni));
        place.clear();
        this.#namespaces.remove(vni);
      });
    }
  }

  /**
   * settling removes what an earlier agent knew of elsewhere and EVPN has not told again; to be begun once it has told all. A step is one
   * domain: each takes milliseconds, and a node may have hundreds.
   */
  *settling(): Generator<undefined, void> {
    for (const place of [...this.#places.values()]) {
      if (this.#places.get(place.domain.vni) === place) this.#bear(() => place.settle());
      yield;
    }
    // What is refused has packets of its pods in and out all the same.
    if (this.#refused.size === 0) this.#bear(() => this.#guard.settle());
  }

  /** status tells of each domain that is here. */
  status(): DomainStatus[] {
    return [...this.#places.values()].map((place) => domainStatus(place, this.#nodeOf(place.domain)));
  }

  /** missingStatus tells of each domain that is to be here and that the kernel refuses. */
  missingStatus(): DomainStatus[] {
    return [...this.#refused].flatMap(([vni, problem]) => {
      const domain = this.#domains.get(vni);
      return domain === undefined ? [] : [refusedStatus(domain, this.#nodeOf(domain), problem)];
    });
  }

  /** Closing leaves the kernel as it is. */
  [Symbol.dispose](): void {
    this.#rounds[Symbol.dispose]();
    for (const place of this.#places.values()) place[Symbol.dispose]();
    this.#places.clear();
    this.#underlay.close();
  }

  #enter(attachment: LocalAttachment): DomainPlace {
    const { id, domain: vni } = attachment;
    const place = this.#places.get(vni) ?? this.#make(vni);
    this.#attached.set(id, vni);
    place.enter(attachment);
    this.#settleNeeds();
    return place;
  }

  #make(vni: number): DomainPlace {
    const domain = this.#domains.get(vni);
    if (domain === undefined) throw noDomain(vni);
    const isLeft = this.#namespaces.isMarked(domainNamespace(vni));
    const netns = this.#namespaces.take(vni);
    using begun = new DisposableStack();
    if (!isLeft) begun.defer(() => this.#bear(() => this.#namespaces.remove(vni)));
    const place = begun.use(this.#open(domain, netns));
    // What an earlier agent left goes on as it is: pods may be in it that are taken up later.
    if (!isLeft) begun.defer(() => this.#bear(() => place.clear()));
    place.begin();
    begun.move();
    this.#places.set(vni, place);
    this.#refused.delete(vni);
    if (isLeft) this.#late();
    return place;
  }

  #late(): void {
    if (this.#isSwept) this.#options.onLate?.();
  }

  /** What is tried again is told once. */
  #tryToMake(vni: number): void {
    try {
      this.#make(vni);
    } catch (error) {
      const { message } = weather(error);
      const isTold = this.#refused.get(vni) === message;
      this.#refused.set(vni, message);
      if (!isTold) this.#options.onProblem(weather(error));
    }
  }

  #open(domain: Domain, netns: Netns): DomainPlace {
    return new DomainPlace(domain, {
      ...{ netns, underlay: this.#underlay, guard: this.#guard },
      node: this.#nodeOf(domain),
      alias: this.#options.alias ?? ALIAS,
      onChange: (status) => this.#report(domain.name, status),
    });
  }

  #drop(vni: number, place: DomainPlace): void {
    this.#places.delete(vni);
    try {
      place.clear();
    } finally {
      place[Symbol.dispose]();
      this.#namespaces.remove(vni);
    }
  }

  /** Makes and drops domains so that exactly those are here that somebody needs. Of what was refused only `again` is tried again: a try costs as much as a domain. */
  #settleNeeds(again: Iterable<number> = []): void {
    const tried = new Set(again);
    const waiting = this.#waiting.values().map(({ domain }) => domain);
    const used = new Set([...this.#attached.values(), ...waiting]);
    const needed = new Set([...used, ...this.#keepers.keys()]);
    for (const vni of used)
      for (const peering of this.#domains.get(vni)?.peerings ?? []) {
        const other = this.#domains.get(peering.with);
        if (other?.peerings.some((back) => back.with === vni)) needed.add(other.vni);
      }
    for (const vni of needed) {
      const isDue = tried.has(vni) || !this.#refused.has(vni);
      if (isDue && !this.#places.has(vni) && this.#domains.has(vni)) this.#tryToMake(vni);
    }
    for (const vni of this.#refused.keys())
      if (!needed.has(vni)) {
        this.#refused.delete(vni);
        this.#late();
      }
    for (const [vni, place] of [...this.#places])
      if (!needed.has(vni)) this.#bear(() => this.#drop(vni, place));
    if (this.#waiting.size > 0) this.#takeUp();
  }

  #takeUp(): void {
    const some = [...this.#waiting.values()].filter(({ domain }) => this.#places.has(domain));
    // At no moment may it look as if nobody needed their domains.
    for (const { id, domain } of some) {
      this.#attached.set(id, domain);
      this.#waiting.delete(id);
    }
    for (const one of some) this.#bear(() => void this.#enter(one));
    // Now it is known which of two that have one station is the last: the kernel is asked for nothing else meanwhile.
    for (const one of some) this.#bear(() => this.#places.get(one.domain)?.resume(one));
  }

  #tell(): void {
    const active = this.active();
    const told = this.#told;
    if (`${active.domains} ${active.segments}` === `${told.domains} ${told.segments}`) return;
    this.#told = active;
    for (const listener of this.#listeners) listener(active);
  }

  #checkSome(): void {
    if (this.#refused.size > 0 && ++this.#seconds % REFUSED_S === 0) {
      this.#settleNeeds(this.#refused.keys());
      this.#tell();
    }
    const places = [...this.#places.values()];
    this.#due += (places.length * 1_000) / DOMAIN_ROUND_MS;
    for (; this.#due >= 1; this.#due--) places[this.#turn++ % places.length]?.engine.check();
  }

  #report(name: string, { state, key, reason }: ObjectStatus): void {
    if (state === "failed") this.#options.onProblem(new Error(`${name}: ${reason ?? key}`));
  }

  #bear(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.onProblem(weather(error));
    }
  }
}
