/** When nodes and hubs are told facts, and which: those that came together go together, and to each node what it may see. */
import type { Json } from "../resources/mod.ts";
import { after, monotonicMs, randomBytes } from "../sys/mod.ts";
import { type Fact, factJson, type FactBook } from "./facts.ts";
import type { FactsSource } from "./sync-server.ts";

/** The least time between two tellings, and what each connection adds to it: with many nodes something is always new. */
const INTERVAL_MS = 50;
const MS_PER_CONNECTION = 0.2;

/** FactTellerOptions is who is told. */
export interface FactTellerOptions {
  /** Whether a node may know of another. */
  readonly sees: (node: string, other: string) => boolean;
  readonly connections: () => number;
  readonly tell: () => void;
}

/** FactTeller owns the timer of the next telling. */
export class FactTeller implements FactsSource, Disposable {
  /** Names the numbers of this life's facts. */
  readonly book = Buffer.from(randomBytes(8)).toString("hex");
  readonly #facts: FactBook;
  readonly #options: FactTellerOptions;
  #later: Disposable | undefined;
  #toldMs = Number.NEGATIVE_INFINITY;
  /** Nodes that were told together have read the same. */
  #last: { readonly from: number; readonly to: number; readonly facts: readonly Fact[] } | undefined;

  constructor(facts: FactBook, options: FactTellerOptions) {
    this.#facts = facts;
    this.#options = options;
  }

  get version(): number {
    return this.#facts.version;
  }

  since(node: string, version: number | undefined): readonly Json[] {
    const facts = version === undefined ? this.#facts.all() : this.#since(version);
    return facts.filter((fact) => this.#options.sees(node, fact.node)).map(factJson);
  }

  #since(from: number): readonly Fact[] {
    const to = this.#facts.version;
    if (this.#last?.from !== from || this.#last.to !== to)
      this.#last = { from, to, facts: this.#facts.since(from) };
    return this.#last.facts;
  }

  /** changed has everybody told what is new, a little later. */
  changed(): void {
    if (this.#later !== undefined) return;
    const intervalMs = Math.max(INTERVAL_MS, this.#options.connections() * MS_PER_CONNECTION);
    const waitMs = Math.max(INTERVAL_MS, this.#toldMs + intervalMs - monotonicMs());
    this.#later = after(waitMs, () => {
      this.#later = undefined;
      this.#toldMs = monotonicMs();
      this.#options.tell();
    });
  }

  [Symbol.dispose](): void {
    this.#later?.[Symbol.dispose]();
  }
}
