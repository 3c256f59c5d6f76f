/** One collection of the API, listed and then watched for ever, with pauses that grow while it fails. */
import { after } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { KubeError, kubeGet, kubeWatch } from "./client.ts";
import type { Named } from "./metadata.ts";
import { WatchCache, type WatchCacheOptions } from "./watch-cache.ts";

/** CollectionOptions say what is watched. */
export interface CollectionOptions<T extends Named> extends WatchCacheOptions<T> {
  readonly access: KubeAccess;
  /** `/api/v1/pods`. */
  readonly path: string;
  /** As the API has it: `spec.nodeName=worker-1`. */
  readonly fieldSelector?: string;
  /** Called after each change, and with each problem. */
  readonly onChange?: (problem: string | undefined) => void;
  /** How long a watch lasts; default 290 s. A connection that broke without a word is noticed then. */
  readonly watchSeconds?: number;
}

const PAGE = 500;
const WATCH_SECONDS = 290;

/** How much later than it should a watch may end. */
const GRACE_MS = 15_000;

const FIRST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 30_000;

/** Collection owns one watch. */
export class Collection<T extends Named> implements Disposable {
  readonly cache: WatchCache<T>;
  readonly #options: CollectionOptions<T>;
  #problem: string | undefined = "it has not been listed yet";
  #pauseMs = FIRST_PAUSE_MS;
  #watch: Disposable | undefined;
  #timer: Disposable | undefined;
  #disposed = false;

  private constructor(options: CollectionOptions<T>) {
    this.#options = options;
    this.cache = new WatchCache(options);
  }

  /** start begins with a list. */
  static start<T extends Named>(options: CollectionOptions<T>): Collection<T> {
    const collection = new Collection(options);
    void collection.#go();
    return collection;
  }

  /** problem says why what is known may be old; undefined while all is well. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async #go(): Promise<void> {
    if (this.#disposed) return;
    try {
      if (this.cache.version === undefined) await this.#list();
      if (!this.#disposed) this.#follow();
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  #query(more: Readonly<Record<string, string>>): string {
    const { path, fieldSelector } = this.#options;
    const query = new URLSearchParams({ ...(fieldSelector !== undefined && { fieldSelector }), ...more });
    return `${path}?${query}`;
  }

  async #list(): Promise<void> {
    this.cache.begin();
    let next: string | undefined;
    do {
      const more = { limit: String(PAGE), ...(next !== undefined && { continue: next }) };
      const text = await kubeGet(this.#options.access, this.#query(more));
      if (this.#disposed) return;
      next = this.cache.page(text).next;
    } while (next !== undefined);
    this.#say(undefined);
  }

  #follow(): void {
    const seconds = this.#options.watchSeconds ?? WATCH_SECONDS;
    const path = this.#query({
      ...{ watch: "true", allowWatchBookmarks: "true", timeoutSeconds: String(seconds) },
      resourceVersion: this.cache.version as string,
    });
    const stop = () => {
      this.#watch?.[Symbol.dispose]();
      this.#timer?.[Symbol.dispose]();
    };
    this.#watch = kubeWatch(this.#options.access, path, {
      opened: () => this.#say(undefined),
      line: (text) => {
        try {
          const told = this.cache.line(text);
          if (told === "changed" || (told === "same" && this.#problem !== undefined))
            return this.#say(undefined);
          if (told === "same") return;
          stop();
          this.#again(FIRST_PAUSE_MS);
        } catch (error) {
          stop();
          this.#failed(error as Error);
        }
      },
      ended: (error) => {
        stop();
        if (error.status === 410) this.cache.expire();
        // The server ends every watch after the time that was asked for.
        if (error.over || error.status === 410) this.#again(FIRST_PAUSE_MS);
        else this.#failed(error);
      },
    });
    this.#timer = after(seconds * 1000 + GRACE_MS, () => {
      stop();
      void this.#go();
    });
  }

  #failed(error: Error): void {
    if (error instanceof KubeError && error.status === 410) this.cache.expire();
    this.#say(error.message);
    this.#again(this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, MOST_PAUSE_MS);
  }

  #again(ms: number): void {
    if (this.#disposed) return;
    this.#timer = after(ms, () => void this.#go());
  }

  #say(problem: string | undefined): void {
    if (problem === undefined) this.#pauseMs = FIRST_PAUSE_MS;
    this.#problem = problem;
    this.#options.onChange?.(problem);
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#watch?.[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
  }
}
