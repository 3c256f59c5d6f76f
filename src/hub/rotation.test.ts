import { describe, expect, test } from "bun:test";
import { parseIp, PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { Refusal } from "./refusal.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import {
  OVERLAP_MS,
  type Rotation,
  type RotationEffect,
  rotationProof,
  rotationProofHolds,
  startRotation,
  stepRotation,
} from "./rotation.ts";
import { tokenUse } from "./token.ts";

const key = () => PrivateKey.random().publicKey;
const DAY = 86_400_000;

/** One node's side; the register is what the test says. */
class Node {
  state: Rotation;
  readonly done: RotationEffect[] = [];
  readonly next = key();

  constructor(stored: Parameters<typeof startRotation>[0]) {
    this.state = startRotation(stored);
  }

  look(
    nowMs: number,
    self: { publicKey: ReturnType<typeof key>; nextPublicKey?: ReturnType<typeof key> },
    options: { connected?: boolean; maxAgeMs?: number; wallMs?: number } = {},
  ): void {
    const { connected = true, maxAgeMs, wallMs = nowMs } = options;
    const [state, effects] = stepRotation(this.state, {
      kind: "look",
      nowMs,
      wallMs,
      connected,
      self,
      maxAgeMs,
    });
    this.state = state;
    this.done.push(...effects);
    if (effects.includes("make")) [this.state] = stepRotation(this.state, { kind: "made", key: this.next });
  }
}

describe("a node's change of key", () => {
  test("on request: made, announced, used after the overlap, finished when the register has it", () => {
    const node = new Node({ sinceMs: 0 });
    const now = key();
    node.look(0, { publicKey: now });
    expect(node.done).toEqual([]);
    [node.state] = stepRotation(node.state, { kind: "want" });
    node.look(0, { publicKey: now }, { connected: false });
    expect(node.done).toEqual([]);
    for (const at of [0, 1000, 2000]) node.look(at, { publicKey: now });
    expect(node.done).toEqual(["make", "announce"]);
    // It was lost, or the hub could not write: it is said again.
    node.look(11_000, { publicKey: now });
    expect(node.done).toEqual(["make", "announce", "announce"]);
    const announced = { publicKey: now, nextPublicKey: node.next };
    node.look(12_000, announced);
    node.look(12_000 + OVERLAP_MS - 1, announced);
    node.look(12_000 + OVERLAP_MS, announced, { connected: false });
    expect(node.done).toHaveLength(3);
    node.look(12_001 + OVERLAP_MS, announced);
    node.look(13_000 + OVERLAP_MS, announced);
    expect(node.done.slice(3)).toEqual(["switch"]);
    node.look(14_000 + OVERLAP_MS, { publicKey: node.next });
    expect(node.done.slice(4)).toEqual(["finished"]);
    node.look(15_000 + OVERLAP_MS, { publicKey: node.next });
    expect(node.done).toHaveLength(5);
  });

  test("by age, not all in the same moment, and not without an age", () => {
    const ages = Array.from({ length: 40 }, () => {
      const [node, publicKey] = [new Node({ sinceMs: 0 }), key()];
      for (let day = 0; day <= 100; day += 0.5) {
        node.look(day * DAY, { publicKey }, { maxAgeMs: 90 * DAY });
        if (node.done.includes("make")) return day;
      }
      throw new Error("never");
    });
    expect(Math.min(...ages)).toBeGreaterThanOrEqual(81);
    expect(Math.max(...ages)).toBeLessThanOrEqual(90.5);
    expect(new Set(ages).size).toBeGreaterThan(5);
    const node = new Node({ sinceMs: 0 });
    node.look(1000 * DAY, { publicKey: key() });
    expect(node.done).toEqual([]);
  });

  test("a restart in the middle goes on from what is stored", () => {
    const [now, next] = [key(), key()];
    const before = new Node({ sinceMs: 0, next });
    before.look(0, { publicKey: now, nextPublicKey: next });
    before.look(OVERLAP_MS, { publicKey: now, nextPublicKey: next });
    expect(before.done).toEqual(["switch"]);
    const after = new Node({ sinceMs: 0, next, switched: true });
    after.look(0, { publicKey: now, nextPublicKey: next });
    after.look(99_000, { publicKey: now, nextPublicKey: next });
    expect(after.done).toEqual([]);
    after.look(100_000, { publicKey: next });
    expect(after.done).toEqual(["finished"]);
  });

  test("an announcement that was taken back is made again, with a whole overlap", () => {
    const [now, next] = [key(), key()];
    const node = new Node({ sinceMs: 0, next });
    node.look(0, { publicKey: now, nextPublicKey: next });
    node.look(OVERLAP_MS - 1, { publicKey: now });
    node.look(OVERLAP_MS, { publicKey: now, nextPublicKey: next });
    node.look(OVERLAP_MS + 1, { publicKey: now, nextPublicKey: next });
    expect(node.done).toEqual(["announce"]);
  });
});

describe("at the hub", () => {
  async function setUp() {
    const register = Register.open(":memory:");
    const registrar = new Registrar(register);
    await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
      name: "hub",
      publicKey: key(),
      endpoints: [],
    });
    const add = async (name: string) => {
      const { token } = await registrar.createToken({
        uses: 1,
        nowMs: 1,
        expiresAtMs: 2,
        signingKey: SigningSecret.random().publicKey,
      });
      const publicKey = key();
      const use = tokenUse(token, 0);
      await registrar.registerNode({ address: use.address, publicKey, name, endpoints: [] }, 1);
      return { publicKey, use };
    };
    return { register, registrar, add };
  }
  const code = (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: unknown) => (error instanceof Refusal ? error.code : String(error)),
    );

  test("a key is announced, then promoted, and the old one never comes back", async () => {
    const s = await setUp();
    using _ = s.register;
    const { publicKey: now } = await s.add("a");
    const next = key();
    await s.registrar.announceKey("a", { now, next });
    expect(s.register.node("a")).toMatchObject({ publicKey: now, nextPublicKey: next });
    expect(s.register.nodeByNextKey(next)?.name).toBe("a");
    const { revision } = s.register;
    await s.registrar.promoteKey("a", next);
    expect(s.register.node("a")?.publicKey).toBe(next);
    expect(s.register.node("a")?.nextPublicKey).toBeUndefined();
    expect(s.register.isRevoked(now)).toBe(true);
    expect(s.register.revocations(revision, 9).map((one) => one.publicKey)).toEqual([now]);
    await s.registrar.promoteKey("a", next);
    expect(await code(s.registrar.announceKey("a", { now: next, next: now }))).toBe("key-revoked");
  });

  test("nobody announces a key that is another's, and only the present key may", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    const b = await s.add("b");
    const next = key();
    await s.registrar.announceKey("b", { now: b.publicKey, next });
    for (const taken of [b.publicKey, next, b.use.privateKey.publicKey, s.register.hubs()[0]?.publicKey])
      expect(await code(s.registrar.announceKey("a", { now: a.publicKey, next: taken as never }))).toBe(
        "key-exists",
      );
    expect(await code(s.registrar.announceKey("a", { now: key(), next: key() }))).toBe("bad-request");
    expect(await code(s.registrar.announceKey("zzz", { now: key(), next: key() }))).toBe("no-such-node");
  });

  test("another announcement revokes the one before; a node that is removed takes both keys with it", async () => {
    const s = await setUp();
    using _ = s.register;
    const { publicKey: now } = await s.add("a");
    const [first, second] = [key(), key()];
    await s.registrar.announceKey("a", { now, next: first });
    await s.registrar.announceKey("a", { now, next: second });
    expect([s.register.isRevoked(first), s.register.isRevoked(second)]).toEqual([true, false]);
    await s.registrar.removeNode("a");
    expect([s.register.isRevoked(now), s.register.isRevoked(second)]).toEqual([true, true]);
  });

  test("the proof is for these two keys, this node and this register only", () => {
    const [hub, next] = [PrivateKey.random(), PrivateKey.random()];
    const claim = { node: "a", epoch: "e", now: key(), next: next.publicKey, address: parseIp("10.90.0.2") };
    const proof = rotationProof(next, hub.publicKey, claim);
    expect(rotationProofHolds(hub, claim, proof)).toBe(true);
    for (const other of [
      { ...claim, node: "b" },
      { ...claim, epoch: "f" },
      { ...claim, now: key() },
      { ...claim, next: key() },
      { ...claim, address: parseIp("10.90.0.3") },
    ])
      expect(rotationProofHolds(hub, other, proof)).toBe(false);
    expect(rotationProofHolds(PrivateKey.random(), claim, proof)).toBe(false);
  });
});
