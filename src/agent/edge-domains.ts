/**
 * EdgeDomains: the domains of one router of the edge: their namespaces with links to the host, what is told of them in the fabric, and what the fabric
 * tells.
 *
 * ```
 *   plan ─▶ DomainHost (kernel), EdgeLegs, EdgeSegments, EdgePods ─▶ VpcAnnouncer ─▶ the fabric's speaker
 *           EdgePods, EdgeLegs, EdgeLeaks ◀─ RemoteTable ◀────────────────────────────────┘
 * ```
 */
import type { Speaker } from "../bgp/mod.ts";
import {
  type ActiveDomain,
  type Domain,
  type DomainNode,
  type LocalAttachment,
  RemoteTable,
} from "../domain/mod.ts";
import { type EdgeDomain, type EdgeRouter, fabricSpeaker } from "../edge/mod.ts";
import { type Engine, sameValue, weather } from "../engine/mod.ts";
import { hostPrefix, type Prefix } from "../net/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import { type BgpRouter, noTenants } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Bearing } from "./bearing.ts";
import { DomainHost } from "./domain-host.ts";
import type { Connected } from "./domain-port.ts";
import { NAMESPACES } from "./domain-namespaces.ts";
import { domainIn, type EdgeVteps, edgeVteps, NOWHERE, roomIn, vtepFor, vtepOf } from "./edge-domain.ts";
import { EdgeLeaks, type LeaksHere } from "./edge-leaks.ts";
import { EdgeLegs } from "./edge-legs.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import { EdgePods, type GroupResources } from "./edge-pods.ts";
import { EdgeReach } from "./edge-reach.ts";
import type { EdgeSpeaker } from "./edge-routes.ts";
import { type DomainRules, EdgeRules } from "./edge-rules.ts";
import { EdgeSegments } from "./edge-segments.ts";
import { limitedSessions, speakersOf } from "./edge-speakers.ts";
import type { FabricPodStore, FabricSegment } from "./fabric-pods.ts";
import { hearVpcs } from "./vpc-hearing.ts";
import { type HereDomain, VpcAnnouncer } from "./vpc-announcer.ts";
import { VpcSettling } from "./vpc-settling.ts";

/** EdgeDomainsOptions say whose domains, and where. */
export interface EdgeDomainsOptions {
  /** Name of the router. */
  readonly router: string;
  /** Marks namespaces and links of its domains. */
  readonly alias: string;
  /** Its namespace, a socket in it, and its engine. */
  readonly netns: Netns;
  readonly route: Rtnetlink;
  readonly engine: Engine;
  /** Engine of the host's namespace. */
  readonly home: Engine;
  readonly homePlace: LinkPlace;
  /** Where namespaces are bound; default /run/netns. */
  readonly folder?: string | undefined;
  /** Pods that are attached to domains of a fabric: of all routers of the node. */
  readonly pods: FabricPodStore;
  /** Routes, links or addresses of the router's namespace may be others. */
  readonly onNetwork: () => void;
  readonly onProblem: (error: Error) => void;
}

/** EdgeDomains is disposed without touching the kernel. */
export class EdgeDomains implements Disposable {
  readonly legs: EdgeLegs;
  readonly #options: EdgeDomainsOptions;
  readonly #resources: DisposableStack;
  readonly #announcer = new VpcAnnouncer();
  readonly #segments: EdgeSegments;
  readonly #reach: EdgeReach;
  readonly #rules = new EdgeRules();
  readonly #leaks: EdgeLeaks;
  readonly #settling: VpcSettling;
  #asn = 0;
  #host: DomainHost | undefined;
  #pods: EdgePods | undefined;
  #table: RemoteTable | undefined;
  #vteps: EdgeVteps | undefined;
  #groups: GroupResources = noTenants;
  /** What an earlier agent left has been taken over. */
  #isAdopted = false;
  #here: readonly EdgeDomain[] = [];
  /** Domains that are here wholly, and what their hosts' sessions are run by. */
  #applied = new WeakSet<EdgeDomain>();
  #speakers = new WeakMap<EdgeDomain, BgpRouter>();
  /** VNIs of domains of which something is here. */
  readonly #begun = new Set<number>();
  #fabric: Speaker | undefined;
  #listening: Disposable | undefined;

  constructor(options: EdgeDomainsOptions) {
    this.#options = options;
    const { router, netns, route, onProblem } = options;
    const onAddresses = () => this.#announce();
    using opened = new DisposableStack();
    this.#segments = opened.use(new EdgeSegments({ ...options, announcer: this.#announcer, onAddresses }));
    const remote = (vni: number) => this.#table?.prefixes(vni) ?? [];
    this.legs = opened.use(new EdgeLegs({ ...options, router, remote, onChange: () => this.#leaks.soon() }));
    this.#leaks = opened.use(new EdgeLeaks(() => this.#leaksHere, onProblem));
    this.#reach = opened.use(
      new EdgeReach({
        ...{ netns, route, onProblem, changed: options.onNetwork },
        table: () => this.#table,
        hear: (changes) => this.#hear(changes),
      }),
    );
    this.#settling = opened.use(
      new VpcSettling({
        speaker: () => this.#fabric,
        areOthersDeferring: () => this.legs.areDeferring,
        onSettled: () => this.#settle(),
      }),
    );
    this.#resources = opened.move();
  }

  /** host is the kernel's side of them, once there is one. */
  get host(): DomainHost | undefined {
    return this.#host;
  }

  /** What is not as it should be, and may be tried again. */
  problems(): string[] {
    return this.#segments.problems();
  }

  /** notes tells of packets that are lost though all is as resources say, and of neighbors that have told too much. */
  notes(): string[] {
    const ofDomain = (domain: EdgeDomain) => [
      ...(this.legs.routes.get(domain.vni)?.limited ?? []),
      ...(this.#isLeaked(domain) && this.#announced(domain).length === 0 ? [NOTHING_ANNOUNCED] : []),
    ];
    return [
      ...limitedSessions(this.#fabric),
      ...this.#here.flatMap((domain) => ofDomain(domain).map((note) => `VPC "${domain.vpc}": ${note}`)),
    ];
  }

  #isLeaked({ vni, routing }: EdgeDomain): boolean {
    const names = (other: EdgeDomain) => other.routing?.leaks.some(({ from }) => from === vni) === true;
    return (routing?.leaks.length ?? 0) > 0 || this.#here.some(names);
  }

  /** Networks of a domain that the fabric hears of from here, as far as can be told. */
  #announced(domain: EdgeDomain): Prefix[] {
    const { exports, byPath } = this.#rules.of(domain, this.#asn);
    const { hostNetworks = [] } = this.legs.routes.get(domain.vni) ?? {};
    const pods = this.#host === undefined ? [] : this.#podPrefixes(this.#host, domain);
    const isTold = (prefix: Prefix) => exports === undefined || exports({ prefix }) !== undefined;
    const own = [...(domain.routing?.announce ?? []), ...pods].filter(isTold);
    // What rules make of a path only its route tells.
    return [...own, ...(byPath === true ? hostNetworks : hostNetworks.filter(isTold))];
  }

  /** renew has the next `apply` make all of every domain again: the router itself is another. */
  renew(): void {
    this.#applied = new WeakSet();
    this.#speakers = new WeakMap();
  }

  /** apply makes the router's domains so. */
  apply(router: EdgeRouter, bearing: Bearing): void {
    this.#asn = router.asn;
    const vteps = edgeVteps(router, this.#options.route);
    if (vteps === undefined) return this.#withoutAddress(router, bearing);
    const { host, pods } = this.#opened(vteps);
    if (!sameValue(this.#vteps, vteps)) {
      host.setNode(vteps.node);
      this.#table?.setOwn(vteps.all);
      this.#domains = new WeakMap();
      this.#applied = new WeakSet();
    }
    this.#vteps = vteps;
    const domains = router.domains.filter((domain) => {
      const vtep = vtepOf(domain, vteps);
      if (typeof vtep === "string") bearing.problems.push(vtep);
      return typeof vtep !== "string";
    });
    pods.takeOver(() => {
      this.#keepOnly(domains, bearing);
      for (const domain of domains)
        if (!this.#applied.has(domain)) this.#make(host, domain, { vteps, bearing });
    });
    const isFirst = !this.#isAdopted;
    if (isFirst) this.sweep();
    this.#isAdopted = true;
    this.#announce();
    // It began before there was anything to tell of.
    if (isFirst && this.#fabric !== undefined) this.#setFabric(this.#fabric);
  }

  #make(host: DomainHost, domain: EdgeDomain, { vteps, bearing }: MakeDomain): void {
    const node = this.#nodeOf(domain, vteps);
    const before = bearing.problems.length;
    const done = bearing.bear(() => {
      this.#begun.add(domain.vni);
      host.keep(domain.vni, "edge");
      const refused = host.refused(domain.vni);
      if (refused !== undefined) throw new Error(`VPC "${domain.vpc}": ${refused}`);
      this.legs.apply(host, domain, node);
    });
    if (done) bearing.bear(() => this.#segments.apply(host, domain, { node, bearing }));
    if (bearing.problems.length === before && this.has(domain.vni)) this.#applied.add(domain);
  }

  /** What is here stays until the endpoint's link has an address again, as far as it is wanted; without an endpoint nothing is. */
  #withoutAddress({ endpoints, domains }: EdgeRouter, bearing: Bearing): void {
    if (endpoints.length > 0 && domains.length > 0)
      bearing.problems.push("the tunnel endpoint has no address; give its link one");
    const left = this.#here.filter((here) => domains.some(({ vni }) => vni === here.vni));
    if (endpoints.length === 0) this.clear(bearing);
    else this.#keepOnly(left, bearing);
    this.#announce();
  }

  #opened({ node, all }: EdgeVteps): { readonly host: DomainHost; readonly pods: EdgePods } {
    const { folder = NAMESPACES, onProblem, netns, engine, alias, pods: store } = this.#options;
    if (this.#host === undefined) {
      this.#table = new RemoteTable({ own: all });
      this.#settling.begin("agent");
    }
    const host = (this.#host ??= DomainHost.open({
      ...{ home: engine, netns, node, folder, alias, onProblem },
      onLate: () => this.#settling.begin("speaker"),
    }));
    const pods = (this.#pods ??= new EdgePods({
      ...{ host, store, announcer: this.#announcer, home: { netns, engine } },
      node: () => this.#vteps?.node ?? node,
      onChange: () => this.#announce(),
    }));
    return { host, pods };
  }

  /** clear takes them down; one with pods stays until they go. */
  clear(bearing: Bearing): void {
    this.#opened(NOWHERE);
    this.#keepOnly([], bearing);
    this.sweep();
  }

  /** sweep removes domains of an earlier agent in which nothing is; one with pods stays, whether resources still have it or not. */
  sweep(): void {
    this.#pods?.sweep();
  }

  #keepOnly(domains: readonly EdgeDomain[], bearing: Bearing): void {
    const kept = new Set(domains.map(({ vni }) => vni));
    this.#here = domains;
    for (const vni of this.#begun)
      if (!kept.has(vni))
        bearing.bear(() => {
          this.legs.end(vni);
          this.#segments.end(this.#host, vni);
          this.#host?.keep(vni, "edge", false);
          this.#rules.forget(vni);
          this.#begun.delete(vni);
        });
    const own = domains.map((domain) => this.#domainOf(domain));
    this.#host?.setDomains(own);
    this.#pods?.setDomains(own, this.#groups);
  }

  /** setGroups says of what the security groups of pods are made; the same again costs nothing. */
  setGroups(groups: GroupResources): void {
    const all = ({ SecurityGroup }: GroupResources) => [...SecurityGroup.values()];
    const isSame = sameValue(all(this.#groups), all(groups));
    this.#groups = groups;
    if (isSame) return;
    this.#pods?.setDomains(
      this.#here.map((domain) => this.#domainOf(domain)),
      groups,
    );
  }

  // BGP.

  /** speakers returns what the router and these domains have run. */
  speakers(router: EdgeRouter): BgpRouter[] {
    const { folder = NAMESPACES } = this.#options;
    const here = { domains: this.#here, has: (vni: number) => this.has(vni), folder };
    return speakersOf(router, here, this.#speakers);
  }

  /** setSpeaker gives a speaker that begins; one of another router is not this one's affair. */
  setSpeaker(begun: EdgeSpeaker): void {
    const { name } = begun.speaker.router;
    this.#rules.setReader(begun.rules);
    if (name === fabricSpeaker(this.#options.router)) return this.#setFabric(begun.speaker);
    if (this.legs.setHost(begun)) this.#hold(begun.speaker);
  }

  /** A host that was told that this is all would forget what the fabric tells a moment later. */
  #hold({ restart }: Speaker): void {
    const held = restart.hold();
    void (this.#fabric?.rested ?? Promise.resolve()).then(() => {
      this.#leaks.now();
      held[Symbol.dispose]();
    });
  }

  #setFabric(speaker: Speaker): void {
    this.#listening?.[Symbol.dispose]();
    if (this.#fabric !== undefined) {
      this.#table?.renew();
      this.#settling.begin("speaker");
    }
    this.#fabric = speaker;
    this.#announcer.setSpeaker(speaker);
    this.#announce();
    this.#listening = hearVpcs(speaker, {
      table: this.#table,
      host: this.#host,
      hear: (changes) => this.#hear(changes),
      raised: (vni, mac, sequence) => {
        this.#announcer.raise(vni, mac, sequence);
        this.#options.pods.raised(vni, mac, sequence);
      },
      moved: (vni, mac) => this.#segments.moved(vni, mac),
    });
  }

  #hear(changes: Parameters<DomainHost["apply"]>[0]): void {
    this.#reach.heard();
    if (changes.length === 0) return;
    this.#leaks.soon();
    this.#pods?.hear(changes);
    for (const routes of this.legs.routes.values()) routes.hear(changes);
  }

  /** What is here is told, and what belongs to it is asked for. */
  #announce(): void {
    const [host, vteps] = [this.#host, this.#vteps];
    if (host === undefined || vteps === undefined) return;
    const active = host.active();
    const segments = new Set(active.segments);
    const here: (HereDomain & DomainRules & Pick<ActiveDomain, "accepts">)[] = this.#here
      .filter((edge) => active.domains.includes(edge.vni))
      .map((edge) => {
        const domain = this.#domainOf(edge);
        const { imports: accepts, ...rules } = this.#rules.of(edge, this.#asn);
        return {
          ...{ accepts, ...rules },
          domain,
          segments: domain.segments.filter(({ vni }) => segments.has(vni)),
          prefixes: [...(edge.routing?.announce ?? []), ...this.#podPrefixes(host, edge)],
          only: true,
          ...(domain.vtep && { vtep: vtepFor(domain.vtep) }),
        };
      });
    this.#announcer.setDomains(here, vtepFor(vteps.node.vtep));
    for (const { domain, prefixes: declared, exports, byPath } of here)
      this.legs.routes.get(domain.vni)?.setFabric(this.#fabric, { declared, exports, byPath });
    const changes = this.#table?.setActive(
      here.map(({ segments, ...one }) => ({ ...one, segments: segments.map(({ vni }) => vni) })),
    );
    this.#hear(changes ?? []);
    this.#leaks.soon();
  }

  get #leaksHere(): LeaksHere | undefined {
    const [host, vteps, domains] = [this.#host, this.#vteps, this.#here];
    if (host === undefined || vteps === undefined) return undefined;
    const remote = (vni: number) => this.#table?.prefixes(vni).map(({ prefix }) => prefix) ?? [];
    return { host, node: vteps.node, domains, remote, routes: (vni) => this.legs.routes.get(vni) };
  }

  #podPrefixes(host: DomainHost, { vni, routing }: EdgeDomain): Prefix[] {
    if (routing?.hosts !== true) return [];
    const pods = host.attachments(vni).flatMap(({ addresses }) => addresses);
    return [...pods, ...this.#segments.addresses(vni)].map(hostPrefix);
  }

  /** evpn is what the fabric's speaker has of EVPN, while there is one. */
  get evpn(): Speaker["evpn"] | undefined {
    return this.#fabric?.evpn;
  }

  // Pods.

  /** has tells whether a domain is here that a pod can be attached to. */
  has(vni: number): boolean {
    return this.#host?.netns(vni) !== undefined;
  }

  /** pods attaches pods to domains that are here; undefined as long as there are none. */
  get pods(): EdgePods | undefined {
    return this.#pods;
  }

  /** attach makes a pod's link in a segment of a domain, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected {
    const { id, domain } = attachment;
    // One that has left and stays for its pods gets no rules for new ones.
    const isHere = this.has(domain) && this.#here.some(({ vni }) => vni === domain);
    if (this.#pods !== undefined && isHere) return this.#pods.attach(attachment, netns);
    throw new Error(`Cannot attach ${id}: VNI ${domain} is not in the fabric here; look at causeway status`);
  }

  /** room returns the MTU that a segment leaves; a sentence where it is not here, or not the one that is meant. */
  room(wish: FabricSegment): { readonly mtuBytes: number } | { readonly error: string } {
    const here = this.#here.filter(({ vni }) => this.has(vni));
    const nodeOf = (domain: EdgeDomain) => this.#vteps && this.#nodeOf(domain, this.#vteps);
    return roomIn(wish, { here, nodeOf });
  }

  /** The same value as long as the plan has the same. */
  #domains = new WeakMap<EdgeDomain, Domain>();
  #domainOf(edge: EdgeDomain): Domain {
    const known = this.#domains.get(edge) ?? domainIn(edge, this.#vteps);
    this.#domains.set(edge, known);
    return known;
  }

  /** Where VXLAN of a domain ends. */
  #nodeOf(domain: EdgeDomain, { node }: EdgeVteps): DomainNode {
    return { ...node, vtep: this.#domainOf(domain).vtep ?? node.vtep };
  }

  /** Nobody has asked for it: the kernel's weather ends no agent. */
  #settle(): void {
    try {
      this.#hear(this.#table?.settle() ?? []);
      for (const routes of this.legs.routes.values()) routes.settle();
      this.#leaks.settled();
      for (const _ of this.#host?.settling() ?? []);
    } catch (error) {
      this.#options.onProblem(weather(error));
    }
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#resources.dispose();
    this.#pods?.[Symbol.dispose]();
    this.#host?.[Symbol.dispose]();
  }
}

/** A VTEP that has told nothing of a VNI is no sender of it (domain/guard.ts). */
const NOTHING_ANNOUNCED =
  "spec.underlay.leaks: this node has no network of it to announce, so that other nodes take none of its packets from here, answers among them; " +
  "name one in spec.underlay.announce, or give it a Subnet with a gateway or a hostSession";

interface MakeDomain {
  readonly vteps: EdgeVteps;
  readonly bearing: Bearing;
}
