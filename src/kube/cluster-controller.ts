/**
 * The controller of a cluster: one elected of those that keep the register. It puts custom resources into the register, and tells Kubernetes the
 * nodes' ranges, and Multus of Subnets.
 */
import type { LabelChange, TenantResource } from "../resources/mod.ts";
import { after, inParallel } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { AttachmentSync } from "./attachment-sync.ts";
import { kubeWrite, refusesObject } from "./client.ts";
import { Collection } from "./collection.ts";
import { kubeEvent } from "./event.ts";
import { labelSteps } from "./label-step.ts";
import { Leadership } from "./leadership.ts";
import {
  type KubeNode,
  meshNodesByAddress,
  parseKubeNode,
  type RangeStep,
  rangeStep,
} from "./node-ranges.ts";
import { NodeRelease, type ReleaseRegister } from "./node-release.ts";
import { type ResourceRegister, ResourceSync } from "./resource-sync.ts";

/** ControllerRegister is the register as the controller needs it. */
export interface ControllerRegister extends ResourceRegister, ReleaseRegister {
  /** The family of the cluster's first service network. */
  firstFamily(): 4 | 6;
  /** Keys of labels that selections of nodes look at: those of resources, default all that it has. */
  selectedLabels(resources?: readonly TenantResource[]): ReadonlySet<string>;
  /** Of at most MOST_LABELLED nodes, of all or none. */
  labelNodes(changes: ReadonlyMap<string, LabelChange>): Promise<void>;
}

/** ClusterControllerOptions say for whom and between whom. */
export interface ClusterControllerOptions {
  readonly access: KubeAccess;
  readonly register: ControllerRegister;
  /** Who this is among those that want to lead: another one after each start. */
  readonly identity: string;
  readonly onLead?: (leads: boolean) => void;
  readonly onProblem?: (problem: string | undefined) => void;
  readonly leaseSeconds?: number;
  /** How long a node whose Node was deleted must not be heard before what it has is released; default 15 min. */
  readonly awayMs?: number;
}

/** CONTROLLER_NAMESPACE is where the lease and the service account are, and agents' pods. */
export const CONTROLLER_NAMESPACE = "causeway-system";

/** CONTROLLER_NAME is how both are called. */
export const CONTROLLER_NAME = "causeway-controller";

/** A cluster has 5,000 nodes at most (Kubernetes scalability thresholds). */
const MOST_NODES = 10_000;

/** The register takes 1024 at once (MAX_LABELLED of `hub`). */
const MOST_LABELLED = 1000;

/** Writes to the API at a time: one waits for etcd, mostly. */
const WRITES_AT_ONCE = 8;

const GATHER_MS = 200;
const RETRY_MS = 5_000;

/** What problems are of. */
type Part = "lease" | "resources" | "nodes" | "attachments";

/** ClusterController owns the lease and, while it leads, all watches. */
export class ClusterController implements Disposable {
  readonly #options: ClusterControllerOptions;
  readonly #leadership: Leadership;
  #resources: ResourceSync | undefined;
  #attachments: AttachmentSync | undefined;
  #nodes: Collection<KubeNode> | undefined;
  #release: NodeRelease | undefined;
  #timer: Disposable | undefined;
  #disposed = false;
  /** What events say of Nodes, by uid. */
  readonly #told = new Map<string, string>();
  readonly #problems = new Map<Part, string | undefined>();
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: ClusterControllerOptions) {
    this.#options = options;
    const { access, identity, leaseSeconds } = options;
    this.#leadership = Leadership.start({
      ...{ access, identity, namespace: CONTROLLER_NAMESPACE, name: CONTROLLER_NAME },
      ...(leaseSeconds !== undefined && { leaseSeconds }),
      onChange: (leads, problem) => this.#changed(leads, problem),
    });
  }

  /** start wants to lead. */
  static start(options: ClusterControllerOptions): ClusterController {
    return new ClusterController(options);
  }

  /** leads tells whether this one does the work now. */
  get leads(): boolean {
    return this.#leadership.leads;
  }

  /** registerChanged has everything compared soon. */
  registerChanged(): void {
    this.#resources?.look();
    this.#attachments?.look();
    this.#lookAtNodes(GATHER_MS);
  }

  #changed(leads: boolean, problem: string | undefined): void {
    this.#problem("lease", problem);
    if (leads === (this.#resources !== undefined)) return;
    if (leads) this.#begin();
    else this.#stop();
    this.#options.onLead?.(leads);
  }

  #begin(): void {
    const { access, register } = this.#options;
    this.#resources = ResourceSync.start({
      ...{ access, mayWrite: () => this.leads, name: CONTROLLER_NAME },
      register: { ...register, put: (resources, owner) => this.#put(resources, owner) },
      onProblem: (problem) => this.#problem("resources", problem),
    });
    this.#attachments = AttachmentSync.start({
      ...{ access, tenants: () => register.tenants(), mayWrite: () => this.leads },
      onProblem: (problem) => this.#problem("attachments", problem),
    });
    const { awayMs } = this.#options;
    this.#release = new NodeRelease({
      ...{ access, register, namespace: CONTROLLER_NAMESPACE, name: CONTROLLER_NAME },
      ...{ mayWrite: () => this.leads, onDue: () => this.#lookAtNodes(GATHER_MS) },
      ...(awayMs !== undefined && { awayMs }),
    });
    this.#nodes = Collection.start({
      ...{ access, path: "/api/v1/nodes", most: MOST_NODES, parse: parseKubeNode },
      onChange: () => this.#lookAtNodes(GATHER_MS),
    });
  }

  #stop(): void {
    this.#resources?.[Symbol.dispose]();
    this.#attachments?.[Symbol.dispose]();
    this.#nodes?.[Symbol.dispose]();
    this.#release?.[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
    this.#resources = this.#attachments = this.#nodes = this.#release = this.#timer = undefined;
  }

  #problem(part: Part, problem: string | undefined): void {
    this.#problems.set(part, problem);
    const first = [...this.#problems.values()].find((one) => one !== undefined);
    if (!this.#disposed) this.#options.onProblem?.(first);
  }

  #lookAtNodes(ms: number): void {
    if (this.#nodes === undefined) return;
    // Until it begins it is the next one for all that changes meanwhile: one look at thousands of nodes takes longer than changes come apart.
    this.#timer ??= after(ms, () => {
      this.#turn = this.#turn.then(() => {
        this.#timer = undefined;
        return this.#look();
      });
    });
  }

  async #look(): Promise<void> {
    const nodes = this.#nodes;
    if (nodes === undefined) return;
    try {
      const refused = await this.#rangesOf(nodes);
      // Who led before and leads again has others by now.
      if (nodes !== this.#nodes) return;
      // What was not listed, or not for a while, is not known to be gone.
      if (nodes.problem === undefined && this.leads) await this.#release?.look(nodes.cache.all());
      if (refused !== undefined) throw refused;
      this.#problem("nodes", nodes.problem);
    } catch (error) {
      this.#problem("nodes", (error as Error).message);
      this.#lookAtNodes(RETRY_MS);
    }
  }

  /** Returns what the API or the register says of a Node that it lets nobody change. */
  async #rangesOf(nodes: Collection<KubeNode>): Promise<Error | undefined> {
    const { register } = this.#options;
    const ours = meshNodesByAddress(register.nodes());
    const all = [...nodes.cache.all()];
    const uids = new Set(all.map(({ uid }) => uid));
    for (const uid of this.#told.keys()) if (!uids.has(uid)) this.#told.delete(uid);
    let refused = await this.#setLabels(all, register.selectedLabels());
    const first = register.firstFamily();
    const steps = all.map((node) => ({ node, step: rangeStep(node, ours, first) }));
    const due = steps.filter(({ step }) => step.does !== "nothing");
    await inParallel(due, WRITES_AT_ONCE, async ({ node, step }) => {
      if (!this.leads) return;
      try {
        await this.#rangeOf(node, step);
      } catch (error) {
        if (!refusesObject(error)) throw error;
        // One that cannot be written keeps nobody else waiting; one that is gone needs nothing.
        if (error.status !== 404) refused ??= error;
      }
    });
    return refused;
  }

  /** Returns what is in the way of a node's labels; those of others are set. */
  async #setLabels(all: readonly KubeNode[], keys: ReadonlySet<string>): Promise<Error | undefined> {
    const { register } = this.#options;
    const members = meshNodesByAddress(register.nodes());
    const { changes, disputed } = labelSteps(all, { members, keys });
    let refused = disputed[0] === undefined ? undefined : new Error(disputed[0]);
    const entries = [...changes];
    for (let i = 0; i < entries.length; i += MOST_LABELLED)
      refused ??= await this.#label(new Map(entries.slice(i, i + MOST_LABELLED)));
    return refused;
  }

  /** Together: each change of the register is told to all nodes. One of which it is refused keeps no other one waiting. */
  async #label(changes: ReadonlyMap<string, LabelChange>): Promise<Error | undefined> {
    const { register } = this.#options;
    if (!this.leads) return undefined;
    try {
      await register.labelNodes(changes);
      return undefined;
    } catch (error) {
      if (register.refusal(error) === undefined) throw error;
      let refused: Error | undefined;
      if (changes.size === 1) refused = error as Error;
      else for (const one of changes) refused ??= await this.#label(new Map([one]));
      return refused;
    }
  }

  /** The register has labels before what looks at them: without them `!spare` would fit every node until they came. */
  async #put(resources: readonly TenantResource[], owner: string): Promise<void> {
    const { register } = this.#options;
    const keys = register.selectedLabels(resources);
    if (keys.size > 0) {
      const nodes = this.#nodes;
      if (nodes?.cache.listed !== true)
        throw new Error(`Nodes, by whose labels resources select, are not known: ${nodes?.problem}`);
      await this.#setLabels([...nodes.cache.all()], keys);
    }
    await register.put(resources, owner);
  }

  async #rangeOf(node: KubeNode, step: RangeStep): Promise<void> {
    if (step.does === "tell") return await this.#tell(node, step.message);
    if (step.does !== "set") return;
    const spec = { podCIDR: step.ranges[0] as string, podCIDRs: step.ranges };
    const path = `/api/v1/nodes/${node.name}`;
    await kubeWrite(this.#options.access, { verb: "merge", path, body: { spec } });
  }

  /** An event of the Node, once: `kubectl describe node` shows it. */
  async #tell(node: KubeNode, message: string): Promise<void> {
    if (this.#told.get(node.uid) === message) return;
    await kubeEvent(this.#options.access, {
      about: { apiVersion: "v1", kind: "Node", name: node.name, uid: node.uid },
      ...{ reason: "PodCIDRMismatch", message, by: CONTROLLER_NAME },
    });
    this.#told.set(node.uid, message);
  }

  /** end gives the lease back, so that another one leads at once. */
  async end(): Promise<void> {
    this.#disposed = true;
    this.#stop();
    await this.#leadership.release();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#stop();
    this.#leadership[Symbol.dispose]();
  }
}
