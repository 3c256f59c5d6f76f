import { describe, expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import {
  applyState,
  formatCache,
  parseCache,
  type SignedState,
  StateError,
  type StateMessage,
} from "./signed-state.ts";
import { Snapshots } from "./snapshot.ts";
import { tokenUse } from "./token.ts";

const signing = SigningSecret.random();
const NOW = 1_800_000_000_000;

async function setUp() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
    name: "hub",
    publicKey: PrivateKey.random().publicKey,
    endpoints: [],
  });
  const { token } = await registrar.createToken({
    uses: 8,
    nowMs: NOW,
    expiresAtMs: NOW + 1,
    signingKey: signing.publicKey,
  });
  const add = (use: number, name: string) =>
    registrar.registerNode(
      {
        address: tokenUse(token, use).address,
        publicKey: PrivateKey.random().publicKey,
        name,
        endpoints: [],
      },
      NOW,
    );
  await add(0, "a");
  await add(1, "b");
  return { register, registrar, add, snapshots: new Snapshots(register, signing) };
}

const trust = { signingKey: signing.publicKey, node: "a" };
const wire = (message: StateMessage): StateMessage => JSON.parse(JSON.stringify(message));

function refused(work: () => unknown): StateError {
  try {
    work();
  } catch (error) {
    if (error instanceof StateError) return error;
    throw error;
  }
  throw new Error("taken");
}

describe("deltas", () => {
  test("a node that follows deltas has what a node that starts anew gets", async () => {
    const { register, registrar, add, snapshots } = await setUp();
    using _ = register;
    let state: SignedState = applyState(undefined, wire(snapshots.message("a")), trust);
    const changes = [
      () => add(2, "c"),
      () => registrar.setConfigured("a", { endpoints: ["192.0.2.1:5"] }),
      () => registrar.setConfigured("c", { endpoints: ["192.0.2.2:5"] }),
      () => registrar.removeNode("b"),
      () => registrar.removeNode("c"),
      () => add(3, "d"),
    ];
    for (const change of changes) {
      await change();
      const delta = wire(snapshots.message("a", state.header));
      expect(delta.from).toBe(state.header.revision);
      state = applyState(state, delta, trust);
      expect(state).toEqual(applyState(undefined, wire(snapshots.message("a")), trust));
    }
    expect([...state.entries.keys()].sort()).toEqual(["mesh", "node/a", "node/d", "node/hub"]);
  });

  test("a lost delta is noticed", async () => {
    const { register, add, snapshots } = await setUp();
    using _ = register;
    const state = applyState(undefined, snapshots.message("a"), trust);
    await add(2, "c");
    const lost = applyState(state, snapshots.message("a", state.header), trust);
    await add(3, "d");
    const next = snapshots.message("a", lost.header);
    expect(refused(() => applyState(state, next, trust)).resync).toBe(true);
    // Claiming to continue our revision does not help: the content does not fit.
    expect(refused(() => applyState(state, { ...next, from: state.header.revision }, trust)).resync).toBe(
      true,
    );
  });

  test("tampering with anything is noticed", async () => {
    const { register, snapshots } = await setUp();
    using _ = register;
    const message = snapshots.message("a");
    const text = JSON.stringify(message);
    const tampered: StateMessage[] = [
      { ...message, set: message.set.slice(1) },
      { ...message, set: [...message.set, ["node/evil", {}]] },
      { ...message, header: { ...message.header, revision: message.header.revision + 1 } },
      { ...message, header: { ...message.header, epoch: "0" } },
      { ...message, header: { ...message.header, digest: "0".repeat(64) } },
      { ...message, header: { ...message.header, signature: "" } },
      JSON.parse(text.replace("10.90.0.3", "10.90.0.4")),
      snapshots.message("b"),
      new Snapshots(register, SigningSecret.random()).message("a"),
    ];
    for (const one of tampered) expect(refused(() => applyState(undefined, one, trust)).resync).toBe(false);
  });

  test("an older state is not taken again", async () => {
    const { register, add, snapshots } = await setUp();
    using _ = register;
    const old = snapshots.message("a");
    const state = applyState(undefined, old, trust);
    await add(2, "c");
    const newer = applyState(state, snapshots.message("a"), trust);
    expect(refused(() => applyState(newer, old, trust)).message).toContain("is older than ours");
  });
});

describe("the stored copy", () => {
  test("comes back the same without the hub", async () => {
    const { register, snapshots } = await setUp();
    using _ = register;
    const state = applyState(undefined, snapshots.message("a"), trust);
    expect(parseCache(formatCache(state), trust)).toEqual(state);
  });

  test("damage anywhere is refused, never taken and never a crash", async () => {
    const { register, snapshots } = await setUp();
    using _ = register;
    const text = formatCache(applyState(undefined, snapshots.message("a"), trust));
    // Base64 has several ways to write the same bytes.
    const meaning = ({ header, ...rest }: SignedState) => ({
      ...rest,
      header: { ...header, signature: Buffer.from(header.signature, "base64").toString("hex") },
    });
    for (let i = 0; i < text.length - 1; i += 5) {
      const flipped = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
      let state: SignedState | undefined;
      try {
        state = parseCache(flipped, trust);
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
      }
      // Only what means the same may pass.
      if (state !== undefined) expect(meaning(state)).toEqual(meaning(parseCache(text, trust)));
      expect(() => parseCache(text.slice(0, i), trust)).toThrow(StateError);
    }
    expect(() => parseCache("", trust)).toThrow("the stored copy is damaged");
  });
});
