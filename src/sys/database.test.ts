import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Database } from "./database.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-database-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const schema = [
  "CREATE TABLE pod (name TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT; CREATE INDEX by_address ON pod (address)",
];

test("a row written is there after reopening, and the file is private", () => {
  const path = join(folder, "new", "a.db");
  {
    using database = Database.open(path, { schema, synchronous: "off" });
    expect(database.prepare("INSERT INTO pod VALUES (?, ?)").run("a", "10.0.0.2")).toBe(1);
    for (const suffix of ["", "-wal", "-shm"]) expect(statSync(path + suffix).mode & 0o777).toBe(0o600);
  }
  using database = Database.open(path, { schema });
  const select = database.prepare<{ name: string; address: string }>("SELECT * FROM pod WHERE name = ?");
  expect(select.get("a")).toEqual({ name: "a", address: "10.0.0.2" });
  expect(select.get("b")).toBeUndefined();
  expect(select.all("a")).toHaveLength(1);
});

test("a transaction that throws leaves nothing, an inner one only undoes itself", () => {
  using database = Database.open(":memory:", { schema });
  const insert = database.prepare("INSERT INTO pod VALUES (?, ?)");
  const count = database.prepare<{ n: number }>("SELECT count(*) AS n FROM pod");
  const fail = () => {
    insert.run("b", "2");
    throw new Error("no");
  };
  expect(() => database.transaction(fail)).toThrow("no");
  expect(count.get()?.n).toBe(0);
  database.transaction(() => {
    insert.run("a", "1");
    expect(() => database.transaction(fail)).toThrow("no");
  });
  expect(count.get()?.n).toBe(1);
});

test("what is relaxed is there for others at once, and what follows waits for the disk again", () => {
  const path = join(folder, "relaxed.db");
  using database = Database.open(path, { schema });
  using other = Database.open(path, { schema });
  const level = () => database.prepare<{ synchronous: number }>("PRAGMA synchronous").get()?.synchronous;
  const insert = database.prepare("INSERT INTO pod VALUES (?, ?)");
  const levels = database.relaxed(() => [insert.run("a", "1"), level()]);
  expect([levels, level()]).toEqual([[1, 1], 2]); // NORMAL, FULL
  expect(other.prepare("SELECT * FROM pod").all()).toHaveLength(1);
  expect(() => database.relaxed(() => insert.run("a", "2"))).toThrow("UNIQUE");
  expect(level()).toBe(2);
});

test("the schema grows by steps; a file from the future is refused", () => {
  const path = join(folder, "grow.db");
  Database.open(path, { schema }).close();
  const longer = [...schema, "ALTER TABLE pod ADD COLUMN mac TEXT"];
  {
    using database = Database.open(path, { schema: longer });
    database.prepare("INSERT INTO pod VALUES ('a', '1', '02:00:00:00:00:01')").run();
  }
  expect(() => Database.open(path, { schema })).toThrow("newer than this program");
});

test("close can be called twice", () => {
  const database = Database.open(":memory:");
  database.close();
  database.close();
});
