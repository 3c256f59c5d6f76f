/**
 * SQLite files: one connection, prepared statements, transactions that nest, and a schema that grows by numbered steps.
 *
 * Always in write-ahead mode: a commit survives the death of the process at any instant. Whether it survives the loss of
 * power is the caller's choice, since it costs an fsync for each commit (https://sqlite.org/wal.html, section 3.2).
 */
import { Database as Sqlite, SQLiteError, type Statement as SqliteStatement } from "bun:sqlite";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";

/** SqlValue is what a column can hold. */
export type SqlValue = string | number | bigint | boolean | null | Uint8Array;

export interface DatabaseOptions {
  /** `full` survives a power loss, but for what is `relaxed`; `off` only the death of the process, and a power loss may tear the file. Default `full`. */
  readonly synchronous?: "off" | "full";
  /** How long a statement waits for another process's transaction. Default 5000. */
  readonly busyTimeoutMs?: number;
  /**
   * Steps of the schema, each a script. A step runs once in the life of the file (`PRAGMA user_version` counts them):
   * append steps, never edit one that was released.
   */
  readonly schema?: readonly string[];
}

/** Statement is a prepared statement; parameters are given in the order of its `?` marks. */
export class Statement<Row = unknown> {
  readonly #statement: SqliteStatement<Row, SqlValue[]>;

  constructor(statement: SqliteStatement<Row, SqlValue[]>) {
    this.#statement = statement;
  }

  /** run executes the statement and returns how many rows it changed. */
  run(...parameters: SqlValue[]): number {
    return this.#statement.run(...parameters).changes;
  }

  /** get returns the first row, or undefined when there is none. */
  get(...parameters: SqlValue[]): Row | undefined {
    return this.#statement.get(...parameters) ?? undefined;
  }

  /** all returns all rows. */
  all(...parameters: SqlValue[]): Row[] {
    return this.#statement.all(...parameters);
  }
}

/** Database owns one connection to one file, which nobody but its owner can read (0600). */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #statements: SqliteStatement[] = [];

  private constructor(sqlite: Sqlite) {
    this.#sqlite = sqlite;
  }

  /** open opens or makes the file (`:memory:` for none) and brings its schema up to date; parents are made 0700 where missing. */
  static open(path: string, options: DatabaseOptions = {}): Database {
    if (path !== ":memory:") {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // SQLite gives its -wal and -shm files the mode of the main file.
      closeSync(openSync(path, "a", 0o600));
    }
    const sqlite = new Sqlite(path, { create: true, readwrite: true, strict: true });
    const database = new Database(sqlite);
    try {
      sqlite.run(`PRAGMA busy_timeout = ${options.busyTimeoutMs ?? 5000}`);
      sqlite.run("PRAGMA journal_mode = WAL");
      sqlite.run(`PRAGMA synchronous = ${(options.synchronous ?? "full").toUpperCase()}`);
      sqlite.run("PRAGMA foreign_keys = ON");
      database.#upgrade(path, options.schema ?? []);
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  }

  #upgrade(path: string, schema: readonly string[]): void {
    this.transaction(() => {
      const version = this.prepare<{ user_version: number }>("PRAGMA user_version").get()?.user_version ?? 0;
      if (version > schema.length)
        throw new Error(
          `Cannot open ${path}: its schema ${version} is newer than this program's ${schema.length}; install the version that wrote it`,
        );
      for (const step of schema.slice(version)) this.#sqlite.run(step);
      if (version < schema.length) this.#sqlite.run(`PRAGMA user_version = ${schema.length}`);
    });
  }

  /** prepare compiles one statement; it lives as long as the connection, so prepare once and keep it. */
  prepare<Row = unknown>(sql: string): Statement<Row> {
    const statement = this.#sqlite.prepare<Row, SqlValue[]>(sql);
    this.#statements.push(statement as SqliteStatement);
    return new Statement(statement);
  }

  /** query compiles a statement that is used now and then; the same text is compiled once. */
  query<Row = unknown>(sql: string): Statement<Row> {
    return new Statement(this.#sqlite.query<Row, SqlValue[]>(sql));
  }

  /** execute runs a script of statements that return nothing. */
  execute(script: string): void {
    this.#sqlite.run(script);
  }

  /** transaction commits what the synchronous function did, or nothing of it if it throws. An inner one is a savepoint. */
  transaction<T>(work: () => T extends Promise<unknown> ? never : T): T {
    return this.#sqlite.transaction(work as () => T).immediate();
  }

  /**
   * relaxed is a transaction that does not wait for the disk, with `synchronous: "full"`: it survives the death of the process, and a power
   * loss may undo it, with those after it that were relaxed too. Not inside a transaction.
   */
  relaxed<T>(work: () => T extends Promise<unknown> ? never : T): T {
    this.#sqlite.run("PRAGMA synchronous = NORMAL");
    try {
      return this.transaction(work);
    } finally {
      this.#sqlite.run("PRAGMA synchronous = FULL");
    }
  }

  /** close finishes all statements and closes the file; a second call does nothing. */
  close(): void {
    for (const statement of this.#statements.splice(0)) statement.finalize();
    this.#sqlite.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** isUnwritable tells whether an error means that nothing can be written at present: a full, broken or read-only disk. */
export function isUnwritable(error: unknown): boolean {
  return error instanceof SQLiteError && /^SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN)/.test(error.code ?? "");
}

/** isDatabaseFailure tells whether an error is the database's own trouble, not the answer of a constraint, which depends on the rows alone. */
export function isDatabaseFailure(error: unknown): boolean {
  return error instanceof SQLiteError && !/^SQLITE_CONSTRAINT/.test(error.code ?? "");
}
