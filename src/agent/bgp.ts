/**
 * BGP routers of this node: manifests of kind BgpRouter in a folder, which is looked at again and again. What BGP needs is loaded when there is
 * one. Sessions outlive a restart of the agent as RFC 4724 has it: connections end without a word, and neighbors keep the routes.
 */
import type { Routers, Speaker } from "../bgp/mod.ts";
import { CLUSTER_ROUTER } from "../domain/mod.ts";
import { sameValue } from "../engine/mod.ts";
import {
  type BgpRouter,
  formatProblem,
  MANIFEST_FILES,
  parseManifest,
  type TenantKind,
  type TenantResource,
} from "../resources/mod.ts";
import { after, ensureDirectory, FollowedTexts, type TextChange } from "../sys/mod.ts";
import { info, warn } from "./log.ts";
import { BGP_SOCKET, MANIFESTS, RUN } from "./paths.ts";
import type { EdgeBgp, OnEdgeSpeaker } from "./edge.ts";
import type { ClusterBgp } from "./cluster-bgp.ts";

/** What of an edge may stand in the folder. */
const EDGE_KINDS: readonly string[] = [
  "Underlay",
  "VPC",
  "Subnet",
  "SecurityGroup",
] satisfies readonly TenantKind[];
/** What of the folder is read by `causeway gateway run --manifests`. */
const GATEWAY_KINDS: readonly string[] = ["Gateway", "Route"];
const isOfGateways = (object: string) => GATEWAY_KINDS.some((kind) => object.startsWith(`${kind} "`));
/** What does not run is tried again. */
const RETRY_MS = 10_000;

/** BgpFiles runs what the folder says, and the node's own router of VPCs. */
export class BgpFiles implements Pick<ClusterBgp, "setCluster">, EdgeBgp, Disposable {
  readonly #files: Disposable;
  /** What does not run, and why. */
  #wrong: readonly string[] = [];
  #retry: Disposable | undefined;
  /** By file; of a text with mistakes, those that it had before. */
  readonly #routers = new Map<string, readonly BgpRouter[]>();
  /** Files of which it was said. */
  #unreadable: ReadonlySet<string> = new Set();
  #running: { readonly routers: Routers; readonly serving: Disposable } | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  #cluster: BgpRouter | undefined;
  #onSpeaker: (speaker: Speaker | undefined) => void = () => {};
  readonly #tenants = new Map<string, readonly TenantResource[]>();
  #onResources: () => void = () => {};
  #edge: readonly BgpRouter[] = [];
  #onEdge: OnEdgeSpeaker = () => {};

  constructor() {
    this.#files = new FollowedTexts({
      path: MANIFESTS,
      names: MANIFEST_FILES,
      onChange: (change) => this.#follow(change),
    });
  }

  /** setCluster implements ClusterBgp. */
  setCluster(router: BgpRouter | undefined, onSpeaker: (speaker: Speaker | undefined) => void): void {
    const isNew = this.#onSpeaker !== onSpeaker;
    this.#onSpeaker = onSpeaker;
    const running = this.#running?.routers.speaker(CLUSTER_ROUTER);
    if (isNew && router !== undefined && running !== undefined) onSpeaker(running);
    if (sameValue(router, this.#cluster)) return;
    this.#cluster = router;
    this.#work = this.#work.then(() => this.#apply());
  }

  /** Resources of the node's edge that the folder has, as of the last look. */
  get resources(): readonly TenantResource[] {
    return [...this.#tenants.values()].flat();
  }

  /** onResources has a function called when these are others. */
  onResources(listener: () => void): void {
    this.#onResources = listener;
  }

  /** setEdge implements EdgeBgp. Where BGP runs it is done on return, so that neighbors are told before what leads to them goes. */
  setEdge(routers: readonly BgpRouter[], onSpeaker: OnEdgeSpeaker): void {
    this.#onEdge = onSpeaker;
    if (sameValue(routers, this.#edge)) return;
    this.#edge = routers;
    const running = this.#running;
    if (running !== undefined) this.#set(() => running.routers);
    else this.#work = this.#work.then(() => this.#apply());
  }

  #follow({ changed, gone, unreadable }: TextChange): void {
    for (const [path, error] of unreadable)
      if (!this.#unreadable.has(path)) warn("a manifest cannot be read", { path, error });
    this.#unreadable = new Set(unreadable.keys());
    if (changed.size + gone.length === 0) return;
    for (const path of gone) {
      this.#routers.delete(path);
      this.#tenants.delete(path);
    }
    for (const [path, text] of changed) this.#read(path, text);
    this.#work = this.#work.then(() => this.#apply());
    this.#onResources();
  }

  #read(path: string, text: string): void {
    const { resources, problems } = parseManifest(text);
    const wrong = problems.filter(({ object }) => !isOfGateways(object)).map(formatProblem);
    for (const { kind, value } of resources)
      if (kind !== "BgpRouter" && !EDGE_KINDS.includes(kind) && !GATEWAY_KINDS.includes(kind))
        wrong.push(
          `${kind} "${value.name}": is not taken from this folder; BgpRouter, ${EDGE_KINDS.join(", ")} are`,
        );
    for (const reason of wrong) warn("a manifest is not used as it is now", { path, reason });
    if (wrong.length > 0) return;
    this.#routers.set(
      path,
      resources.flatMap((resource) => (resource.kind === "BgpRouter" ? [resource.value] : [])),
    );
    this.#tenants.set(
      path,
      resources.flatMap((resource) =>
        EDGE_KINDS.includes(resource.kind) ? [resource as TenantResource] : [],
      ),
    );
  }

  async #apply(): Promise<void> {
    if (this.#closed) return;
    const wanted = this.#wanted();
    if (this.#running === undefined && wanted.size === 0) return;
    try {
      const { routers } = await this.#run();
      this.#set(() => routers);
    } catch (error) {
      this.#set(() => {
        throw error;
      });
    }
  }

  #wanted(): Map<string, BgpRouter> {
    const wanted = new Map<string, BgpRouter>();
    if (this.#cluster !== undefined) wanted.set(CLUSTER_ROUTER, this.#cluster);
    for (const router of this.#edge) wanted.set(router.name, router);
    for (const [path, routers] of this.#routers)
      for (const router of routers)
        if (wanted.has(router.name))
          warn("a BgpRouter has the name of another one, which counts", {
            path,
            object: router.name,
          });
        else wanted.set(router.name, router);
    return wanted;
  }

  #set(running: () => Routers): void {
    let wrong: readonly string[] = [];
    try {
      const routers = running();
      const failed = [...routers.set([...this.#wanted().values()])];
      if (this.#cluster === undefined) this.#onSpeaker(undefined);
      wrong = failed.map(([name, error]) => `${name}: ${error.message}`);
      info("BGP routers run", { count: routers.speakers.length });
    } catch (error) {
      wrong = [error instanceof Error ? error.message : String(error)];
    }
    // A namespace may come later, and a port be free: told once, tried again.
    for (const reason of wrong)
      if (!this.#wrong.includes(reason)) warn("a BgpRouter does not run", { reason });
    this.#wrong = wrong;
    this.#retry?.[Symbol.dispose]();
    if (wrong.length > 0 && !this.#closed)
      this.#retry = after(RETRY_MS, () => {
        this.#work = this.#work.then(() => this.#apply());
      });
  }

  async #run(): Promise<{ readonly routers: Routers }> {
    if (this.#running !== undefined) return this.#running;
    const {
      compilePrefixRules: rules,
      neighborRoutes,
      Routers: Made,
      serveBgp,
    } = await import("../bgp/mod.ts");
    ensureDirectory(`${RUN}/bgp`, 0o700);
    const routers = new Made({
      folder: `${RUN}/bgp`,
      onSpeaker: (speaker) => {
        if (speaker.router.name === CLUSTER_ROUTER) this.#onSpeaker(speaker);
        else this.#onEdge({ speaker, rules, routes: (listener) => neighborRoutes(speaker, listener) });
      },
      log: (event, { router, neighbor, why, ...rest }) =>
        info(event, {
          object: String(router),
          ...(neighbor === undefined ? {} : { peer: String(neighbor) }),
          ...(why === undefined ? {} : { reason: String(why) }),
          ...(Object.keys(rest).length === 0 ? {} : { scope: JSON.stringify(rest) }),
        }),
    });
    const { monitor } = routers;
    const options = { mode: 0o660, group: "causeway" };
    const serving = serveBgp(BGP_SOCKET, { speakers: () => routers.speakers, monitor }, options);
    this.#running = { routers, serving };
    return this.#running;
  }

  /** The agent ends, and comes back: neighbors are told nothing. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#files[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
    this.#running?.serving[Symbol.dispose]();
    this.#running?.routers.stop();
  }
}
