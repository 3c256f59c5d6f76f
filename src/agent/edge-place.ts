/**
 * EdgePlace: one router of the node's edge at work: its namespace with links and tunnel endpoint; its domains are edge-domains.ts. Nothing here is on
 * disk but what links were like (edge-links.ts): after a restart the same plan finds all of it again.
 */
import type { Speaker } from "../bgp/mod.ts";
import { guardText, type LocalAttachment } from "../domain/mod.ts";
import { type EdgeRouter, notDone, routerNamespace, routerObjects } from "../edge/mod.ts";
import { ALIAS, Engine, type KernelObject, PROTOCOL, sameValue } from "../engine/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { BgpRouter } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";
import type { Connected } from "./domain-port.ts";
import { DomainNamespaces } from "./domain-namespaces.ts";
import type { EdgeChains } from "./edge-chains.ts";
import { EdgeDomains } from "./edge-domains.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import type { EdgeLinks } from "./edge-links.ts";
import type { GroupResources } from "./edge-pods.ts";
import { applyLinks, endLinks } from "./edge-router-links.ts";
import type { EdgeSpeaker } from "./edge-routes.ts";
import { type EdgeStatus, edgeStatus } from "./edge-status.ts";
import type { FabricPodStore, FabricSegment } from "./fabric-pods.ts";
import { keepSame } from "./keep-same.ts";

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
  readonly #domains: EdgeDomains;
  #router: EdgeRouter | undefined;
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
    this.#domains = opened.use(
      new EdgeDomains({
        ...{ ...options, router: name, alias: this.#alias },
        ...{ netns: this.netns, route: this.#route, engine: this.#engine },
        onNetwork: () => options.chains.look(name),
      }),
    );
    this.#resources = opened.move();
  }

  /** router is the plan that was applied last. */
  get router(): EdgeRouter | undefined {
    return this.#router;
  }

  /** What is not as it should be, and may be tried again. */
  get problems(): readonly string[] {
    return [...this.#problems, ...this.#domains.problems()];
  }

  /** isDone tells whether all is as it was wanted. */
  get isDone(): boolean {
    const { problems, waiting } = this.#options.chains.state(this.name);
    return [this.problems, this.#waiting, problems, waiting].every(({ length }) => length === 0);
  }

  /** apply makes the router so. What cannot be is a problem, and keeps nothing else from it. */
  apply(wanted: EdgeRouter): void {
    const router = this.#asBefore(wanted);
    const bearing = new Bearing();
    bearing.bear(() => this.#applyRouter(router, bearing));
    bearing.bear(() => this.#applyPassthrough(router));
    bearing.bear(() => this.#engine.start());
    bearing.bear(() => this.#domains.apply(router, bearing));
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
    if (!sameValue(shell, before)) this.#domains.renew();
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
    this.#domains.legs.passthrough(passthrough, { engine: this.#engine, route: this.#route, links });
  }

  /** setGroups says of what the security groups of pods are made; the same again costs nothing. */
  setGroups(groups: GroupResources): void {
    this.#domains.setGroups(groups);
  }

  /** sweep removes domains of an earlier agent in which nothing is; one with pods stays, whether resources still have it or not. */
  sweep(): void {
    this.#domains.sweep();
  }

  /** speakers returns what this router has run. */
  speakers(): BgpRouter[] {
    return this.#router === undefined ? [] : this.#domains.speakers(this.#router);
  }

  /** setSpeaker gives a speaker that begins; one of another router is not this one's affair. */
  setSpeaker(begun: EdgeSpeaker): void {
    this.#domains.setSpeaker(begun);
  }

  /** evpn is what the fabric's speaker has of EVPN, while there is one. */
  get evpn(): Speaker["evpn"] | undefined {
    return this.#domains.evpn;
  }

  // Pods.

  /** has tells whether a domain is here that a pod can be attached to. */
  has(vni: number): boolean {
    return this.#domains.has(vni);
  }

  /** attach makes a pod's link in a segment of a domain, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected {
    return this.#domains.attach(attachment, netns);
  }

  /** missing returns the names of what does not work yet of an attachment; when there are none, the kernel forwards. */
  missing(attachment: LocalAttachment, netns: Netns): string[] {
    return this.#domains.host?.missing(attachment, netns) ?? [];
  }

  /** detach removes an attachment; false when it was not there. */
  detach(id: string): boolean {
    return this.#domains.pods?.detach(id) ?? false;
  }

  /** detachAll takes back all that a former store of pods had. */
  detachAll(): void {
    this.#domains.pods?.detachAll();
  }

  /** room returns the MTU that a segment leaves; a sentence where it is not here, or not the one that is meant. */
  room(wish: FabricSegment): { readonly mtuBytes: number } | { readonly error: string } {
    return this.#domains.room(wish);
  }

  /** attachments returns what is attached to a domain. */
  attachments(vni: number): readonly LocalAttachment[] {
    return this.#domains.host?.attachments(vni) ?? [];
  }

  /** status tells of the router and its domains. */
  status(): EdgeStatus {
    return edgeStatus(this.name, {
      ...{ router: this.#router, host: this.#domains.host, legs: this.#domains.legs, engine: this.#engine },
      problems: [...this.problems, ...this.#waiting, ...this.#notDone, ...this.#domains.notes()],
    });
  }

  /** clear takes the router down, also what an earlier agent made of it; false while plugins are at work. Throws what could not be, when all else is done. */
  clear(): boolean {
    const bearing = new Bearing();
    bearing.bear(() => this.#domains.clear(bearing));
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

  /** Marks namespaces and links of the router's domains. */
  get #alias(): string {
    return `${EDGE_ALIAS}-${this.name}`;
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
