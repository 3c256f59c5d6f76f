/** EdgeLegs keeps the links between a router's domains and the host, and the routes that go over them. */
import { type DomainNode, domainMtu, type RemotePrefix } from "../domain/mod.ts";
import {
  type EdgeDomain,
  type EdgeRouter,
  type HostLeg,
  hostEndObjects,
  hostSpeaker,
  legObjects,
} from "../edge/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import type { DomainHost } from "./domain-host.ts";
import { learnedIn, linksMtu, staticObjects } from "./edge-domain.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import { EdgeRoutes, type EdgeSpeaker } from "./edge-routes.ts";

/** EdgeLegsOptions say whose legs, and where. */
export interface EdgeLegsOptions {
  readonly router: string;
  /** Engine of the host's namespace. */
  readonly home: Engine;
  readonly homePlace: LinkPlace;
  /** What the fabric has told of a domain. */
  readonly remote: (vni: number) => readonly RemotePrefix[];
  /** A host has other networks. */
  readonly onChange: () => void;
}

/** EdgeLegs is disposed without touching the kernel. */
export class EdgeLegs implements Disposable {
  /** By VNI. */
  readonly routes = new Map<number, EdgeRoutes>();
  readonly #options: EdgeLegsOptions;

  constructor(options: EdgeLegsOptions) {
    this.#options = options;
  }

  /** passthrough joins router and host for plain packets: it ends in the router itself, and its session is the router's speaker's. */
  passthrough(leg: HostLeg | undefined, { engine, route, links }: Passthrough): void {
    const { home, homePlace } = this.#options;
    const scope = this.#scope(0);
    if (leg === undefined && !home.scopes().includes(scope)) return;
    const mtuBytes = linksMtu(links, route) - (leg?.overheadBytes ?? 0);
    engine.set("leg", leg === undefined ? [] : legObjects(leg, { home: homePlace.netns, mtuBytes }));
    engine.apply("leg");
    if (leg === undefined) home.remove(scope);
    else home.set(scope, hostEndObjects(leg, mtuBytes));
    home.apply(scope);
  }

  /** apply makes the leg of a domain that is kept here, and its static routes. */
  apply(host: DomainHost, domain: EdgeDomain, node: DomainNode): void {
    const { vni } = domain;
    const leg = domain.routing?.host;
    const { home, homePlace } = this.#options;
    const mtuBytes = domainMtu(node);
    const objects = leg === undefined ? [] : legObjects(leg, { home: homePlace.netns, mtuBytes });
    host.setScope(vni, "edge/leg", objects);
    host.setScope(vni, "edge/routes", staticObjects(domain));
    if (leg === undefined) return this.end(vni);
    home.set(this.#scope(vni), hostEndObjects(leg, mtuBytes));
    home.apply(this.#scope(vni));
    if (!this.routes.has(vni)) this.#begin(vni, host);
  }

  /** The fabric may have told of the domain long before. */
  #begin(vni: number, host: DomainHost): void {
    const routes = new EdgeRoutes(vni, learnedIn(host.netns(vni)), this.#options.onChange);
    this.routes.set(vni, routes);
    routes.hear(this.#options.remote(vni).map((remote) => ({ op: "set", remote })));
  }

  /** end takes the host's end of a domain's leg away. */
  end(vni: number): void {
    const { home } = this.#options;
    this.routes.get(vni)?.end();
    this.routes.delete(vni);
    if (!home.scopes().includes(this.#scope(vni))) return;
    home.remove(this.#scope(vni));
    home.apply(this.#scope(vni));
  }

  /** setHost gives a speaker that begins to the domain whose host's session it runs; false where it runs none of these. */
  setHost(begun: EdgeSpeaker): boolean {
    const { name } = begun.speaker.router;
    const [routes] = [...this.routes].flatMap(([vni, one]) =>
      name === hostSpeaker(this.#options.router, vni) ? [one] : [],
    );
    routes?.setHost(begun);
    return routes !== undefined;
  }

  /** Whether a host's speaker waits for neighbors after a restart. */
  get areDeferring(): boolean {
    return [...this.routes.values()].some(({ isDeferring }) => isDeferring);
  }

  #scope(vni: number): string {
    return `edge/${this.#options.router}/${vni}`;
  }

  [Symbol.dispose](): void {
    for (const routes of this.routes.values()) routes[Symbol.dispose]();
  }
}

/** Passthrough says where the leg ends: engine and socket there, and the router's links. */
export interface Passthrough {
  readonly engine: Engine;
  readonly route: Rtnetlink;
  readonly links: EdgeRouter["links"];
}
