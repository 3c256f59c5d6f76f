/**
 * After a Node was deleted: what the node of the mesh has is released, in order. Its pods first, of which Kubernetes takes care; then addresses,
 * ranges and blocks of Subnets at once, with its place in the mesh. A hub is never removed, nor who is still heard after a while.
 */
import { formatIp, formatPrefix } from "../net/mod.ts";
import { after, monotonicMs } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { KubeError, kubeGet, kubeWrite, refusesObject } from "./client.ts";
import {
  type Away,
  awayNow,
  awayVerdict,
  type Formers,
  formersChange,
  type GoneNode,
  goneNodes,
  type Hearing,
  hearingNow,
  isDeaf,
  type Namesake,
  namesakeOf,
  parseFormers,
} from "./gone-nodes.ts";
import { kubeEvent } from "./event.ts";
import { fieldOf } from "./metadata.ts";
import { type KubeNode, type MeshNode, parseKubeNode } from "./node-ranges.ts";

/** ReleaseRegister is the register as this needs it. */
export interface ReleaseRegister {
  nodes(): readonly MeshNode[];
  /** When this hub heard a node last, to be compared with itself only. */
  heard(name: string): number | undefined;
  /** Whether this hub is one that a node reached when it told last; where it never told, it is. Who is cut off only from here is known by others. */
  reaches(name: string): boolean;
  /** removeNode releases all that a node has, and revokes its key. */
  removeNode(name: string): Promise<void>;
}

/** NodeReleaseOptions say between whom. */
export interface NodeReleaseOptions {
  readonly access: KubeAccess;
  readonly register: ReleaseRegister;
  /** Where the ConfigMap is, and who events are from. */
  readonly namespace: string;
  readonly name: string;
  /** Whether this one may write; asked before each write. */
  readonly mayWrite: () => boolean;
  /** Has another look taken soon. */
  readonly onDue: () => void;
  /** How long a node must not be heard; default 15 min: one that is well is heard each two minutes (WireGuard, section 6.1). */
  readonly awayMs?: number;
}

/** NODES is the ConfigMap with the Nodes that nodes of the mesh are. */
export const NODES = "causeway-nodes";

const AWAY_MS = 15 * 60_000;

/** How often is looked whether one was heard. */
const LOOK_MS = 30_000;

const waitsForNamesake: { readonly [K in Namesake]: string | undefined } = {
  own: "its Node, which is there again, is deleted",
  another: undefined,
  unknown:
    "the Node that has its name now is deleted, or has the overlay address of its machine (causeway kube prepare)",
};

/** NodeRelease remembers who is away. */
export class NodeRelease implements Disposable {
  readonly #options: NodeReleaseOptions;
  readonly #awayMs: number;
  #formers: Formers | undefined;
  readonly #away = new Map<string, Away>();
  #hearing: Hearing | undefined;
  /** What the last event of each said. */
  readonly #told = new Map<string, string>();
  #timer: Disposable | undefined;
  #disposed = false;

  constructor(options: NodeReleaseOptions) {
    this.#options = options;
    this.#awayMs = options.awayMs ?? AWAY_MS;
  }

  /** look compares; `nodes` are all Nodes as the API has them now. Rejects with a KubeError, or as the register does. */
  async look(nodes: Iterable<KubeNode>): Promise<void> {
    const { register } = this.#options;
    this.#formers ??= await this.#read();
    const { formers, gone } = goneNodes(this.#formers, nodes, register.nodes());
    await this.#keep(formers);
    const names = new Set(gone.map(({ node }) => node.name));
    for (const known of [this.#away, this.#told])
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    this.#listen();
    let refused: KubeError | undefined;
    for (const one of gone)
      try {
        await this.#consider(one);
      } catch (error) {
        // One of which nothing may be said keeps nobody else waiting.
        if (!refusesObject(error)) throw error;
        refused ??= error;
      }
    this.#timer?.[Symbol.dispose]();
    if (!this.#disposed && gone.some(({ node }) => !node.hub))
      this.#timer = after(Math.min(LOOK_MS, this.#awayMs), this.#options.onDue);
    if (refused !== undefined) throw refused;
  }

  /** What a deaf hub knows of absences begins anew when it hears again. */
  #listen(): void {
    const { register } = this.#options;
    const heard = register.nodes().flatMap(({ name }) => {
      const at = register.heard(name);
      return at === undefined ? [] : [[name, at] as const];
    });
    const nowMs = monotonicMs();
    this.#hearing = hearingNow(this.#hearing, new Map(heard), nowMs);
    if (isDeaf(this.#hearing, nowMs, this.#awayMs)) this.#away.clear();
  }

  get #path(): string {
    return `/api/v1/namespaces/${this.#options.namespace}/configmaps`;
  }

  async #read(): Promise<Formers> {
    try {
      const object: unknown = JSON.parse(await kubeGet(this.#options.access, `${this.#path}/${NODES}`));
      return parseFormers(fieldOf(object, "data"));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await this.#create(new Map());
      return new Map();
    }
  }

  async #create(formers: Formers): Promise<void> {
    const data = formersChange(new Map(), formers) ?? {};
    const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: NODES }, data };
    await this.#write({ verb: "create", path: this.#path, body });
  }

  async #keep(formers: Formers): Promise<void> {
    const data = formersChange(this.#formers ?? new Map(), formers);
    try {
      if (data !== undefined)
        await this.#write({ verb: "merge", path: `${this.#path}/${NODES}`, body: { data } });
    } catch (error) {
      // Somebody deleted it; what was in it is known here.
      if (!isNotFound(error)) throw error;
      await this.#create(formers);
    }
    this.#formers = formers;
  }

  /** Who leads no more writes nothing; another one does. */
  async #write(change: Parameters<typeof kubeWrite>[1]): Promise<void> {
    if (!this.#options.mayWrite()) throw new KubeError("Cannot write: another one leads");
    await kubeWrite(this.#options.access, change);
  }

  async #consider(gone: GoneNode): Promise<void> {
    const { node } = gone;
    const has = `node ${node.name} of the mesh has ${belongings(node)}`;
    const by = `causeway ${node.hub ? "hub" : "node"} remove ${node.name}`;
    const what = this.#verdict(node);
    if (what === "stay") {
      await this.#tell(
        gone,
        "StaysInMesh",
        `${has}, and keeps that: ${node.hub ? "it is a hub" : "its machine is still heard"}; to release it: ${by}`,
      );
      return await this.#forget(node.name);
    }
    const left =
      what === "wait"
        ? `a hub that it reached, and that hears others, has not heard it for ${Math.ceil(this.#awayMs / 60_000)} minutes`
        : await this.#left(gone);
    if (left !== undefined)
      return await this.#tell(gone, "ReleaseWaits", `${has}, which is released when ${left}; at once: ${by}`);
    if (!this.#options.mayWrite()) return;
    await this.#options.register.removeNode(node.name);
    await this.#tell(
      gone,
      "Released",
      `${belongings(node)} and what node ${node.name} of the mesh had of Subnets are free for others, because it was not heard any more; its machine joins again with a new token (causeway token create)`,
    );
    await this.#forget(node.name);
  }

  #verdict(node: MeshNode): ReturnType<typeof awayVerdict> {
    if (node.hub) return "stay";
    const { register } = this.#options;
    const nowMs = monotonicMs();
    const before = register.reaches(node.name) ? this.#away.get(node.name) : undefined;
    const away = awayNow(before, register.heard(node.name), nowMs);
    this.#away.set(node.name, away);
    return awayVerdict(away, nowMs, this.#awayMs);
  }

  async #forget(name: string): Promise<void> {
    await this.#keep(new Map([...(this.#formers ?? [])].filter(([mesh]) => mesh !== name)));
    this.#away.delete(name);
    this.#told.delete(name);
  }

  /** What must go before, asked anew because a watch may be late. Pods of another machine's Node of that name are that one's. */
  async #left({ node, former }: GoneNode): Promise<string | undefined> {
    const now = await this.#nodeNow(former.name);
    if (now !== undefined) return waitsForNamesake[namesakeOf(now, node, this.#options.register.nodes())];
    const query = new URLSearchParams({ fieldSelector: `spec.nodeName=${former.name}`, limit: "1" });
    const list: unknown = JSON.parse(await kubeGet(this.#options.access, `/api/v1/pods?${query}`));
    const [pod] = (fieldOf(list, "items") ?? []) as readonly unknown[];
    if (pod === undefined) return undefined;
    const [namespace, its] = ["namespace", "name"].map((key) => fieldOf(fieldOf(pod, "metadata"), key));
    return `its last pod has gone (now ${namespace}/${its}; if its machine is off: kubectl delete pod --force -n ${namespace} ${its})`;
  }

  async #nodeNow(name: string): Promise<KubeNode | undefined> {
    try {
      return parseKubeNode(
        JSON.parse(await kubeGet(this.#options.access, `/api/v1/nodes/${encodeURIComponent(name)}`)),
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** An event of the Node that was: `kubectl get events` shows it. Once, as long as it says the same. */
  async #tell({ node, former }: GoneNode, reason: string, what: string): Promise<void> {
    const message = `Node ${former.name} was deleted; ${what}`;
    if (this.#told.get(node.name) === message) return;
    await kubeEvent(this.#options.access, {
      about: { apiVersion: "v1", kind: "Node", ...former },
      ...{ type: "Normal", reason, message, by: this.#options.name },
    });
    this.#told.set(node.name, message);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.status === 404;
}

function belongings({ overlay4, overlay6, pods4, pods6 }: MeshNode): string {
  const ranges = [pods4, pods6].flatMap((prefix) => (prefix === undefined ? [] : [formatPrefix(prefix)]));
  const pods = ranges.length === 0 ? "" : `, pod ranges ${ranges.join(", ")}`;
  return `addresses ${formatIp(overlay4)}, ${formatIp(overlay6)}${pods}`;
}
