import { describe, expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { explainAge, Kept, snapshotAge } from "./kept.ts";
import { loanOf } from "./loan.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { operatorRemoval, signRemoval } from "./removal.ts";
import { applyState, type SignedState } from "./signed-state.ts";
import { Snapshots } from "./snapshot.ts";
import { tokenUse } from "./token.ts";
import { meshView } from "./view.ts";

const signing = SigningSecret.random();
const operator = SigningSecret.random();
const HOUR = 3_600_000;

async function setUp() {
  const book = Register.open(":memory:");
  const registrar = new Registrar(book);
  const mesh = newMesh("home", {
    endpoints: ["h:1"],
    operatorKey: operator.publicKey,
    snapshotMaxAge: "10h",
  });
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  const keys = new Map<string, PrivateKey>();
  const add = async (name: string) => {
    const { token } = await registrar.createToken({
      uses: 1,
      nowMs: 1,
      expiresAtMs: 2,
      signingKey: signing.publicKey,
    });
    const key = PrivateKey.random();
    keys.set(name, key);
    await registrar.registerNode(
      { address: tokenUse(token, 0).address, publicKey: key.publicKey, name, endpoints: [] },
      1,
    );
  };
  for (const name of ["a", "b", "c"]) await add(name);
  const snapshots = new Snapshots(book, signing);
  const state = (node: string): SignedState =>
    applyState(undefined, JSON.parse(JSON.stringify(snapshots.message(node))), {
      signingKey: signing.publicKey,
      node,
    });
  const key = (name: string) => (keys.get(name) as PrivateKey).publicKey;
  const files: string[] = [];
  const kept = (signed: SignedState, wallMs = 0) =>
    new Kept({
      signingKey: signing.publicKey,
      node: "a",
      signed,
      wallMs,
      text: files.at(-1),
      save: (text) => void files.push(text),
    });
  const sees = (one: Kept, wallMs = 0) =>
    one.filter(meshView(one.entries(), "a"), key("a"), wallMs).nodes.map((node) => node.name);
  return { book, registrar, add, state, key, files, kept, sees };
}

describe("what a member keeps", () => {
  test("a removed node is gone from its view while its register still holds it, also after a restart", async () => {
    const s = await setUp();
    using _ = s.book;
    const signed = s.state("a");
    const kept = s.kept(signed);
    expect(s.sees(kept)).toEqual(["b", "c", "hub"]);
    const removal = operatorRemoval(s.key("b"), operator);
    expect(kept.addRemovals([removal])).toEqual([removal]);
    expect(kept.addRemovals([removal])).toEqual([]);
    expect(s.sees(kept)).toEqual(["c", "hub"]);
    expect(s.sees(s.kept(signed))).toEqual(["c", "hub"]);
    // A hub that has not heard of it does not bring the node back.
    kept.told(signed);
    expect(s.sees(kept)).toEqual(["c", "hub"]);
  });

  test("nobody else's word removes a node", async () => {
    const s = await setUp();
    using _ = s.book;
    const kept = s.kept(s.state("a"));
    const other = SigningSecret.random();
    const forged = [
      operatorRemoval(s.key("b"), other),
      signRemoval({ by: "register", epoch: "", key: s.key("c"), revision: 99 }, other),
    ];
    expect(kept.addRemovals(forged)).toEqual([]);
    expect([s.sees(kept), s.files]).toEqual([["b", "c", "hub"], []]);
  });

  test("this node itself is gone when the key that it uses was removed", async () => {
    const s = await setUp();
    using _ = s.book;
    const kept = s.kept(s.state("a"));
    kept.addRemovals([operatorRemoval(s.key("a"), operator)]);
    expect(kept.filter(meshView(kept.entries(), "a"), s.key("a"), 0).self).toBeUndefined();
    expect(kept.filter(meshView(kept.entries(), "a"), s.key("b"), 0).self?.name).toBe("a");
  });

  test("a loan is used until a hub tells what is as new, survives a restart, and is lent on", async () => {
    const s = await setUp();
    using _ = s.book;
    const old = s.state("a");
    await s.add("d");
    const young = s.state("b");
    const kept = s.kept(old);
    expect(kept.addLoan(loanOf(young))).toBe(true);
    expect(kept.addLoan(loanOf(young))).toBe(false);
    expect(s.sees(kept)).toEqual(["b", "c", "d", "hub"]);
    const again = s.kept(old);
    expect([again.revision, s.sees(again)]).toEqual([young.header.revision, ["b", "c", "d", "hub"]]);
    expect(again.local(meshView(again.entries(), "a"), "c").loan()).toEqual(loanOf(young));
    // An older state of a hub that was behind changes nothing; its newer one ends the loan.
    again.told(old);
    expect(s.sees(again)).toContain("d");
    await s.registrar.removeNode("d");
    again.told(s.state("a"));
    expect(s.sees(again)).toEqual(["b", "c", "hub"]);
    expect(s.files.at(-1)).not.toContain("loan");
  });

  test("a loan that is forged changes nothing, and is not taken for one", async () => {
    const s = await setUp();
    using _ = s.book;
    const kept = s.kept(s.state("a"));
    const { revision } = kept;
    await s.add("d");
    const loan = loanOf(s.state("b"));
    const header = { ...loan.header, revision: loan.header.revision + 7 };
    expect(kept.addLoan({ ...loan, header })).toBe(false);
    expect(kept.addLoan({ ...loan, set: loan.set.slice(1) })).toBe(false);
    expect([kept.revision, s.files]).toEqual([revision, []]);
  });

  test("what is damaged is lost, never the rest of the node's life", async () => {
    const s = await setUp();
    using _ = s.book;
    const signed = s.state("a");
    s.kept(signed).addRemovals([operatorRemoval(s.key("b"), operator)]);
    const text = s.files.at(-1) as string;
    for (const bad of ["", "[]", "{", text.slice(0, 50), text.replace('"key":"', '"key":"x')]) {
      s.files.push(bad);
      expect(s.sees(s.kept(signed))).toEqual(["b", "c", "hub"]);
    }
  });
});

describe("how old a snapshot may be", () => {
  test("without a limit it goes on for ever", () => {
    expect(snapshotAge({}, 0, 1e12).state).toBe("fresh");
    expect(explainAge({}, snapshotAge({}, 0, 1e12))).toBeUndefined();
  });

  test("with one it is said at half of it, and then the node talks to hubs only, until it hears one", async () => {
    const s = await setUp();
    using _ = s.book;
    const kept = s.kept(s.state("a"), 0);
    const mesh = s.book.mesh();
    expect(kept.age(mesh, 5 * HOUR).state).toBe("fresh");
    expect(explainAge(mesh, kept.age(mesh, 6 * HOUR))).toBe(
      "no hub was heard for 6h; after 10h (snapshotMaxAge) this node talks to hubs only",
    );
    expect(s.sees(kept, 10 * HOUR)).toEqual(["b", "c", "hub"]);
    expect(s.sees(kept, 10 * HOUR + 1)).toEqual(["hub"]);
    expect(explainAge(mesh, kept.age(mesh, 11 * HOUR))).toContain("talks to hubs only until it hears one");
    kept.heard(11 * HOUR);
    expect(s.sees(kept, 12 * HOUR)).toEqual(["b", "c", "hub"]);
    // The restart remembers when, and a clock that runs back makes nobody young for ever.
    expect(s.sees(s.kept(s.state("a"), 22 * HOUR), 22 * HOUR)).toEqual(["hub"]);
    expect(s.sees(s.kept(s.state("a"), HOUR), 12 * HOUR)).toEqual(["hub"]);
  });
});
