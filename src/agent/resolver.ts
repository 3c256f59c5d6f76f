/** The addresses behind configured endpoints: names are resolved, and resolved again, beside everything else. */
import { type Endpoint, parseIp, tryParseEndpoint } from "../net/mod.ts";
import { sameValue } from "../engine/mod.ts";
import { monotonicMs, resolveHost } from "../sys/mod.ts";

/** A name is looked up again after this time: the owner of a dynamic address waits no longer for the others. */
const AGAIN_MS = 60_000;
/** The same for a name that did not resolve. */
const RETRY_MS = 5_000;
/** Addresses that are used of one name. */
const MOST_ADDRESSES = 4;

interface Entry {
  endpoints: readonly Endpoint[];
  dueMs: number;
  problem?: string;
}

/** Resolver remembers what `host:port` leads to. */
export class Resolver {
  readonly #entries = new Map<string, Entry>();
  readonly #onChange: () => void;
  readonly #resolve: typeof resolveHost;

  /** `onChange` is called when an endpoint got other addresses than before. */
  constructor(onChange: () => void, resolve: typeof resolveHost = resolveHost) {
    this.#onChange = onChange;
    this.#resolve = resolve;
  }

  /** lookUp returns what is known of each text now, and begins to find out what is due. Texts that are asked for no more are forgotten. */
  lookUp(texts: Iterable<string>): ReadonlyMap<string, readonly Endpoint[]> {
    const wanted = new Set(texts);
    for (const text of [...this.#entries.keys()]) if (!wanted.has(text)) this.#entries.delete(text);
    return new Map([...wanted].map((text) => [text, this.#entry(text).endpoints]));
  }

  /** again begins to find out what is due of what was asked for last. */
  again(): void {
    for (const text of this.#entries.keys()) this.#entry(text);
  }

  /** problem says why a name has no address. */
  problem(text: string): string | undefined {
    return this.#entries.get(text)?.problem;
  }

  #entry(text: string): Entry {
    const literal = tryParseEndpoint(text);
    if (literal !== undefined) return { endpoints: [literal], dueMs: Number.POSITIVE_INFINITY };
    const nowMs = monotonicMs();
    const entry = this.#entries.get(text) ?? { endpoints: [], dueMs: nowMs };
    this.#entries.set(text, entry);
    if (nowMs >= entry.dueMs) {
      entry.dueMs = Number.POSITIVE_INFINITY;
      void this.#find(text, entry);
    }
    return entry;
  }

  async #find(text: string, entry: Entry): Promise<void> {
    const colon = text.lastIndexOf(":");
    const port = Number(text.slice(colon + 1));
    try {
      const addresses = await this.#resolve(text.slice(0, colon));
      const endpoints = addresses.slice(0, MOST_ADDRESSES).map((address) => ({ ip: parseIp(address), port }));
      if (endpoints.length === 0) throw new Error(`${text} has no address`);
      delete entry.problem;
      entry.dueMs = monotonicMs() + AGAIN_MS;
      if (sameValue(endpoints, entry.endpoints)) return;
      entry.endpoints = endpoints;
      if (this.#entries.get(text) === entry) this.#onChange();
    } catch (error) {
      // The addresses that were known stay: a resolver that is away says nothing of the host.
      entry.problem = error instanceof Error ? error.message : String(error);
      entry.dueMs = monotonicMs() + RETRY_MS;
    }
  }
}
