import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh, resourceJson } from "../resources/mod.ts";
import { Database } from "../sys/mod.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { registerSchema, replicatedTables } from "./schema.ts";

test("a register of the first version is taken over: nodes stay, what was merely seen goes, everybody reads all again", async () => {
  const path = `${process.env.TMPDIR ?? "/tmp"}/causeway-upgrade-${process.pid}.db`;
  const key = PrivateKey.random().publicKey;
  const mesh = newMesh("home", { endpoints: ["h:1"], overlay6: "fd01:2:3::/64" });
  try {
    {
      using old = Database.open(path, { schema: registerSchema.slice(0, 1) });
      const meshText = JSON.stringify(resourceJson({ kind: "Mesh", value: mesh }));
      old
        .prepare("INSERT INTO register (id, epoch, revision, mesh) VALUES (1, '0123456789abcdef', 7, ?)")
        .run(meshText);
      old
        .prepare(
          "INSERT INTO node (name, number, public_key, hub, overlay4, overlay6, pods4, pods6, endpoints, observed) VALUES ('hub', 1, ?, 1, '10.90.0.1', 'fd01:2:3::1', '10.244.0.0/24', 'fd01:2:3:100::/64', '[]', '192.0.2.1:5')",
        )
        .run(key);
      const entry = { kind: "Node", spec: { publicKey: key }, status: { observed: "192.0.2.1:5" } };
      old.prepare("INSERT INTO published (key, value, revision) VALUES ('mesh', ?, 1)").run(meshText);
      old
        .prepare("INSERT INTO published (key, value, revision) VALUES ('node/hub', ?, 7)")
        .run(JSON.stringify(entry));
      old.execute("INSERT INTO pair (a, b, path, generation) VALUES ('a', 'b', 'direct', 1)");
      old.execute("INSERT INTO published (key, value, revision) VALUES ('pair/a/b', '{}', 6)");
    }
    using register = Register.open(path);
    expect(register.node("hub")).toMatchObject({ name: "hub", hub: true, publicKey: key, observed: [] });
    expect([register.revision, register.position]).toEqual([8, 0]);
    expect(register.changesSince("hub", 7)).toBeUndefined();
    expect([...register.entries().keys()]).toEqual(["mesh", "node/hub"]);
    expect(register.entries().get("node/hub")).not.toContain("status");
    // And it goes on from there.
    const registrar = new Registrar(register);
    await registrar.createToken({
      uses: 1,
      nowMs: 1000,
      expiresAtMs: 2000,
      signingKey: SigningSecret.random().publicKey,
    });
    using copy = Register.open(":memory:");
    copy.restore(register.dump(), 3);
    expect(copy.dump()).toEqual(register.dump());
    expect(copy.position).toBe(3);
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
  }
});

test("commands that are the same leave tables that are the same, byte for byte, also where they are refused", () => {
  const commands: unknown[] = [];
  const record = (register: Register) => (command: Parameters<Register["apply"]>[0]) => {
    commands.push(JSON.parse(JSON.stringify(command)));
    return register.apply(command);
  };
  using first = Register.open(":memory:");
  const say = record(first);
  const mesh = resourceJson({ kind: "Mesh", value: newMesh("home", { endpoints: ["h:1"], pods6: null }) });
  const keys = Array.from({ length: 30 }, () => PrivateKey.random().publicKey);
  const hub = { name: "hub", publicKey: keys[0] as string, endpoints: [] };
  say({ op: "init", epoch: "0123456789abcdef", mesh, hub });
  const uses = keys.slice(20).map((publicKey, i) => ({ publicKey, address: `fd00::${i + 1}:0:0` }));
  const token = {
    id: "0011223344",
    hash: "0".repeat(64),
    uses,
    expiresAtMs: 2000,
    nowMs: 1000,
    role: "node",
  };
  say({ op: "create-token", ...token });
  for (let i = 0; i < 8; i++) {
    const wanted = { publicKey: keys[i + 1] as string, name: `n${i % 5}`, endpoints: [], nowMs: 1000 };
    try {
      say({ op: "register", address: uses[i]?.address as string, ...wanted });
      if (i % 2 === 1) say({ op: "remove-node", name: `n${i}` });
    } catch {
      // Refused: the other must refuse it too.
    }
  }
  using second = Register.open(":memory:");
  // All in one entry of a log, of which a part is refused.
  const outcomes = second.applyEntry(1, commands);
  expect(outcomes.filter((outcome) => "error" in outcome).length).toBeGreaterThan(0);
  expect(JSON.stringify(second.dump())).toBe(JSON.stringify(first.dump()));
  expect([...second.entries()]).toEqual([...first.entries()]);
  expect(second.revision).toBe(first.revision);
});

test("a snapshot from before hubs' former keys were kept is taken over", () => {
  using old = Register.open(":memory:");
  const [one, two] = [PrivateKey.random().publicKey, PrivateKey.random().publicKey];
  const mesh = resourceJson({ kind: "Mesh", value: newMesh("home", { endpoints: ["h:1"] }) });
  const hub = { name: "hub", publicKey: one, endpoints: [] };
  old.apply({ op: "init", epoch: "0123456789abcdef", mesh, hub });
  const { schema, tables } = old.dump();
  const node = (tables.node ?? []).map(({ former_key: _, ...row }) => row);
  using register = Register.open(":memory:");
  register.restore({ schema: schema - 1, tables: { ...tables, node } }, 3);
  expect(register.dump()).toEqual(old.dump());
  register.apply({ op: "announce-hub-key", name: "hub", publicKey: one, nextPublicKey: two });
  register.apply({ op: "promote-hub-key", name: "hub", publicKey: two });
  expect(register.nodeByFormerKey(one)?.publicKey).toBe(two);
});

test("every table that commands may write is in snapshots", () => {
  using database = Database.open(":memory:", { schema: registerSchema });
  const tables = database
    .query<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )
    .all()
    .map(({ name }) => name);
  // The hub's own: how far it has come.
  expect(tables.filter((name) => name !== "log_position").sort()).toEqual([...replicatedTables].sort());
  for (const table of replicatedTables) {
    const columns = database.query<{ name: string; type: string }>(`PRAGMA table_info(${table})`).all();
    // Snapshots are JSON.
    for (const { name, type } of columns)
      expect(`${table}.${name} ${type}`).toMatch(/ (?:TEXT|INTEGER|REAL)$/);
  }
});
