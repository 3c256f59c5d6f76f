/** Facts on disk: what was known of nodes before a restart is good enough to begin with. Written now and then; what is lost is told again. */
import { FactBook } from "../hub/mod.ts";
import { every, readText, writeAtomic } from "../sys/mod.ts";
import { warn } from "./log.ts";
import { STATE } from "./paths.ts";

const FACTS = `${STATE}/register.facts.json`;
const WRITE_MS = 30_000;

/** FactsFile owns a book and its file. */
export class FactsFile implements Disposable {
  readonly book = new FactBook();
  #written: string;
  readonly #writing: Disposable;

  constructor() {
    const text = readText(FACTS);
    if (text !== undefined) this.book.load(text);
    this.#written = this.#now;
    this.#writing = every(WRITE_MS, () => this.#write());
  }

  get #now(): string {
    return `${this.book.version} ${this.book.edges.version}`;
  }

  #write(): void {
    if (this.#now === this.#written) return;
    this.#written = this.#now;
    try {
      writeAtomic(FACTS, this.book.format(), 0o600);
    } catch (error) {
      warn("cannot store what is known of nodes", { error });
    }
  }

  [Symbol.dispose](): void {
    this.#writing[Symbol.dispose]();
  }
}
