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
  /** Scopes that want it; empty once it has to be removed. One value for all entries of the same scopes. */
  scopes: ReadonlySet<string>;
  /** Grows with every wish; of two that contradict each other the later is right. */
  readonly serial: number;
  condition: Condition;
  /** Drift repaired in short order, and when last (monotonic): somebody else insists. */
  drifts: number;
  repairedMs: number;
}

/** ScopeChange is what changes of a scope. */
export interface ScopeChange {
  readonly put?: readonly KernelObject[];
  /** Only their identities count; those in `put` stay. */
  readonly drop?: readonly KernelObject[];
}

/** Desired is the desired state of all scopes. */
export class Desired {
  readonly entries = new Map<string, Entry>();
  /** No longer wanted by anyone and perhaps still there; the scope is the last that wanted it. */
  readonly unwanted = new Map<string, Entry & { readonly lastScope: string }>();
  /** Keys that may differ from the kernel. */
  readonly dirty = new Set<string>();
  readonly scopes = new Map<string, Set<string>>();
  /** Key → keys of the entries that need it. */
  readonly #dependants = new Map<string, Set<string>>();
  /** Sets of one scope, for as long as it has objects. */
  readonly #alone = new Map<string, ReadonlySet<string>>();
  /** Scope → keys of what it wants of WireGuard devices. */
  readonly #wireguard = new Map<string, readonly string[]>();
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
    const wireguard = [...wishes].flatMap(([key, { kind }]) =>
      kind === "peer" || kind === "wireguard" ? [key] : [],
    );
    if (wireguard.length > 0) this.#wireguard.set(scope, wireguard);
    else this.#wireguard.delete(scope);
  }

  /** change adds objects to a scope, or replaces them, and takes others out by identity. It costs what it changes, however much the scope has. */
  change(scope: string, change: ScopeChange, nowMs: number): void {
    const wishes = new Map<string, KernelObject>();
    for (const object of change.put ?? []) {
      const key = handlerOf(object).key(object);
      const twin = wishes.get(key) ?? this.#othersWish(scope, key);
      if (twin !== undefined && !sameValue(twin, object)) throw new Error(this.#conflict(scope, key));
      wishes.set(key, object);
    }
    const keys = this.scopes.get(scope) ?? new Set();
    this.scopes.set(scope, keys);
    for (const object of change.drop ?? []) {
      const key = handlerOf(object).key(object);
      if (!wishes.has(key) && keys.delete(key)) this.#drop(scope, key);
    }
    for (const [key, object] of wishes) {
      this.#want(scope, key, object, nowMs);
      keys.add(key);
    }
  }

  /** remove empties a scope. */
  remove(scope: string): void {
    for (const key of this.scopes.get(scope) ?? []) this.#drop(scope, key);
    this.scopes.delete(scope);
    this.#alone.delete(scope);
    this.#wireguard.delete(scope);
  }

  /** wireguardOf returns the keys of what a scope wants of WireGuard devices. */
  wireguardOf(scope: string): readonly string[] {
    return this.#wireguard.get(scope) ?? [];
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
      if (!before.scopes.has(scope)) before.scopes = new Set([...before.scopes, scope]);
      return;
    }
    const handler = handlerOf(object);
    const entry: Entry = {
      key,
      handler,
      order: handler.order(object),
      needs: this.#shared(handler.needs(object)),
      object,
      scopes: this.#only(scope),
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
    const others = [...entry.scopes].filter((other) => other !== scope);
    entry.scopes = others.length === 1 ? this.#only(others[0] as string) : new Set(others);
    if (others.length > 0) return;
    this.#unlink(entry);
    this.entries.delete(key);
    this.dirty.delete(key);
    const { sinceMs } = entry.condition;
    this.unwanted.set(key, { ...entry, condition: untried(sinceMs), lastScope: scope });
  }

  /** Thousands of objects need the same one: their lists are one value, as long as anybody needs it. */
  #shared(needs: readonly string[]): readonly string[] {
    const [only] = needs;
    if (only === undefined || needs.length > 1) return needs;
    for (const key of this.#dependants.get(only) ?? []) {
      const known = this.entries.get(key)?.needs ?? needs;
      return known.length === 1 ? known : needs;
    }
    return needs;
  }

  /** Most objects have one scope, and scopes have thousands. */
  #only(scope: string): ReadonlySet<string> {
    const known = this.#alone.get(scope) ?? new Set([scope]);
    this.#alone.set(scope, known);
    return known;
  }

  #unlink(entry: Entry): void {
    for (const need of entry.needs) {
      const set = this.#dependants.get(need);
      set?.delete(entry.key);
      if (set?.size === 0) this.#dependants.delete(need);
    }
  }
}
