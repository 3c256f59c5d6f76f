/** PodWatch knows the pods of this node as the API tells of them; what it has not heard of yet it asks for. */
import { after } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { KubeError, kubeGet } from "./client.ts";
import { Collection } from "./collection.ts";
import { annotationsOf, type Metadata, parseMetadata, type Texts } from "./metadata.ts";

/** PodWatchOptions say whose pods are watched. */
export interface PodWatchOptions {
  readonly access: KubeAccess;
  /** Name of this node in the cluster. */
  readonly node: string;
  /** Told when something changes for the worse, or is well again (undefined). */
  readonly onProblem?: (problem: string | undefined) => void;
  /** How long a watch lasts; default 290 s. */
  readonly watchSeconds?: number;
}

/** PodWatchStatus is what `causeway status` and CNI's STATUS may tell of it. */
export interface PodWatchStatus {
  readonly pods: number;
  readonly namespaces: number;
  /** Why what is known may be old. */
  readonly problem?: string;
}

/** Facts are what is told of a pod: the shape of PodFacts in `cni`. */
interface Facts {
  readonly labels: Texts;
  readonly annotations: Texts;
}

/** A node has 110 pods by default and some hundreds at most; a cluster has 10,000 namespaces at most (Kubernetes scalability thresholds). */
const MOST_PODS = 5_000;
const MOST_NAMESPACES = 50_000;

/** How long the watch gets to tell of a pod before it is asked for: kubelet hears of it at the same moment. */
const PATIENCE_MS = 100;

/** Calls that wait for a pod; the runtime starts a few at once. */
const MOST_WAITING = 1_000;

/** PodWatch owns the watches of pods and namespaces. */
export class PodWatch implements Disposable {
  readonly #options: PodWatchOptions;
  readonly #pods: Collection<Metadata>;
  readonly #namespaces: Collection<Metadata>;
  readonly #waiting = new Set<() => void>();
  #problem: string | undefined;

  private constructor(options: PodWatchOptions) {
    const { access, node, watchSeconds } = options;
    const onChange = () => this.#changed();
    const common = {
      access,
      onChange,
      parse: parseMetadata,
      ...(watchSeconds !== undefined && { watchSeconds }),
    };
    this.#options = options;
    this.#pods = Collection.start({
      ...common,
      ...{ path: "/api/v1/pods", fieldSelector: `spec.nodeName=${node}`, most: MOST_PODS },
    });
    this.#namespaces = Collection.start({ ...common, path: "/api/v1/namespaces", most: MOST_NAMESPACES });
  }

  /** start begins to watch. */
  static start(options: PodWatchOptions): PodWatch {
    return new PodWatch(options);
  }

  /** status returns what is known and what is wrong. */
  get status(): PodWatchStatus {
    const problem = this.#pods.problem ?? this.#namespaces.problem;
    return {
      pods: this.#pods.cache.size,
      namespaces: this.#namespaces.cache.size,
      ...(problem !== undefined && { problem }),
    };
  }

  /** podFacts returns what has been told of a pod; with its uid, of no other one that had its name before. */
  podFacts(namespace: string, name: string, uid?: string): Facts | undefined {
    const [pod, home] = [this.#pods.cache.get(`${namespace}/${name}`), this.#namespaces.cache.get(namespace)];
    if (pod === undefined || home === undefined || !isOf(pod, uid)) return undefined;
    return factsOf(pod, home);
  }

  /** find waits a moment for a pod, and asks the API then. Rejects with a KubeError. */
  async find(namespace: string, name: string, uid?: string): Promise<Facts> {
    const told = await this.#told(() => this.podFacts(namespace, name, uid));
    if (told !== undefined) return told;
    const at = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
    const [pod, home] = await Promise.all([
      this.#ask(`${at}/pods/${encodeURIComponent(name)}`),
      this.#namespaces.cache.get(namespace) ?? this.#ask(at),
    ]);
    if (!isOf(pod, uid))
      throw new KubeError(
        `Cannot find pod ${namespace}/${name}: the API has another one of that name by now`,
      );
    return factsOf(pod, home);
  }

  #told(look: () => Facts | undefined): Promise<Facts | undefined> {
    const found = look();
    if (found !== undefined || this.#waiting.size >= MOST_WAITING) return Promise.resolve(found);
    return new Promise((resolve) => {
      const end = (facts: Facts | undefined) => {
        this.#waiting.delete(again);
        timer[Symbol.dispose]();
        resolve(facts);
      };
      const again = () => {
        const facts = look();
        if (facts !== undefined) end(facts);
      };
      const timer = after(PATIENCE_MS, () => end(look()));
      this.#waiting.add(again);
    });
  }

  async #ask(path: string): Promise<Metadata> {
    const object = parseMetadata(JSON.parse(await kubeGet(this.#options.access, path)));
    if (object === undefined) throw new KubeError(`Cannot read ${path}: the answer is no object`);
    return object;
  }

  #changed(): void {
    for (const look of [...this.#waiting]) look();
    const { problem } = this.status;
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem?.(problem);
  }

  [Symbol.dispose](): void {
    this.#pods[Symbol.dispose]();
    this.#namespaces[Symbol.dispose]();
  }
}

function isOf({ uids }: Metadata, uid: string | undefined): boolean {
  return uid === undefined || uids.length === 0 || uids.includes(uid);
}

function factsOf(pod: Metadata, home: Metadata): Facts {
  return { labels: pod.labels, annotations: annotationsOf(pod.annotations, home.annotations) };
}
