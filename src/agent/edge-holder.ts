/**
 * The node's edge in an agent: resources from files and from the register together, as long as there is an Underlay, or something is left of one.
 *
 * A resource in a file wins over the register's of the same kind and name: it was there before Kubernetes or a hub, and may be what they are
 * reached by. Until it is known whether the node belongs to a mesh nothing is touched. Files count no more when the node was told to leave, until it
 * joins a mesh or the agent begins anew.
 */
import type { Engine } from "../engine/mod.ts";
import type { Mesh, Node, TenantKind, TenantResource, TenantResources } from "../resources/mod.ts";
import { countsBefore, type EdgeNode, noTenants, tenantKey, tenantsOf, withFiles } from "../resources/mod.ts";
import { after, exists, hostName, monotonicMs, sleep } from "../sys/mod.ts";
import type { BgpFiles } from "./bgp.ts";
import { Edge } from "./edge.ts";
import { info, warn } from "./log.ts";
import { clusterAccess, EdgePasswords } from "./edge-passwords.ts";
import { EDGE_CHAINS, EDGE_LINKS, EDGE_PASSWORDS, MANIFESTS, RUN } from "./paths.ts";
import type { ClusterBgp, EdgeView, ShownEdge } from "./cluster-bgp.ts";
import { type FabricPods, type FabricPodStore, noFabric, noFabricPods } from "./fabric-pods.ts";

/** What cannot be begun is tried again. */
const RETRY_MS = 5_000;

/** How long CNI plugins may take to remove their links before whoever waits is told. */
const LEAVE_LIMIT_MS = 60_000;

/** EdgeHolder hands BGP of the node's own router on, and keeps the edge beside it. */
export class EdgeHolder implements ClusterBgp, Disposable {
  readonly #bgp: BgpFiles;
  #engine: Engine | undefined;
  #view: EdgeView | undefined;
  #edge: Edge | undefined;
  /** Names in files that the register has too. */
  #twice = "";
  #hasLooked = false;
  #hasLeft = false;
  #problem = "";
  #retry: Disposable | undefined;

  readonly #passwords: EdgePasswords;

  /** `kubeconfig` is how Secrets are read: its path, or IN_CLUSTER. */
  constructor(bgp: BgpFiles, kubeconfig?: string) {
    this.#bgp = bgp;
    this.#passwords = new EdgePasswords({ folder: EDGE_PASSWORDS, access: () => clusterAccess(kubeconfig) });
    bgp.onResources(() => this.#apply());
  }

  /** setCluster implements ClusterBgp. */
  setCluster(...wish: Parameters<ClusterBgp["setCluster"]>): void {
    this.#bgp.setCluster(...wish);
  }

  /** follow implements ClusterBgp. */
  follow(engine: Engine, view: EdgeView | undefined): void {
    const last = this.#view;
    const isSame =
      this.#engine === engine &&
      last?.tenants === view?.tenants &&
      last?.self === view?.self &&
      last?.pods === view?.pods;
    this.#engine = engine;
    this.#view = view;
    if (view !== undefined) this.#hasLeft = false;
    if (view === undefined) this.#edge?.detachAll();
    if (!isSame || view === undefined) this.#apply();
  }

  /** leave implements ClusterBgp. */
  async leave(progress: (text: string) => void): Promise<void> {
    if (!isHere()) return progress("no link of this node is in an edge");
    const routers = this.edge()?.routers ?? [];
    this.#hasLeft = true;
    info("this node leaves its edge", { count: routers.length });
    this.#apply();
    const problems = () => this.edge()?.problems ?? [];
    const deadline = monotonicMs() + LEAVE_LIMIT_MS;
    while (isHere() && problems().length === 0 && monotonicMs() < deadline) await sleep(50);
    for (const { router, links = [] } of routers)
      progress(`router ${router} of the edge has ended; it had ${links.join(", ") || "no link"}`);
    if (isHere())
      throw new Error(
        `Cannot leave: ${problems().join("; ") || "CNI plugins are still at work"}; the agent tries it again, and files count again when it is started anew`,
      );
    progress("its links are as they were before");
    if (this.#bgp.resources.some(({ kind }) => kind === "Underlay"))
      progress(`an Underlay is in ${MANIFESTS}; the next agent takes its links again unless you remove that`);
  }

  /** edge implements ClusterBgp. */
  edge(): ShownEdge | undefined {
    const routers = this.#edge?.status() ?? [];
    const problems = [...(this.#edge?.problems() ?? []), ...(this.#problem === "" ? [] : [this.#problem])];
    if (routers.length + problems.length === 0) return undefined;
    return { routers, resources: this.#edge?.resources ?? [], problems };
  }

  /** files implements ClusterBgp. */
  get files(): readonly TenantResource[] {
    return this.#bgp.resources;
  }

  /** fabric implements ClusterBgp. */
  get fabric(): FabricPods {
    const edge = this.#edge;
    if (edge === undefined) return noFabric;
    return {
      room: (segment) => edge.room(segment),
      attach: (attachment, netns) => edge.attach(attachment, netns),
      missing: (attachment, netns) => edge.missing(attachment, netns),
      loaded: (attachment) => edge.loaded(attachment),
      detach: (id) => edge.detach(id),
      forgotten: () => {
        edge.sweep();
        // A router that only its pods had kept.
        this.#apply();
      },
      isElsewhere: (segment, mac) => edge.isElsewhere(segment, mac),
      domains: () => edge.status().flatMap(({ domains }) => domains),
    };
  }

  /** Whatever is wrong about an edge is no affair of the mesh, or of a node that has none: it is told, and tried again. */
  #apply(): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    try {
      this.#follow();
      this.#problem = "";
    } catch (cause) {
      const error = cause as Error;
      if (error.message !== this.#problem) warn("edge", { error });
      this.#problem = error.message;
      this.#retry = after(RETRY_MS, () => this.#apply());
    }
  }

  #follow(): void {
    const engine = this.#engine;
    if (engine === undefined) return;
    if (this.#edge === undefined) {
      if (!this.#isWanted() && !this.#isLeft()) return;
      this.#edge = new Edge({
        ...{ home: engine, bgp: this.#bgp, linksPath: EDGE_LINKS },
        passwords: this.#passwords,
        fileGroups: () => [...tenantsOf(this.#bgp.resources).SecurityGroup.values()],
        chains: { path: EDGE_CHAINS, run: RUN, node: hostName() },
        pods: {
          all: () => this.#pods.all(),
          raised: (...told) => this.#pods.raised(...told),
        },
        onProblem: (error) => warn("edge", { error }),
      });
    }
    this.#edge.follow(this.#merged(), nodeOf(this.#view));
  }

  get #pods(): FabricPodStore {
    return this.#view?.pods ?? noFabricPods;
  }

  /** What files have is told of where nothing comes of it, too. */
  #isWanted(): boolean {
    return (this.#view?.tenants.Underlay.size ?? 0) > 0 || this.#bgp.resources.length > 0;
  }

  /** What an earlier agent left is looked for once: all later ones are this one's. */
  #isLeft(): boolean {
    if (this.#hasLooked) return false;
    const isLeft = isHere() || exists(EDGE_PASSWORDS);
    this.#hasLooked = !isLeft;
    return isLeft;
  }

  #merged(): TenantResources {
    if (this.#hasLeft) return noTenants;
    const registered = this.#view?.tenants ?? noTenants;
    const files = this.#bgp.resources;
    const all = withFiles(registered, files);
    // A group that does not count is a problem, and told as such.
    const counts = ({ kind, value }: TenantResource) =>
      kind !== "SecurityGroup" ||
      (countsBefore(value, registered) && all.VPC.get(value.vpc)?.underlay !== undefined);
    const twice = files
      .filter((one) => registered[one.kind as TenantKind].has(one.value.name) && counts(one))
      .map(({ kind, value }) => tenantKey(kind as TenantKind, value.name));
    if (twice.join() !== this.#twice)
      for (const object of twice)
        warn("a resource is in a file and in the register; the file's counts on this node", { object });
    this.#twice = twice.join();
    return all;
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    this.#edge?.[Symbol.dispose]();
    this.#passwords[Symbol.dispose]();
    this.#bgp[Symbol.dispose]();
  }
}

/** An edge has something of this node's. */
function isHere(): boolean {
  return [EDGE_LINKS, EDGE_CHAINS].some(exists) || Edge.isThere();
}

/** Its index in pools is its number in the register, from 0, as admission has it (hub/apply-tenant.ts). */
function nodeOf(view: EdgeView | undefined): EdgeNode {
  if (view === undefined) return { name: hostName(), hub: false };
  const { name, hub, role, site, labels = {}, overlay4 }: Node = view.self;
  const { overlay4: pool }: Mesh = view.mesh;
  return {
    ...{ name, hub, labels },
    ...(role === undefined ? {} : { role }),
    ...(site === undefined ? {} : { site }),
    index: Number(overlay4.value - pool.value) - 1,
  };
}
