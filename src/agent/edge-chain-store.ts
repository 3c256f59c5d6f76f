/**
 * What plugins have made for the node's edge, on disk as libcni has it in its cache: the configuration and the result, because DEL and CHECK are
 * asked with those of ADD, whatever resources say by then.
 *
 * | on disk | what came between | what follows |
 * |---|---|---|
 * | nothing | – | ADD, after it is written down |
 * | without a result | ADD has not ended, or failed and DEL failed after it | DEL, then ADD |
 * | with `isEnding` | DEL has not ended, or failed | DEL, then ADD |
 * | with a result | – | CHECK: where it was well before and is not now, DEL and ADD |
 *
 * It outlives a reboot, which ends namespaces but not what plugins keep of addresses: DEL is still owed for it.
 */
import type { Json } from "../resources/mod.ts";
import { bootId, readText, removeTree, writeAtomic } from "../sys/mod.ts";

type JsonObject = { readonly [key: string]: Json };

/** StoredChain is one link. Identity: router and name. */
export interface StoredChain {
  readonly router: string;
  readonly name: string;
  readonly config: JsonObject;
  readonly runtime: JsonObject;
  readonly containerId: string;
  /** Of ADD; absent: it has not ended well. */
  readonly result?: JsonObject;
  /** CHECK was well since ADD. */
  readonly wasWell?: true;
  /** DEL has begun: what is left of it is no link, whatever CHECK would say. */
  readonly isEnding?: true;
  /** The plugin of ADD or DEL that was started last and may still run. */
  readonly running?: { readonly pid: number; readonly type: string };
  readonly boot: string;
}

/** chainKey identifies a link; names of routers have no slash. */
export function chainKey({ router, name }: Pick<StoredChain, "router" | "name">): string {
  return `${router}/${name}`;
}

/** ChainStore owns the file. */
export class ChainStore {
  readonly #path: string;
  readonly #chains: Map<string, StoredChain>;

  /** Throws where the file cannot be read. */
  constructor(path: string) {
    this.#path = path;
    this.#chains = new Map(read(path).map((chain) => [chainKey(chain), chain]));
  }

  get(key: string): StoredChain | undefined {
    return this.#chains.get(key);
  }

  /** of returns those of a router. */
  of(router: string): StoredChain[] {
    return [...this.#chains.values()].filter((chain) => chain.router === router);
  }

  /** routers returns the names of those that have some. */
  routers(): string[] {
    return [...new Set([...this.#chains.values()].map(({ router }) => router))];
  }

  /** put writes one down before it returns; throws, and knows what it knew, where it cannot. */
  put(chain: StoredChain): void {
    const key = chainKey(chain);
    this.#write(new Map(this.#chains).set(key, chain));
    this.#chains.set(key, chain);
  }

  /** remove forgets one. */
  remove(key: string): void {
    const left = new Map(this.#chains);
    left.delete(key);
    this.#write(left);
    this.#chains.delete(key);
  }

  #write(chains: ReadonlyMap<string, StoredChain>): void {
    if (chains.size === 0) removeTree(this.#path);
    else writeAtomic(this.#path, JSON.stringify({ chains: [...chains.values()] }), 0o600);
  }
}

/** isOfThisBoot tells whether what was made may still be there. */
export function isOfThisBoot({ boot }: StoredChain): boolean {
  return boot === bootId();
}

function read(path: string): readonly StoredChain[] {
  const text = readText(path);
  if (text === undefined) return [];
  try {
    return (JSON.parse(text) as { chains: StoredChain[] }).chains;
  } catch (cause) {
    throw new Error(
      `Cannot read what CNI plugins have made: ${path} is no JSON; put it right, or remove it, and with it what they have made`,
      { cause },
    );
  }
}
