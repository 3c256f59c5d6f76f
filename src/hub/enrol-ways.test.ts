/** Ways by which a newcomer asks: UDP, and TLS where both sides want it. */
import { describe, expect, test } from "bun:test";
import { parsePrefix, PrivateKey, Secret, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { enrol, type EnrolWay, enrolWays } from "./enrol-client.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { parseToken, type Token } from "./token.ts";

const hub = (host: string, tls?: EnrolWay["tls"]) => ({
  endpoints: [`${host}:51820`],
  key: PrivateKey.random().publicKey,
  ...(tls && { tls }),
});
const token: Token = {
  id: "0123456789",
  mesh: "home",
  endpoints: ["one:51820"],
  hubKey: PrivateKey.random().publicKey,
  tls: { port: 443 },
  hubs: [hub("two"), hub("three", { port: 443 })],
  signingKey: SigningSecret.random().publicKey,
  enrol6: parsePrefix("fd01:2:3:1::/64"),
  seed: new Secret(new Uint8Array(32).fill(7)),
  uses: 1,
  expiresAtMs: Date.now() + 60_000,
};
const { tls: _, ...plain } = { ...token, hubs: [hub("two")] };

const shown = (ways: readonly Omit<EnrolWay, "turn">[]) =>
  ways.map((way) => `${way.hub.endpoints[0]?.split(":")[0]} ${way.tls === undefined ? "udp" : "tls"}`);

describe("ways to register", () => {
  test("TLS only where the newcomer wants it and the hub takes it, after UDP unless it is to be nothing else", () => {
    expect(shown(enrolWays(token, "never"))).toEqual(["one udp", "two udp", "three udp"]);
    expect(shown(enrolWays(token, "auto"))).toEqual([
      "one udp",
      "one tls",
      "two udp",
      "three udp",
      "three tls",
    ]);
    expect(shown(enrolWays(token, "always"))).toEqual(["one tls", "three tls"]);
    expect(shown(enrolWays(plain, "auto"))).toEqual(["one udp", "two udp"]);
  });

  const newcomer = { key: PrivateKey.random(), name: "attic", endpoints: [] };
  const tried: string[] = [];
  const failure = (of: Token, tls: "never" | "auto" | "always") =>
    enrol({
      token: of,
      newcomer,
      tls,
      tryMs: 1,
      service: { address: "127.0.0.1", port: 9 },
      setUse: async (_, way) => {
        tried.push(`${shown([way])} ${way.turn}`);
        return way.tls && "the proxy refuses";
      },
    }).then(
      () => "joined",
      (error: Error) => error.message,
    );

  test("all are tried in turn, one that is closed too; then it is said what may help", async () => {
    const one: Token = { ...plain, hubs: [], tls: { port: 443 } };
    const said = await failure(one, "auto");
    expect(tried.splice(0)).toEqual([0, 1, 2].flatMap((turn) => [`one udp ${turn}`, `one tls ${turn}`]));
    expect(said).toStartWith(
      "Cannot join mesh home: the hub does not answer at one:51820 (the proxy refuses);",
    );
    expect(said).toContain("check that UDP gets through, or TLS, ");
    expect(await failure(one, "never")).toContain("this mesh can be joined by TLS: --tls auto");
    expect(await failure(plain, "auto")).toContain("the token does not say that hubs take TLS; set tlsPort");
    tried.length = 0;
    expect(await failure(plain, "always")).toStartWith(
      "Cannot join mesh home by TLS: the token does not say",
    );
    expect(tried).toEqual([]);
    // Between attempts are pauses of chance.
  }, 30_000);

  test("a token says it of each hub while the mesh has TLS", async () => {
    using register = Register.open(":memory:");
    const registrar = new Registrar(register);
    const settings = { endpoints: ["h:1"] };
    await registrar.init(newMesh("home", settings), {
      name: "hub",
      publicKey: PrivateKey.random().publicKey,
      endpoints: [],
    });
    const pin = `${"A".repeat(43)}=`;
    const made = async (pins: [string, string][]) => {
      const { text } = await registrar.createToken({
        uses: 1,
        nowMs: Date.now(),
        expiresAtMs: Date.now() + 60_000,
        signingKey: SigningSecret.random().publicKey,
        tlsPins: new Map(pins),
      });
      return parseToken(text).tls;
    };
    expect(await made([["hub", pin]])).toBeUndefined();
    await registrar.updateMesh({ ...register.mesh(), tlsPort: 443 });
    expect(await made([["hub", pin]])).toEqual({ port: 443, pin });
    // Its certificate is an authority's.
    expect(await made([["other", pin]])).toEqual({ port: 443 });
  });
});
