/** A register as one value: the rows of all tables that commands write, for snapshots, and for comparing two hubs. */
import { type Database, type SqlValue } from "../sys/mod.ts";
import { registerSchema, replicatedTables } from "./schema.ts";

type Row = { readonly [column: string]: string | number | null };

/** RegisterDump is every row, in an order that depends on the rows alone. */
export interface RegisterDump {
  /** Steps of the schema that the tables have. */
  readonly schema: number;
  readonly tables: { readonly [table: string]: readonly Row[] };
}

/** dumpTables reads all replicated tables. */
export function dumpTables(database: Database): RegisterDump {
  const tables = Object.fromEntries(
    replicatedTables.map((table) => {
      const rows = database.query<Row>(`SELECT * FROM ${table}`).all();
      const lines = rows.map((row) => JSON.stringify(row)).sort();
      return [table, lines.map((line) => JSON.parse(line) as Row)];
    }),
  );
  return { schema: registerSchema.length, tables };
}

/** restoreTables replaces the content of all replicated tables; call it inside a transaction. */
export function restoreTables(database: Database, dump: RegisterDump): void {
  if (dump.schema > registerSchema.length)
    throw new Error(
      `Cannot take over the register's snapshot: it was written by a newer version (schema ${dump.schema}, known ${registerSchema.length}); update this hub`,
    );
  for (const table of [...replicatedTables].reverse()) database.execute(`DELETE FROM ${table}`);
  for (const table of replicatedTables)
    for (const row of dump.tables[table] ?? []) insert(database, table, row);
}

function insert(database: Database, table: string, row: Row): void {
  const columns = Object.keys(row);
  // Columns come from another hub: only names, never SQL.
  const wrong = columns.find((column) => !/^[a-z][a-z0-9_]*$/.test(column));
  if (wrong !== undefined)
    throw new Error(`Cannot take over the register's snapshot: it has a column ${wrong}`);
  const marks = columns.map(() => "?").join(", ");
  database
    .query(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${marks})`)
    .run(...columns.map((column) => row[column] as SqlValue));
}
