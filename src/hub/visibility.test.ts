import { describe, expect, test } from "bun:test";
import { mayTalk } from "../mesh/mod.ts";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh, type Rule } from "../resources/mod.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { applyState, type SignedState, StateError, type StateMessage } from "./signed-state.ts";
import { Snapshots } from "./snapshot.ts";
import { tokenUse } from "./token.ts";
import { meshView } from "./view.ts";

const NOW = 1_800_000_000_000;
const signing = SigningSecret.random();
const rules: readonly Rule[] = [{ from: { role: ["worker"], site: ["attic"] }, to: { role: ["control"] } }];

async function setUp(first?: readonly Rule[]) {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  const mesh = {
    ...newMesh("home", { endpoints: ["h:1"] }),
    ...(first === undefined ? {} : { rules: first }),
  };
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  const add = async (name: string, role?: string, site?: string) => {
    const { token } = await registrar.createToken({
      uses: 1,
      nowMs: NOW,
      expiresAtMs: NOW + 1,
      signingKey: signing.publicKey,
      ...(role === undefined ? {} : { role }),
      ...(site === undefined ? {} : { site }),
    });
    const publicKey = PrivateKey.random().publicKey;
    await registrar.registerNode(
      { address: tokenUse(token, 0).address, publicKey, name, endpoints: [] },
      NOW,
    );
  };
  const setRules = (wanted: readonly Rule[] | undefined) => {
    const { rules: _, ...rest } = register.mesh();
    return registrar.updateMesh({ ...rest, ...(wanted === undefined ? {} : { rules: wanted }) });
  };
  return { register, registrar, add, setRules, snapshots: new Snapshots(register, signing) };
}

const wire = (message: StateMessage): StateMessage => JSON.parse(JSON.stringify(message));
const trust = (node: string) => ({ signingKey: signing.publicKey, node });
const names = (state: SignedState, node: string) =>
  meshView(state.entries, node).nodes.map((other) => other.name);

describe("what a node is told of others", () => {
  test("role and site come from the token; a node sees whom it may talk to, the hubs and itself", async () => {
    const s = await setUp(rules);
    using _ = s.register;
    await s.add("c1", "control");
    await s.add("w1", "worker", "attic");
    await s.add("w2", "worker", "cellar");
    const state = (node: string) => applyState(undefined, wire(s.snapshots.message(node)), trust(node));
    expect(names(state("w1"), "w1")).toEqual(["c1", "hub"]);
    expect(names(state("c1"), "c1")).toEqual(["hub", "w1"]);
    expect(names(state("w2"), "w2")).toEqual(["hub"]);
    expect(meshView(state("w2").entries, "w2").self).toMatchObject({ role: "worker", site: "cellar" });
    expect(names(state("hub"), "hub")).toEqual(["c1", "w1", "w2"]);
    // A key, which may hold any letters, ends in "=".
    expect(JSON.stringify([...state("w2").entries])).not.toMatch(/w1\\?"/);
  });

  test("nodes of one class share a digest of what they have in common", async () => {
    const s = await setUp(rules);
    using _ = s.register;
    for (const name of ["a", "b", "c"]) await s.add(name, "worker", "attic");
    expect(s.snapshots.sees("a", "b")).toBe(false);
    const keys = (node: string) => wire(s.snapshots.message(node)).set.map(([key]) => key);
    expect(keys("a")).toEqual(["mesh", "node/hub", "for/a/self"]);
  });

  test("a header of one node does not prove the state of another", async () => {
    const s = await setUp(rules);
    using _ = s.register;
    await s.add("w1", "worker", "attic");
    await s.add("w2", "worker", "attic");
    expect(() => applyState(undefined, wire(s.snapshots.message("w1")), trust("w2"))).toThrow(StateError);
  });

  test("whatever changes, who follows sees what who starts anew sees, and just whom the rules allow", async () => {
    let seed = 3;
    const random = (n: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >> 8) % n;
    };
    const roles = [undefined, "control", "worker"];
    const sites = [undefined, "attic", "cellar"];
    const ruleSets = [
      undefined,
      rules,
      [],
      [{ from: { role: ["worker"] }, to: { role: ["worker"] } }],
      [{ from: {}, to: { node: ["n1", "n2"] } }],
    ];
    const s = await setUp();
    using _ = s.register;
    const followers = new Map<string, SignedState>();
    let next = 0;
    let deltas = 0;
    let resyncs = 0;
    for (let step = 0; step < 150; step++) {
      const alive = s.register.nodes().filter((node) => !node.hub);
      const action = random(6);
      if (action < 3 && alive.length < 9)
        await s.add(`n${next++ % 12}`, roles[random(3)], sites[random(3)]).catch(() => {});
      else if (action === 3 && alive.length > 0)
        await s.registrar.removeNode((alive[random(alive.length)] as { name: string }).name);
      else if (action === 4) await s.setRules(ruleSets[random(ruleSets.length)]);
      // Not everybody hears of every change.
      for (const node of s.register.nodes()) {
        if (random(2) === 0 && followers.has(node.name)) continue;
        const old = followers.get(node.name);
        let message = wire(s.snapshots.message(node.name, old?.header));
        let state: SignedState;
        try {
          state = applyState(old, message, trust(node.name));
          if (message.from !== undefined) deltas++;
        } catch (error) {
          if (!(error instanceof StateError) || !error.resync) throw error;
          resyncs++;
          message = wire(s.snapshots.message(node.name));
          state = applyState(old, message, trust(node.name));
        }
        followers.set(node.name, state);
        expect(state).toEqual(applyState(undefined, wire(s.snapshots.message(node.name)), trust(node.name)));
        const mesh = s.register.mesh();
        const allowed = s.register
          .nodes()
          .filter((other) => other.name !== node.name && mayTalk(mesh, node, other))
          .map((other) => other.name)
          .sort();
        expect({ step, node: node.name, sees: names(state, node.name) }).toEqual({
          step,
          node: node.name,
          sees: allowed,
        });
      }
      for (const name of followers.keys()) if (s.register.node(name) === undefined) followers.delete(name);
    }
    expect(deltas).toBeGreaterThan(100);
    // Only where a name came back with other labels.
    expect(resyncs).toBeLessThan(deltas / 4);
  });
});
