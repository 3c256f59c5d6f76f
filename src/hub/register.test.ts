import { describe, expect, test } from "bun:test";
import { formatIp, formatPrefix, PrivateKey, type PublicKey, SigningSecret } from "../net/mod.ts";
import { newMesh, type Node } from "../resources/mod.ts";
import { Refusal } from "./refusal.ts";
import { Register, type Registration } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { type Token, tokenUse } from "./token.ts";

const HOUR = 3600_000;
const NOW = 1_800_000_000_000;
const signing = SigningSecret.random();
const key = () => PrivateKey.random().publicKey;

async function newRegister(spec: { [field: string]: string | number } = {}) {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  const mesh = newMesh("home", { endpoints: ["hub.example.com:51820"], overlay6: "fd01:2:3::/64", ...spec });
  await registrar.init(mesh, { name: "hub", publicKey: key(), endpoints: [] });
  return { register, registrar, [Symbol.dispose]: () => register.close() };
}

async function newToken(
  registrar: Registrar,
  options: { uses?: number; node?: string; role?: string } = {},
): Promise<Token> {
  const { token } = await registrar.createToken({
    uses: options.uses ?? 1,
    nowMs: NOW,
    expiresAtMs: NOW + HOUR,
    signingKey: signing.publicKey,
    ...(options.node === undefined ? {} : { node: options.node }),
    ...(options.role === undefined ? {} : { role: options.role }),
  });
  return token;
}

function ask(token: Token, use: number, name: string, publicKey: PublicKey): Registration {
  return { address: tokenUse(token, use).address, publicKey, name, endpoints: [] };
}

async function refusal(work: Promise<unknown>): Promise<Refusal> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error("not refused");
}

const hubOf = (register: Register) => register.hubs()[0] as Node;

const addresses = (node: Node) =>
  [
    formatIp(node.overlay4),
    formatIp(node.overlay6),
    node.pods4 && formatPrefix(node.pods4),
    node.pods6 && formatPrefix(node.pods6),
  ].join(" ");

describe("allocation", () => {
  test("the hub is the first, nodes follow", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    expect(addresses(hubOf(register))).toBe("10.90.0.1 fd01:2:3::1 10.244.0.0/24 fd01:2:3:100::/64");
    const token = await newToken(registrar);
    const node = await registrar.registerNode(ask(token, 0, "attic", key()), NOW);
    expect(addresses(node)).toBe("10.90.0.2 fd01:2:3::2 10.244.1.0/24 fd01:2:3:101::/64");
  });

  test("256 nodes get ranges of their own, the 257th a clear answer", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar, { uses: 256 });
    const nodes = [hubOf(register)];
    for (let i = 0; i < 255; i++)
      nodes.push(await registrar.registerNode(ask(token, i, `n${i}`, key()), NOW));
    for (const field of ["overlay4", "overlay6", "pods4", "pods6"] as const)
      expect(new Set(nodes.map((node) => node[field]?.value)).size).toBe(256);
    const full = await refusal(registrar.registerNode(ask(token, 255, "late", key()), NOW));
    expect(full.code).toBe("mesh-full");
    expect(full.message).toContain(
      "all 256 pod ranges of 10.244.0.0/16 (nodeBits 8) are given; remove a node",
    );
    // The use is not lost by it.
    await registrar.removeNode("n17");
    expect(addresses(await registrar.registerNode(ask(token, 255, "late", key()), NOW))).toBe(
      addresses(nodes[18] as Node),
    );
  });

  test("a small overlay runs out of addresses before ranges", async () => {
    using made = await newRegister({ overlay4: "10.90.0.0/30" });
    const { registrar } = made;
    const token = await newToken(registrar, { uses: 2 });
    await registrar.registerNode(ask(token, 0, "a", key()), NOW);
    expect((await refusal(registrar.registerNode(ask(token, 1, "b", key()), NOW))).message).toContain(
      "all addresses of 10.90.0.0/30 are given",
    );
  });

  test("nothing is ever renumbered: any order of joins, removals, returns and reopenings", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      let random = seed * 2654435761;
      const next = (n: number) => {
        random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
        return random % n;
      };
      using made = await newRegister({ nodeBits: 4 });
      const { register, registrar } = made;
      const held = new Map<string, { key: PublicKey; addresses: string }>();
      for (let step = 0; step < 60; step++) {
        const names = [...held.keys()];
        const action = next(4);
        if (action < 2 && held.size < 14) {
          const name = `n${step}`;
          const publicKey = key();
          held.set(name, {
            key: publicKey,
            addresses: addresses(
              await registrar.registerNode(ask(await newToken(registrar), 0, name, publicKey), NOW),
            ),
          });
        } else if (action === 2 && names.length > 0) {
          const name = names[next(names.length)] as string;
          await registrar.removeNode(name);
          held.delete(name);
        } else if (names.length > 0) {
          const name = names[next(names.length)] as string;
          const publicKey = key();
          const node = await registrar.registerNode(
            ask(await newToken(registrar, { node: name }), 0, "other-name", publicKey),
            NOW,
          );
          expect(node.name).toBe(name);
          held.set(name, { key: publicKey, addresses: held.get(name)?.addresses as string });
        }
        for (const [name, was] of held) {
          const node = register.node(name) as Node;
          expect({ seed, step, name, addresses: addresses(node), key: node.publicKey }).toEqual({
            seed,
            step,
            name,
            ...was,
          });
        }
        const all = register.nodes();
        expect(new Set(all.map(addresses)).size).toBe(all.length);
      }
    }
  });
});

describe("tokens", () => {
  test("the same key at the same use gets the same answer, before and after it is spent", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar);
    const wanted = ask(token, 0, "attic", key());
    const first = await registrar.registerNode(wanted, NOW);
    const revision = register.revision;
    expect(await registrar.registerNode({ ...wanted, name: "changed" }, NOW + 1)).toEqual(first);
    // Registered is not spent: the node has not been heard with its own key yet.
    expect(register.tokens()[0]).toMatchObject({ uses: 1, used: 1, spent: 0 });
    await registrar.handshakeSeen(wanted.publicKey);
    expect(register.tokens()[0]).toMatchObject({ uses: 1, used: 1, spent: 1 });
    expect(await registrar.registerNode(wanted, NOW + 2 * HOUR)).toEqual(first);
    expect(register.revision).toBe(revision);
  });

  test("another key at a bound use is refused and told of free uses", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar, { uses: 3 });
    await registrar.registerNode(ask(token, 1, "a", key()), NOW);
    const taken = await refusal(registrar.registerNode(ask(token, 1, "b", key()), NOW));
    expect([taken.code, taken.freeUses]).toEqual(["use-taken", [0, 2]]);
    expect(register.node("b")).toBeUndefined();
  });

  test("expired, revoked and foreign tokens are refused", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    using other = await newRegister();
    const token = await newToken(registrar, { uses: 2 });
    expect((await refusal(registrar.registerNode(ask(token, 0, "a", key()), NOW + HOUR))).code).toBe(
      "token-expired",
    );
    expect((await refusal(other.registrar.registerNode(ask(token, 0, "a", key()), NOW))).code).toBe(
      "unknown-source",
    );
    expect(register.enrolments(NOW)).toHaveLength(1);
    expect(register.enrolments(NOW + HOUR)).toEqual([]);
    await registrar.revokeToken(token.id);
    expect((await refusal(registrar.registerNode(ask(token, 0, "a", key()), NOW))).code).toBe(
      "token-revoked",
    );
    expect(register.enrolments(NOW)).toEqual([]);
    await expect(registrar.revokeToken("0000")).rejects.toThrow("there is none with this id");
  });

  test("4,096 uses may be open; a spent one makes room for another, and is refused to whoever tries it again", async () => {
    using made = await newRegister({ overlay4: "10.90.0.0/16", pods4: "10.128.0.0/9" });
    const { register, registrar } = made;
    const tokens: Token[] = [];
    while (tokens.length < 16) tokens.push(await newToken(registrar, { uses: 256 }));
    const first = tokens[0] as Token;
    const peers = () => register.enrolments(NOW).flatMap(({ uses }) => uses.map((use) => use.publicKey));
    expect(peers()).toHaveLength(4096);
    const full = "more than 4096 uses would be open; revoke tokens that are not needed";
    await expect(newToken(registrar)).rejects.toThrow(full);

    const joined = key();
    await registrar.registerNode(ask(first, 0, "attic", joined), NOW);
    // Until the node was heard, it may ask again.
    await expect(newToken(registrar)).rejects.toThrow(full);
    await registrar.handshakeSeen(joined);
    const more = await newToken(registrar);
    await expect(newToken(registrar)).rejects.toThrow(full);
    // The peer of the spent use made room for that of the new one.
    expect(peers()).toHaveLength(4096);
    expect(peers()).toContain(tokenUse(more, 0).privateKey.publicKey);
    expect(peers()).not.toContain(tokenUse(first, 0).privateKey.publicKey);

    expect((await refusal(registrar.registerNode(ask(first, 0, "thief", key()), NOW))).code).toBe(
      "use-taken",
    );
    expect(register.node("thief")).toBeUndefined();
    await registrar.revokeToken((tokens[1] as Token).id);
    expect(peers()).toContain(tokenUse(first, 0).privateKey.publicKey);
  });

  test("a key that exists, was revoked, or is a token's own is refused", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar, { uses: 4 });
    const publicKey = key();
    await registrar.registerNode(ask(token, 0, "a", publicKey), NOW);
    expect((await refusal(registrar.registerNode(ask(token, 1, "b", publicKey), NOW))).code).toBe(
      "key-exists",
    );
    expect(
      (await refusal(registrar.registerNode(ask(token, 1, "b", hubOf(register).publicKey), NOW))).code,
    ).toBe("key-exists");
    const own = tokenUse(token, 2).privateKey.publicKey;
    expect((await refusal(registrar.registerNode(ask(token, 1, "b", own), NOW))).code).toBe("key-exists");
    await registrar.removeNode("a");
    expect((await refusal(registrar.registerNode(ask(token, 1, "b", publicKey), NOW))).code).toBe(
      "key-revoked",
    );
    expect((await refusal(registrar.registerNode(ask(token, 0, "a", publicKey), NOW))).code).toBe(
      "key-revoked",
    );
  });

  test("a name that another key has is refused with the fix", async () => {
    using made = await newRegister();
    const { registrar } = made;
    const token = await newToken(registrar, { uses: 2 });
    await registrar.registerNode(ask(token, 0, "a", key()), NOW);
    const taken = await refusal(registrar.registerNode(ask(token, 1, "a", key()), NOW));
    expect([taken.code, taken.message]).toEqual([
      "name-taken",
      "Another node is named a; join with --name, or, if this machine replaces it, ask for a token made with --node a",
    ]);
    expect((await refusal(registrar.registerNode(ask(token, 1, "A b", key()), NOW))).code).toBe(
      "bad-request",
    );
  });

  test("a token for a node: same addresses, new key, the old key revoked", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar, { uses: 2 });
    const old = key();
    const before = await registrar.registerNode(ask(token, 0, "a", old), NOW);
    await registrar.registerNode(ask(token, 1, "b", key()), NOW);
    const again = await newToken(registrar, { node: "a" });
    const now = await registrar.registerNode(ask(again, 0, "whatever", key()), NOW);
    expect(addresses(now)).toBe(addresses(before));
    expect(register.isRevoked(old)).toBe(true);
    const late = await newToken(registrar, { node: "b" });
    await registrar.removeNode("b");
    expect((await refusal(registrar.registerNode(ask(late, 0, "b", key()), NOW))).code).toBe("no-such-node");
    await expect(newToken(registrar, { node: "zzz" })).rejects.toThrow("no node is named zzz");
    await expect(newToken(registrar, { node: "hub" })).rejects.toThrow("hub is a hub");
  });

  test("the file holds no secret of a token", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const { token, text } = await registrar.createToken({
      uses: 2,
      nowMs: NOW,
      expiresAtMs: NOW + HOUR,
      signingKey: signing.publicKey,
    });
    const shown = JSON.stringify([
      register.tokens(),
      [...register.entries()],
      register.enrolments(NOW).map((e) => e.id),
    ]);
    expect(shown).not.toContain(text);
    expect(shown).not.toContain(token.seed.toFile().trim());
  });
});

describe("revisions", () => {
  test("changes since a number, with removals", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const token = await newToken(registrar, { uses: 3 });
    for (const [i, name] of ["a", "b", "c"].entries())
      await registrar.registerNode(ask(token, i, name, key()), NOW);
    const since = register.revision;
    expect(register.changesSince("a", since)).toEqual([]);
    await registrar.setConfigured("b", { endpoints: ["b.example.com:5"] });
    await registrar.removeNode("c");
    expect(register.changesSince("a", since)).toEqual([
      { key: "node/b", value: register.entries().get("node/b") },
      { key: "node/c", value: undefined },
    ]);
    expect(register.changesSince("a", register.revision + 1)).toBeUndefined();
  });

  test("what does not change has no new number", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const { revision } = register;
    await registrar.setConfigured("hub", { endpoints: [] });
    await registrar.updateMesh(register.mesh());
    expect(register.revision).toBe(revision);
    await registrar.setConfigured("hub", { endpoints: ["hub.example.com:5"] });
    expect(register.revision).toBe(revision + 1);
  });

  test("networks of a mesh cannot change, ports can", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const mesh = register.mesh();
    await expect(registrar.updateMesh({ ...mesh, nodeBits: 9 })).rejects.toThrow(
      "its name and nodeBits are in use",
    );
    await expect(
      registrar.updateMesh(
        newMesh("home", { endpoints: ["h:1"], overlay4: "10.91.0.0/16", overlay6: "fd01:2:3::/64" }),
      ),
    ).rejects.toThrow("overlay4 is 10.90.0.0/16 and in use");
    await registrar.updateMesh({ ...mesh, exposedPorts: [{ protocol: "tcp", first: 443, last: 443 }] });
    expect(register.view("hub").mesh.exposedPorts).toHaveLength(1);
  });

  test("the only hub moves with the mesh's endpoints", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    await registrar.setConfigured("hub", { endpoints: ["h:1"], site: "home" });
    const endpoints = ["h:1", "[2001:db8::1]:1"];
    await registrar.updateMesh({ ...register.mesh(), endpoints });
    expect(register.hubs()).toMatchObject([{ endpoints, site: "home" }]);
    const { revision } = register;
    // What the operator said of the hub alone stays while the mesh's own are not changed.
    await registrar.setConfigured("hub", { endpoints: ["other:1"], site: "home" });
    await registrar.updateMesh({ ...register.mesh(), tlsPort: 443 });
    expect(register.hubs()[0]?.endpoints).toEqual(["other:1"]);
    expect(register.revision).toBeGreaterThan(revision);
  });

  test("a name that comes and goes leaves one change", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    const since = register.revision;
    for (let i = 0; i < 20; i++) {
      await registrar.registerNode(ask(await newToken(registrar), 0, "a", key()), NOW);
      await registrar.removeNode("a");
    }
    expect(register.changesSince("hub", since)).toEqual([{ key: "node/a", value: undefined }]);
  });

  test("a restored copy moves past what nodes have seen", async () => {
    using made = await newRegister();
    const { register, registrar } = made;
    await registrar.raiseRevision(1000);
    expect(register.revision).toBe(1001);
    expect(register.changesSince("hub", 1000)).toBeUndefined();
  });
});

test("a register survives being closed, and a second mesh is refused", async () => {
  const path = `${process.env.TMPDIR ?? "/tmp"}/causeway-register-${process.pid}.db`;
  try {
    let before: Node;
    {
      using register = Register.open(path);
      const registrar = new Registrar(register);
      expect(register.initialised).toBe(false);
      expect(() => register.mesh()).toThrow("run causeway init");
      await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
        name: "hub",
        publicKey: key(),
        endpoints: [],
      });
      before = await registrar.registerNode(ask(await newToken(registrar), 0, "a", key()), NOW);
    }
    using register = Register.open(path);
    expect(register.node("a")).toEqual(before);
    expect(register.epoch).toMatch(/^[0-9a-f]{16}$/);
    await expect(
      new Registrar(register).init(newMesh("x", { endpoints: ["h:1"] }), {
        name: "hub",
        publicKey: key(),
        endpoints: [],
      }),
    ).rejects.toThrow("holds mesh home already");
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) require("node:fs").rmSync(path + suffix, { force: true });
  }
});
