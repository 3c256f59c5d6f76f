/**
 * EdgePlace: one router of the node's edge at work: its namespace with links and tunnel endpoint, its domains, and what goes between its
 * speakers. Nothing here is on disk but what links were like (edge-links.ts): after a restart the same plan finds all of it again.
 */
import type { Speaker } from "../bgp/mod.ts";
import {
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
  fabricRouter,
  fabricSpeaker,
  hostEndObjects,
  hostRouter,
  hostSpeaker,
  legObjects,
  legOf,
  notDone,
  routerNamespace,
  routerObjects,
  waits,
} from "../edge/mod.ts";
import { ALIAS, Engine, type KernelObject, PROTOCOL, sameValue } from "../engine/mod.ts";
import { hostPrefix, type Prefix } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { BgpRouter } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";
import { type Connected, DomainHost, type DomainStatus } from "./domain-host.ts";
import { DomainNamespaces, NAMESPACES } from "./domain-namespaces.ts";
import {
  domainIn,
  type EdgeVteps,
  edgeVteps,
  learnedIn,
  linksMtu,
  staticObjects,
  vtepFor,
  vtepOf,
} from "./edge-domain.ts";
import type { EdgeLinks, LinkPlace } from "./edge-links.ts";
import { applyLinks, endBonds } from "./edge-router-links.ts";
import { EdgeReach } from "./edge-reach.ts";
import { EdgeRoutes, type EdgeSpeaker } from "./edge-routes.ts";
import { EdgeSegments } from "./edge-segments.ts";
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
  /** Where namespaces are bound; default /run/netns. */
  readonly folder?: string | undefined;
  /** Pods that an earlier agent attached to domains of a fabric, in the order in which they came. */
  readonly attached: () => readonly LocalAttachment[];
  readonly onProblem: (error: Error) => void;
}

/** EdgeStatus is what people see of a router. */
export interface EdgeStatus {
  readonly router: string;
  readonly underlay: string;
  readonly namespace: string;
  readonly domains: readonly (DomainStatus & { readonly fromHost: readonly string[] })[];
  /** What is not as it should be. */
  readonly problems: readonly string[];
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
  readonly #segments: EdgeSegments;
  readonly #reach: EdgeReach;
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
    this.#reach = this.#resources.use(
      new EdgeReach({
        ...{ netns: this.netns, route: this.#route, onProblem: options.onProblem },
        table: () => this.#table,
        hear: (changes) => this.#hear(changes),
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

  /** apply makes the router so. What cannot be is a problem, and keeps nothing else from it. */
  apply(wanted: EdgeRouter): void {
    const router = this.#asBefore(wanted);
    const bearing = new Bearing();
    bearing.bear(() => this.#applyRouter(router, bearing));
    bearing.bear(() => this.#applyPassthrough(router));
    bearing.bear(() => this.#engine.start());
    bearing.bear(() => this.#applyDomains(router, bearing));
    this.#problems = bearing.problems;
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
    const mtuBytes = linksMtu(router?.links ?? [], this.#route) - (leg?.overheadBytes ?? 0);
    this.#engine.set("leg", leg === undefined ? [] : legObjects(leg, { home: homePlace.netns, mtuBytes }));
    this.#engine.apply("leg");
    if (leg === undefined) home.remove(scope);
    else home.set(scope, hostEndObjects(leg, mtuBytes));
    home.apply(scope);
  }

  #applyDomains(router: EdgeRouter, bearing: Bearing): void {
    const { problems } = bearing;
    const vteps = edgeVteps(router, this.#route);
    if (vteps === undefined) {
      if (router.domains.length > 0 || this.#host !== undefined)
        problems.push("the tunnel endpoint has no address; give its link one");
      return;
    }
    const host = (this.#host ??= this.#open(vteps));
    if (!sameValue(this.#vteps, vteps)) {
      host.setNode(vteps.node);
      this.#table?.setOwn(vteps.all);
      this.#domains = new WeakMap();
      this.#applied = new WeakSet();
    }
    this.#vteps = vteps;
    const domains = router.domains.filter((domain) => {
      const vtep = vtepOf(domain, vteps);
      if (typeof vtep === "string") problems.push(vtep);
      return typeof vtep !== "string";
    });
    this.#here = domains;
    this.#endOthers(new Set(domains.map(({ vni }) => vni)), bearing);
    host.setDomains(domains.map((domain) => this.#domainOf(domain)));
    for (const domain of domains) {
      if (this.#applied.has(domain)) continue;
      const { vtep = vteps.node.vtep } = this.#domainOf(domain);
      const node = { ...vteps.node, vtep };
      const before = problems.length;
      const done = bearing.bear(() => this.#applyDomain(host, domain, node));
      if (done) bearing.bear(() => this.#segments.apply(host, domain, { node, bearing }));
      if (problems.length === before && host.netns(domain.vni) !== undefined) this.#applied.add(domain);
    }
    const isFirst = !this.#isAdopted;
    if (isFirst) {
      this.#adopt(host);
      host.sweep();
      this.#isAdopted = true;
    }
    this.#announce();
    // It began before there was anything to tell of.
    if (isFirst && this.#fabric !== undefined) this.#setFabric(this.#fabric);
  }

  #open({ node, all }: EdgeVteps): DomainHost {
    const { folder = NAMESPACES, onProblem } = this.#options;
    this.#table = new RemoteTable({ own: all });
    this.#settling.begin("agent");
    return DomainHost.open({
      ...{ home: this.#engine, netns: this.netns, node, folder, onProblem },
      alias: `${EDGE_ALIAS}-${this.name}`,
    });
  }

  /** What an earlier agent attached, before it is seen as left over. */
  #adopt(host: DomainHost): void {
    const own = this.#options.attached().filter(({ domain }) => host.netns(domain) !== undefined);
    host.adopt(own);
    for (const attachment of own) this.#announcer.setHost(attachment, { claim: "known" });
  }

  #applyDomain(host: DomainHost, domain: EdgeDomain, node: DomainNode): void {
    const { vni } = domain;
    this.#begun.add(vni);
    host.keep(vni, "edge");
    const leg = legOf(domain);
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
    const routes = new EdgeRoutes(vni, learnedIn(host.netns(vni)));
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
          this.#segments.end(this.#host, vni);
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
    const router = this.#router;
    if (router === undefined) return [];
    const hosts = this.#here.flatMap((domain) => {
      if (this.#host?.netns(domain.vni) === undefined) return [];
      const own = this.#speakers.get(domain) ?? this.#hostSpeaker(router, domain);
      if (own !== undefined) this.#speakers.set(domain, own);
      return own ?? [];
    });
    return [fabricRouter(router, { namespace: this.#path(router.namespace) }), ...hosts];
  }

  #hostSpeaker(router: EdgeRouter, domain: EdgeDomain): BgpRouter | undefined {
    const leg = legOf(domain);
    const namespace = this.#path(`cw-${domain.vni}`);
    return leg && hostRouter(router, { domain, leg, namespace });
  }

  #path(namespace: string): string {
    return `${this.#options.folder ?? NAMESPACES}/${namespace}`;
  }

  /** setSpeaker gives a speaker that begins; one of another router is not this one's affair. */
  setSpeaker(begun: EdgeSpeaker): void {
    const { name } = begun.speaker.router;
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
      raised: (vni, mac, sequence) => this.#announcer.raise(vni, mac, sequence),
      moved: (vni, mac) => this.#segments.moved(vni, mac),
    });
  }

  #hear(changes: Parameters<DomainHost["apply"]>[0]): void {
    this.#reach.heard();
    if (changes.length === 0) return;
    this.#host?.apply(changes);
    for (const routes of this.#routes.values()) routes.hear(changes);
  }

  /** What is here is told, and what belongs to it is asked for. */
  #announce(): void {
    const [host, vteps] = [this.#host, this.#vteps];
    if (host === undefined || vteps === undefined) return;
    const active = host.active();
    const segments = new Set(active.segments);
    const here: HereDomain[] = this.#here
      .filter((edge) => active.domains.includes(edge.vni) && !waits(edge))
      .map((edge) => {
        const domain = this.#domainOf(edge);
        return {
          domain,
          segments: domain.segments.filter(({ vni }) => segments.has(vni)),
          prefixes: [...(edge.routing?.announce ?? []), ...this.#podPrefixes(host, edge)],
          only: true,
          ...(domain.vtep && { vtep: vtepFor(domain.vtep) }),
        };
      });
    this.#announcer.setDomains(here, vtepFor(vteps.node.vtep));
    for (const { domain, prefixes } of here) this.#routes.get(domain.vni)?.setFabric(this.#fabric, prefixes);
    const changes = this.#table?.setActive(
      here.map(({ domain, segments: some }) => ({ domain, segments: some.map(({ vni }) => vni) })),
    );
    this.#hear(changes ?? []);
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

  /** detach removes an attachment; one that is not there is not an error. */
  detach(id: string): void {
    this.#announcer.removeHost(id);
    this.#host?.detach(id);
    this.#announce();
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

  #settle(): void {
    this.#hear(this.#table?.settle() ?? []);
    for (const routes of this.#routes.values()) routes.settle();
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
        ...this.problems,
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
    endBonds(this.name, { links, here: this.#place, bearing });
    bearing.problems.push(...links.giveBack(links.moved(this.name), this.#place));
    bearing.bear(() => {
      // What is still in it would go with it.
      const inside = links.moved(this.name).filter((name) => this.#route.link(name) !== undefined);
      if (inside.length === 0) this.#namespaces.removeNamed(routerNamespace(this.name));
    });
    if (bearing.problems.length > 0) throw new Error(bearing.problems.join("; "));
  }

  #clearDomains(bearing: Bearing): void {
    this.#here = [];
    this.#endOthers(new Set(), bearing);
    const node = { vtep: { family: 4, value: 0n } as const, underlayLink: "lo", underlayMtuBytes: 1500 };
    this.#host ??= this.#open({ node, all: [] });
    this.#host.setDomains([]);
    this.#host.sweep();
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#settling[Symbol.dispose]();
    this.#segments[Symbol.dispose]();
    for (const routes of this.#routes.values()) routes[Symbol.dispose]();
    this.#host?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}
