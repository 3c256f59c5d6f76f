import { describe, expect, test } from "bun:test";
import { parsePrefix, prefixContains, PrivateKey, Secret, SigningSecret } from "../net/mod.ts";
import { formatToken, parseToken, type Token, tokenUse, useOrder } from "./token.ts";

const token: Token = {
  id: "0123456789",
  mesh: "home",
  endpoints: ["hub.example.com:51820", "[2001:db8::1]:443"],
  hubKey: PrivateKey.random().publicKey,
  signingKey: SigningSecret.random().publicKey,
  enrol6: parsePrefix("fd01:2:3:1::/64"),
  seed: new Secret(new Uint8Array(32).fill(7)),
  uses: 5,
  expiresAtMs: 1_800_000_000_000,
};

describe("token text", () => {
  test("comes back the same, with line ends around it", () => {
    const text = formatToken(token);
    expect(text).toMatch(/^cw1\.[A-Za-z0-9_-]+$/);
    const parsed = parseToken(` ${text}\n`);
    expect({ ...parsed, seed: parsed.seed.toFile() }).toEqual({ ...token, seed: token.seed.toFile() });
    expect(parseToken(formatToken({ ...token, node: "attic" })).node).toBe("attic");
    expect(parseToken(formatToken({ ...token, role: "worker", site: "Haus 3" }))).toMatchObject({
      role: "worker",
      site: "Haus 3",
    });
  });

  test("any changed or lost character is found, and the text is never in the error", () => {
    const text = formatToken(token);
    for (let i = 0; i < text.length; i += 3) {
      const other = text[i] === "A" ? "B" : "A";
      for (const bad of [
        text.slice(0, i) + other + text.slice(i + 1),
        text.slice(0, i) + text.slice(i + 1),
      ]) {
        let message = "";
        try {
          parseToken(bad);
        } catch (error) {
          message = (error as Error).message;
        }
        expect(message).toStartWith("Cannot read the token: ");
        expect(message).not.toContain(bad.slice(4, 40));
      }
    }
  });

  test("is never shown by accident", () => {
    expect(JSON.stringify({ seed: token.seed })).toContain("(hidden)");
    expect(Bun.inspect(token)).not.toContain(token.seed.toFile().trim());
  });
});

describe("uses", () => {
  test("each has a key and an address of its own, derived", () => {
    const uses = Array.from({ length: 256 }, (_, i) => tokenUse(token, i));
    expect(new Set(uses.map((use) => use.privateKey.publicKey)).size).toBe(256);
    expect(new Set(uses.map((use) => use.address.value)).size).toBe(256);
    for (const use of uses) expect(prefixContains(token.enrol6, use.address)).toBe(true);
    expect(tokenUse(token, 3).privateKey.publicKey).toBe(uses[3]?.privateKey.publicKey as never);
  });

  test("known answer: a token made by an older version must keep working", () => {
    const use = tokenUse({ seed: token.seed, enrol6: token.enrol6 }, 0);
    expect(use.privateKey.publicKey as string).toMatchInlineSnapshot(
      `"mzzQauJeJ3f35VcBKasfox/hUBAYDWuKxEMB5Rmq2gU="`,
    );
  });

  test("every newcomer tries all uses, starting at different ones and parting where they meet", () => {
    const starts = new Set<number>();
    const seconds = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const order = useOrder(token, PrivateKey.random().publicKey);
      expect([...order].sort()).toEqual([0, 1, 2, 3, 4]);
      starts.add(order[0] as number);
      seconds.add(`${order[0]},${order[1]}`);
    }
    expect(starts.size).toBe(5);
    expect(seconds.size).toBeGreaterThan(10);
    expect(useOrder({ uses: 1 }, PrivateKey.random().publicKey)).toEqual([0]);
  });
});
