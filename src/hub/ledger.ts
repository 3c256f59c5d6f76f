/**
 * The ledger: what is published, with the number of the change that made it so. Nodes ask for what changed since a number.
 */
import { canonicalJson, type Json } from "../resources/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";

/** Removals that are remembered; a node that is older than the oldest gets everything. */
const MAX_REMOVALS = 10_000;

/** PublishedEntry is one key with its canonical JSON text, or undefined when it was removed. */
export interface PublishedEntry {
  readonly key: string;
  readonly value: string | undefined;
}

interface Row {
  readonly key: string;
  readonly value: string | null;
}

interface Head {
  readonly epoch: string;
  readonly revision: number;
  readonly floor: number;
}

/** Ledger reads and writes `published` and the head of `register`; call its writing methods inside a transaction. */
export class Ledger {
  readonly #head: Statement<Head>;
  readonly #bump: Statement;
  readonly #raise: Statement;
  readonly #put: Statement;
  readonly #get: Statement<Row>;
  readonly #since: Statement<Row>;
  readonly #all: Statement<Row>;
  readonly #countRemovals: Statement<{ n: number }>;
  readonly #pruneTo: Statement<{ revision: number }>;
  readonly #prune: Statement;
  readonly #setFloor: Statement;

  constructor(database: Database) {
    this.#head = database.prepare("SELECT epoch, revision, floor FROM register");
    this.#bump = database.prepare("UPDATE register SET revision = revision + 1");
    this.#raise = database.prepare("UPDATE register SET revision = ?1, floor = ?1 WHERE revision < ?1");
    this.#put = database.prepare(
      "INSERT INTO published (key, value, revision) VALUES (?, ?, (SELECT revision FROM register)) " +
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
    );
    this.#get = database.prepare("SELECT key, value FROM published WHERE key = ?");
    // The `+` keeps SQLite to the index of revisions; to save itself a sort of a few rows it would read all rows in order of keys.
    this.#since = database.prepare("SELECT key, value FROM published WHERE revision > ? ORDER BY +key");
    this.#all = database.prepare("SELECT key, value FROM published WHERE value IS NOT NULL ORDER BY key");
    this.#countRemovals = database.prepare("SELECT count(*) AS n FROM published WHERE value IS NULL");
    this.#pruneTo = database.prepare(
      "SELECT revision FROM published WHERE value IS NULL ORDER BY revision DESC LIMIT 1 OFFSET ?",
    );
    this.#prune = database.prepare("DELETE FROM published WHERE value IS NULL AND revision <= ?");
    this.#setFloor = database.prepare("UPDATE register SET floor = ?");
  }

  /** head returns epoch, revision and floor; undefined before the register is initialised. */
  head(): Head | undefined {
    return this.#head.get();
  }

  /** publish stores a value if it differs; true when it did. */
  publish(key: string, value: Json): boolean {
    const text = canonicalJson(value);
    if (this.#get.get(key)?.value === text) return false;
    this.#bump.run();
    this.#put.run(key, text);
    return true;
  }

  /** withdraw removes a value; true when there was one. */
  withdraw(key: string): boolean {
    const row = this.#get.get(key);
    if (row === undefined || row.value === null) return false;
    this.#bump.run();
    this.#put.run(key, null);
    if ((this.#countRemovals.get()?.n ?? 0) > MAX_REMOVALS) this.#forget();
    return true;
  }

  #forget(): void {
    const oldest = this.#pruneTo.get(MAX_REMOVALS / 2)?.revision;
    if (oldest === undefined) return;
    this.#prune.run(oldest);
    this.#setFloor.run(oldest);
  }

  /** raise lifts the revision to at least this number: a copy restored from a backup must not repeat numbers that nodes have seen. */
  raise(revision: number): void {
    this.#raise.run(revision);
  }

  /** since returns changes after a revision, or undefined when so old that everything must be sent. */
  since(revision: number): PublishedEntry[] | undefined {
    const head = this.head();
    if (head === undefined || revision < head.floor || revision > head.revision) return undefined;
    return this.#since.all(revision).map(entry);
  }

  /** all returns what is published now, in order of keys. */
  all(): PublishedEntry[] {
    return this.#all.all().map(entry);
  }
}

function entry(row: Row): PublishedEntry {
  return { key: row.key, value: row.value ?? undefined };
}
