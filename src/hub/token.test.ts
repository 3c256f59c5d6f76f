import { describe, expect, test } from "bun:test";
import { parsePrefix, prefixContains, PrivateKey, Secret, SigningSecret } from "../net/mod.ts";
import { formatToken, parseToken, type Token, tokenHubs, tokenUse, useOrder } from "./token.ts";

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

/** Made before tokens knew of TLS. */
const OLD = [
  "cw1.eyJlbnJvbCI6ImZkMDE6MjozOjE6Oi82NCIsImh1YiI6WyJodWIuZXhhbXBsZS5jb206NTE4MjAiXSwiaHVicyI6W3si",
  "YXQiOlsiMTkyLjAuMi43OjQ0MyJdLCJrZXkiOiJ6bzA2MGN5Mk0reDdjTUY0RktYSGJzMENsb1VGRFRSSFJib0ZodzVZZlZr",
  "PSJ9XSwiaWQiOiIwMTIzNDU2Nzg5Iiwia2V5IjoicE9DU2tyWlJ3bmk1ZHl4V24xK3B1eFBaQnJScXRveWQrZHdyUkFuNG9n",
  "az0iLCJtZXNoIjoiaG9tZSIsInJvbGUiOiJ3b3JrZXIiLCJzZWVkIjoiQndjSEJ3Y0hCd2NIQndjSEJ3Y0hCd2NIQndjSEJ3",
  "Y0hCd2NIQndjSEJ3Yz0iLCJzaWduIjoieEdzOHpsNUg3UzFPUGNHTksyRVZOMUFsU2Rod0dxeDJabTNncnhJV3hLMD0iLCJz",
  "aXRlIjoiYXR0aWMiLCJ1bnRpbCI6MTgwMDAwMDAwMDAwMCwidXNlcyI6NX0IOhpf",
].join("");

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

  test("says how hubs are reached by TLS, if they are; a token of before that is read as it was", () => {
    const pin = `${"A".repeat(43)}=`;
    const other = { endpoints: ["192.0.2.2:51820"], key: PrivateKey.random().publicKey };
    const hubs = [{ ...other, tls: { port: 443, pin } }, other];
    const parsed = parseToken(formatToken({ ...token, tls: { port: 443 }, hubs }));
    expect(tokenHubs(parsed).map(({ tls }) => tls)).toEqual([{ port: 443 }, { port: 443, pin }, undefined]);
    expect(tokenHubs(parseToken(OLD)).map(({ tls }) => tls)).toEqual([undefined, undefined]);
    expect(formatToken(parseToken(OLD))).toBe(OLD);
    for (const tls of [{ port: 0 }, { port: 443, pin: "none" }])
      expect(() => parseToken(formatToken({ ...token, tls }))).toThrow("its content is not known");
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
