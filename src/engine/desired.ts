/** Desired state: what each scope wants, who shares what, and what has to be looked at. Only memory; no work is done here. */
import { sameValue } from "./equal.ts";
import type { KindHandler } from "./kind.ts";
import { handlerOf } from "./kinds.ts";
import type { KernelObject } from "./object.ts";
import { type Condition, untried } from "./status.ts";

/** Entry is one desired object and what became of it. */
export interface Entry {
  readonly key: string;
  readonly handler: KindHandler<KernelObject>;
  readonly order: number;
  readonly needs: readonly string[];
  readonly object: KernelObject;
  /** Scopes that want it; empty once it has to be removed. */
  readonly scopes: Set<string>;
  /** Grows with every wish; of two that contradict each other the later is right. */
  readonly serial: number;
  condition: Condition;
  /** Drift repaired in short order, and when last (monotonic): somebody else insists. */
  drifts: number;
  repairedMs: number;
}

/** Desired is the desired state of all scopes. */
export class Desired {
  readonly entries = new Map<string, Entry>();
  /** No longer wanted by anyone and perhaps still there; the scope is the last that wanted it. */
  readonly unwanted = new Map<string, Entry & { readonly lastScope: string }>();
  /** Keys that may differ from the kernel. */
  readonly dirty = new Set<string>();
  readonly scopes = new Map<string, ReadonlySet<string>>();
  /** Key → keys of the entries that need it. */
  readonly #dependants = new Map<string, Set<string>>();
  #serial = 0;

  /** set replaces what a scope wants at a monotonic time; throws, and changes nothing, when two wishes for one object contradict. */
  set(scope: string, objects: readonly KernelObject[], nowMs: number): void {
    const wishes = new Map<string, KernelObject>();
    for (const object of objects) {
      const key = handlerOf(object).key(object);
      const twin = wishes.get(key) ?? this.#othersWish(scope, key);
      if (twin !== undefined && !sameValue(twin, object)) throw new Error(this.#conflict(scope, key));
      wishes.set(key, object);
    }
    for (const key of this.scopes.get(scope) ?? []) if (!wishes.has(key)) this.#drop(scope, key);
    for (const [key, object] of wishes) this.#want(scope, key, object, nowMs);
    this.scopes.set(scope, new Set(wishes.keys()));
  }

  /** remove empties a scope. */
  remove(scope: string): void {
    for (const key of this.scopes.get(scope) ?? []) this.#drop(scope, key);
    this.scopes.delete(scope);
  }

  /** dependants returns the keys of what needs the object of a key. */
  dependants(key: string): Iterable<string> {
    return this.#dependants.get(key) ?? [];
  }

  #othersWish(scope: string, key: string): KernelObject | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || (entry.scopes.size === 1 && entry.scopes.has(scope))) return undefined;
    return entry.object;
  }

  #conflict(scope: string, key: string): string {
    const others = [...(this.entries.get(key)?.scopes ?? [])].filter((other) => other !== scope);
    const who = others.length === 0 ? "it twice" : `it and ${others.join(", ")} too`;
    return `Cannot set scope ${scope}: ${key} is contradictory, ${scope} wants ${who}, with different values; let one of them decide`;
  }

  #want(scope: string, key: string, object: KernelObject, nowMs: number): void {
    const before = this.entries.get(key);
    if (before !== undefined && sameValue(before.object, object)) {
      before.scopes.add(scope);
      return;
    }
    const handler = handlerOf(object);
    const entry: Entry = {
      key,
      handler,
      order: handler.order(object),
      needs: handler.needs(object),
      object,
      scopes: new Set([scope]),
      serial: ++this.#serial,
      condition: untried(nowMs),
      drifts: 0,
      repairedMs: Number.NEGATIVE_INFINITY,
    };
    if (before !== undefined) this.#unlink(before);
    for (const need of entry.needs) {
      const set = this.#dependants.get(need);
      if (set === undefined) this.#dependants.set(need, new Set([key]));
      else set.add(key);
    }
    this.entries.set(key, entry);
    this.unwanted.delete(key);
    this.dirty.add(key);
  }

  #drop(scope: string, key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    entry.scopes.delete(scope);
    if (entry.scopes.size > 0) return;
    this.#unlink(entry);
    this.entries.delete(key);
    this.dirty.delete(key);
    const { sinceMs } = entry.condition;
    this.unwanted.set(key, { ...entry, condition: untried(sinceMs), lastScope: scope });
  }

  #unlink(entry: Entry): void {
    for (const need of entry.needs) {
      const set = this.#dependants.get(need);
      set?.delete(entry.key);
      if (set?.size === 0) this.#dependants.delete(need);
    }
  }
}
