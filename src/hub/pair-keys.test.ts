import { describe, expect, test } from "bun:test";
import { leads } from "../mesh/mod.ts";
import { type PeerState, PrivateKey, type Secret, SigningSecret } from "../net/mod.ts";
import { newMesh, type Node } from "../resources/mod.ts";
import { nodeSecret } from "./pair-key.ts";
import { PairKeys } from "./pair-keys.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse, useSecret } from "./token.ts";

const signing = SigningSecret.random();
const hex = (secret: Secret | undefined) =>
  secret === undefined ? undefined : Buffer.from(secret.reveal()).toString("hex");

async function setUp() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  const mesh = newMesh("home", { endpoints: ["h:1"] });
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  const add = async (name: string, options: { node?: string; role?: string } = {}) => {
    const { token } = await registrar.createToken({
      uses: 1,
      nowMs: 1,
      expiresAtMs: 2,
      signingKey: signing.publicKey,
      ...(options.node === undefined ? {} : { node: options.node }),
    });
    const { publicKey } = PrivateKey.random();
    await registrar.registerNode({ address: tokenUse(token, 0).address, publicKey, name, endpoints: [] }, 1);
    return nodeSecret(useSecret(token, 0), publicKey);
  };
  const turnOn = () => registrar.updateMesh({ ...register.mesh(), presharedKeys: true });
  const files = new Map<string, string>();
  /** Whether there is room on the disk. */
  const disk = { full: false };
  const keys = (node: string, secret: Secret | undefined) =>
    new PairKeys({
      node,
      secret,
      text: files.get(node),
      save: (text) => {
        if (!disk.full) files.set(node, text);
        return !disk.full;
      },
    });
  const node = (name: string) => register.node(name) as Node;
  const others = (name: string) => register.nodes().filter((one) => one.name !== name);
  const ask = (of: PairKeys, name: string, nowMs = 0) => {
    const missing = of.missing(others(name), register.pskGenerations()[0], nowMs);
    of.take(register.sealedKeys(name, missing.map(node)));
    return missing;
  };
  const use = (of: PairKeys, name: string, states: readonly PeerState[] = [], wallMs = 0) =>
    of.use({ self: node(name), nodes: others(name), states, wallMs });
  return { register, registrar, add, turnOn, keys, node, others, ask, use, files, disk };
}

describe("a member's pre-shared keys", () => {
  test("both ends of a pair have the same, each from what was sealed for it; nobody else can open it", async () => {
    const s = await setUp();
    using _ = s.register;
    const [a, b, c] = [await s.add("a"), await s.add("b"), await s.add("c")];
    expect(s.register.pskGenerations()).toEqual([]);
    await s.turnOn();
    const [ka, kb, thief] = [s.keys("a", a), s.keys("b", b), s.keys("a", c)];
    expect(s.ask(ka, "a")).toEqual(["b", "c"]);
    s.ask(kb, "b");
    s.ask(thief, "a");
    expect(hex(s.use(ka, "a").get("b"))).toBe(hex(s.use(kb, "b").get("a")) as string);
    expect(hex(s.use(ka, "a").get("c"))).not.toBe(hex(s.use(ka, "a").get("b")) as string);
    expect(s.use(thief, "a").get("b")).toBeUndefined();
    // Of the pair with the hub nothing is handed over.
    const atHub = s.register.pairKeys(s.node("hub"), s.node("a")).get(1);
    expect(hex(s.use(ka, "a").get("hub"))).toBe(hex(atHub) as string);
    const published = JSON.stringify([...s.register.entries()]);
    for (const secret of [a, b, atHub as Secret]) expect(published).not.toContain(secret.toFile().trim());
  });

  test("they are asked for once, again after a restart, and when another machine took a peer's place", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.turnOn();
    const keys = s.keys("a", a);
    expect(s.ask(keys, "a")).toEqual(["b"]);
    expect(s.ask(keys, "a", 100_000)).toEqual([]);
    const before = hex(s.use(keys, "a").get("b"));
    const again = s.keys("a", a);
    expect(s.ask(again, "a")).toEqual(["b"]);
    expect(hex(s.use(again, "a").get("b"))).toBe(before as string);
    await s.add("b", { node: "b" });
    expect(s.ask(again, "a", 200_000)).toEqual(["b"]);
    expect(hex(s.use(again, "a").get("b"))).not.toBe(before as string);
  });

  test("of nodes that are gone are forgotten after a day, in the file too; not those that one just cannot see", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.add("c");
    await s.turnOn();
    const keys = s.keys("a", a);
    expect(s.ask(keys, "a")).toEqual(["b", "c"]);
    const day = 86_400_000;
    keys.keep(new Set(["a", "b"]), 0);
    keys.keep(new Set(["a", "b"]), day / 2);
    keys.keep(new Set(["a", "b", "c"]), day - 60_000);
    keys.keep(new Set(["a", "c"]), day);
    keys.keep(new Set(["a", "c"]), 2 * day - 60_000);
    expect(s.files.get("a")).toContain('"b"');
    keys.keep(new Set(["a", "c"]), 2 * day);
    expect(s.files.get("a")).not.toContain('"b"');
    expect(s.files.get("a")).toContain('"c"');
    expect(s.ask(keys, "a", 2 * day)).toEqual(["b"]);
  });

  test("of nodes that are gone are forgotten after a day also where no agent runs for so long", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.add("c");
    await s.turnOn();
    const day = 86_400_000;
    const before = s.keys("a", a);
    s.ask(before, "a");
    before.keep(new Set(["c"]), day);
    s.keys("a", a).keep(new Set(["c"]), 2 * day - 60_000);
    expect(s.files.get("a")).toContain('"b"');
    // A clock that was set back begins the day anew, and no more than that.
    s.keys("a", a).keep(new Set(["c"]), day / 2);
    s.keys("a", a).keep(new Set(["c"]), day);
    expect(s.files.get("a")).toContain('"b"');
    s.keys("a", a).keep(new Set(["c"]), (3 * day) / 2);
    expect(s.files.get("a")).not.toContain('"b"');
    expect(s.files.get("a")).toContain('"c"');
  });

  test("that could not be stored are used, and stored later", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.turnOn();
    const keys = s.keys("a", a);
    s.disk.full = true;
    expect(s.ask(keys, "a")).toEqual(["b"]);
    expect(s.use(keys, "a").has("b")).toBe(true);
    keys.keep(new Set(["b"]), 0);
    s.disk.full = false;
    keys.keep(new Set(["b"]), 30_000);
    expect(s.files.has("a")).toBe(false);
    keys.keep(new Set(["b"]), 61_000);
    expect(s.files.get("a")).toContain('"b"');
  });

  test("a change of the node's WireGuard key leaves them as they are", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.turnOn();
    const keys = s.keys("a", a);
    s.ask(keys, "a");
    const before = hex(s.use(keys, "a").get("b"));
    const next = PrivateKey.random().publicKey;
    await s.registrar.announceKey("b", { now: s.node("b").publicKey, next });
    await s.registrar.promoteKey("b", next);
    s.ask(keys, "a", 100_000);
    expect(hex(s.use(keys, "a").get("b"))).toBe(before as string);
  });

  test("an agent that begins without a hub uses what it has, for who is heard with the next key too", async () => {
    const s = await setUp();
    using _ = s.register;
    const [a, b] = [await s.add("a"), await s.add("b")];
    await s.turnOn();
    s.ask(s.keys("a", a), "a");
    s.ask(s.keys("b", b), "b");
    const follower = leads(s.node("a"), s.node("b")) ? "b" : "a";
    const peer = follower === "a" ? "b" : "a";
    const again = s.keys(follower, follower === "a" ? a : b);
    expect(s.use(again, follower).size).toBe(0);
    again.follow(s.register.pskGenerations()[0]);
    const key = hex(s.use(again, follower).get(peer));
    expect(key).toBeDefined();
    const next = PrivateKey.random().publicKey;
    await s.registrar.announceKey(peer, { now: s.node(peer).publicKey, next });
    const heard = [{ publicKey: next, lastHandshakeMs: 190_000 } as PeerState];
    expect(hex(s.use(again, follower, heard, 200_000).get(peer))).toBe(key as string);
    // Nobody is heard: what else there is gets its turn.
    expect(s.use(again, follower, [], 400_000).get(peer)).toBeUndefined();
  });

  test("the next generation is taken at once by the leader, and the one before is still known", async () => {
    const s = await setUp();
    using _ = s.register;
    const [a, b] = [await s.add("a"), await s.add("b")];
    await s.turnOn();
    const sides = [
      ["a", s.keys("a", a)],
      ["b", s.keys("b", b)],
    ] as const;
    for (const [name, keys] of sides) s.ask(keys, name);
    const first = hex(s.use(sides[0][1], "a").get("b"));
    await s.registrar.newPsk();
    expect(s.register.pskGenerations()).toEqual([2, 1]);
    for (const [name, keys] of sides) expect(s.ask(keys, name, 100_000)).toHaveLength(1);
    const [one, two] = sides.map(([name, keys]) =>
      hex(s.use(keys, name, [], 1000).get(name === "a" ? "b" : "a")),
    );
    expect(one).toBe(two as string);
    expect(one).not.toBe(first as string);
    await s.registrar.newPsk();
    expect(s.register.pskGenerations()).toEqual([3, 2]);
  });

  test("a node whose token had no secret has no keys, and is not asked about all the time", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.turnOn();
    const none = s.keys("b", undefined);
    expect(s.ask(none, "b")).toEqual([]);
    expect(s.use(none, "b").size).toBe(0);
    const keys = s.keys("a", a);
    const nothing = () => keys.missing(s.others("a"), 1, 1000);
    expect([nothing(), nothing()]).toEqual([["b"], []]);
    expect(keys.missing(s.others("a"), 1, 61_000)).toEqual(["b"]);
  });

  test("turned off, no pair has one", async () => {
    const s = await setUp();
    using _ = s.register;
    const a = await s.add("a");
    await s.add("b");
    await s.turnOn();
    const keys = s.keys("a", a);
    s.ask(keys, "a");
    expect(s.use(keys, "a").size).toBe(2);
    keys.missing(s.others("a"), undefined, 0);
    expect(s.use(keys, "a").size).toBe(0);
    const { presharedKeys: __, ...rest } = s.register.mesh();
    await s.registrar.updateMesh({ ...rest, presharedKeys: false });
    expect(s.register.view("a").pskGeneration).toBeUndefined();
  });

  test("a removed node's secret goes with it; a spent use keeps none", async () => {
    const s = await setUp();
    using _ = s.register;
    await s.add("a");
    const dump = () => JSON.stringify(s.register.dump());
    expect((JSON.parse(dump()) as { tables: { node_secret: unknown[] } }).tables.node_secret).toHaveLength(1);
    expect(dump()).toContain('"secret":null');
    await s.registrar.removeNode("a");
    expect((JSON.parse(dump()) as { tables: { node_secret: unknown[] } }).tables.node_secret).toEqual([]);
  });
});
