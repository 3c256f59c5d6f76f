/**
 * EdgePlace: one router of the node's edge at work: its namespace with links and tunnel endpoint, its domains, and what goes between its
 * speakers. Nothing here is on disk but what links were like (edge-links.ts): after a restart the same plan finds all of it again.
 */
import type { Speaker } from "../bgp/mod.ts";
import {
  type ActiveDomain,
  type Domain,
  domainMtu,
  type DomainNode,
  guardText,
  type LocalAttachment,
  RemoteTable,
} from "../domain/mod.ts";
import {
  type EdgeDomain,
  type EdgeRouter,
  fabricSpeaker,
  hostEndObjects,
  hostSpeaker,
  legObjects,
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
import { domainOf, isOver, learnedIn, roomIn, staticObjects } from "./edge-domain.ts";
import { endpointNode, fabricMtu } from "./edge-endpoint.ts";
import type { EdgeLinks, LinkPlace } from "./edge-links.ts";
import { applyLinks } from "./edge-router-links.ts";
import { EdgeLeaks, type LeaksHere } from "./edge-leaks.ts";
import type { EdgeStatus } from "./edge-status.ts";
import { type DomainRules, EdgeRules } from "./edge-rules.ts";
import { EdgeRoutes, type EdgeSpeaker } from "./edge-routes.ts";
import { speakersOf } from "./edge-speakers.ts";
import type { FabricPodStore, FabricSegment } from "./fabric-pods.ts";
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
  readonly #routes = new Map<number, EdgeRoutes>();
  readonly #rules = new EdgeRules();
  readonly #leaks = new EdgeLeaks(() => this.#leaksHere);
  readonly #settling: VpcSettling;
  #router: EdgeRouter | undefined;
  #host: DomainHost | undefined;
  #table: RemoteTable | undefined;
  #node: DomainNode | undefined;
  /** What an earlier agent left has been taken over. */
  #isAdopted = false;
  #here: readonly EdgeDomain[] = [];
  /** VNIs of domains of which something is here. */
  readonly #begun = new Set<number>();
  #fabric: Speaker | undefined;
  #listening: Disposable | undefined;
  #problems: readonly string[] = [];
  #notDone: readonly string[] = [];

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
    this.#settling = new VpcSettling({ speaker: () => this.#fabric, onSettled: () => this.#settle() });
  }

  /** router is the plan that was applied last. */
  get router(): EdgeRouter | undefined {
    return this.#router;
  }

  /** What is not as it should be, and may be tried again. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** apply makes the router so. What cannot be is a problem, and keeps nothing else from it. */
  apply(router: EdgeRouter): void {
    const bearing = new Bearing();
    bearing.bear(() => this.#applyRouter(router, bearing));
    bearing.bear(() => this.#applyPassthrough(router));
    bearing.bear(() => this.#engine.start());
    bearing.bear(() => this.#applyDomains(router, bearing));
    const told = new Set([...this.#problems, ...this.#notDone]);
    this.#problems = bearing.problems;
    this.#notDone = notDone(router);
    this.#router = router;
    for (const problem of [...this.#problems, ...this.#notDone])
      if (!told.has(problem)) this.#options.onProblem(new Error(`Underlay "${router.underlay}": ${problem}`));
  }

  get #place(): LinkPlace {
    return { netns: this.netns, route: this.#route };
  }

  #applyRouter(router: EdgeRouter, bearing: Bearing): void {
    const { links, homePlace: home } = this.#options;
    applyLinks(router, { links, home, here: this.#place, bearing });
    const names = router.links.map(({ name }) => name);
    const had = new Map(names.map((name) => [name, links.addresses(name)]));
    const guard: KernelObject = { kind: "ruleset", family: "inet", text: guardText(names) };
    this.#engine.set("router", [...routerObjects(router, had), guard]);
    this.#engine.apply("router");
  }

  /** Plain packets between host and fabric: the leg ends in the router itself, and its session is the router's speaker's. */
  #applyPassthrough(router: EdgeRouter | undefined): void {
    const { home, homePlace } = this.#options;
    const scope = this.#homeScope(0);
    const leg = router?.passthrough;
    if (leg === undefined && !home.scopes().includes(scope)) return;
    const mtuBytes = fabricMtu(router ?? { links: [] }, this.#route) - (leg?.overheadBytes ?? 0);
    this.#engine.set("leg", leg === undefined ? [] : legObjects(leg, { home: homePlace.netns, mtuBytes }));
    this.#engine.apply("leg");
    if (leg === undefined) home.remove(scope);
    else home.set(scope, hostEndObjects(leg, mtuBytes));
    home.apply(scope);
  }

  #applyDomains(router: EdgeRouter, bearing: Bearing): void {
    const { problems } = bearing;
    const node = endpointNode(router, this.#route);
    if (node === undefined) {
      if (router.domains.length > 0 || this.#host !== undefined)
        problems.push("the tunnel endpoint has no address; give its link one");
      return;
    }
    const host = (this.#host ??= this.#open(node));
    if (this.#node !== undefined && !sameValue(this.#node, node)) {
      host.setNode(node);
      this.#table?.setOwn([node.vtep]);
    }
    this.#node = node;
    const { family } = node.vtep;
    const domains = router.domains.filter((domain) => isOver(domain, family));
    for (const { vpc } of router.domains.filter((domain) => !domains.includes(domain)))
      problems.push(
        `VPC "${vpc}" is over IPv${family === 4 ? 6 : 4}, which cannot stand beside IPv${family} yet`,
      );
    this.#here = domains;
    this.#endOthers(new Set(domains.map(({ vni }) => vni)), bearing);
    host.setDomains(domains.map(domainOf));
    for (const domain of domains) bearing.bear(() => this.#applyDomain(host, domain, node));
    const isFirst = !this.#isAdopted;
    this.#adopt(host);
    if (isFirst) this.sweep();
    this.#isAdopted = true;
    this.#announce();
    // It began before there was anything to tell of.
    if (isFirst && this.#fabric !== undefined) this.#setFabric(this.#fabric);
  }

  #open(node: DomainNode): DomainHost {
    const { folder = NAMESPACES, onProblem } = this.#options;
    this.#table = new RemoteTable({ own: [node.vtep] });
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

  #applyDomain(host: DomainHost, domain: EdgeDomain, node: DomainNode): void {
    const { vni } = domain;
    this.#begun.add(vni);
    host.keep(vni, "edge");
    const leg = domain.routing?.host;
    const { home, homePlace } = this.#options;
    const mtuBytes = domainMtu(node);
    host.setScope(
      vni,
      "edge/leg",
      leg === undefined ? [] : legObjects(leg, { home: homePlace.netns, mtuBytes }),
    );
    host.setScope(vni, "edge/routes", staticObjects(domain));
    const scope = this.#homeScope(vni);
    if (leg !== undefined) {
      home.set(scope, hostEndObjects(leg, mtuBytes));
      home.apply(scope);
      if (!this.#routes.has(vni)) this.#beginRoutes(vni, host);
    } else this.#endLeg(vni);
  }

  /** The fabric may have told of the domain long before. */
  #beginRoutes(vni: number, host: DomainHost): void {
    const routes = new EdgeRoutes(vni, learnedIn(host.netns(vni)), () => this.#leaks.soon());
    this.#routes.set(vni, routes);
    routes.hear((this.#table?.prefixes(vni) ?? []).map((remote) => ({ op: "set", remote })));
  }

  #homeScope(vni: number): string {
    return `edge/${this.name}/${vni}`;
  }

  #endOthers(kept: ReadonlySet<number>, bearing: Bearing): void {
    for (const vni of this.#begun)
      if (!kept.has(vni))
        bearing.bear(() => {
          this.#endLeg(vni);
          this.#host?.keep(vni, "edge", false);
          this.#begun.delete(vni);
        });
  }

  #endLeg(vni: number): void {
    const { home } = this.#options;
    this.#routes.get(vni)?.end();
    this.#routes.delete(vni);
    if (!home.scopes().includes(this.#homeScope(vni))) return;
    home.remove(this.#homeScope(vni));
    home.apply(this.#homeScope(vni));
  }

  // BGP.

  /** speakers returns what this router has run. */
  speakers(): BgpRouter[] {
    const { folder = NAMESPACES } = this.#options;
    const here = { domains: this.#here, has: (vni: number) => this.has(vni), folder };
    return this.#router === undefined ? [] : speakersOf(this.#router, here);
  }

  /** setSpeaker gives a speaker that begins; one of another router is not this one's affair. */
  setSpeaker(begun: EdgeSpeaker): void {
    const { name } = begun.speaker.router;
    this.#rules.setReader(begun.rules);
    if (name === fabricSpeaker(this.name)) return this.#setFabric(begun.speaker);
    for (const [vni, routes] of this.#routes) if (name === hostSpeaker(this.name, vni)) routes.setHost(begun);
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
    });
  }

  #hear(changes: Parameters<DomainHost["apply"]>[0]): void {
    if (changes.length === 0) return;
    this.#leaks.soon();
    this.#host?.apply(changes);
    for (const routes of this.#routes.values()) routes.hear(changes);
  }

  /** What is here is told, and what belongs to it is asked for. */
  #announce(): void {
    const [host, node] = [this.#host, this.#node];
    if (host === undefined || node === undefined) return;
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
        };
      });
    this.#announcer.setDomains(here, { address: node.vtep, routerMac: host.routerMac });
    for (const { domain, prefixes: declared, exports, byPath } of here)
      this.#routes.get(domain.vni)?.setFabric(this.#fabric, { declared, exports, byPath });
    const changes = this.#table?.setActive(
      here.map(({ segments, ...one }) => ({ ...one, segments: segments.map(({ vni }) => vni) })),
    );
    this.#hear(changes ?? []);
    this.#leaks.soon();
  }

  get #leaksHere(): LeaksHere | undefined {
    const [host, node] = [this.#host, this.#node];
    if (host === undefined || node === undefined) return undefined;
    const remote = (vni: number) => this.#table?.prefixes(vni).map(({ prefix }) => prefix) ?? [];
    return { host, node, domains: this.#here, remote, routes: (vni) => this.#routes.get(vni) };
  }

  #podPrefixes(host: DomainHost, { vni, routing }: EdgeDomain): Prefix[] {
    if (routing?.hosts !== true) return [];
    return host.attachments(vni).flatMap(({ addresses }) => addresses.map(hostPrefix));
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
    this.#announce();
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
    return roomIn(wish, { here, node: this.#node });
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
  readonly #domains = new WeakMap<EdgeDomain, Domain>();
  #domainOf(edge: EdgeDomain): Domain {
    const known = this.#domains.get(edge) ?? domainOf(edge);
    this.#domains.set(edge, known);
    return known;
  }

  #settle(): void {
    this.#hear(this.#table?.settle() ?? []);
    for (const routes of this.#routes.values()) routes.settle();
    this.#leaks.settled();
    for (const _ of this.#host?.settling() ?? []);
  }

  /** status tells of the router and its domains. */
  status(): EdgeStatus {
    return {
      router: this.name,
      underlay: this.#router?.underlay ?? "",
      namespace: routerNamespace(this.name),
      domains: (this.#host?.status() ?? []).map((domain) => ({
        ...domain,
        fromHost: this.#routes.get(domain.vni)?.fromHost ?? [],
      })),
      problems: [
        ...this.#problems,
        ...this.#notDone,
        ...this.#engine.problems().map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`),
      ],
    };
  }

  /** clear takes the router down and gives its links back; also what an earlier agent made of it. Throws what could not be, when all else is done. */
  clear(): void {
    const bearing = new Bearing();
    bearing.bear(() => this.#clearDomains(bearing));
    bearing.bear(() => this.#applyPassthrough(undefined));
    bearing.bear(() => this.#engine.stop());
    const { links } = this.#options;
    bearing.problems.push(...links.giveBack(links.moved(this.name), this.#place));
    bearing.bear(() => {
      // What is still in it would go with it, and pods' domains have their VXLAN links from it.
      const inside = links.moved(this.name).filter((name) => this.#route.link(name) !== undefined);
      if (inside.length === 0 && !this.#hasDomains) this.#namespaces.removeNamed(routerNamespace(this.name));
    });
    if (bearing.problems.length > 0) throw new Error(bearing.problems.join("; "));
  }

  #clearDomains(bearing: Bearing): void {
    this.#here = [];
    this.#endOthers(new Set(), bearing);
    const node = { vtep: { family: 4, value: 0n } as const, underlayLink: "lo", underlayMtuBytes: 1500 };
    this.#host ??= this.#open(node);
    this.#host.setDomains([]);
    this.sweep();
  }

  get #hasDomains(): boolean {
    return new DomainNamespaces(this.#options.folder, this.#alias).list().length > 0;
  }

  /** Marks namespaces and links of the router's domains. */
  get #alias(): string {
    return `${EDGE_ALIAS}-${this.name}`;
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#settling[Symbol.dispose]();
    this.#leaks[Symbol.dispose]();
    for (const routes of this.#routes.values()) routes[Symbol.dispose]();
    this.#host?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}
