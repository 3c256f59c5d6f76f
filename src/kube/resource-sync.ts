/**
 * Custom resources → register: what users apply in Kubernetes is put into the register, which tells all nodes; the verdict goes into the
 * object's status. The register refuses by the same rules as for manifests from elsewhere, so nothing depends on a webhook.
 *
 * ```
 * list + watch ─▶ finalizer ─▶ wanted ─▶ all that changed at once, else one by one ─▶ status
 *                   deleted ─▶ out of the register, if it is ours there ─▶ finalizer away
 *                      gone ─▶ out of the register
 * ```
 * The finalizer is there before the register has the resource, so what was deleted is seen. The register keeps whose each resource is: what
 * another cluster or a hand put there is neither changed nor removed, whatever objects have its name.
 */
import {
  API_VERSION,
  type Json,
  type TenantKind,
  tenantKey,
  type TenantResource,
  type TenantResources,
} from "../resources/mod.ts";
import { after, monotonicMs, sleep } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { kubeGet, kubeWrite, refusesObject } from "./client.ts";
import { Collection } from "./collection.ts";
import { customKinds } from "./custom-kinds.ts";
import { type CustomObject, parseCustomObject } from "./custom-object.ts";
import { resourcePath } from "./definition.ts";
import { kubeTime, kubeEvent } from "./event.ts";
import { fieldOf } from "./metadata.ts";
import { statusOf, type UpState, type Verdict, Wishes } from "./verdict.ts";

/** FINALIZER keeps a deleted object until the register has let go of it. */
export const FINALIZER = "causeway.network/register";

/** ResourceRegister is the register as this needs it. */
export interface ResourceRegister {
  /** Its values stay the same ones until they change. */
  tenants(): TenantResources;
  /** Whose resources are, by tenantKey; what is not in it was put by hand. */
  owners(): ReadonlyMap<string, string>;
  /** Rejects when it may not be, or cannot be now; see `refusal`. */
  put(resources: readonly TenantResource[], owner: string): Promise<void>;
  remove(resource: { readonly kind: TenantKind; readonly name: string }, owner: string): Promise<void>;
  /** What nodes say of a resource; undefined for one that none speaks of. */
  upOf?(resource: { readonly kind: TenantKind; readonly name: string }): UpState | undefined;
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

/** Reading one takes 0.1 ms, and a hub does other things too. */
const MOST_AT_A_STRETCH = 200;

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
  /** Whose this cluster's resources are in the register. */
  readonly owner: string;
  readonly verdicts: Map<CustomObject, Verdict>;
  readonly refusals: Map<string, Refused>;
  /** Of single objects, which keep no other one waiting. */
  readonly problems: string[];
}

/** Asked is as much of an object as a refusal is remembered by; of one that is gone there is no more. */
type Asked = Pick<CustomObject, "kind" | "name" | "deleting" | "generation">;

/** A deleted object asks for something else. */
function keyOf({ kind, name, deleting }: Asked): string {
  return `${deleting ? "delete" : "put"} ${kind} ${name}`;
}

/** A cluster has no name of its own: this is as old as it, and what is restored from a copy of it has the same. */
async function readOwner(access: KubeAccess): Promise<string> {
  const path = "/api/v1/namespaces/kube-system";
  const uid = fieldOf(fieldOf(JSON.parse(await kubeGet(access, path)), "metadata"), "uid");
  if (typeof uid !== "string" || uid === "") throw new Error(`Cannot read ${path}: it has no uid`);
  return uid;
}

const REFUSED = Symbol("refused");

function inShort([first, ...others]: readonly string[]): string | undefined {
  return first === undefined || others.length === 0 ? first : `${first} (and ${others.length} more objects)`;
}

function accepted({ kind, name }: CustomObject, tenants: TenantResources): Verdict {
  const value = tenants[kind].get(name);
  const vni = value !== undefined && "vni" in value ? value.vni : undefined;
  return { is: "accepted", ...(vni !== undefined && { vni }) };
}

/** ResourceSync owns the watches of all kinds. */
export class ResourceSync implements Disposable {
  readonly #options: ResourceSyncOptions;
  readonly #collections: readonly Collection<CustomObject>[];
  readonly #wishes = new Wishes();
  /** Objects that the API server lets nobody change, which are tried again seldom: there may be many. */
  readonly #stuck = new WeakMap<CustomObject, { readonly atMs: number; readonly message: string }>();
  #owner: string | undefined;
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
    let problems: readonly string[] = [];
    try {
      problems = await this.#round();
    } catch (error) {
      if (!(error instanceof Stopped)) failed = (error as Error).message;
    }
    this.#running = false;
    this.#problem = failed ?? inShort(problems);
    this.#options.onProblem?.(this.problem);
    if (failed !== undefined) this.#in(RETRY_MS);
    else if (this.#again) this.look();
    this.#later?.[Symbol.dispose]();
    this.#later = undefined;
    const waits = this.#refusals.size + problems.length > 0;
    if (waits && !this.#disposed) this.#later = after(REFUSED_MS, () => this.look());
  }

  /** What is wrong with single objects, beside what their status says. */
  async #round(): Promise<readonly string[]> {
    // What was never listed is not known to be absent or there.
    if (this.#collections.some(({ cache }) => !cache.listed)) return [];
    const owner = (this.#owner ??= await readOwner(this.#options.access));
    const objects = this.#collections.flatMap(({ cache }) =>
      [...cache.all()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
    const verdicts = new Map<CustomObject, Verdict>();
    const refusals = new Map<string, Refused>();
    const round: Round = { owner, verdicts, refusals, problems: [] };
    await this.#put(
      objects.filter(({ deleting }) => !deleting),
      round,
    );
    await this.#remove(objects.filter(({ deleting }) => deleting).reverse(), round);
    await this.#sweep(round);
    this.#refusals = refusals;
    for (const [object, verdict] of verdicts) await this.#tell(object, verdict, round);
    return round.problems;
  }

  /** Into the status and, where something is wrong, an event: once, as long as it stays the same. */
  async #tell(object: CustomObject, verdict: Verdict, round: Round): Promise<void> {
    const { kind, name, uid } = object;
    const up = this.#options.register.upOf?.({ kind, name });
    const status = statusOf(object, { verdict, up }, kubeTime());
    if (status === undefined) return;
    const path = resourcePath(kind, name, "status");
    const written = await this.#write(object, { path, body: { status: status as never } }, round);
    if (!written || verdict.is === "accepted") return;
    const about = { apiVersion: API_VERSION, kind, name, uid };
    const { is: reason, message } = verdict;
    await this.#done(
      () => kubeEvent(this.#options.access, { about, reason, message, by: this.#options.name }),
      round,
    );
  }

  async #put(objects: readonly CustomObject[], round: Round): Promise<void> {
    const { verdicts, owner } = round;
    const changed = new Map<CustomObject, TenantResource>();
    const [tenants, owners] = [this.#options.register.tenants(), this.#options.register.owners()];
    for (const [i, object] of objects.entries()) {
      if (i % MOST_AT_A_STRETCH === MOST_AT_A_STRETCH - 1) await sleep(0);
      const wanted = this.#wishes.of(object, tenants);
      if ("problem" in wanted) verdicts.set(object, { is: "Invalid", message: wanted.problem });
      else if (await this.#held(object, round)) {
        const ours = owners.get(tenantKey(object.kind, object.name)) === owner;
        if (wanted.same && ours) verdicts.set(object, accepted(object, tenants));
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
    const { verdicts, owner } = round;
    const resources = changed.map(([, resource]) => resource);
    const known = changed.every(([object]) => this.#known(object) !== undefined);
    const together = known ? "known" : await this.#asked(() => register.put(resources, owner));
    for (const [object, resource] of changed) {
      const ask = () => (together === undefined ? Promise.resolve() : register.put([resource], owner));
      const message = await this.#refused(object, round, ask);
      verdicts.set(
        object,
        message === undefined ? accepted(object, register.tenants()) : { is: "NotAdmitted", message },
      );
    }
  }

  /** What the register has refused already, and would again. */
  #known(object: Asked): Refused | undefined {
    const refused = this.#refusals.get(keyOf(object));
    if (refused === undefined || refused.generation !== object.generation) return undefined;
    const fresh = monotonicMs() - refused.atMs < REFUSED_MS;
    return fresh && refused.revision === this.#options.register.revision() ? refused : undefined;
  }

  /** Why the register will not do it, as it says now or said before; undefined when it is done. */
  async #refused(object: Asked, { refusals }: Round, ask: () => Promise<void>): Promise<string | undefined> {
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

  /** Whether our finalizer is there by now; what somebody else changed meanwhile comes again by the watch. */
  async #held(object: CustomObject, round: Round): Promise<boolean> {
    if (object.finalizers.includes(FINALIZER)) return true;
    return await this.#setFinalizers(object, [...object.finalizers, FINALIZER], round);
  }

  async #remove(objects: readonly CustomObject[], round: Round): Promise<void> {
    const { register } = this.#options;
    for (const object of objects) {
      const { kind, name, finalizers } = object;
      if (!finalizers.includes(FINALIZER)) continue;
      // An object that was never accepted has nothing there, whatever has its name.
      const ours = register.owners().get(tenantKey(kind, name)) === round.owner;
      const message = ours
        ? await this.#refused(object, round, () => register.remove({ kind, name }, round.owner))
        : undefined;
      if (message === undefined) {
        const others = finalizers.filter((one) => one !== FINALIZER);
        await this.#setFinalizers(object, others, round);
      } else round.verdicts.set(object, { is: "InUse", message });
    }
  }

  /** Ours in the register and gone in the cluster: a former leader's last word came late, or somebody took our finalizer away. */
  async #sweep(round: Round): Promise<void> {
    const { register } = this.#options;
    const [tenants, owners] = [register.tenants(), register.owners()];
    for (const [i, kind] of [...kinds.entries()].reverse())
      for (const name of tenants[kind].keys()) {
        if (owners.get(tenantKey(kind, name)) !== round.owner) continue;
        if (this.#collections[i]?.cache.get(name) !== undefined) continue;
        const gone = { kind, name, deleting: true, generation: 0 };
        const message = await this.#done(async () => {
          if (await this.#exists(kind, name)) return undefined;
          return await this.#refused(gone, round, () => register.remove({ kind, name }, round.owner));
        }, round);
        if (typeof message === "string") round.problems.push(message);
      }
  }

  /** Asked anew: a watch may be late. A list that is empty proves it; an answer of 404 might be of a definition that is not there. */
  async #exists(kind: TenantKind, name: string): Promise<boolean> {
    const query = new URLSearchParams({ fieldSelector: `metadata.name=${name}` });
    const list: unknown = JSON.parse(await kubeGet(this.#options.access, `${resourcePath(kind)}?${query}`));
    const items = fieldOf(list, "items");
    return !Array.isArray(items) || items.length > 0;
  }

  async #setFinalizers(object: CustomObject, finalizers: readonly string[], round: Round): Promise<boolean> {
    const { kind, name, resourceVersion } = object;
    const path = resourcePath(kind, name);
    return await this.#write(object, { path, body: { metadata: { finalizers, resourceVersion } } }, round);
  }

  /** False where it was not written; where the object is another one by now, or gone, the watch brings what it is. */
  async #write(
    object: CustomObject,
    change: { readonly path: string; readonly body: Json },
    round: Round,
  ): Promise<boolean> {
    if (!this.#options.mayWrite()) throw new Stopped();
    const stuck = this.#stuck.get(object);
    if (stuck !== undefined && monotonicMs() - stuck.atMs < REFUSED_MS) {
      round.problems.push(stuck.message);
      return false;
    }
    const { length } = round.problems;
    const done = await this.#done(() => kubeWrite(this.#options.access, { verb: "merge", ...change }), round);
    const message = round.problems[length];
    if (message !== undefined) this.#stuck.set(object, { atMs: monotonicMs(), message });
    return done !== REFUSED;
  }

  /** What the API refuses of one object is a problem of that one. */
  async #done<T>(work: () => Promise<T>, { problems }: Round): Promise<T | typeof REFUSED> {
    try {
      return await work();
    } catch (error) {
      if (!refusesObject(error)) throw error;
      if (error.status !== 404 && error.status !== 409) problems.push(error.message);
      return REFUSED;
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#later?.[Symbol.dispose]();
    for (const collection of this.#collections) collection[Symbol.dispose]();
  }
}
