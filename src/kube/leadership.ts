/**
 * Leadership by a Lease (coordination.k8s.io/v1): of several that could do a work, one does.
 *
 * A lease is taken when its holder has not renewed it for as long as it lasts, by the taker's own clock from when it saw the last renewal: clocks
 * of two machines are never compared. The holder stops to lead earlier than others may take it.
 */
import type { Json } from "../resources/mod.ts";
import { after, monotonicMs, wallMs } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { KubeError, kubeGet, kubeWrite } from "./client.ts";
import { fieldOf } from "./metadata.ts";

/** LeadershipOptions say who wants to lead, and by which lease. */
export interface LeadershipOptions {
  readonly access: KubeAccess;
  readonly namespace: string;
  readonly name: string;
  /** Who this is; another one after each start, so that a former self is not taken for oneself. */
  readonly identity: string;
  /** Told when this one leads, leads no more, or cannot know. */
  readonly onChange: (leads: boolean, problem?: string) => void;
  /** How long a lease lasts; default 15 s. Times of client-go: it is renewed every seventh, and given up after two thirds. */
  readonly leaseSeconds?: number;
}

const LEASE_SECONDS = 15;

/** Leadership owns the renewal of one lease. */
export class Leadership implements Disposable {
  readonly #options: LeadershipOptions;
  readonly #leaseMs: number;
  /** Until when this one leads, the monotonic clock's milliseconds. */
  #untilMs = 0;
  #told = false;
  #problem: string | undefined;
  /** The last renewal by another one, and when it was seen. */
  #seen: { readonly version: string; readonly sinceMs: number } | undefined;
  #timer: Disposable | undefined;
  #end: Disposable | undefined;
  #disposed = false;

  private constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#leaseMs = (options.leaseSeconds ?? LEASE_SECONDS) * 1000;
  }

  /** start tries to lead, again and again. */
  static start(options: LeadershipOptions): Leadership {
    const leadership = new Leadership(options);
    void leadership.#go();
    return leadership;
  }

  /** leads tells whether this one does now. */
  get leads(): boolean {
    return !this.#disposed && monotonicMs() < this.#untilMs;
  }

  get #path(): string {
    const { namespace } = this.#options;
    return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  }

  async #go(): Promise<void> {
    const begunMs = monotonicMs();
    let problem: string | undefined;
    try {
      if (await this.#held(begunMs)) this.#untilMs = begunMs + (this.#leaseMs * 2) / 3;
    } catch (error) {
      problem = (error as Error).message;
    }
    if (this.#disposed) return;
    this.#tell(problem);
    this.#timer = after(this.#leaseMs / 7, () => void this.#go());
  }

  #tell(problem: string | undefined): void {
    this.#end?.[Symbol.dispose]();
    const { leads } = this;
    if (leads) this.#end = after(this.#untilMs - monotonicMs() + 1, () => this.#tell(this.#problem));
    if (leads === this.#told && problem === this.#problem) return;
    this.#told = leads;
    this.#problem = problem;
    this.#options.onChange(leads, problem);
  }

  /** Whether the lease is this one's since `nowMs`. */
  async #held(nowMs: number): Promise<boolean> {
    const { access, name, identity } = this.#options;
    const lease = await this.#read();
    if (lease === undefined) return await this.#try(() => this.#create());
    const [spec, metadata] = [fieldOf(lease, "spec"), fieldOf(lease, "metadata")];
    const holder = fieldOf(spec, "holderIdentity");
    const version = String(fieldOf(metadata, "resourceVersion"));
    const mine = holder === identity;
    if (!mine && typeof holder === "string" && holder !== "" && !this.#expired(version, nowMs)) return false;
    const transitions = fieldOf(spec, "leaseTransitions");
    const count = (typeof transitions === "number" ? transitions : 0) + (mine ? 0 : 1);
    const acquired = mine ? fieldOf(spec, "acquireTime") : this.#now();
    const body = this.#lease(
      { name, resourceVersion: version },
      { leaseTransitions: count, acquireTime: acquired as Json },
    );
    return await this.#try(() => kubeWrite(access, { verb: "replace", path: `${this.#path}/${name}`, body }));
  }

  async #read(): Promise<unknown> {
    const { access, name } = this.#options;
    try {
      return JSON.parse(await kubeGet(access, `${this.#path}/${name}`));
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return undefined;
      throw error;
    }
  }

  #create(): Promise<unknown> {
    const { access, name } = this.#options;
    const body = this.#lease({ name }, { leaseTransitions: 0, acquireTime: this.#now() });
    return kubeWrite(access, { verb: "create", path: this.#path, body });
  }

  /** False when somebody else was first. */
  async #try(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof KubeError && error.status === 409) return false;
      throw error;
    }
  }

  #expired(version: string, nowMs: number): boolean {
    if (this.#seen?.version !== version) this.#seen = { version, sinceMs: nowMs };
    return nowMs - this.#seen.sinceMs >= this.#leaseMs;
  }

  /** metav1.MicroTime; nobody compares it. */
  #now(): string {
    return new Date(wallMs()).toISOString().replace("Z", "000Z");
  }

  #lease(metadata: Json, more: { readonly [field: string]: Json }, holder = this.#options.identity): Json {
    const spec = {
      ...{ holderIdentity: holder, leaseDurationSeconds: Math.round(this.#leaseMs / 1000) },
      ...{ renewTime: this.#now(), ...more },
    };
    return { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
  }

  /** release ends leadership at once, and lets another one take the lease without waiting. */
  async release(): Promise<void> {
    const { leads } = this;
    this[Symbol.dispose]();
    if (!leads) return;
    const { access, name, identity } = this.#options;
    const lease = await this.#read();
    if (fieldOf(fieldOf(lease, "spec"), "holderIdentity") !== identity) return;
    const version = String(fieldOf(fieldOf(lease, "metadata"), "resourceVersion"));
    const body = this.#lease({ name, resourceVersion: version }, {}, "");
    await this.#try(() => kubeWrite(access, { verb: "replace", path: `${this.#path}/${name}`, body }));
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#end?.[Symbol.dispose]();
  }
}
