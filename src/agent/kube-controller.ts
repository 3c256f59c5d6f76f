/** The controller of a Kubernetes cluster, on hubs that are told to be one: they have the register. */
import { selectedLabels } from "../edge/mod.ts";
import { Refusal, type RefusalCode } from "../hub/mod.ts";
import { ClusterController, type ControllerRegister, inCluster, kubeconfigAccess } from "../kube/mod.ts";
import { type Node, tenantsOf } from "../resources/mod.ts";
import { after, every, monotonicMs, randomBytes, sleep } from "../sys/mod.ts";
import type { Agent } from "./agent.ts";
import { HubRole } from "./hub-role.ts";
import { info, warn } from "./log.ts";
import { IN_CLUSTER } from "./pod-facts.ts";
import { upOf } from "./resource-up.ts";

/** A node becomes a hub, or ceases to be one, seldom. */
const LOOK_MS = 1000;
/** What nodes say of their edges is put into objects at most so often: when something is wrong on thousands of them, they do not say so at once. */
const EDGES_MS = 5000;
const RETRY_MS = 10_000;

/** A service is stopped by force when it takes long. */
const END_MS = 2000;

/** Refusals that say nothing of what was asked. */
const WEATHER: ReadonlySet<RefusalCode> = new Set<RefusalCode>(["read-only", "too-many"]);

/** registerOf returns a hub's register as the controller needs it. */
export function registerOf(
  role: Pick<HubRole, "register" | "registrar" | "view" | "heardMs" | "name" | "routes" | "edges">,
): ControllerRegister {
  const { register, registrar } = role;
  /** Thousands of them, which each look of the controller goes through. */
  let known: { readonly revision: number; readonly nodes: readonly Node[] } | undefined;
  const nodes = () => {
    const { revision } = register;
    if (known?.revision !== revision) known = { revision, nodes: register.nodes() };
    return known.nodes;
  };
  return {
    tenants: () => role.view().tenants,
    owners: () => register.owners(),
    revision: () => register.revision,
    upOf: (resource) => upOf(role, resource),
    async put(resources, owner) {
      await registrar.putResources(resources, { owner });
    },
    remove: (resource, owner) => registrar.deleteResources([resource], { owner }),
    refusal: (error) => (error instanceof Refusal && !WEATHER.has(error.code) ? error.message : undefined),
    nodes,
    heard: (name) => role.heardMs.get(name),
    reaches(name) {
      const hubs = role.view().nodes.find((node) => node.name === name)?.hubs ?? [];
      return hubs.length === 0 || hubs.some(({ hub }) => hub === role.name);
    },
    removeNode: (name) => registrar.removeNode(name),
    selectedLabels: (resources) =>
      selectedLabels(resources === undefined ? role.view().tenants : tenantsOf(resources)),
    labelNodes: (changes) => registrar.labelNodes(changes),
    firstFamily: () => (register.mesh().services[0]?.family === 6 ? 6 : 4),
  };
}

/** ClusterControl runs a controller while the agent is a hub. */
export class ClusterControl {
  readonly #agent: Agent;
  readonly #kubeconfig: string;
  readonly #timer: Disposable;
  #role: HubRole | undefined;
  #controller: ClusterController | undefined;
  #running = new DisposableStack();
  #told: string | undefined;
  #routes: readonly unknown[] = [];
  /** Version of what nodes say of their edges, and when it was looked at. */
  #edges = { version: 0, atMs: 0 };

  /** With the identity of a kubeconfig, or IN_CLUSTER. */
  constructor(agent: Agent, kubeconfig: string) {
    this.#agent = agent;
    this.#kubeconfig = kubeconfig;
    this.#timer = every(LOOK_MS, () => this.#look());
    this.#look();
  }

  #look(): void {
    const { role } = this.#agent;
    const now = role instanceof HubRole ? role : undefined;
    this.#lookAtRoutes(now);
    this.#lookAtEdges(now);
    if (now === this.#role) return;
    void this.#stop();
    this.#role = now;
    if (now !== undefined) this.#start(now);
  }

  /** What nodes say of Routes is no part of the register, and becomes part of their objects' status. */
  #lookAtRoutes(role: HubRole | undefined): void {
    const { Gateway } = role?.view().tenants ?? { Gateway: new Map<string, { readonly node: string }>() };
    const told = [...new Set([...Gateway.values()].map(({ node }) => node))].map((node) =>
      role?.routes(node),
    );
    const same = told.length === this.#routes.length && told.every((one, i) => one === this.#routes[i]);
    this.#routes = told;
    if (!same) this.#controller?.registerChanged();
  }

  #lookAtEdges(role: HubRole | undefined): void {
    const [version, atMs] = [role?.edges.version ?? 0, monotonicMs()];
    if (version === this.#edges.version || atMs - this.#edges.atMs < EDGES_MS) return;
    this.#edges = { version, atMs };
    this.#controller?.registerChanged();
  }

  #start(role: HubRole): void {
    const kubeconfig = this.#kubeconfig;
    try {
      const controller = ClusterController.start({
        access: kubeconfig === IN_CLUSTER ? inCluster() : kubeconfigAccess(kubeconfig),
        register: registerOf(role),
        identity: `${role.name}_${Buffer.from(randomBytes(4)).toString("hex")}`,
        onLead: (leads) =>
          info(leads ? "this hub controls the cluster" : "this hub controls the cluster no more"),
        onProblem: (reason) => this.#tell(reason),
      });
      this.#controller = controller;
      this.#running.use(role.register.subscribe(() => controller.registerChanged()));
    } catch (error) {
      // kubeadm may write the file later.
      this.#tell((error as Error).message);
      this.#running.use(after(RETRY_MS, () => this.#start(role)));
    }
  }

  #tell(reason: string | undefined): void {
    if (reason !== undefined && reason !== this.#told) warn("controller of the cluster", { reason });
    this.#told = reason;
  }

  async #stop(): Promise<void> {
    this.#running.dispose();
    this.#running = new DisposableStack();
    const controller = this.#controller;
    this.#controller = undefined;
    await controller?.end().catch((error: Error) => this.#tell(error.message));
  }

  /** end gives the lease back, for as long as that may take at most. */
  async end(): Promise<void> {
    this.#timer[Symbol.dispose]();
    await Promise.race([this.#stop(), sleep(END_MS)]);
  }
}
