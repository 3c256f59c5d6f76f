import { describe, expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { sleep } from "../sys/mod.ts";
import { EtcdError, type EtcdOperation, type EtcdStore, type KeyValue } from "./etcd.ts";
import { EtcdLog } from "./etcd-log.ts";
import { Refusal } from "./refusal.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

const NOW = 1_800_000_000_000;
const signing = SigningSecret.random();
const PREFIX = "/causeway/test";

/** A slow and obvious model of etcd: one map; requests that are lost on the way there or on the way back. */
class Model implements EtcdStore {
  readonly keys = new Map<string, string>();
  readonly entries: string[] = [];
  readonly watchers = new Set<() => void>();
  revision = 0;
  /** Loss of requests, and of answers, each 1 in so many; 0 for none. */
  loss = 0;
  down = false;
  readonly #next: (n: number) => number;

  constructor(seed: number) {
    let random = seed * 2654435761;
    this.#next = (n) => {
      random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
      return (random >> 8) % n;
    };
  }

  async #weather(): Promise<void> {
    await sleep(this.#next(3));
    if (this.down) throw new EtcdError("majority", "etcd has no majority (model)");
    if (this.loss > 0 && this.#next(this.loss) === 0)
      throw new EtcdError("unreachable", "etcd does not answer (model)");
  }

  transact: EtcdStore["transact"] = async ({ compare = [], success, failure = [] }) => {
    await this.#weather();
    const succeeded = compare.every((one) =>
      "absent" in one ? !this.keys.has(one.key) : this.keys.get(one.key) === one.value,
    );
    const read = (succeeded ? success : failure).flatMap((operation) => this.#do(operation));
    this.revision++;
    for (const watcher of [...this.watchers]) watcher();
    await this.#weather();
    return { succeeded, read, revision: this.revision };
  };

  #do(operation: EtcdOperation): KeyValue[][] {
    const within = (key: string, from: string, end?: string) =>
      end === undefined ? key === from : key >= from && key < end;
    if ("put" in operation) {
      if (operation.put.startsWith(`${PREFIX}/log/`)) this.entries.push(operation.value);
      this.keys.set(operation.put, operation.value);
      return [];
    }
    if ("delete" in operation) {
      for (const key of [...this.keys.keys()])
        if (within(key, operation.delete, operation.end)) this.keys.delete(key);
      return [];
    }
    const found = [...this.keys]
      .filter(([key]) => within(key, operation.range, operation.end))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, operation.limit ?? Number.POSITIVE_INFINITY);
    return [found.map(([key, value]) => ({ key, value }))];
  }

  compact: EtcdStore["compact"] = async () => {};

  watch: EtcdStore["watch"] = (_, { changed }) => {
    this.watchers.add(changed);
    return { [Symbol.dispose]: () => this.watchers.delete(changed) };
  };
}

function hub(etcd: Model, name: string, options: { snapshotEntries?: number; patienceMs?: number } = {}) {
  const register = Register.open(":memory:");
  const problems: (string | undefined)[] = [];
  const log = new EtcdLog(register, {
    etcd,
    prefix: PREFIX,
    hub: name,
    retryMs: 1,
    patienceMs: 2000,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  const registrar = new Registrar(register, log);
  return {
    register,
    registrar,
    problems,
    [Symbol.dispose]() {
      registrar[Symbol.dispose]();
      register.close();
    },
  };
}

const mesh = () => newMesh("home", { endpoints: ["h:1"], overlay6: "fd01:2:3::/64" });
const first = () => ({ name: "hub1", publicKey: PrivateKey.random().publicKey, endpoints: [] });

async function newToken(registrar: Registrar, uses: number) {
  const { token } = await registrar.createToken({
    uses,
    nowMs: NOW,
    expiresAtMs: NOW + 1000,
    signingKey: signing.publicKey,
  });
  return token;
}

const newcomer = (token: Awaited<ReturnType<typeof newToken>>, use: number, name: string) => ({
  address: tokenUse(token, use).address,
  publicKey: PrivateKey.random().publicKey,
  name,
  endpoints: [],
});

describe("one order of all writes", () => {
  test("what one hub writes, the other has; revisions are the same", async () => {
    const etcd = new Model(1);
    using a = hub(etcd, "a");
    using b = hub(etcd, "b");
    await a.registrar.init(mesh(), first());
    const token = await newToken(a.registrar, 2);
    await b.registrar.catchUp();
    await b.registrar.registerNode(newcomer(token, 0, "n1"), NOW);
    await a.registrar.catchUp();
    expect(a.register.node("n1")).toBeDefined();
    expect(a.register.dump()).toEqual(b.register.dump());
    expect(a.register.revision).toBe(b.register.revision);
  });

  test("of two that want one name, one gets it, and both hubs agree which", async () => {
    const etcd = new Model(2);
    using a = hub(etcd, "a");
    using b = hub(etcd, "b");
    await a.registrar.init(mesh(), first());
    const token = await newToken(a.registrar, 2);
    await b.registrar.catchUp();
    const answers = await Promise.allSettled([
      a.registrar.registerNode(newcomer(token, 0, "same"), NOW),
      b.registrar.registerNode(newcomer(token, 1, "same"), NOW),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const refused = answers.find(({ status }) => status === "rejected") as PromiseRejectedResult;
    expect((refused.reason as Refusal).code).toBe("name-taken");
    await Promise.all([a.registrar.catchUp(), b.registrar.catchUp()]);
    expect(a.register.dump()).toEqual(b.register.dump());
  });

  test("three writers, lost requests and lost answers: all hubs end byte-equal, every entry is there once", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const etcd = new Model(seed);
      using stack = new DisposableStack();
      const hubs = ["a", "b", "c"].map((name) => stack.use(hub(etcd, name, { snapshotEntries: 7 })));
      await hubs[0]?.registrar.init(mesh(), first());
      const token = await newToken((hubs[0] as (typeof hubs)[0]).registrar, 60);
      await Promise.all(hubs.map(({ registrar }) => registrar.catchUp()));
      etcd.loss = 6;
      const outcomes = await Promise.all(
        hubs.flatMap(({ registrar }, h) =>
          Array.from({ length: 20 }, async (_, i) => {
            await sleep((i * 7 + seed) % 40);
            const wanted = newcomer(token, h * 20 + i, `n${(i * 3 + h) % 25}`);
            try {
              const node = await registrar.registerNode(wanted, NOW);
              if (i % 4 === 0) await registrar.removeNode(node.name);
              return { wanted, node };
            } catch (error) {
              if (!(error instanceof Refusal) && !/there is none/.test((error as Error).message)) throw error;
              return undefined;
            }
          }),
        ),
      );
      etcd.loss = 0;
      for (const { registrar } of hubs) await registrar.catchUp();
      const [one, ...others] = hubs.map(({ register }) => JSON.stringify(register.dump()));
      for (const other of others) expect(other).toBe(one as string);
      const ids = etcd.entries.map((entry) => (JSON.parse(entry) as { id: string }).id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(outcomes.filter((outcome) => outcome !== undefined).length).toBeGreaterThan(0);
      // A hub that was not there at all begins with a snapshot and comes to the same.
      using late = hub(etcd, "late");
      await late.registrar.catchUp();
      expect(JSON.stringify(late.register.dump())).toBe(one as string);
    }
  }, 60_000);
});

describe("without a majority", () => {
  test("writes are refused in words, at once when it is known; reads go on; then all goes on", async () => {
    const etcd = new Model(3);
    using a = hub(etcd, "a", { patienceMs: 30 });
    await a.registrar.init(mesh(), first());
    const token = await newToken(a.registrar, 2);
    const node = newcomer(token, 0, "n1");
    await a.registrar.registerNode(node, NOW);
    etcd.down = true;
    const refused = await newToken(a.registrar, 1).catch((error: Refusal) => error);
    expect([(refused as Refusal).code, (refused as Refusal).message]).toEqual([
      "read-only",
      "Cannot write the register now: etcd has no majority (model); reading and relaying go on",
    ]);
    expect(a.registrar.state()).toMatchObject({ kind: "etcd", problem: "etcd has no majority (model)" });
    expect(a.problems).toEqual(["etcd has no majority (model)"]);
    // What was answered before is answered again.
    expect((await a.registrar.registerNode(node, NOW)).name).toBe("n1");
    etcd.down = false;
    await newToken(a.registrar, 1);
    expect(a.registrar.state().problem).toBeUndefined();
    expect(a.problems).toEqual(["etcd has no majority (model)", undefined]);
  });

  test("a log that is shorter than what the hub has is not taken, and nothing is written to it", async () => {
    const etcd = new Model(4);
    using a = hub(etcd, "a");
    await a.registrar.init(mesh(), first());
    await newToken(a.registrar, 1);
    etcd.keys.clear();
    await expect(newToken(a.registrar, 1)).rejects.toThrow(
      "etcd holds no log of this register, of which entry 2 is here",
    );
    expect(etcd.keys.size).toBe(0);
    expect(a.register.tokens()).toHaveLength(1);
  });

  test("a command of a newer version stops this hub's writes, not its reads", async () => {
    const etcd = new Model(5);
    using a = hub(etcd, "a");
    await a.registrar.init(mesh(), first());
    etcd.keys.set(
      `${PREFIX}/log/${"2".padStart(16, "0")}`,
      JSON.stringify({ id: "x", by: "b", commands: [{ op: "later" }] }),
    );
    etcd.keys.set(`${PREFIX}/head`, "2");
    await expect(newToken(a.registrar, 1)).rejects.toThrow(
      "a command (later) that this version does not know; update this hub",
    );
    expect(a.register.position).toBe(1);
    expect(a.register.mesh().name).toBe("home");
  });
});

test("a register that was one hub's begins a log, and another hub takes it over from there", async () => {
  const etcd = new Model(6);
  const alone = Register.open(":memory:");
  const single = new Registrar(alone);
  await single.init(mesh(), first());
  const token = await newToken(single, 3);
  await single.registerNode(newcomer(token, 0, "n1"), NOW);
  const before = JSON.stringify(alone.dump());
  using log = new EtcdLog(alone, { etcd, prefix: PREFIX, hub: "hub1" });
  await log.begin();
  using b = hub(etcd, "b");
  await b.registrar.catchUp();
  expect(JSON.stringify(b.register.dump())).toBe(before);
  await b.registrar.registerNode(newcomer(token, 1, "n2"), NOW);
  await log.catchUp();
  expect(alone.node("n2")).toBeDefined();
  await expect(log.begin()).rejects.toThrow("holds a log of this register already");
  alone.close();
});
