import { describe, expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { type GossipLocal, type GossipSession, startGossip, stepGossip } from "./gossip.ts";
import { GOSSIP_MS, type GossipPlan, startPlan, stepPlan, withNews } from "./gossip-plan.ts";
import { borrow, type Loan, loanOf, mayLend } from "./loan.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { mergeRemovals, operatorRemoval, type Removal, type Removals, signRemoval } from "./removal.ts";
import { applyState, type SignedState, StateError } from "./signed-state.ts";
import { Snapshots } from "./snapshot.ts";
import { tokenUse } from "./token.ts";
import { meshView } from "./view.ts";

const register = SigningSecret.random();
const operator = SigningSecret.random();
const trust = { signingKey: register.publicKey, operatorKey: operator.publicKey };
const removal = (revision: number) =>
  signRemoval({ by: "register", epoch: "e", key: PrivateKey.random().publicKey, revision }, register);
const setOf = (...list: Removal[]): Removals => mergeRemovals(new Map(), list, trust).removals;

class Side {
  readonly heard: Removal[] = [];
  readonly loans: Loan[] = [];
  readonly local: GossipLocal;
  session!: GossipSession;
  closed: string | undefined | null;

  constructor(local: Partial<GossipLocal>) {
    this.local = { epoch: "e", revision: 1, removals: new Map(), loan: () => undefined, ...local };
  }
}

/** Both sides speak until nothing more is said; returns how many lines there were. */
function meet(a: Side, b: Side): number {
  const queue: [to: Side, text: string][] = [];
  let lines = 0;
  const perform = (from: Side, to: Side, step: ReturnType<typeof startGossip>) => {
    from.session = step[0];
    for (const effect of step[1]) {
      if (effect.kind === "send") queue.push([to, JSON.stringify(effect.message)]);
      else if (effect.kind === "removals") from.heard.push(...effect.removals);
      else if (effect.kind === "loan") from.loans.push(effect.loan);
      else from.closed = effect.reason ?? null;
    }
  };
  perform(b, a, startGossip(false, b.local));
  perform(a, b, startGossip(true, a.local));
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    lines++;
    const [to, text] = next;
    perform(to, to === a ? b : a, stepGossip(to.session, text, to.local));
  }
  return lines;
}

describe("two nodes that meet", () => {
  test("say two lines when they have the same", () => {
    const [a, b] = [new Side({}), new Side({})];
    expect(meet(a, b)).toBe(2);
    expect(a.closed).toBe(null);
  });

  test("a line as long as a loan is read only where a loan was asked for", () => {
    const side = new Side({});
    const [session] = startGossip(false, side.local);
    const have = {
      type: "have",
      version: 1,
      epoch: "e",
      revision: 1,
      digest: "",
      padding: "x".repeat(2 << 20),
    };
    const [after, effects] = stepGossip(session, JSON.stringify(have), side.local);
    expect([after.ended, effects.map(({ kind }) => kind)]).toEqual([true, ["close"]]);
  });

  test("who takes no loan now asks for none", () => {
    const side = new Side({});
    const [session] = startGossip(false, side.local);
    const have = JSON.stringify({ type: "have", version: 1, epoch: "e", revision: 99, digest: "" });
    const kinds = (borrows: boolean) => {
      const [after, effects] = stepGossip(session, have, { ...side.local, borrows });
      const said = effects.map((effect) =>
        effect.kind === "send" ? (effect.message as { type: string }).type : "",
      );
      return [after.awaited.has("loan"), said.includes("want")];
    };
    expect([kinds(true), kinds(false)]).toEqual([
      [true, true],
      [false, false],
    ]);
  });

  test("end with the same removals, whoever opened and whoever had more", () => {
    const all = [removal(1), removal(2), operatorRemoval(PrivateKey.random().publicKey, operator)] as const;
    for (const [mine, theirs] of [
      [[all[0]], [all[1], all[2]]],
      [[], [...all]],
      [[...all], []],
    ] as const) {
      const a = new Side({ removals: setOf(...mine) });
      const b = new Side({ removals: setOf(...theirs) });
      meet(a, b);
      expect(a.closed).toBe(null);
      const ids = (list: Iterable<Removal>) => [...list].map((one) => one.key).sort();
      expect(ids([...mine, ...a.heard])).toEqual(ids(all));
      expect(ids([...theirs, ...b.heard])).toEqual(ids(all));
    }
  });

  test("the older one gets a loan, and only it; none is an answer too", () => {
    const loan = {
      type: "loan",
      header: { epoch: "e", revision: 9, node: "b", digest: "0".repeat(64), signature: "x" },
      set: [],
      own: "0".repeat(64),
    } as const;
    for (const opener of [true, false]) {
      const old = new Side({ revision: 3 });
      const young = new Side({ revision: 9, loan: () => loan as unknown as Loan });
      meet(opener ? old : young, opener ? young : old);
      expect([old.loans.length, young.loans.length]).toEqual([1, 0]);
    }
    const [a, b] = [new Side({ revision: 3 }), new Side({ revision: 9 })];
    meet(a, b);
    expect([a.loans, a.closed]).toEqual([[], null]);
    // Another register's history is no newer one.
    const [c, d] = [new Side({ revision: 3 }), new Side({ revision: 9, epoch: "f" })];
    expect(meet(c, d)).toBe(2);
  });

  test("nothing is taken that was not asked for, and nothing twice", () => {
    const local = new Side({}).local;
    const lines = [
      JSON.stringify({ type: "removals", list: [removal(1)] }),
      JSON.stringify({ type: "want" }),
      "{}",
      "",
      JSON.stringify({ type: "have", version: 9, epoch: "e", revision: 1, digest: "" }),
    ];
    for (const text of lines) {
      const [session, effects] = stepGossip(startGossip(false, local)[0], text, local);
      expect([session.ended, effects.map((effect) => effect.kind)]).toEqual([true, ["close"]]);
    }
    const have = JSON.stringify({ type: "have", version: 1, epoch: "e", revision: 1, digest: "x" });
    let [session] = stepGossip(startGossip(false, local)[0], have, local);
    [session] = stepGossip(session, have, local);
    expect(session.ended).toBe(true);
  });
});

describe("who is met, and when", () => {
  const random = () => 0.5;

  test("who comes within reach at once, others now and then", () => {
    let plan = startPlan(0);
    let due: readonly string[];
    [plan, due] = stepPlan(plan, { nowMs: 0, alive: new Set(["a"]), random });
    expect(due).toEqual(["a"]);
    [plan, due] = stepPlan(plan, { nowMs: 100, alive: new Set(["a"]), random });
    expect(due).toEqual([]);
    [plan, due] = stepPlan(plan, { nowMs: GOSSIP_MS, alive: new Set(["a"]), random });
    expect(due).toEqual(["a"]);
    // A path that flaps is no reason to meet all the time.
    [plan] = stepPlan(plan, { nowMs: GOSSIP_MS + 1, alive: new Set(), random });
    [plan, due] = stepPlan(plan, { nowMs: GOSSIP_MS + 5_500, alive: new Set(["a"]), random });
    expect(due).toEqual([]);
    [plan] = stepPlan(plan, { nowMs: GOSSIP_MS + 6_000, alive: new Set(), random });
    [plan] = stepPlan(plan, { nowMs: GOSSIP_MS + 8_000, alive: new Set(), random });
    [plan, due] = stepPlan(plan, { nowMs: GOSSIP_MS + 16_000, alive: new Set(["a"]), random });
    expect(due).toEqual(["a"]);
  });

  test("those that are to be left alone are not met by chance, but when they come within reach and for news", () => {
    const byChance = new Set(["hub"]);
    const alive = new Set(["a", "hub"]);
    let plan = startPlan(0);
    let due: readonly string[];
    [plan, due] = stepPlan(plan, { nowMs: 0, alive, byChance, random });
    expect(due).toEqual(["a", "hub"]);
    for (let i = 1; i < 10; i++) {
      [plan, due] = stepPlan(plan, { nowMs: i * 2 * GOSSIP_MS, alive, byChance, random });
      expect(due).toEqual(["hub"]);
    }
    [plan, due] = stepPlan(withNews(plan, 0), { nowMs: 400_001, alive, byChance, random });
    expect(new Set(due)).toEqual(alive);
  });

  test("news go to eight at once, those that come together in one wave", () => {
    const alive = new Set(Array.from({ length: 30 }, (_, i) => `n${i}`));
    let [plan] = stepPlan(startPlan(0), { nowMs: 0, alive, random });
    plan = withNews(withNews(plan, 1000), 1020);
    let due: readonly string[];
    [plan, due] = stepPlan(plan, { nowMs: 1040, alive, random });
    expect(due).toEqual([]);
    [plan, due] = stepPlan(plan, { nowMs: 1050, alive, random });
    expect(new Set(due).size).toBe(8);
    [plan, due] = stepPlan(plan, { nowMs: 1060, alive, random });
    expect(due).toEqual([]);
  });

  test("a removal reaches 100 nodes that all see each other in a second of round trips, and none is left out for long", () => {
    let seed = 11;
    const next = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >> 8) / 0x7fffff;
    };
    const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
    const alive = new Set(names);
    const plans = new Map<string, GossipPlan>(
      names.map((name) => [name, stepPlan(startPlan(0), { nowMs: 0, alive, random: next })[0]]),
    );
    const knows = new Set(["n0"]);
    plans.set("n0", withNews(plans.get("n0") as GossipPlan, 0));
    let afterSecond = 0;
    let allMs = 0;
    for (let nowMs = 20; nowMs <= 60_000 && knows.size < 100; nowMs += 20) {
      for (const name of names) {
        const [plan, due] = stepPlan(plans.get(name) as GossipPlan, { nowMs, alive, random: next });
        plans.set(name, plan);
        // Either side of a meeting tells the other.
        for (const met of due)
          if (knows.has(name) !== knows.has(met))
            for (const learns of [name, met].filter((one) => !knows.has(one))) {
              knows.add(learns);
              plans.set(learns, withNews(plans.get(learns) as GossipPlan, nowMs));
            }
      }
      if (nowMs === 1000) afterSecond = knows.size;
      allMs = nowMs;
    }
    if (afterSecond === 0) afterSecond = knows.size;
    expect(afterSecond).toBeGreaterThanOrEqual(99);
    expect(knows.size).toBe(100);
    expect(allMs).toBeLessThanOrEqual(2 * GOSSIP_MS);
  });
});

describe("loans", () => {
  async function setUp(rules?: Parameters<Registrar["updateMesh"]>[0]["rules"]) {
    const book = Register.open(":memory:");
    const registrar = new Registrar(book);
    const mesh = { ...newMesh("home", { endpoints: ["h:1"] }), ...(rules === undefined ? {} : { rules }) };
    await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
    const add = async (name: string, role?: string) => {
      const { token } = await registrar.createToken({
        uses: 1,
        nowMs: 1,
        expiresAtMs: 2,
        signingKey: register.publicKey,
        ...(role === undefined ? {} : { role }),
      });
      const publicKey = PrivateKey.random().publicKey;
      await registrar.registerNode(
        { address: tokenUse(token, 0).address, publicKey, name, endpoints: [] },
        1,
      );
    };
    const snapshots = new Snapshots(book, register);
    const state = (node: string): SignedState =>
      applyState(undefined, JSON.parse(JSON.stringify(snapshots.message(node))), {
        signingKey: register.publicKey,
        node,
      });
    return { book, registrar, add, state };
  }
  const as = (node: string) => ({ signingKey: register.publicKey, node });

  test("an older node has what the newer one has, without a hub", async () => {
    const s = await setUp();
    using _ = s.book;
    await s.add("a");
    await s.add("b");
    const old = s.state("a");
    await s.add("c");
    const young = s.state("b");
    const entries = borrow(old, JSON.parse(JSON.stringify(loanOf(young))), as("a"));
    expect(meshView(entries, "a").nodes.map((node) => node.name)).toEqual(["b", "c", "hub"]);
    expect(entries).toEqual(s.state("a").entries);
  });

  test("nothing older, foreign or changed is borrowed", async () => {
    const s = await setUp();
    using _ = s.book;
    await s.add("a");
    await s.add("b");
    const old = s.state("a");
    expect(() => borrow(old, loanOf(s.state("b")), as("a"))).toThrow("is not newer than ours");
    await s.add("c");
    const good = loanOf(s.state("b"));
    const bad: Loan[] = [
      { ...good, own: "0".repeat(64) },
      { ...good, set: good.set.slice(1) },
      { ...good, header: { ...good.header, revision: 99 } },
      { ...good, header: { ...good.header, epoch: "f" } },
      { ...good, header: { ...good.header, node: "a" } },
      { ...good, set: [...good.set, ["node/evil", {}]] },
    ];
    for (const loan of bad) expect(() => borrow(old, loan, as("a"))).toThrow(StateError);
    expect(() => borrow(old, good, { signingKey: SigningSecret.random().publicKey, node: "a" })).toThrow(
      StateError,
    );
  });

  test("who was removed is lent nothing to live on", async () => {
    const s = await setUp();
    using _ = s.book;
    await s.add("a");
    await s.add("b");
    const old = s.state("a");
    await s.registrar.removeNode("a");
    expect(() => borrow(old, loanOf(s.state("b")), as("a"))).toThrow("does not hold both");
  });

  test("only between nodes that the rules treat alike: nobody learns of nodes that it may not see", async () => {
    const s = await setUp([{ from: { role: ["worker"] }, to: {} }]);
    using _ = s.book;
    await s.add("w1", "worker");
    await s.add("w2", "worker");
    await s.add("p", "plain");
    const [old, oldPlain] = [s.state("w1"), s.state("p")];
    await s.add("q", "plain");
    const young = s.state("w2");
    const view = meshView(young.entries, "w2");
    expect([mayLend(view, "w1"), mayLend(view, "p"), mayLend(view, "hub")]).toEqual([true, false, false]);
    expect(meshView(borrow(old, loanOf(young), as("w1")), "w1").nodes).toHaveLength(4);
    expect(() => borrow(oldPlain, loanOf(young), as("p"))).toThrow("treat w2 in another way");
  });
});
