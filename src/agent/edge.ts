/**
 * Edge: the routers of this node in data-centre fabrics, by what resources say. Plans are values (src/edge); here they become namespaces,
 * links, domains and speakers.
 *
 * ```
 *  Underlay, VPC, Subnet ─▶ planEdge ─▶ EdgePlace of each router ─▶ kernel
 *                                            └─▶ BgpRouters ─▶ speakers ─▶ EdgePlace
 * ```
 */
import type { LocalAttachment } from "../domain/mod.ts";
import {
  type EdgeFacts,
  type EdgePlan,
  type EdgeProblem,
  type EdgeRouter,
  fabricSpeaker,
  hostSpeaker,
  passwordsOf,
  planEdge,
  withPasswords,
} from "../edge/mod.ts";
import { type Engine, sameValue } from "../engine/mod.ts";
import type { Mac } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { BgpRouter, EdgeNode, SecurityGroup, TenantResources } from "../resources/mod.ts";
import { after, listDirectory, Netns } from "../sys/mod.ts";
import type { Connected } from "./domain-port.ts";
import { DomainNamespaces, NAMESPACES } from "./domain-namespaces.ts";
import { keptObjects } from "./edge-kept.ts";
import { EdgeChains, type EdgeChainsOptions } from "./edge-chains.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import { EdgeLinks } from "./edge-links.ts";
import type { EdgePasswords } from "./edge-passwords.ts";
import { EDGE_ALIAS, EdgePlace } from "./edge-place.ts";
import type { GroupResources } from "./edge-pods.ts";
import type { EdgeStatus } from "./edge-status.ts";
import type { EdgeSpeaker } from "./edge-routes.ts";
import { type FabricPodStore, type FabricSegment, noFabricPods } from "./fabric-pods.ts";

/** A link may be plugged in, and an address given, later. */
const RETRY_MS = 5_000;

/** OnEdgeSpeaker is told of each speaker that begins, of others than the edge's too. */
export type OnEdgeSpeaker = (begun: EdgeSpeaker) => void;

/** EdgeBgp runs the speakers of an edge, and tells of each that begins. */
export interface EdgeBgp {
  /** setEdge makes these the edge's speakers. */
  setEdge(routers: readonly BgpRouter[], onSpeaker: OnEdgeSpeaker): void;
}

/** EdgeOptions say where. */
export interface EdgeOptions {
  /** Engine of the host's namespace. */
  readonly home: Engine;
  /** The host's namespace; default that of the calling thread. */
  readonly netns?: Netns;
  readonly bgp: EdgeBgp;
  /** The file with what links were like that were moved. */
  readonly linksPath: string;
  /** Links that CNI plugins make: a file of what they have made, and a folder for the socket of their DHCP daemon. */
  readonly chains: Pick<EdgeChainsOptions, "path" | "run" | "folders" | "node">;
  /** Where namespaces are bound; default /run/netns. */
  readonly folder?: string;
  /** Pods that are attached to domains of a fabric; default none. */
  readonly pods?: FabricPodStore;
  /** Passwords of its sessions; default none is found. */
  readonly passwords?: EdgePasswords;
  /** SecurityGroups that files of the node have, in what it follows; default none. */
  readonly fileGroups?: () => readonly SecurityGroup[];
  readonly onProblem: (error: Error) => void;
}

/** Edge owns the routers of a node; closing it leaves the kernel as it is. */
export class Edge implements Disposable {
  readonly #options: EdgeOptions;
  readonly #resources: DisposableStack;
  readonly #home: LinkPlace;
  readonly #links: EdgeLinks;
  readonly #chains: EdgeChains;
  readonly #places = new Map<string, EdgePlace>();
  #problems: readonly EdgeProblem[] = [];
  /** What went wrong of this attempt, and what was told of the one before. */
  readonly #failures = new Set<string>();
  #toldFailures: ReadonlySet<string> = new Set();
  /** Plugins still take links of a router down. */
  #isEnding = false;
  #retry: Disposable | undefined;
  /** Follows what was told last once more. */
  #again: () => void = () => {};

  constructor(options: EdgeOptions) {
    this.#options = options;
    using opened = new DisposableStack();
    const netns = options.netns ?? opened.use(Netns.current());
    this.#home = { netns, route: opened.use(Rtnetlink.open({ netns })) };
    this.#links = new EdgeLinks({ path: options.linksPath, home: this.#home });
    const onChange = () => this.#again();
    if (options.passwords !== undefined) options.passwords.onChange = onChange;
    this.#chains = opened.use(
      new EdgeChains({ ...options.chains, home: netns, folder: options.folder, onChange }),
    );
    this.#resources = opened.move();
  }

  /** isThere tells whether an earlier agent left a router here. */
  static isThere(folder = NAMESPACES): boolean {
    return routersIn(folder).length > 0;
  }

  /** follow makes the node's edge what resources say; the same again changes nothing. What cannot be is told, and tried again. */
  follow(tenants: TenantResources, node: EdgeNode): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    this.#again = () => this.follow(tenants, node);
    this.#failures.clear();
    this.#isEnding = false;
    this.#bear(() => this.#make(this.#planOf(tenants, node), tenants));
    this.#toldFailures = new Set(this.#failures);
    const isDone = [...this.#places.values()].every((place) => place.isDone);
    if (this.#failures.size > 0 || this.#isEnding || !isDone) this.#retry = after(RETRY_MS, this.#again);
  }

  #planOf(tenants: TenantResources, node: EdgeNode): EdgePlan {
    const plan = planEdge(tenants, this.#factsOf(tenants, node));
    const { passwords } = this.#options;
    if (passwords === undefined) return plan;
    const known = passwords.follow(passwordsOf(plan.edge));
    // A router that stays as it is has passwords that nothing tells of.
    if (plan.kept.length === 0) passwords.sweep();
    return { ...plan, edge: withPasswords(plan.edge, known) };
  }

  #make(plan: EdgePlan, groups: GroupResources): void {
    this.#tell(plan);
    const wanted = new Set([...plan.edge.routers.map(({ name }) => name), ...plan.kept]);
    this.#endSpeakers(plan);
    this.#removeOthers(wanted);
    for (const name of plan.kept) {
      const place = this.#places.get(name);
      if (place === undefined) this.#keep(name, true);
      // What is wrong with a router holds up no rule of its pods.
      else this.#bear(() => place.setGroups(groups));
    }
    for (const router of plan.edge.routers) this.#bear(() => this.#apply(router, groups));
    this.#setSpeakers();
  }

  #apply(router: EdgeRouter, groups: GroupResources): void {
    const { name, domains } = router;
    const place = this.#places.get(name) ?? this.#open(name);
    place.setGroups(groups);
    if (place.isDone && sameValue(place.router, router)) return;
    this.#options.home.remove(keptScope(name));
    place.apply(router);
    // They wait for the tunnel endpoint's address.
    if (domains.length > 0 && !domains.some(({ vni }) => place.has(vni))) this.#keep(name, false);
  }

  /**
   * What stays as an earlier agent made it is wished for as it is on the host's side: what nobody wishes for is removed. `whole`: the router itself too,
   * and not only its domains.
   */
  #keep(name: string, whole: boolean): void {
    const { home, folder } = this.#options;
    if (home.scopes().includes(keptScope(name))) return;
    const place = { folder, alias: `${EDGE_ALIAS}-${name}`, home: this.#home, whole };
    this.#bear(() => home.set(keptScope(name), keptObjects(name, place)));
  }

  /** Indices may be read from addresses that a link has, or had before it was moved. */
  #factsOf(tenants: TenantResources, node: EdgeNode): EdgeFacts {
    const names = [...tenants.Underlay.values()].flatMap(({ index }) =>
      index !== undefined && "link" in index ? [index.link] : [],
    );
    const { route } = this.#home;
    const addresses = Object.fromEntries(
      names.map((name) => {
        const moved = this.#links.addresses(name);
        const index = route.link(name)?.index;
        if (moved.length > 0 || index === undefined) return [name, moved];
        return [name, route.addresses({ linkIndex: index }).map(({ address }) => address)];
      }),
    );
    return { node, addresses, fileGroups: this.#options.fileGroups?.() ?? [] };
  }

  #tell({ problems }: EdgePlan): void {
    const told = this.#problems;
    this.#problems = problems;
    for (const problem of problems)
      if (!told.some((one) => sameValue(one, problem)))
        this.#options.onProblem(new Error(formatEdgeProblem(problem)));
  }

  #open(name: string): EdgePlace {
    const { home, folder, onProblem, pods = noFabricPods } = this.#options;
    const place = new EdgePlace(name, {
      ...{ home, homePlace: this.#home, links: this.#links, chains: this.#chains, pods, onProblem },
      ...(folder === undefined ? {} : { folder }),
    });
    this.#places.set(name, place);
    return place;
  }

  /** Also routers of an earlier agent that nobody wants any more. */
  #removeOthers(wanted: ReadonlySet<string>): void {
    const { folder = NAMESPACES } = this.#options;
    const gone = new Set([...this.#places.keys(), ...routersIn(folder)].filter((name) => !wanted.has(name)));
    for (const name of gone)
      this.#bear(() => {
        this.#options.home.remove(keptScope(name));
        const place = this.#places.get(name) ?? this.#open(name);
        this.#places.delete(name);
        // Sessions end before what they lead over.
        this.#setSpeakers();
        using _ = place;
        if (!place.clear()) this.#isEnding = true;
      });
    for (const router of this.#chains.routers())
      if (!wanted.has(router) && !gone.has(router)) {
        this.#chains.want(router, []);
        this.#isEnding = true;
        for (const problem of this.#chains.state(router).problems) this.#fail(new Error(problem));
      }
    for (const router of this.#links.routers())
      if (!wanted.has(router) && !gone.has(router))
        for (const problem of this.#links.giveBack(this.#links.moved(router), undefined))
          this.#fail(new Error(problem));
  }

  /** Neighbors of a session that ends are told so while there still is a way to them. */
  #endSpeakers({ edge, kept }: EdgePlan): void {
    const stay = new Set(
      edge.routers.flatMap(({ name, domains }) => [
        fabricSpeaker(name),
        ...domains.flatMap((domain) =>
          domain.routing?.host === undefined ? [] : [hostSpeaker(name, domain.vni)],
        ),
      ]),
    );
    let isLess = false;
    const now = [...this.#places.values()].flatMap((place) => {
      const all = place.speakers();
      const left = kept.includes(place.name) ? all : all.filter(({ name }) => stay.has(name));
      isLess ||= left.length < all.length;
      return left;
    });
    if (isLess) this.#options.bgp.setEdge(now, this.#onSpeaker);
  }

  #setSpeakers(): void {
    this.#options.bgp.setEdge(
      [...this.#places.values()].flatMap((place) => place.speakers()),
      this.#onSpeaker,
    );
  }

  readonly #onSpeaker = (begun: EdgeSpeaker): void => {
    if (this.#resources.disposed) return;
    for (const place of this.#places.values()) this.#bear(() => place.setSpeaker(begun));
  };

  /** place returns the router that has a domain, by its VNI; undefined where none has. */
  place(vni: number): EdgePlace | undefined {
    return [...this.#places.values()].find((place) => place.has(vni));
  }

  /** room returns the MTU that a segment leaves to a pod; a sentence where it is not here. */
  room(segment: FabricSegment): { readonly mtuBytes: number } | { readonly error: string } {
    const { vpc, domain } = segment;
    return (
      this.place(domain)?.room(segment) ?? {
        error: `VPC ${vpc} is not in the fabric here: no Underlay of this node has it; look at causeway status`,
      }
    );
  }

  /** attach makes a pod's link in a segment of a domain, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected {
    return this.#placeOf(attachment).attach(attachment, netns);
  }

  /** missing returns the names of what does not work yet of an attachment. */
  missing(attachment: LocalAttachment, netns: Netns): string[] {
    return this.#placeOf(attachment).missing(attachment, netns);
  }

  /** loaded resolves when it is known who else is in its segment. */
  async loaded(attachment: LocalAttachment): Promise<void> {
    await this.place(attachment.domain)?.evpn?.loaded(attachment.segment);
  }

  /** detach removes an attachment; false when it was not there, which is not an error. */
  detach(id: string): boolean {
    return [...this.#places.values()].some((place) => place.detach(id));
  }

  /** detachAll takes all pods back: whoever gave them their addresses is gone. */
  detachAll(): void {
    for (const place of this.#places.values()) this.#bear(() => place.detachAll());
  }

  /** sweep removes domains that only a pod had kept. */
  sweep(): void {
    for (const place of this.#places.values()) this.#bear(() => place.sweep());
  }

  /** isElsewhere tells whether another node announced an address of ours later. */
  isElsewhere(segment: number, mac: Mac): boolean {
    return [...this.#places.values()].some(({ evpn }) => evpn?.isElsewhere(segment, mac) === true);
  }

  #placeOf({ id, domain }: LocalAttachment): EdgePlace {
    const place = this.place(domain);
    if (place !== undefined) return place;
    throw new Error(`Cannot attach ${id}: VNI ${domain} is not in the fabric here; look at causeway status`);
  }

  /** status tells of each router that is here. */
  status(): EdgeStatus[] {
    return [...this.#places.values()].map((place) => place.status());
  }

  /** resources tells which resources are not, or not wholly, on this node. */
  get resources(): readonly EdgeProblem[] {
    return this.#problems;
  }

  /** problems tells which resources are not, or not wholly, on this node, and what went wrong of the last attempt. */
  problems(): string[] {
    return [...this.#problems.map(formatEdgeProblem), ...this.#failures];
  }

  #bear(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Told once, however often it is tried. */
  #fail(error: Error): void {
    const { message } = error;
    if (!this.#toldFailures.has(message) && !this.#failures.has(message)) this.#options.onProblem(error);
    this.#failures.add(message);
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    for (const place of this.#places.values()) place[Symbol.dispose]();
    this.#places.clear();
    this.#resources.dispose();
  }
}

function keptScope(router: string): string {
  return `edge/${router}/kept`;
}

/** Names of routers whose namespaces are there and bear our mark: others are called `cw-…` too. */
function routersIn(folder: string): string[] {
  const namespaces = new DomainNamespaces(folder, EDGE_ALIAS);
  return listDirectory(folder).flatMap((name) => {
    const router = /^cw-([a-z].*)$/.exec(name)?.[1];
    return router !== undefined && namespaces.isMarked(name) ? [router] : [];
  });
}

/** formatEdgeProblem returns a problem as text. */
export function formatEdgeProblem({ kind, name, field, value, problem }: EdgeProblem): string {
  return `${kind} "${name}": ${field}${value === undefined ? "" : ` ${value}`} ${problem}`;
}
