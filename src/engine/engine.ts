/** Engine: makes one network namespace match the desired state of all scopes, and keeps it so. */
import type { WireguardDevice } from "../net/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import { after, every, monotonicMs, type Netns } from "../sys/mod.ts";
import type { ScopeChange } from "./desired.ts";
import type { Mark } from "./kind.ts";
import { ALIAS, type KernelObject, PROTOCOL, type Ruleset } from "./object.ts";
import { makePlan, type Plan } from "./plan.ts";
import { type ApplyResult, Reconciler, removable } from "./reconcile.ts";
import { type ObjectStatus, retryDelayMs } from "./status.ts";
import { weather } from "./weather.ts";
import { peerKey } from "./wireguard.ts";

/** ROUND_MS is the time between two full rounds, which find what no event told. */
export const ROUND_MS = 60_000;

/** REPAIR_DELAY_MS lets the events of one cause come together before they are answered. */
export const REPAIR_DELAY_MS = 20;

/**
 * FOREIGN_MS is the least time between two listings of our nftables tables for what others did to them; the first is at once. It bounds
 * what a program costs us that changes them all the time.
 */
export const FOREIGN_MS = 1_000;

/** EngineOptions say where the engine works and who hears of it. */
export interface EngineOptions {
  /** Default: the namespace of the calling thread. It must stay open as long as the engine. */
  readonly netns?: Netns;
  /** Socket in the namespace; it stays the caller's to close, after the engine. Default: one of its own. */
  readonly route?: Rtnetlink;
  /** Socket in the namespace that carries the VXLAN links of this one; it stays the caller's to close, after the engine. */
  readonly underlay?: Rtnetlink;
  /** Opens the WireGuard device of a link; undefined when this link's is not its affair, then the kernel is asked. */
  readonly wireguard?: (link: string) => WireguardDevice | undefined;
  /** Called for every object whose state or reason changed. */
  readonly onChange?: (status: ObjectStatus) => void;
  /** Default: alias `causeway` and protocol 67. */
  readonly mark?: Mark;
  /** Where it is noted what settings were before ours, for the engine after a restart; default nowhere. It must go when the machine starts. */
  readonly settingsFile?: string;
}

/** ApplyOptions narrow or widen what is planned or applied. */
export interface ApplyOptions {
  /** Default: all scopes. */
  readonly scope?: string;
  /** Also removes what carries our mark and no scope wants. Only right once every scope has been set. */
  readonly prune?: boolean;
}

/** Engine keeps the desired state per scope; one engine per namespace. */
export class Engine implements Disposable {
  readonly #reconciler: Reconciler;
  #read = false;
  #pruned = false;
  #started = false;
  #round: Disposable | undefined;
  #repair: Disposable | undefined;
  #retry: Disposable | undefined;
  /** Times in a row that a repair could not be carried through. */
  #setbacks = 0;
  #nextForeignMs = Number.NEGATIVE_INFINITY;

  private constructor(options: EngineOptions) {
    this.#reconciler = new Reconciler({
      netns: options.netns,
      route: options.route,
      underlay: options.underlay,
      mark: options.mark ?? { alias: ALIAS, protocol: PROTOCOL },
      settingsFile: options.settingsFile,
      wireguard: options.wireguard,
      onChange: options.onChange,
      onDirty: () => this.#wake(),
    });
  }

  /** open listens in the namespace at once and reads it at the first plan or apply; nothing is changed. */
  static open(options: EngineOptions = {}): Engine {
    return new Engine(options);
  }

  /** set replaces what a scope wants. Memory only; throws, and changes nothing, when two wishes for the same object contradict. */
  set(scope: string, objects: readonly KernelObject[]): void {
    this.#reconciler.desired.set(scope, objects, monotonicMs());
    this.#schedule();
  }

  /**
   * change adds objects to what a scope wants, or replaces them, and takes others away; it costs what it changes. Memory only; throws, and
   * changes nothing, when two wishes for the same object contradict. Not for WireGuard, whose scopes are replaced as a whole.
   */
  change(scope: string, change: ScopeChange): void {
    this.#reconciler.desired.change(scope, change, monotonicMs());
    this.#schedule();
  }

  /** remove wants nothing more for a scope; its objects go with the next apply. */
  remove(scope: string): void {
    this.#reconciler.desired.remove(scope);
    this.#schedule();
  }

  /** scopes lists the scopes that are set. */
  scopes(): string[] {
    return [...this.#reconciler.desired.scopes.keys()];
  }

  /** plan compares all desired objects, or those of one scope, with the kernel, and changes nothing. */
  plan(options: string | ApplyOptions = {}): Plan {
    const { scope, prune = false } = typeof options === "string" ? { scope: options } : options;
    this.#look();
    const { desired, kernel } = this.#reconciler;
    kernel.wireguard.forget();
    const view = this.#reconciler.view();
    const keys = scope === undefined ? desired.entries.keys() : (desired.scopes.get(scope) ?? []);
    const removals = this.#reconciler.removals({ scope, prune, automatic: false }, view);
    return makePlan(this.#reconciler.entries(keys), removals, view);
  }

  /** apply makes all desired objects true that are not known to be, or those of one scope; failed ones are tried again at once. */
  apply(options: string | ApplyOptions = {}): ApplyResult {
    const { scope, prune = false } = typeof options === "string" ? { scope: options } : options;
    this.#look();
    const { desired, retries } = this.#reconciler;
    const range = scope === undefined ? undefined : (desired.scopes.get(scope) ?? new Set());
    const queue = new Set<string>();
    for (const keys of [desired.dirty, retries])
      for (const key of keys) if (range === undefined || range.has(key)) queue.add(key);
    for (const key of this.#wireguardKeys(scope)) queue.add(key);
    if (prune) this.#pruned = true;
    return this.#run(queue, { scope, prune, automatic: false });
  }

  /** sweep is apply of everything, with removal of what carries our mark and no scope wants. */
  sweep(): ApplyResult {
    return this.apply({ prune: true });
  }

  /** adopt reads everything anew, so that the next plan or apply compares every object. Nothing is changed. */
  adopt(): void {
    this.#reconciler.kernel.read();
    this.#read = true;
    this.#reconciler.allDirty();
  }

  /** status reports every desired object, or those of one scope, and those that are still to be removed. */
  status(scope?: string): ObjectStatus[] {
    const { desired } = this.#reconciler;
    const keys = scope === undefined ? desired.entries.keys() : (desired.scopes.get(scope) ?? []);
    const out: ObjectStatus[] = [];
    for (const entry of this.#reconciler.entries(keys)) out.push(this.#reconciler.status(entry, scope));
    for (const entry of desired.unwanted.values())
      if (scope === undefined || entry.lastScope === scope)
        out.push(this.#reconciler.status(entry, entry.lastScope));
    return out;
  }

  /** problems reports the objects that are not as desired, and those that are still to be removed. */
  problems(): ObjectStatus[] {
    const { entries, unwanted } = this.#reconciler.desired;
    const out: ObjectStatus[] = [];
    for (const entry of entries.values())
      if (entry.condition.state !== "ready") out.push(this.#reconciler.status(entry));
    for (const entry of unwanted.values()) out.push(this.#reconciler.status(entry, entry.lastScope));
    return out;
  }

  /**
   * start repairs drift as events tell of it, tries failed objects again, and compares everything once in ROUND_MS. Without rounds of its
   * own the owner of many engines calls `check` of one after the other.
   */
  start(options: { readonly rounds?: boolean } = {}): void {
    if (this.#started) return;
    this.#started = true;
    if (options.rounds !== false) this.#round = every(ROUND_MS, () => this.check());
    this.#schedule();
  }

  /** check is a round whose failures become the status of what could not be looked at. */
  check(): void {
    this.#bearing(() => this.round());
  }

  /** stop ends what start began; desired state and status stay. */
  stop(): void {
    for (const timer of [this.#round, this.#repair, this.#retry]) timer?.[Symbol.dispose]();
    this.#round = this.#repair = this.#retry = undefined;
    this.#started = false;
  }

  /** round is one full round: everything is read and compared, and pruned if that was ever asked for. */
  round(): ApplyResult {
    this.adopt();
    const queue = new Set(this.#reconciler.desired.entries.keys());
    return this.#run(queue, { scope: undefined, prune: this.#pruned, automatic: true });
  }

  /** elements returns the keys of a set of ours as the kernel has it, wanted or not; none when there is no such set. */
  elements(family: Ruleset["family"], set: string): (readonly string[])[] {
    this.#look();
    const items = this.#reconciler.kernel.nft.view(family)?.sets.get(set);
    return [...(items?.values() ?? [])].map(({ key }) => key);
  }

  /** undo removes objects that an apply reported as added. */
  undo(objects: readonly KernelObject[]): void {
    this.#look();
    const removals = objects.map((object) => removable(object));
    this.#reconciler.remove(removals, this.#reconciler.view());
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#reconciler[Symbol.dispose]();
  }

  #look({ automatic = false } = {}): void {
    const { kernel } = this.#reconciler;
    if (!this.#read) this.adopt();
    else kernel.drain();
    kernel.nft.drain();
    const nowMs = monotonicMs();
    if (!kernel.nft.hasForeign || (automatic && nowMs < this.#nextForeignMs)) return;
    this.#nextForeignMs = nowMs + FOREIGN_MS;
    kernel.takeForeign();
  }

  #run(queue: Set<string>, range: Parameters<Reconciler["run"]>[1]): ApplyResult {
    try {
      return this.#reconciler.run(queue, range);
    } finally {
      this.#schedule();
    }
  }

  /** WireGuard back-ends send no events: each time, what is asked for is compared with the device, of all scopes that of which a reading says something new. */
  #wireguardKeys(scope: string | undefined): string[] {
    const { desired, kernel } = this.#reconciler;
    kernel.wireguard.forget();
    if (scope !== undefined) return [...desired.wireguardOf(scope)];
    return kernel.wireguard
      .changes()
      .flatMap(({ link, peers }) => [`wireguard ${link}`, ...peers.map((key) => peerKey(link, key))]);
  }

  /** Repairs soon, once start asked for it. */
  #wake(): void {
    if (this.#started) this.#repair ??= after(REPAIR_DELAY_MS, () => this.#bearing(() => this.#due()));
  }

  /** Sets the timers for what is dirty and for the next retry. */
  #schedule(): void {
    if (!this.#started) return;
    const { desired, retries } = this.#reconciler;
    const nowMs = monotonicMs();
    let nextMs = this.#reconciler.kernel.nft.hasForeign ? this.#nextForeignMs : Number.POSITIVE_INFINITY;
    for (const { condition } of this.#reconciler.entries(retries))
      nextMs = Math.min(nextMs, condition.nextTryMs ?? nextMs);
    for (const { condition } of desired.unwanted.values())
      nextMs = Math.min(nextMs, condition.nextTryMs ?? nowMs);
    if (desired.dirty.size > 0 || nextMs <= nowMs) this.#wake();
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    if (nextMs > nowMs && nextMs !== Number.POSITIVE_INFINITY)
      this.#retry = after(nextMs - nowMs, () => this.#bearing(() => this.#due()));
  }

  /** Weather ends nothing: what could not be looked at says why, and everything is read anew after a while. Only bugs escape. */
  #bearing(work: () => void): void {
    try {
      work();
      this.#setbacks = 0;
    } catch (error) {
      const cause = weather(error);
      this.#read = false;
      this.#reconciler.setBack(cause);
      if (!this.#started) return;
      for (const timer of [this.#repair, this.#retry]) timer?.[Symbol.dispose]();
      this.#retry = undefined;
      this.#repair = after(retryDelayMs(++this.#setbacks), () => this.#bearing(() => this.#due()));
    }
  }

  /** Repairs what events told of and tries again what is due. */
  #due(): void {
    this.#repair = undefined;
    this.#look({ automatic: true });
    const { desired, retries } = this.#reconciler;
    const nowMs = monotonicMs();
    const queue = new Set(desired.dirty);
    for (const entry of this.#reconciler.entries(retries))
      if ((entry.condition.nextTryMs ?? 0) <= nowMs) queue.add(entry.key);
    this.#run(queue, { scope: undefined, prune: false, automatic: true });
  }
}
