/** Reconciler: compares desired entries with one kernel and does what is missing. Removals first, then waves in the order of making. */
import type { WireguardDevice } from "../net/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import { monotonicMs, type Netns, wallMs } from "../sys/mod.ts";
import { Desired, type Entry } from "./desired.ts";
import { EarlierSettings } from "./earlier-settings.ts";
import { wantedFdbKey } from "./fdb.ts";
import { Kernel } from "./kernel.ts";
import {
  type KindHandler,
  linkKey,
  type Mark,
  type Memory,
  type Verdict,
  type View,
  type Work,
} from "./kind.ts";
import { allHandlers, handlerOf } from "./kinds.ts";
import type { Touched } from "./mirror.ts";
import type { KernelObject, SetElement } from "./object.ts";
import { backwards, exists, inOrder, type Removable } from "./plan.ts";
import {
  type Condition,
  FIRST_RETRY_MS,
  failed,
  type ObjectStatus,
  ready,
  retryDelayMs,
  statusOf,
  untried,
  waiting,
} from "./status.ts";
import { weather } from "./weather.ts";

/** DRIFT_WINDOW_MS: an object that drifts again within this time has drifted in short order. */
export const DRIFT_WINDOW_MS = 10_000;

/** DRIFT_LIMIT is how often in short order an object is repaired at once; then with back-off, because somebody else insists. */
export const DRIFT_LIMIT = 5;

/** TRY_LIMIT is how often one run sets an object that comes out different before it gives up. */
const TRY_LIMIT = 3;

/** Range is what a run is to look at beside its queue. */
export interface Range {
  /** Default: all scopes. */
  readonly scope: string | undefined;
  /** Also remove what carries our mark and no scope wants. */
  readonly prune: boolean;
  /** Not asked for by a person or a feature: drift is limited, and failed removals wait for their time. */
  readonly automatic: boolean;
}

/** ApplyResult says how many steps were done, what was made new, and what could not be made true. */
export interface ApplyResult {
  readonly applied: number;
  readonly added: readonly KernelObject[];
  readonly failed: readonly ObjectStatus[];
}

/** What one run collects. */
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

type Step = Extract<Verdict, { is: "step" }>;

/** ReconcilerOptions say where, by which mark, and who is told. */
export interface ReconcilerOptions {
  readonly netns: Netns | undefined;
  readonly route: Rtnetlink | undefined;
  readonly underlay: Rtnetlink | undefined;
  readonly mark: Mark;
  readonly settingsFile: string | undefined;
  readonly wireguard: ((link: string) => WireguardDevice | undefined) | undefined;
  readonly onChange: ((status: ObjectStatus) => void) | undefined;
  /** Something is dirty or stale outside of a run. */
  readonly onDirty: () => void;
}

/** Reconciler owns the kernel's sockets and the desired state. */
export class Reconciler implements Disposable {
  readonly desired = new Desired();
  readonly kernel: Kernel;
  /** Keys of entries that are tried again by time. */
  readonly retries = new Set<string>();
  readonly #memory: Memory;
  readonly #options: ReconcilerOptions;
  #run: Run | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#memory = { peers: new Map(), sysctls: new EarlierSettings(options.settingsFile) };
    this.kernel = new Kernel({
      netns: options.netns,
      route: options.route,
      underlay: options.underlay,
      mark: options.mark,
      wireguard: options.wireguard,
      onTouched: (touched) => this.#touched(touched),
      onLost: () => {
        this.allDirty();
        this.#wake();
      },
      onForeign: () => this.#wake(),
    });
  }

  [Symbol.dispose](): void {
    this.kernel[Symbol.dispose]();
  }

  /** view is what handlers may look at, now. */
  view(): View {
    const { kernel } = this;
    return {
      mirror: kernel.mirror,
      mark: this.#options.mark,
      memory: this.#memory,
      nowMs: monotonicMs(),
      wallMs: wallMs(),
      wireguard: (link) => kernel.wireguard.view(link),
      wireguardLinks: () =>
        [...this.desired.entries.values()].flatMap(({ object }) =>
          object.kind === "wireguard" ? [object.link] : [],
        ),
      table: (family) => kernel.nft.view(family),
      sysctl: (path) => kernel.sysctl(path),
      wanted: (key) => this.desired.entries.get(key),
    };
  }

  /** entries returns the desired entries of keys; those that are not desired are left out. */
  *entries(keys: Iterable<string>): Iterable<Entry> {
    for (const key of keys) {
      const entry = this.desired.entries.get(key);
      if (entry !== undefined) yield entry;
    }
  }

  /** removals lists what has to go. */
  removals({ scope, prune, automatic }: Range, view: View): Removable[] {
    const out: Removable[] = [];
    for (const entry of this.desired.unwanted.values()) {
      if (automatic && (entry.condition.nextTryMs ?? 0) > view.nowMs) continue;
      if (scope === undefined || entry.lastScope === scope) out.push(entry);
    }
    if (!prune) return out;
    for (const handler of allHandlers())
      for (const object of oursSafely(handler, view)) {
        const key = handler.key(object);
        if (this.desired.entries.has(key) || this.desired.unwanted.has(key)) continue;
        out.push(removable(object, key));
      }
    return out;
  }

  /** One run: removals, then waves in the order of making until nothing is left to compare. */
  run(queue: Set<string>, how: Range): ApplyResult {
    const view = this.view();
    const run: Run = {
      nowMs: view.nowMs,
      view,
      queue,
      tries: new Map(),
      automatic: how.automatic,
      range: how.scope === undefined ? undefined : (this.desired.scopes.get(how.scope) ?? new Set()),
      added: [],
      failed: new Map(),
      applied: 0,
    };
    this.#run = run;
    try {
      const removals = this.removals(how, view);
      if (removals.length > 0) run.applied += this.remove(removals, view, run);
      while (run.queue.size > 0) this.#wave(run);
    } finally {
      this.#run = undefined;
    }
    return { applied: run.applied, added: run.added, failed: [...run.failed.values()] };
  }

  remove(removals: readonly Removable[], view: View, run?: Run): number {
    let done = 0;
    for (const [, list] of Map.groupBy(backwards(removals), (removal) => removal.order)) {
      const wave = list.flatMap((removal) => {
        const found = safely(removal.key, () => removal.handler.remove(removal.object, view));
        if (found instanceof Error) this.#removalFailed(removal, found, run);
        // Nothing is to be put back: what was there before is no news any more.
        else if (found === undefined) this.#forget(removal);
        return found === undefined || found instanceof Error ? [] : [{ removal, work: found.work }];
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
      this.kernel.drain();
    }
    return done;
  }

  #forget({ key, object }: Removable): void {
    this.desired.unwanted.delete(key);
    this.#memory.peers.delete(key);
    if (object.kind === "sysctl") this.#memory.sysctls.delete(object.path);
  }

  #removalFailed({ key }: Removable, error: Error, run: Run | undefined): void {
    const unwanted = this.desired.unwanted.get(key);
    const nowMs = monotonicMs();
    const condition = failed(unwanted?.condition ?? untried(nowMs), this.#explain(error), nowMs);
    if (unwanted !== undefined) unwanted.condition = condition;
    const status = this.status({ key, condition }, unwanted?.lastScope ?? "");
    run?.failed.set(key, status);
    this.#options.onChange?.(status);
  }

  /** Compares all queued entries of the lowest place, does what is needed, and compares again what was done. */
  #wave(run: Run): void {
    const wave = this.#nextWave(run);
    const works: { entry: Entry; verdict: Step }[] = [];
    // Thousands need the same few, which nothing changes while they are compared.
    const there = new Set<string>();
    const isUnmet = (need: string) => {
      if (there.has(need)) return false;
      if (!exists(need, run.view)) return true;
      there.add(need);
      return false;
    };
    for (const entry of wave) {
      run.queue.delete(entry.key);
      const unmet = safely(entry.key, () => entry.needs.find(isUnmet));
      if (unmet instanceof Error) {
        this.#settle(entry, failed(entry.condition, unmet.message, run.nowMs), run);
        continue;
      }
      if (unmet !== undefined) {
        this.#settle(entry, waiting(entry.condition, `waits for ${unmet}`, run.nowMs), run);
        continue;
      }
      const verdict = safely(entry.key, () => entry.handler.compare(entry.object, run.view, entry.key));
      const refused = verdict instanceof Error;
      const step = this.#judge(entry, refused ? { is: "refused", reason: verdict.message } : verdict, run);
      if (step !== undefined) works.push({ entry, verdict: step });
    }
    if (works.length === 0) return;
    const errors = this.#execute(works.map(({ verdict }) => verdict.work));
    for (const [index, { entry, verdict }] of works.entries()) this.#done(entry, verdict, errors[index], run);
    this.kernel.drain();
  }

  /** The kernel layer names links by index; people know them by name. */
  #explain(error: Error): string {
    const text = error.message.replaceAll(
      /\b(dev|link) (\d+)\b/g,
      (_all, word: string, index: string) => `${word} ${this.kernel.mirror.nameOf(Number(index)) ?? index}`,
    );
    return (error as { code?: string }).code === "EEXIST"
      ? `${text}; what is there is not ours: remove it, or choose another name, priority or metric`
      : text;
  }

  #nextWave(run: Run): Entry[] {
    const wave: Entry[] = [];
    for (const key of run.queue) {
      const entry = this.desired.entries.get(key);
      if (entry === undefined) run.queue.delete(key);
      else {
        const lowest = wave[0]?.order ?? entry.order;
        if (entry.order < lowest) wave.length = 0;
        if (entry.order <= lowest) wave.push(entry);
      }
    }
    // What needs another of the same place waits for the next wave, as long as that one is still to come.
    const now = wave.filter((entry) => !entry.needs.some((need) => run.queue.has(need)));
    return now.length > 0 ? now : inOrder(wave);
  }

  /** Takes note of a verdict; returns it when there is something to do. */
  #judge(entry: Entry, verdict: Verdict, run: Run): Step | undefined {
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

  #mayTry(entry: Entry, verdict: Step, run: Run): boolean {
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

  #done(entry: Entry, verdict: Step, error: Error | undefined, run: Run): void {
    if (error !== undefined) {
      this.#settle(entry, failed(entry.condition, this.#explain(error), run.nowMs), run);
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
    if (work.via === "ruleset") for (const key of this.desired.dependants(entry.key)) run.queue.add(key);
  }

  #settle(entry: Entry, condition: Condition, run: Run): void {
    const before = entry.condition;
    entry.condition = condition;
    this.desired.dirty.delete(entry.key);
    if (condition.nextTryMs === undefined) this.retries.delete(entry.key);
    else this.retries.add(entry.key);
    const isFailed = condition.state === "failed";
    if (!isFailed) run.failed.delete(entry.key);
    if (!isFailed && before.state === condition.state && before.reason === condition.reason) return;
    const status = this.status(entry);
    if (isFailed) run.failed.set(entry.key, status);
    if (before.state !== condition.state || before.reason !== condition.reason)
      this.#options.onChange?.(status);
  }

  /** status shows an entry, by default under the first by name of the scopes that want it. */
  status(
    entry: { readonly key: string; readonly condition: Condition; readonly scopes?: ReadonlySet<string> },
    scope: string = firstOf(entry.scopes),
  ): ObjectStatus {
    return statusOf(entry, { scope, wallOffsetMs: wallMs() - monotonicMs() });
  }

  /** setBack says of all that is dirty why it could not be looked at; it stays dirty. */
  setBack(error: Error): void {
    const nowMs = monotonicMs();
    for (const entry of this.entries(this.desired.dirty)) {
      const before = entry.condition;
      entry.condition = failed(before, this.#explain(error), nowMs);
      if (before.state !== "failed" || before.reason !== entry.condition.reason)
        this.#options.onChange?.(this.status(entry));
    }
  }

  #execute(works: readonly Work[]): (Error | undefined)[] {
    return this.kernel.execute(works, (family) => this.#elementsOf(family));
  }

  #elementsOf(family: SetElement["family"]): SetElement[] {
    return [...this.entries(this.desired.dependants(`ruleset ${family}`))].flatMap(({ object }) =>
      object.kind === "element" ? [object] : [],
    );
  }

  /** allDirty has every object compared by the next run. */
  allDirty(): void {
    for (const key of this.desired.entries.keys()) this.#dirty(key);
  }

  #dirty(touched: string): void {
    const { entries } = this.desired;
    const key = entries.has(touched) ? touched : (wantedFdbKey(touched) ?? touched);
    const entry = entries.get(key);
    if (entry === undefined) return;
    this.desired.dirty.add(key);
    const range = this.#run?.range;
    if (range === undefined || range.has(key) || entry.condition.state === "ready") this.#run?.queue.add(key);
  }

  #touched({ keys, turned, stale }: Touched): void {
    let reachable = turned !== undefined;
    for (const key of keys) {
      this.#dirty(key);
      // With a table go its elements.
      if (key.startsWith("nexthop ") || key.startsWith("ruleset "))
        for (const dependant of this.desired.dependants(key)) this.#dirty(dependant);
      reachable ||= key.startsWith("address ");
    }
    if (turned !== undefined) for (const key of this.desired.dependants(linkKey(turned))) this.#dirty(key);
    // A gateway may be reachable now that was not.
    if (reachable) for (const key of this.retries) if (/^(route|nexthop) /.test(key)) this.#dirty(key);
    if ((stale !== undefined && stale.length > 0) || this.desired.dirty.size > 0) this.#wake();
  }

  /** A run looks at what is dirty by itself. */
  #wake(): void {
    if (this.#run === undefined) this.#options.onDirty();
  }
}

/** removable names an object that is to be removed, desired before or not. */
export function removable(object: KernelObject, key?: string): Removable {
  const handler = handlerOf(object);
  return { key: key ?? handler.key(object), handler, order: handler.order(object), object };
}

/** The first by name. */
function firstOf(scopes: ReadonlySet<string> = new Set()): string {
  const [only = ""] = scopes;
  return scopes.size > 1 ? ([...scopes].sort()[0] as string) : only;
}

/** What cannot be looked at now is one object's failure and not that of others. */
function safely<T>(key: string, look: () => T): T | Error {
  try {
    return look();
  } catch (error) {
    const { message } = weather(error);
    return new Error(`Cannot read ${key}: ${message}`, { cause: error });
  }
}

/** What cannot be listed now is pruned by a later round; the rest of the pruning goes on. */
function oursSafely(handler: KindHandler<KernelObject>, view: View): KernelObject[] {
  try {
    return [...handler.ours(view)];
  } catch (error) {
    weather(error);
    return [];
  }
}

/** What was to be removed and is not there is removed. */
function isGone(error: Error): boolean {
  return ["ENODEV", "ESRCH", "ENOENT", "EADDRNOTAVAIL"].includes((error as { code?: string }).code ?? "");
}
