/**
 * What a list and the watch after it tell (Kubernetes API concepts, "Efficient detection of changes"), without sockets or clock.
 *
 * ```
 *   begin ─ page ─ page ─▶ done: what no page had is gone        line ─ line ─ …  ADDED, MODIFIED, DELETED, BOOKMARK
 *     ▲                                                            │
 *     └───────────────── expired: 410, "too old" ──────────────────┘
 * ```
 */
import { isDeepStrictEqual } from "node:util";
import { fieldOf, type Named } from "./metadata.ts";

/** WatchCacheOptions say what is kept. */
export interface WatchCacheOptions<T> {
  /** What is kept of an object; undefined: nothing. */
  readonly parse: (object: unknown) => T | undefined;
  /** How many objects are kept; more are an error, not forgotten. */
  readonly most: number;
}

/** Page is what one answer to a list says beside its objects. */
export interface Page {
  /** Absent: this was the last one. */
  readonly next?: string;
}

/** WatchCache is what is known of one collection. */
export class WatchCache<T extends Named> {
  readonly #most: number;
  readonly #parse: (object: unknown) => T | undefined;
  #objects = new Map<string, T>();
  #listing: Map<string, T> | undefined;
  #version: string | undefined;
  #listed = false;

  constructor({ most, parse }: WatchCacheOptions<T>) {
    this.#most = most;
    this.#parse = parse;
  }

  /** version is where a watch begins; undefined while there is no complete list, or the last one is too old. */
  get version(): string | undefined {
    return this.#version;
  }

  /** listed tells whether there was ever a complete list. */
  get listed(): boolean {
    return this.#listed;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** get returns an object as `namespace/name`, or by name. */
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  /** all returns every object. */
  all(): IteratorObject<T> {
    return this.#objects.values();
  }

  /** begin starts a list; until it is complete, what was known before is. */
  begin(): void {
    this.#listing = new Map();
    this.#version = undefined;
  }

  /** page takes one answer to a list; throws for what is none. */
  page(text: string): Page {
    const value: unknown = JSON.parse(text);
    const [items, metadata] = [fieldOf(value, "items"), fieldOf(value, "metadata")];
    const version = fieldOf(metadata, "resourceVersion");
    if (
      this.#listing === undefined ||
      typeof version !== "string" ||
      !(Array.isArray(items) || items === null)
    )
      throw new Error("the answer is no list");
    for (const item of items ?? []) {
      const object = this.#parse(item);
      if (object !== undefined) this.#keep(this.#listing, object);
    }
    const next = fieldOf(metadata, "continue");
    if (typeof next === "string" && next !== "") return { next };
    this.#objects = this.#listing;
    this.#listing = undefined;
    this.#listed = true;
    this.#version = version;
    return {};
  }

  /**
   * line takes one event of a watch, and tells whether something that is kept is another one now, or a new list is needed; throws for what is no
   * event. Most events of Nodes are that their kubelet lives, which nobody here keeps.
   */
  line(text: string): "changed" | "same" | "expired" {
    const event: unknown = JSON.parse(text);
    const [type, raw] = [fieldOf(event, "type"), fieldOf(event, "object")];
    if (type === "ERROR") return this.#error(raw);
    const version = fieldOf(fieldOf(raw, "metadata"), "resourceVersion");
    if (typeof version !== "string") throw new Error("an event has no resourceVersion");
    const object = this.#parse(raw);
    // Other types, BOOKMARK among them, bring the version only.
    const changed = object !== undefined && this.#take(String(type), object);
    this.#version = version;
    return changed ? "changed" : "same";
  }

  #take(type: string, object: T): boolean {
    const key = keyOf(object);
    if (type === "DELETED") return this.#objects.delete(key);
    if (type !== "ADDED" && type !== "MODIFIED") return false;
    if (isDeepStrictEqual(this.#objects.get(key), object)) return false;
    this.#keep(this.#objects, object);
    return true;
  }

  /** expire says that the version is too old. */
  expire(): void {
    this.#version = undefined;
  }

  #error(status: unknown): "expired" {
    const [code, message] = [fieldOf(status, "code"), fieldOf(status, "message")];
    this.expire();
    if (code === 410) return "expired";
    throw new Error(`the API says: ${String(message ?? code)}`);
  }

  #keep(objects: Map<string, T>, object: T): void {
    const key = keyOf(object);
    if (!objects.has(key) && objects.size >= this.#most)
      throw new Error(`there are more than ${this.#most} objects`);
    objects.set(key, object);
  }
}

function keyOf({ namespace, name }: Named): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
