/** Engine: makes one network namespace match the desired state of all scopes, and keeps it so. */
import type { WireguardDevice } from "../net/mod.ts";
import { after, every, type Netns, wallMs } from "../sys/mod.ts";
import { Desired, type Entry } from "./desired.ts";
import { Kernel } from "./kernel.ts";
import { linkKey, type Mark, type Memory, type Verdict, type View, type Work } from "./kind.ts";
import { allHandlers, handlerOf } from "./kinds.ts";
import type { Touched } from "./mirror.ts";
import { ALIAS, type KernelObject, PROTOCOL, type SetElement } from "./object.ts";
import { backwards, exists, inOrder, makePlan, type Plan, type Removable } from "./plan.ts";
import {
  type Condition,
  failed,
  FIRST_RETRY_MS,
  type ObjectStatus,
  ready,
  retryDelayMs,
  waiting,
} from "./status.ts";

/** ROUND_MS is the time between two full rounds, which find what no event told. */
export const ROUND_MS = 60_000;

/** REPAIR_DELAY_MS lets the events of one cause come together before they are answered. */
export const REPAIR_DELAY_MS = 20;

/** DRIFT_WINDOW_MS and DRIFT_LIMIT: an object that drifts more often than this is repaired with back-off: somebody else insists. */
export const DRIFT_WINDOW_MS = 10_000;
export const DRIFT_LIMIT = 5;

/** TRY_LIMIT is how often one apply sets an object that comes out different before it gives up. */
const TRY_LIMIT = 3;

export interface EngineOptions {
  /** Default: the namespace of the calling thread. */
  readonly netns?: Netns;
  /** Opens the WireGuard device of a link; undefined when this link's is not its affair, then the kernel is asked. */
  readonly wireguard?: (link: string) => WireguardDevice | undefined;
  /** Called for every object whose state or reason changed. */
  readonly onChange?: (status: ObjectStatus) => void;
  /** Default: alias `causeway` and protocol 67. */
  readonly mark?: Mark;
}

export interface ApplyOptions {
  /** Default: all scopes. */
  readonly scope?: string;
  /** Also removes what carries our mark and no scope wants. Only right once every scope has been set. */
  readonly prune?: boolean;
}

/** ApplyResult says how many steps were done, what was made new, and what could not be made true. */
export interface ApplyResult {
  readonly applied: number;
  readonly added: readonly KernelObject[];
  readonly failed: readonly ObjectStatus[];
}

/** What a run is to look at beside the queue. */
interface Range {
  readonly scope: string | undefined;
  readonly prune: boolean;
  /** Not asked for by a person or a feature: drift is limited, and failed removals wait for their time. */
  readonly automatic: boolean;
}

/** What one run of the engine collects. */
interface Run {
  readonly nowMs: number;
  readonly view: View;
  /** Still to be compared. */
  readonly queue: Set<string>;
  readonly tries: Map<string, number>;
  readonly automatic: boolean;
  /** Keys that were asked for; undefined for all. Of others, only what was true and is broken by this run is made again. */
  readonly range: ReadonlySet<string> | undefined;
  readonly added: KernelObject[];
  readonly failed: Map<string, ObjectStatus>;
  applied: number;
}

export class Engine implements Disposable {
  readonly #desired = new Desired();
  readonly #memory: Memory = { peers: new Map(), sysctls: new Map() };
  readonly #kernel: Kernel;
  readonly #options: EngineOptions;
  readonly #mark: Mark;
  /** Keys of entries that are tried again by time. */
  readonly #retries = new Set<string>();
  readonly #wireguardScopes = new Set<string>();
  #read = false;
  #pruned = false;
  #run: Run | undefined;
  #round: Disposable | undefined;
  #repair: Disposable | undefined;
  #retry: Disposable | undefined;

  private constructor(options: EngineOptions) {
    this.#options = options;
    this.#mark = options.mark ?? { alias: ALIAS, protocol: PROTOCOL };
    this.#kernel = new Kernel({
      netns: options.netns,
      mark: this.#mark,
      wireguard: options.wireguard,
      onTouched: (touched) => this.#touched(touched),
      onLost: () => {
        this.#allDirty();
        this.#wake();
      },
    });
  }

  /** open listens in the namespace at once and reads it at the first plan or apply; nothing is changed. */
  static open(options: EngineOptions = {}): Engine {
    return new Engine(options);
  }

  /** set replaces what a scope wants. Memory only; throws when two wishes for the same object contradict. */
  set(scope: string, objects: readonly KernelObject[]): void {
    this.#desired.set(scope, objects, wallMs());
    const wireguard = objects.some((object) => object.kind === "peer" || object.kind === "wireguard");
    if (wireguard) this.#wireguardScopes.add(scope);
    else this.#wireguardScopes.delete(scope);
    if (this.#round !== undefined) this.#schedule();
  }

  /** remove wants nothing more for a scope; its objects go with the next apply. */
  remove(scope: string): void {
    this.#desired.remove(scope);
    this.#wireguardScopes.delete(scope);
    if (this.#round !== undefined) this.#schedule();
  }

  /** scopes lists the scopes that are set. */
  scopes(): string[] {
    return [...this.#desired.scopes.keys()];
  }

  /** plan compares all desired objects, or those of one scope, with the kernel, and changes nothing. */
  plan(options: string | ApplyOptions = {}): Plan {
    const { scope, prune = false } = typeof options === "string" ? { scope: options } : options;
    this.#look();
    this.#kernel.wireguard.forget();
    const view = this.#view();
    const keys = scope === undefined ? undefined : (this.#desired.scopes.get(scope) ?? new Set());
    const entries = this.#desired.entries;
    const wanted = keys === undefined ? entries.values() : this.#entries(keys);
    return makePlan(wanted, this.#removals({ scope, prune, automatic: false }, view), view);
  }

  /** apply makes all desired objects true that are not known to be, or those of one scope; failed ones are tried again at once. */
  apply(options: string | ApplyOptions = {}): ApplyResult {
    const { scope, prune = false } = typeof options === "string" ? { scope: options } : options;
    this.#look();
    const range = scope === undefined ? undefined : (this.#desired.scopes.get(scope) ?? new Set());
    const queue = new Set<string>();
    for (const keys of [this.#desired.dirty, this.#retries])
      for (const key of keys) if (range === undefined || range.has(key)) queue.add(key);
    for (const key of this.#wireguardKeys(scope)) queue.add(key);
    if (prune) this.#pruned = true;
    return this.#work(queue, { scope, prune, automatic: false });
  }

  /** sweep is apply of everything, with removal of what carries our mark and no scope wants. */
  sweep(): ApplyResult {
    return this.apply({ prune: true });
  }

  /** adopt reads everything anew, so that the next plan or apply compares every object. Nothing is changed. */
  adopt(): void {
    this.#kernel.read();
    this.#read = true;
    this.#allDirty();
  }

  /** status reports every desired object, or those of one scope, and those whose removal failed. */
  status(scope?: string): ObjectStatus[] {
    const keys = scope === undefined ? this.#desired.entries.keys() : (this.#desired.scopes.get(scope) ?? []);
    const removals = [...this.#desired.unwanted.values()].filter(
      (entry) => scope === undefined || entry.lastScope === scope,
    );
    return [
      ...[...this.#entries(keys)].map((entry) => statusOf(entry, scope)),
      ...removals.map((entry) => statusOf(entry, entry.lastScope)),
    ];
  }

  /** start repairs drift as events tell of it, tries failed objects again, and compares everything once in ROUND_MS. */
  start(): void {
    if (this.#round !== undefined) return;
    this.#round = every(ROUND_MS, () => this.round());
    this.#schedule();
  }

  /** stop ends what start began; desired state and status stay. */
  stop(): void {
    for (const timer of [this.#round, this.#repair, this.#retry]) timer?.[Symbol.dispose]();
    this.#round = this.#repair = this.#retry = undefined;
  }

  /** round is one full round: everything is read and compared, and pruned if that was ever asked for. */
  round(): ApplyResult {
    this.adopt();
    return this.#work(new Set(this.#desired.entries.keys()), {
      scope: undefined,
      prune: this.#pruned,
      automatic: true,
    });
  }

  /** undo removes objects that an apply reported as added. */
  undo(objects: readonly KernelObject[]): void {
    const removals = objects.map((object) => removable(object, undefined));
    this.#look();
    this.#remove(removals, this.#view());
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#kernel[Symbol.dispose]();
  }

  #look(): void {
    if (!this.#read) this.adopt();
    else this.#kernel.drain();
  }

  #view(): View {
    const kernel = this.#kernel;
    return {
      mirror: kernel.mirror,
      mark: this.#mark,
      memory: this.#memory,
      nowMs: wallMs(),
      wireguard: (link) => kernel.wireguard.view(link),
      wireguardLinks: () =>
        [...this.#desired.entries.values()].flatMap(({ object }) =>
          object.kind === "wireguard" ? [object.link] : [],
        ),
      table: (family) => kernel.nft.view(family),
      sysctl: (path) => kernel.sysctl(path),
      wanted: (key) => this.#desired.entries.get(key),
    };
  }

  *#entries(keys: Iterable<string>): Iterable<Entry> {
    for (const key of keys) {
      const entry = this.#desired.entries.get(key);
      if (entry !== undefined) yield entry;
    }
  }

  /** WireGuard back-ends send no events: what is asked for is compared with the device each time. */
  #wireguardKeys(scope: string | undefined): Iterable<string> {
    const scopes = scope === undefined ? [...this.#wireguardScopes] : [scope];
    const affected = scopes.filter((name) => this.#wireguardScopes.has(name));
    if (affected.length === 0) return [];
    this.#kernel.wireguard.forget();
    return affected
      .flatMap((name) => [...(this.#desired.scopes.get(name) ?? [])])
      .filter((key) => key.startsWith("peer ") || key.startsWith("wireguard "));
  }

  #removals({ scope, prune, automatic }: Range, view: View): Removable[] {
    const out: Removable[] = [];
    for (const entry of this.#desired.unwanted.values()) {
      if (automatic && (entry.condition.nextTryMs ?? 0) > view.nowMs) continue;
      if (scope === undefined || entry.lastScope === scope) out.push(entry);
    }
    if (!prune) return out;
    for (const handler of allHandlers())
      for (const object of handler.ours(view)) {
        const key = handler.key(object);
        if (this.#desired.entries.has(key) || this.#desired.unwanted.has(key)) continue;
        out.push(removable(object, key));
      }
    return out;
  }

  /** One run: removals, then waves in the order of making until nothing is left to compare. */
  #work(queue: Set<string>, how: Range): ApplyResult {
    const view = this.#view();
    const run: Run = {
      nowMs: view.nowMs,
      view,
      queue,
      tries: new Map(),
      automatic: how.automatic,
      range: how.scope === undefined ? undefined : (this.#desired.scopes.get(how.scope) ?? new Set()),
      added: [],
      failed: new Map(),
      applied: 0,
    };
    this.#run = run;
    try {
      const removals = this.#removals(how, view);
      if (removals.length > 0) run.applied += this.#remove(removals, view, run);
      while (run.queue.size > 0) this.#wave(run);
    } finally {
      this.#run = undefined;
    }
    if (this.#round !== undefined) this.#schedule();
    return { applied: run.applied, added: run.added, failed: [...run.failed.values()] };
  }

  #remove(removals: readonly Removable[], view: View, run?: Run): number {
    let done = 0;
    for (const [, list] of Map.groupBy(backwards(removals), (removal) => removal.order)) {
      const wave = list.flatMap((removal) => {
        const found = removal.handler.remove(removal.object, view);
        if (found === undefined) this.#desired.unwanted.delete(removal.key);
        return found === undefined ? [] : [{ removal, work: found.work }];
      });
      if (wave.length === 0) continue;
      const errors = this.#execute(wave.map(({ work }) => work));
      for (const [index, { removal }] of wave.entries()) {
        const error = errors[index];
        if (error === undefined || isGone(error)) {
          done++;
          this.#forget(removal);
        } else this.#removalFailed(removal, error, run);
      }
      this.#kernel.drain();
    }
    return done;
  }

  #forget({ key, object }: Removable): void {
    this.#desired.unwanted.delete(key);
    this.#memory.peers.delete(key);
    if (object.kind === "sysctl") this.#memory.sysctls.delete(object.path);
  }

  #removalFailed({ key }: Removable, error: Error, run: Run | undefined): void {
    const unwanted = this.#desired.unwanted.get(key);
    const before = unwanted?.condition ?? { state: "pending", sinceMs: wallMs(), failures: 0 };
    const condition = failed(before, error.message, wallMs());
    if (unwanted !== undefined) unwanted.condition = condition;
    const status = { scope: unwanted?.lastScope ?? "", key, ...shown(condition) };
    run?.failed.set(key, status);
    this.#options.onChange?.(status);
  }

  /** Compares all queued entries of the lowest place, does what is needed, and compares again what was done. */
  #wave(run: Run): void {
    const wave = this.#nextWave(run);
    const works: { entry: Entry; verdict: Extract<Verdict, { is: "step" }> }[] = [];
    for (const entry of wave) {
      run.queue.delete(entry.key);
      const unmet = entry.needs.find((need) => !exists(need, run.view));
      if (unmet !== undefined) {
        this.#settle(entry, waiting(entry.condition, `waits for ${unmet}`, run.nowMs), run);
        continue;
      }
      const verdict = entry.handler.compare(entry.object, run.view);
      const step = this.#judge(entry, verdict, run);
      if (step !== undefined) works.push({ entry, verdict: step });
    }
    if (works.length === 0) return;
    const errors = this.#execute(works.map(({ verdict }) => verdict.work));
    for (const [index, { entry, verdict }] of works.entries())
      this.#done(entry, verdict, errors[index], run);
    this.#kernel.drain();
  }

  #nextWave(run: Run): Entry[] {
    const entries = [...this.#entries(run.queue)];
    const keys = new Set(entries.map((entry) => entry.key));
    for (const key of run.queue) if (!keys.has(key)) run.queue.delete(key);
    const lowest = Math.min(...new Set(entries.map((entry) => entry.order)));
    const wave = entries.filter((entry) => entry.order === lowest);
    // What needs another of the same place waits for the next wave, as long as that one is still to come.
    const now = wave.filter((entry) => !entry.needs.some((need) => keys.has(need)));
    return now.length > 0 ? now : inOrder(wave);
  }

  /** Takes note of a verdict; returns it when there is something to do. */
  #judge(entry: Entry, verdict: Verdict, run: Run): Extract<Verdict, { is: "step" }> | undefined {
    const { nowMs } = run;
    switch (verdict.is) {
      case "same":
        entry.handler.settled?.(entry.object, run.view);
        this.#settle(entry, ready(entry.condition, nowMs), run);
        return undefined;
      case "waits": {
        const condition = waiting(entry.condition, verdict.reason, nowMs);
        this.#settle(entry, { ...condition, nextTryMs: nowMs + FIRST_RETRY_MS }, run);
        return undefined;
      }
      case "refused":
        this.#settle(entry, failed(entry.condition, verdict.reason, nowMs), run);
        return undefined;
      case "step":
        return this.#mayTry(entry, verdict, run) ? verdict : undefined;
    }
  }

  #mayTry(entry: Entry, verdict: Extract<Verdict, { is: "step" }>, run: Run): boolean {
    const { nowMs } = run;
    const tries = (run.tries.get(entry.key) ?? 0) + 1;
    run.tries.set(entry.key, tries);
    if (tries > TRY_LIMIT) {
      const reason = `Cannot keep ${entry.key}: the kernel took the request and shows something else; still to do: ${verdict.text}`;
      this.#settle(entry, failed(entry.condition, reason, nowMs), run);
      return false;
    }
    if (!run.automatic || entry.condition.state !== "ready") return true;
    entry.drifts = nowMs - entry.repairedMs < DRIFT_WINDOW_MS ? entry.drifts + 1 : 0;
    entry.repairedMs = nowMs;
    if (entry.drifts < DRIFT_LIMIT) return true;
    const reason = `Cannot keep ${entry.key}: somebody else changes it again and again; find and stop them`;
    const condition = failed(entry.condition, reason, nowMs);
    const delayMs = retryDelayMs(entry.drifts - DRIFT_LIMIT + 1);
    this.#settle(entry, { ...condition, nextTryMs: nowMs + delayMs }, run);
    return false;
  }

  #done(entry: Entry, verdict: Extract<Verdict, { is: "step" }>, error: Error | undefined, run: Run): void {
    if (error !== undefined) {
      this.#settle(entry, failed(entry.condition, error.message, run.nowMs), run);
      return;
    }
    run.applied++;
    if (verdict.action === "add") run.added.push(entry.object);
    const { work } = verdict;
    if (work.via === "sysctl" && work.earlier !== undefined && !this.#memory.sysctls.has(work.path))
      this.#memory.sysctls.set(work.path, work.earlier);
    if (entry.object.kind === "peer") entry.handler.settled?.(entry.object, run.view);
    run.queue.add(entry.key);
    // No event tells that elements were loaded with their ruleset, or can be added now.
    if (work.via === "ruleset") for (const key of this.#desired.dependants(entry.key)) run.queue.add(key);
  }

  #settle(entry: Entry, condition: Condition, run: Run): void {
    const before = entry.condition;
    entry.condition = condition;
    this.#desired.dirty.delete(entry.key);
    if (condition.nextTryMs === undefined) this.#retries.delete(entry.key);
    else this.#retries.add(entry.key);
    const status = statusOf(entry);
    if (condition.state === "failed") run.failed.set(entry.key, status);
    else run.failed.delete(entry.key);
    if (before.state !== condition.state || before.reason !== condition.reason)
      this.#options.onChange?.(status);
  }

  #execute(works: readonly Work[]): (Error | undefined)[] {
    return this.#kernel.execute(works, (family) => this.#elementsOf(family));
  }

  #elementsOf(family: SetElement["family"]): SetElement[] {
    return [...this.#entries(this.#desired.dependants(`ruleset ${family}`))].flatMap(({ object }) =>
      object.kind === "element" ? [object] : [],
    );
  }

  #allDirty(): void {
    for (const key of this.#desired.entries.keys()) this.#dirty(key);
  }

  #dirty(key: string): void {
    const entry = this.#desired.entries.get(key);
    if (entry === undefined) return;
    this.#desired.dirty.add(key);
    const range = this.#run?.range;
    if (range === undefined || range.has(key) || entry.condition.state === "ready") this.#run?.queue.add(key);
  }

  #touched({ keys, turned, stale = [] }: Touched): void {
    for (const key of keys) {
      this.#dirty(key);
      if (key.startsWith("nexthop ")) for (const dependant of this.#desired.dependants(key)) this.#dirty(dependant);
    }
    if (turned !== undefined) for (const key of this.#desired.dependants(linkKey(turned))) this.#dirty(key);
    // A gateway may be reachable now that was not.
    if (turned !== undefined || keys.some((key) => key.startsWith("address ")))
      for (const key of this.#retries) if (/^(route|nexthop) /.test(key)) this.#dirty(key);
    if (stale.length > 0 || this.#desired.dirty.size > 0) this.#wake();
  }

  /** Repairs soon, when that was asked for by start, and not from within a run, which looks at what is dirty by itself. */
  #wake(): void {
    if (this.#run !== undefined || this.#round === undefined) return;
    this.#repair ??= after(REPAIR_DELAY_MS, () => this.#due());
  }

  /** Sets the timers for what is dirty and for the next retry. */
  #schedule(): void {
    if (this.#desired.dirty.size > 0 || this.#removalsDue()) this.#wake();
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    let next = Number.POSITIVE_INFINITY;
    for (const { condition } of this.#entries(this.#retries))
      next = Math.min(next, condition.nextTryMs ?? next);
    for (const { condition } of this.#desired.unwanted.values())
      next = Math.min(next, condition.nextTryMs ?? next);
    if (next !== Number.POSITIVE_INFINITY)
      this.#retry = after(Math.max(0, next - wallMs()), () => this.#due());
  }

  /** Removals that were refused wait like everything else. */
  #removalsDue(): boolean {
    const nowMs = wallMs();
    return [...this.#desired.unwanted.values()].some(({ condition }) => (condition.nextTryMs ?? 0) <= nowMs);
  }

  /** Repairs what events told of and tries again what is due. */
  #due(): void {
    this.#repair = undefined;
    this.#look();
    const nowMs = wallMs();
    const queue = new Set(this.#desired.dirty);
    for (const entry of this.#entries(this.#retries))
      if ((entry.condition.nextTryMs ?? 0) <= nowMs) queue.add(entry.key);
    this.#work(queue, { scope: undefined, prune: false, automatic: true });
  }
}

function removable(object: KernelObject, key: string | undefined): Removable {
  const handler = handlerOf(object);
  return { key: key ?? handler.key(object), handler, order: handler.order(object), object };
}

function shown({ state, reason, sinceMs, nextTryMs }: Condition) {
  return {
    state,
    sinceMs,
    ...(reason !== undefined && { reason }),
    ...(nextTryMs !== undefined && { nextTryMs }),
  };
}

function statusOf(entry: Entry, scope?: string): ObjectStatus {
  return { scope: scope ?? [...entry.scopes].sort()[0] ?? "", key: entry.key, ...shown(entry.condition) };
}

/** What was to be removed and is not there is removed. */
function isGone(error: Error): boolean {
  return ["ENODEV", "ESRCH", "ENOENT", "EADDRNOTAVAIL"].includes((error as { code?: string }).code ?? "");
}
