import { describe, expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { HubRemovals } from "./hub-removals.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { operatorRemoval } from "./removal.ts";
import { startClient, stepClient } from "./sync-client.ts";
import { formatToken, parseToken, type Token, tokenHubs, tokenUse } from "./token.ts";

const NOW = 1_800_000_000_000;
const signing = SigningSecret.random();

/** A log that is elsewhere, as far as tokens are concerned. */
async function twoHubs() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register, {
    submit: async (command) => register.apply(command),
    catchUp: async () => {},
    state: () => ({ kind: "etcd", position: 0 }),
    [Symbol.dispose]: () => {},
  });
  const key = PrivateKey.random().publicKey;
  await registrar.init(newMesh("home", { endpoints: ["one.example.com:1"] }), {
    name: "one",
    publicKey: key,
    endpoints: ["one.example.com:1"],
  });
  const wish = { uses: 1, nowMs: NOW, expiresAtMs: NOW + 1000, signingKey: signing.publicKey };
  const { token } = await registrar.createToken({ ...wish, role: "hub" });
  const second = PrivateKey.random().publicKey;
  const node = await registrar.registerNode(
    { address: tokenUse(token, 0).address, publicKey: second, name: "two", endpoints: ["two.example.com:2"] },
    NOW,
  );
  return { register, registrar, keys: [key, second], wish, node };
}

describe("hubs in the register", () => {
  test("a token of role hub makes a hub, and later tokens lead to both, the one that made it first", async () => {
    const { register, registrar, keys, wish, node } = await twoHubs();
    using _ = register;
    expect(node.hub).toBe(true);
    expect(register.hubs().map(({ name }) => name)).toEqual(["one", "two"]);
    const ways = (token: Token) => tokenHubs(token).map(({ endpoints, key }) => [endpoints[0], key]);
    const { token, text } = await registrar.createToken({ ...wish, hub: "two" });
    expect(ways(token)).toEqual([
      ["two.example.com:2", keys[1]],
      ["one.example.com:1", keys[0]],
    ]);
    expect(ways(parseToken(text))).toEqual(ways(token));
    // A token without further hubs is what it always was.
    const { hubs: __, ...alone } = token;
    expect(parseToken(formatToken(alone))).toEqual({ ...alone, seed: expect.anything() });
  });

  test("what the operator removes goes, whether it is a node or a hub; not the last hub", async () => {
    const { register, registrar, keys } = await twoHubs();
    using _ = register;
    const operator = SigningSecret.random();
    await registrar.updateMesh({ ...register.mesh(), operatorKey: operator.publicKey });
    const removals = new HubRemovals(register, signing);
    const asked = () => removals.asked(keys.map((key) => operatorRemoval(key, operator)));
    expect(asked()).toEqual(["one", "two"]);
    await registrar.remove("one");
    expect([register.hubs().map(({ name }) => name), asked()]).toEqual([["two"], []]);
  });

  test("one hub may be removed, the last may not, and neither by the word for nodes", async () => {
    const { register, registrar } = await twoHubs();
    using _ = register;
    await expect(registrar.removeNode("one")).rejects.toThrow("it is a hub; use causeway hub remove one");
    await registrar.removeHub("one");
    await expect(registrar.removeHub("two")).rejects.toThrow("it is the hub; without it there is no mesh");
    expect(register.hubs().map(({ name }) => name)).toEqual(["two"]);
    // Who joins from now on asks the hub that is left.
    expect(register.mesh().endpoints).toEqual(["two.example.com:2"]);
  });

  test("endpoints that the operator set stay when the second hub goes", async () => {
    const { register, registrar } = await twoHubs();
    using _ = register;
    await registrar.updateMesh({ ...register.mesh(), endpoints: ["port-forward.example.com:7"] });
    await registrar.removeHub("two");
    expect(register.mesh().endpoints).toEqual(["port-forward.example.com:7"]);
  });

  test("a hub that keeps its register alone makes no token for a second hub", async () => {
    using register = Register.open(":memory:");
    const registrar = new Registrar(register);
    const publicKey = PrivateKey.random().publicKey;
    await registrar.init(newMesh("home", { endpoints: ["h:1"] }), { name: "hub", publicKey, endpoints: [] });
    await expect(
      registrar.createToken({
        uses: 1,
        nowMs: NOW,
        expiresAtMs: NOW + 1,
        signingKey: signing.publicKey,
        role: "hub",
      }),
    ).rejects.toThrow("causeway hub migrate");
  });
});

test("a node goes on to the next hub at once, and waits only when it has tried all", () => {
  let client = startClient({
    trust: { signingKey: signing.publicKey, node: "a" },
    facts: { local: [], mapped: [], hubs: [], version: "x" },
    hubs: 3,
  });
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    [client] = stepClient(client, { kind: i === 0 ? "start" : "retry" });
    const [next, effects] = stepClient(client, { kind: "disconnected", reason: "refused" });
    client = next;
    for (const effect of effects) if (effect.kind === "retry") waits.push(effect.afterMs);
  }
  expect(waits).toEqual([20, 20, 500, 20, 20, 1000, 20, 20, 2000]);
});
