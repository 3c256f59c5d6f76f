/**
 * Custom resources → register: what users apply in Kubernetes is put into the register, which tells all nodes; the verdict goes into the
 * object's status. The register refuses by the same rules as for manifests from elsewhere, so nothing depends on a webhook.
 *
 * ```
 * list + watch ─▶ finalizer ─▶ wanted ─▶ all that changed at once, else one by one ─▶ status
 *                   deleted ─▶ out of the register ─▶ finalizer away
 * ```
 * The finalizer is there before the register has the resource, so no deletion is ever concluded from an absence; a resource of the register
 * that Kubernetes never had is not touched.
 */
import {
  API_VERSION,
  type Json,
  type TenantKind,
  type TenantResource,
  type TenantResources,
} from "../resources/mod.ts";
import { after, monotonicMs } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { KubeError, kubeWrite } from "./client.ts";
import { Collection } from "./collection.ts";
import { customKinds } from "./custom-kinds.ts";
import { type CustomObject, parseCustomObject } from "./custom-object.ts";
import { resourcePath } from "./definition.ts";
import { kubeTime, kubeWarn } from "./event.ts";
import { statusOf, type Verdict, wantedOf } from "./verdict.ts";

/** FINALIZER keeps a deleted object until the register has let go of it. */
export const FINALIZER = "causeway.network/register";

/** ResourceRegister is the register as this needs it. */
export interface ResourceRegister {
  tenants(): TenantResources;
  /** Rejects when it may not be, or cannot be now; see `refusal`. */
  put(resources: readonly TenantResource[]): Promise<void>;
  remove(resource: { readonly kind: TenantKind; readonly name: string }): Promise<void>;
  /** Changes with everything that it publishes; refusals publish nothing. */
  revision(): number;
  /** The reason in words when an error says that something may not be; undefined for weather. */
  refusal(error: unknown): string | undefined;
}

/** ResourceSyncOptions say between whom. */
export interface ResourceSyncOptions {
  readonly access: KubeAccess;
  readonly register: ResourceRegister;
  /** Who events are from. */
  readonly name: string;
  /** Whether this one may write; asked before each write. */
  readonly mayWrite: () => boolean;
  /** Told when something is wrong beside the objects themselves, and when all is well again (undefined). */
  readonly onProblem?: (problem: string | undefined) => void;
}

/** A register holds so many of a kind (MAX_TENANT_RESOURCES of `domain`); more of them are told as a problem. */
const MOST_OBJECTS = 20_000;

/** The register takes 4096 at once (MAX_RESOURCES of `hub`). */
const MOST_AT_ONCE = 1000;

/** Changes that come together are one round. */
const GATHER_MS = 200;
const RETRY_MS = 5_000;

/** What the register refused is asked for again when it has changed, and after so long: addresses that nodes return change nothing that it publishes. */
const REFUSED_MS = 60_000;

/** In an order in which what others refer to comes first. */
const kinds = Object.keys(customKinds) as TenantKind[];

/** Stopped is thrown inside of a round when another one leads by now. */
class Stopped extends Error {}

/** Refused is what the register said of an object, and to what it said so. */
interface Refused {
  readonly generation: number;
  readonly revision: number;
  readonly atMs: number;
  readonly message: string;
}

/** Round is what one comparison of everything finds. */
interface Round {
  readonly verdicts: Map<CustomObject, Verdict>;
  readonly refusals: Map<string, Refused>;
}

/** A deleted object asks for something else. */
function keyOf({ kind, name, deleting }: CustomObject): string {
  return `${deleting ? "delete" : "put"} ${kind} ${name}`;
}

/** ResourceSync owns the watches of all kinds. */
export class ResourceSync implements Disposable {
  readonly #options: ResourceSyncOptions;
  readonly #collections: readonly Collection<CustomObject>[];
  /** Verdicts of the last round that were refusals, by object. */
  #refusals: ReadonlyMap<string, Refused> = new Map();
  #timer: Disposable | undefined;
  #later: Disposable | undefined;
  #running = false;
  #again = false;
  #disposed = false;
  #problem: string | undefined;

  private constructor(options: ResourceSyncOptions) {
    this.#options = options;
    const { access } = options;
    this.#collections = kinds.map((kind) =>
      Collection.start({
        ...{ access, path: resourcePath(kind), most: MOST_OBJECTS, parse: parseCustomObject(kind) },
        onChange: () => this.look(),
      }),
    );
  }

  /** start begins to watch. */
  static start(options: ResourceSyncOptions): ResourceSync {
    return new ResourceSync(options);
  }

  /** problem says what is wrong beside the objects themselves. */
  get problem(): string | undefined {
    return this.#problem ?? this.#collections.find(({ problem }) => problem !== undefined)?.problem;
  }

  /** look has everything compared soon: when the register has changed, or this one leads now. */
  look(): void {
    this.#in(GATHER_MS);
  }

  #in(ms: number): void {
    if (this.#disposed) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#timer ??= after(ms, () => void this.#run());
  }

  async #run(): Promise<void> {
    this.#timer = undefined;
    this.#running = true;
    this.#again = false;
    let failed: string | undefined;
    try {
      await this.#round();
    } catch (error) {
      if (!(error instanceof Stopped)) failed = (error as Error).message;
    }
    this.#running = false;
    this.#problem = failed;
    this.#options.onProblem?.(this.problem);
    if (failed !== undefined) this.#in(RETRY_MS);
    else if (this.#again) this.look();
    this.#later?.[Symbol.dispose]();
    this.#later = undefined;
    if (this.#refusals.size > 0 && !this.#disposed) this.#later = after(REFUSED_MS, () => this.look());
  }

  async #round(): Promise<void> {
    // What was never listed is not known to be absent or there.
    if (this.#collections.some(({ cache }) => !cache.listed)) return;
    const objects = this.#collections.flatMap(({ cache }) =>
      [...cache.all()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
    const verdicts = new Map<CustomObject, Verdict>();
    const refusals = new Map<string, Refused>();
    const round = { verdicts, refusals };
    await this.#put(
      objects.filter(({ deleting }) => !deleting),
      round,
    );
    await this.#remove(objects.filter(({ deleting }) => deleting).reverse(), round);
    this.#refusals = refusals;
    for (const [object, verdict] of verdicts) await this.#tell(object, verdict);
  }

  /** Into the status and, where something is wrong, an event: once, as long as it stays the same. */
  async #tell(object: CustomObject, verdict: Verdict): Promise<void> {
    const { kind, name, uid } = object;
    const status = statusOf(object, verdict, kubeTime());
    if (status === undefined) return;
    const path = resourcePath(kind, name, "status");
    const written = await this.#write({ verb: "merge", path, body: { status: status as never } });
    if (!written || verdict.is === "accepted") return;
    await kubeWarn(this.#options.access, {
      about: { apiVersion: API_VERSION, kind, name, uid },
      ...{ reason: verdict.is, message: verdict.message, by: this.#options.name },
    });
  }

  async #put(objects: readonly CustomObject[], round: Round): Promise<void> {
    const { verdicts } = round;
    const changed = new Map<CustomObject, TenantResource>();
    const tenants = this.#options.register.tenants();
    for (const object of objects) {
      const wanted = wantedOf(object, tenants);
      if ("problem" in wanted) verdicts.set(object, { is: "Invalid", message: wanted.problem });
      else if (await this.#held(object)) {
        if (wanted.same) verdicts.set(object, this.#accepted(object));
        else changed.set(object, wanted.resource);
      }
    }
    const entries = [...changed];
    for (let i = 0; i < entries.length; i += MOST_AT_ONCE)
      await this.#putSome(entries.slice(i, i + MOST_AT_ONCE), round);
  }

  /** Together first: some only go together. Then one by one, so that one that is wrong keeps nobody else out. */
  async #putSome(changed: readonly (readonly [CustomObject, TenantResource])[], round: Round): Promise<void> {
    const { register } = this.#options;
    const { verdicts } = round;
    const resources = changed.map(([, resource]) => resource);
    const known = changed.every(([object]) => this.#known(object) !== undefined);
    const together = known ? "known" : await this.#asked(() => register.put(resources));
    for (const [object, resource] of changed) {
      const ask = () => (together === undefined ? Promise.resolve() : register.put([resource]));
      const message = await this.#refused(object, round, ask);
      verdicts.set(object, message === undefined ? this.#accepted(object) : { is: "NotAdmitted", message });
    }
  }

  /** What the register has refused already, and would again. */
  #known(object: CustomObject): Refused | undefined {
    const refused = this.#refusals.get(keyOf(object));
    if (refused === undefined || refused.generation !== object.generation) return undefined;
    const fresh = monotonicMs() - refused.atMs < REFUSED_MS;
    return fresh && refused.revision === this.#options.register.revision() ? refused : undefined;
  }

  /** Why the register will not do it, as it says now or said before; undefined when it is done. */
  async #refused(
    object: CustomObject,
    { refusals }: Round,
    ask: () => Promise<void>,
  ): Promise<string | undefined> {
    const known = this.#known(object);
    const message = known?.message ?? (await this.#asked(ask));
    if (message === undefined) return undefined;
    const now = { revision: this.#options.register.revision(), atMs: monotonicMs() };
    refusals.set(keyOf(object), known ?? { generation: object.generation, message, ...now });
    return message;
  }

  /** Why the register will not; throws what is weather. */
  async #asked(work: () => Promise<void>): Promise<string | undefined> {
    if (!this.#options.mayWrite()) throw new Stopped();
    try {
      await work();
      return undefined;
    } catch (error) {
      const reason = this.#options.register.refusal(error);
      if (reason === undefined) throw error;
      return reason;
    }
  }

  #accepted({ kind, name }: CustomObject): Verdict {
    const value = this.#options.register.tenants()[kind].get(name);
    const vni = value !== undefined && "vni" in value ? value.vni : undefined;
    return { is: "accepted", ...(vni !== undefined && { vni }) };
  }

  /** Whether our finalizer is there by now; what somebody else changed meanwhile comes again by the watch. */
  async #held(object: CustomObject): Promise<boolean> {
    if (object.finalizers.includes(FINALIZER)) return true;
    return await this.#setFinalizers(object, [...object.finalizers, FINALIZER]);
  }

  async #remove(objects: readonly CustomObject[], round: Round): Promise<void> {
    const { register } = this.#options;
    for (const object of objects) {
      const { kind, name, finalizers } = object;
      if (!finalizers.includes(FINALIZER)) continue;
      const there = register.tenants()[kind].has(name);
      const message = there
        ? await this.#refused(object, round, () => register.remove({ kind, name }))
        : undefined;
      if (message === undefined) {
        const others = finalizers.filter((one) => one !== FINALIZER);
        await this.#setFinalizers(object, others);
      } else round.verdicts.set(object, { is: "InUse", message });
    }
  }

  async #setFinalizers(object: CustomObject, finalizers: readonly string[]): Promise<boolean> {
    const { kind, name, resourceVersion } = object;
    return await this.#write({
      ...{ verb: "merge", path: resourcePath(kind, name) },
      body: { metadata: { finalizers, resourceVersion } },
    });
  }

  /** False where the object is another one by now, or gone: the watch brings what it is. */
  async #write(change: {
    readonly verb: "merge";
    readonly path: string;
    readonly body: Json;
  }): Promise<boolean> {
    if (!this.#options.mayWrite()) throw new Stopped();
    try {
      await kubeWrite(this.#options.access, change);
      return true;
    } catch (error) {
      if (error instanceof KubeError && (error.status === 404 || error.status === 409)) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#later?.[Symbol.dispose]();
    for (const collection of this.#collections) collection[Symbol.dispose]();
  }
}
