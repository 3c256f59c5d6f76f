/**
 * What a list and the watch after it tell (Kubernetes API concepts, "Efficient detection of changes"), without sockets or clock.
 *
 * ```
 *   begin ─ page ─ page ─▶ done: what no page had is gone        line ─ line ─ …  ADDED, MODIFIED, DELETED, BOOKMARK
 *     ▲                                                            │
 *     └───────────────── expired: 410, "too old" ──────────────────┘
 * ```
 */
import { fieldOf, type Metadata, parseMetadata } from "./metadata.ts";

/** WatchCacheOptions limit what is kept. */
export interface WatchCacheOptions {
  /** How many objects are kept; more are an error, not forgotten. */
  readonly most: number;
}

/** Page is what one answer to a list says beside its objects. */
export interface Page {
  /** Absent: this was the last one. */
  readonly next?: string;
}

/** WatchCache is what is known of one collection. */
export class WatchCache {
  readonly #most: number;
  #objects = new Map<string, Metadata>();
  #listing: Map<string, Metadata> | undefined;
  #version: string | undefined;

  constructor({ most }: WatchCacheOptions) {
    this.#most = most;
  }

  /** version is where a watch begins; undefined while there is no complete list, or the last one is too old. */
  get version(): string | undefined {
    return this.#version;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** get returns an object as `namespace/name`, or by name. */
  get(key: string): Metadata | undefined {
    return this.#objects.get(key);
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
      const object = parseMetadata(item);
      if (object !== undefined) this.#keep(this.#listing, object);
    }
    const next = fieldOf(metadata, "continue");
    if (typeof next === "string" && next !== "") return { next };
    this.#objects = this.#listing;
    this.#listing = undefined;
    this.#version = version;
    return {};
  }

  /** line takes one event of a watch, and tells whether a new list is needed; throws for what is no event. */
  line(text: string): "ok" | "expired" {
    const event: unknown = JSON.parse(text);
    const [type, raw] = [fieldOf(event, "type"), fieldOf(event, "object")];
    if (type === "ERROR") return this.#error(raw);
    const version = fieldOf(fieldOf(raw, "metadata"), "resourceVersion");
    if (typeof version !== "string") throw new Error("an event has no resourceVersion");
    const object = parseMetadata(raw);
    if (object !== undefined) {
      if (type === "ADDED" || type === "MODIFIED") this.#keep(this.#objects, object);
      else if (type === "DELETED") this.#objects.delete(keyOf(object));
    }
    // Other types, BOOKMARK among them, bring the version only.
    this.#version = version;
    return "ok";
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

  #keep(objects: Map<string, Metadata>, object: Metadata): void {
    const key = keyOf(object);
    if (!objects.has(key) && objects.size >= this.#most)
      throw new Error(`there are more than ${this.#most} objects`);
    objects.set(key, object);
  }
}

function keyOf({ namespace, name }: Metadata): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
