/**
 * EdgePlace: one router of the node's edge at work: its namespace with links and tunnel endpoint, its domains, and what goes between its
 * speakers. Nothing here is on disk but what links were like (edge-links.ts): after a restart the same plan finds all of it again.
 */
import type { Speaker } from "../bgp/mod.ts";
import {
  type ActiveDomain,
  type Domain,
  type DomainNode,
  guardText,
  type LocalAttachment,
  RemoteTable,
} from "../domain/mod.ts";
import {
  type EdgeDomain,
  type EdgeRouter,
  fabricSpeaker,
  notDone,
  routerNamespace,
  routerObjects,
} from "../edge/mod.ts";
import { ALIAS, Engine, type KernelObject, PROTOCOL, sameValue } from "../engine/mod.ts";
import { hostPrefix, type Prefix } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { BgpRouter } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";
import { type Connected, DomainHost } from "./domain-host.ts";
import { DomainNamespaces, NAMESPACES } from "./domain-namespaces.ts";
import { domainIn, type EdgeVteps, edgeVteps, NOWHERE, roomIn, vtepFor, vtepOf } from "./edge-domain.ts";
import { EdgeLeaks, type LeaksHere } from "./edge-leaks.ts";
import { EdgeLegs } from "./edge-legs.ts";
import type { EdgeChains } from "./edge-chains.ts";
import type { EdgeLinks, LinkPlace } from "./edge-links.ts";
import { EdgeReach } from "./edge-reach.ts";
import { applyLinks, endLinks } from "./edge-router-links.ts";
import type { EdgeSpeaker } from "./edge-routes.ts";
import { type DomainRules, EdgeRules } from "./edge-rules.ts";
import { EdgeSegments } from "./edge-segments.ts";
import { speakersOf } from "./edge-speakers.ts";
import { type EdgeStatus, edgeStatus } from "./edge-status.ts";
import type { FabricPodStore, FabricSegment } from "./fabric-pods.ts";
import { keepSame } from "./keep-same.ts";
import { hearVpcs } from "./vpc-hearing.ts";
import { type HereDomain, VpcAnnouncer } from "./vpc-announcer.ts";
import { VpcSettling } from "./vpc-settling.ts";

/** EDGE_ALIAS marks routers' namespaces. */
export const EDGE_ALIAS = `${ALIAS}-edge`;

/** EdgePlaceOptions are what all routers of a node share. */
export interface EdgePlaceOptions {
  /** Engine of the host's namespace. */
  readonly home: Engine;
  readonly homePlace: LinkPlace;
  readonly links: EdgeLinks;
  readonly chains: EdgeChains;
  /** Where namespaces are bound; default /run/netns. */
  readonly folder?: string | undefined;
  /** Pods that are attached to domains of a fabric: of all routers of the node. */
  readonly pods: FabricPodStore;
  readonly onProblem: (error: Error) => void;
}

/** EdgePlace owns a router's namespace that is open; closing it leaves everything as it is, `clear` does not. */
export class EdgePlace implements Disposable {
  readonly name: string;
  readonly netns: Netns;
  readonly #options: EdgePlaceOptions;
  readonly #namespaces: DomainNamespaces;
  readonly #resources: DisposableStack;
  readonly #route: Rtnetlink;
  readonly #engine: Engine;
  readonly #announcer = new VpcAnnouncer();
  readonly #legs: EdgeLegs;
  readonly #segments: EdgeSegments;
  readonly #reach: EdgeReach;
  readonly #rules = new EdgeRules();
  readonly #leaks: EdgeLeaks;
  readonly #settling: VpcSettling;
  #router: EdgeRouter | undefined;
  #host: DomainHost | undefined;
  #table: RemoteTable | undefined;
  #vteps: EdgeVteps | undefined;
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
  #problems: readonly string[] = [];
  #waiting: readonly string[] = [];
  #notDone: readonly string[] = [];
  #told: ReadonlySet<string> = new Set();

  constructor(name: string, options: EdgePlaceOptions) {
    this.name = name;
    this.#options = options;
    this.#namespaces = new DomainNamespaces(options.folder, EDGE_ALIAS);
    using opened = new DisposableStack();
    this.netns = opened.use(this.#namespaces.takeNamed(routerNamespace(name)));
    this.#route = opened.use(Rtnetlink.open({ netns: this.netns }));
    this.#engine = opened.use(
      Engine.open({
        netns: this.netns,
        route: this.#route,
        mark: { alias: EDGE_ALIAS, protocol: PROTOCOL, alone: true },
      }),
    );
    this.#resources = opened.move();
    const onAddresses = () => this.#announce();
    this.#segments = new EdgeSegments({ ...options, router: name, announcer: this.#announcer, onAddresses });
    const remote = (vni: number) => this.#table?.prefixes(vni) ?? [];
    this.#legs = new EdgeLegs({ ...options, router: name, remote, onChange: () => this.#leaks.soon() });
    this.#leaks = new EdgeLeaks(() => this.#leaksHere, options.onProblem);
    this.#reach = this.#resources.use(
      new EdgeReach({
        ...{ netns: this.netns, route: this.#route, onProblem: options.onProblem },
        table: () => this.#table,
        hear: (changes) => this.#hear(changes),
        changed: () => options.chains.look(name),
      }),
    );
    this.#settling = new VpcSettling({ speaker: () => this.#fabric, onSettled: () => this.#settle() });
  }

  /** router is the plan that was applied last. */
  get router(): EdgeRouter | undefined {
    return this.#router;
  }

  /** What is not as it should be, and may be tried again. */
  get problems(): readonly string[] {
    return [...this.#problems, ...this.#segments.problems()];
  }

  /** isDone tells whether all is as it was wanted. */
  get isDone(): boolean {
    return this.problems.length + this.#waiting.length === 0;
  }

  /** apply makes the router so. What cannot be is a problem, and keeps nothing else from it. */
  apply(wanted: EdgeRouter): void {
    const router = this.#asBefore(wanted);
    const bearing = new Bearing();
    bearing.bear(() => this.#applyRouter(router, bearing));
    bearing.bear(() => this.#applyPassthrough(router));
    bearing.bear(() => this.#engine.start());
    bearing.bear(() => this.#applyDomains(router, bearing));
    [this.#problems, this.#waiting] = [bearing.problems, bearing.waiting];
    this.#notDone = notDone(router);
    this.#router = router;
    const told = this.#told;
    this.#told = new Set([...this.problems, ...this.#notDone]);
    for (const problem of this.#told)
      if (!told.has(problem)) this.#options.onProblem(new Error(`Underlay "${router.underlay}": ${problem}`));
  }

  #asBefore(wanted: EdgeRouter): EdgeRouter {
    const { domains: _, ...shell } = wanted;
    const { domains = [], ...before } = this.#router ?? {};
    if (!sameValue(shell, before)) {
      this.#applied = new WeakSet();
      this.#speakers = new WeakMap();
    }
    return { ...wanted, domains: keepSame(domains, wanted.domains, ({ vni }) => vni) };
  }

  get #place(): LinkPlace {
    return { netns: this.netns, route: this.#route };
  }

  #applyRouter(router: EdgeRouter, bearing: Bearing): void {
    const { links, chains, homePlace: home } = this.#options;
    applyLinks(router, { links, chains, home, here: this.#place, bearing });
    const had = new Map(router.links.map(({ name }) => [name, links.addresses(name)]));
    const guard: KernelObject = { kind: "ruleset", family: "inet", text: guardText([...had.keys()]) };
    this.#engine.set("router", [...routerObjects(router, had), guard]);
    this.#engine.apply("router");
  }

  #applyPassthrough({ passthrough, links }: Pick<EdgeRouter, "links" | "passthrough">): void {
    this.#legs.passthrough(passthrough, { engine: this.#engine, route: this.#route, links });
  }

  #applyDomains(router: EdgeRouter, bearing: Bearing): void {
    const vteps = edgeVteps(router, this.#route);
    if (vteps === undefined) return this.#withoutAddress(router, bearing);
    const host = (this.#host ??= this.#open(vteps));
    if (!sameValue(this.#vteps, vteps)) {
      host.setNode(vteps.node);
      this.#table?.setOwn(vteps.all);
      this.#domains = new WeakMap();
      this.#applied = new WeakSet();
    }
    this.#vteps = vteps;
    const { problems } = bearing;
    const domains = router.domains.filter((domain) => {
      const vtep = vtepOf(domain, vteps);
      if (typeof vtep === "string") problems.push(vtep);
      return typeof vtep !== "string";
    });
    this.#keepOnly(domains, bearing);
    for (const domain of domains) {
      if (this.#applied.has(domain)) continue;
      const node = this.#nodeOf(domain, vteps);
      const before = problems.length;
      const done = bearing.bear(() => {
        this.#begun.add(domain.vni);
        host.keep(domain.vni, "edge");
        this.#legs.apply(host, domain, node);
      });
      if (done) bearing.bear(() => this.#segments.apply(host, domain, { node, bearing }));
      if (problems.length === before && host.netns(domain.vni) !== undefined) this.#applied.add(domain);
    }
    const isFirst = !this.#isAdopted;
    this.#adopt(host);
    if (isFirst) this.sweep();
    this.#isAdopted = true;
    this.#announce();
    // It began before there was anything to tell of.
    if (isFirst && this.#fabric !== undefined) this.#setFabric(this.#fabric);
  }

  /** What is here stays until the endpoint's link has an address again, as far as it is wanted; without an endpoint nothing is. */
  #withoutAddress({ endpoints, domains }: EdgeRouter, bearing: Bearing): void {
    if (endpoints.length > 0 && domains.length > 0)
      bearing.problems.push("the tunnel endpoint has no address; give its link one");
    const left = this.#here.filter((here) => domains.some(({ vni }) => vni === here.vni));
    if (endpoints.length === 0) this.#clearDomains(bearing);
    else this.#keepOnly(left, bearing);
    this.#announce();
  }

  #open({ node, all }: EdgeVteps): DomainHost {
    const { folder = NAMESPACES, onProblem } = this.#options;
    this.#table = new RemoteTable({ own: all });
    this.#settling.begin("agent");
    return DomainHost.open({
      ...{ home: this.#engine, netns: this.netns, node, folder, onProblem },
      alias: this.#alias,
    });
  }

  /** What an earlier agent attached, before it is seen as left over, and what waited for its domain to come back. */
  #adopt(host: DomainHost): void {
    const here = new Map<number, ReadonlySet<string>>();
    const isNew = ({ domain, id }: LocalAttachment) => {
      const ids = here.get(domain) ?? new Set(host.attachments(domain).map((one) => one.id));
      here.set(domain, ids);
      return host.netns(domain) !== undefined && !ids.has(id);
    };
    const own = this.#options.pods.all().filter(({ local }) => isNew(local));
    if (own.length === 0) return;
    host.adopt(own.map(({ local }) => local));
    for (const { local, sequence } of own) this.#announcer.setHost(local, { claim: "known", sequence });
  }

  /** sweep removes domains of an earlier agent in which nothing is; one with pods stays, whether resources still have it or not. */
  sweep(): void {
    this.#host?.sweep(new Set(this.#options.pods.all().map(({ local }) => local.domain)));
  }

  #keepOnly(domains: readonly EdgeDomain[], bearing: Bearing): void {
    const kept = new Set(domains.map(({ vni }) => vni));
    this.#here = domains;
    for (const vni of this.#begun)
      if (!kept.has(vni))
        bearing.bear(() => {
          this.#legs.end(vni);
          this.#segments.end(this.#host, vni);
          this.#host?.keep(vni, "edge", false);
          this.#rules.forget(vni);
          this.#begun.delete(vni);
        });
    this.#host?.setDomains(domains.map((domain) => this.#domainOf(domain)));
  }

  // BGP.

  /** speakers returns what this router has run. */
  speakers(): BgpRouter[] {
    const { folder = NAMESPACES } = this.#options;
    const here = { domains: this.#here, has: (vni: number) => this.has(vni), folder };
    return this.#router === undefined ? [] : speakersOf(this.#router, here, this.#speakers);
  }

  /** setSpeaker gives a speaker that begins; one of another router is not this one's affair. */
  setSpeaker(begun: EdgeSpeaker): void {
    const { name } = begun.speaker.router;
    this.#rules.setReader(begun.rules);
    if (name === fabricSpeaker(this.name)) return this.#setFabric(begun.speaker);
    this.#legs.setHost(begun);
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
    this.#host?.apply(changes);
    for (const routes of this.#legs.routes.values()) routes.hear(changes);
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
        const { imports: accepts, ...rules } = this.#rules.of(edge, this.#router?.asn ?? 0);
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
      this.#legs.routes.get(domain.vni)?.setFabric(this.#fabric, { declared, exports, byPath });
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
    return { host, node: vteps.node, domains, remote, routes: (vni) => this.#legs.routes.get(vni) };
  }

  #podPrefixes(host: DomainHost, { vni, routing }: EdgeDomain): Prefix[] {
    if (routing?.hosts !== true) return [];
    const pods = host.attachments(vni).flatMap(({ addresses }) => addresses);
    return [...pods, ...this.#segments.addresses(vni)].map(hostPrefix);
  }

  // Pods.

  /** has tells whether a domain is here that a pod can be attached to. */
  has(vni: number): boolean {
    return this.#host?.netns(vni) !== undefined;
  }

  /** attach makes a pod's link in a segment of a domain, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected {
    const host = this.#hostOf(attachment);
    const connected = host.attach(attachment, netns);
    this.#announce();
    this.#announcer.setHost(attachment, { claim: "arrived" });
    return connected;
  }

  /** missing returns the names of what does not work yet of an attachment; when there are none, the kernel forwards. */
  missing(attachment: LocalAttachment, netns: Netns): string[] {
    return this.#hostOf(attachment).missing(attachment, netns);
  }

  /** evpn is what the fabric's speaker has of EVPN, while there is one. */
  get evpn(): Speaker["evpn"] | undefined {
    return this.#fabric?.evpn;
  }

  /** detach removes an attachment; false when it was not there. */
  detach(id: string): boolean {
    this.#announcer.removeHost(id);
    const isHere = this.#host?.detach(id) === true;
    if (isHere) this.#announce();
    return isHere;
  }

  /** detachAll takes back all that a former store of pods had. */
  detachAll(): void {
    for (const { vni } of this.#host?.status() ?? [])
      for (const { id } of this.attachments(vni)) this.detach(id);
  }

  /** room returns the MTU that a segment leaves; a sentence where it is not here, or not the one that is meant. */
  room(wish: FabricSegment): { readonly mtuBytes: number } | { readonly error: string } {
    const here = this.#here.filter(({ vni }) => this.has(vni));
    const nodeOf = (domain: EdgeDomain) => this.#vteps && this.#nodeOf(domain, this.#vteps);
    return roomIn(wish, { here, nodeOf });
  }

  /** attachments returns what is attached to a domain. */
  attachments(vni: number): readonly LocalAttachment[] {
    return this.#host?.attachments(vni) ?? [];
  }

  #hostOf({ domain, id }: LocalAttachment): DomainHost {
    if (this.#host === undefined || !this.has(domain))
      throw new Error(
        `Cannot attach ${id}: VNI ${domain} is not in the fabric here; look at causeway status`,
      );
    return this.#host;
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

  #settle(): void {
    this.#hear(this.#table?.settle() ?? []);
    for (const routes of this.#legs.routes.values()) routes.settle();
    this.#leaks.settled();
    for (const _ of this.#host?.settling() ?? []);
  }

  /** status tells of the router and its domains. */
  status(): EdgeStatus {
    return edgeStatus(this.name, {
      ...{ router: this.#router, host: this.#host, legs: this.#legs, engine: this.#engine },
      problems: [...this.problems, ...this.#waiting, ...this.#notDone],
    });
  }

  /** clear takes the router down, also what an earlier agent made of it; false while plugins are at work. Throws what could not be, when all else is done. */
  clear(): boolean {
    const bearing = new Bearing();
    bearing.bear(() => this.#clearDomains(bearing));
    bearing.bear(() => this.#applyPassthrough({ links: [] }));
    bearing.bear(() => this.#engine.stop());
    // What is still in it would go with it, and pods' domains have their VXLAN links from it.
    const left = endLinks(this.name, { ...this.#options, here: this.#place, bearing });
    bearing.bear(() => {
      const domains = new DomainNamespaces(this.#options.folder, this.#alias).list();
      if (left.length + domains.length === 0) this.#namespaces.removeNamed(routerNamespace(this.name));
    });
    if (bearing.problems.length > 0) throw new Error(bearing.problems.join("; "));
    return bearing.waiting.length === 0;
  }

  #clearDomains(bearing: Bearing): void {
    this.#host ??= this.#open(NOWHERE);
    this.#keepOnly([], bearing);
    this.sweep();
  }

  /** Marks namespaces and links of the router's domains. */
  get #alias(): string {
    return `${EDGE_ALIAS}-${this.name}`;
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#settling[Symbol.dispose]();
    this.#segments[Symbol.dispose]();
    this.#leaks[Symbol.dispose]();
    this.#legs[Symbol.dispose]();
    this.#host?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}
