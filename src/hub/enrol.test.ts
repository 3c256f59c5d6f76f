import { describe, expect, test } from "bun:test";
import { formatIp, parseIp, PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { answerTo, type Newcomer, nextUses, usesAfterRefusal } from "./enrol-client.ts";
import { type EnrolEffect, startEnrol, stepEnrol } from "./enrol-server.ts";
import { Refusal } from "./refusal.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { Snapshots } from "./snapshot.ts";
import { StateError } from "./signed-state.ts";
import { tokenUse } from "./token.ts";

const NOW = 1_800_000_000_000;
const hubKey = PrivateKey.random();
const signing = SigningSecret.random();

async function setUp(uses = 1) {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
    name: "hub",
    publicKey: hubKey.publicKey,
    endpoints: [],
  });
  const { token } = await registrar.createToken({
    uses,
    nowMs: NOW,
    expiresAtMs: NOW + 1000,
    signingKey: signing.publicKey,
  });
  const newcomer: Newcomer = {
    key: PrivateKey.random(),
    name: "attic",
    endpoints: ["192.0.2.1:5"],
    site: "home",
  };
  return { register, registrar, token, newcomer, use: tokenUse(token, 0), nonce: new Uint8Array(32).fill(9) };
}

const sent = (effects: readonly EnrolEffect[]) =>
  effects.flatMap((effect) => (effect.kind === "send" ? [JSON.parse(JSON.stringify(effect.message))] : []));

function request(s: Awaited<ReturnType<typeof setUp>>, nonce = s.nonce): string {
  const hello = sent(startEnrol(s.use.address, nonce)[1])[0];
  const answer = answerTo(JSON.stringify(hello), s);
  if (answer.kind !== "send") throw new Error("no request");
  return JSON.stringify(answer.message);
}

function ask(s: Awaited<ReturnType<typeof setUp>>, line: string, address = s.use.address) {
  const [session] = startEnrol(address, s.nonce);
  return stepEnrol(session, { kind: "line", text: line }, [hubKey]);
}

describe("enrolment", () => {
  test("a newcomer proves its key, is registered, and takes over the signed state", async () => {
    const s = await setUp();
    using register = s.register;
    const [session, effects] = ask(s, request(s));
    expect(session.kind).toBe("deciding");
    const effect = effects[0] as EnrolEffect & { kind: "register" };
    expect(effect.registration).toEqual({
      address: s.use.address,
      publicKey: s.newcomer.key.publicKey,
      name: "attic",
      endpoints: ["192.0.2.1:5"],
      site: "home",
    });
    const node = await s.registrar.registerNode(effect.registration, NOW);
    const state = new Snapshots(register, signing).message(node.name);
    const [ended, answer] = stepEnrol(session, { kind: "registered", name: node.name, state }, [hubKey]);
    expect(ended.kind).toBe("ended");
    expect(answer.map((one) => one.kind)).toEqual(["send", "close"]);
    const done = answerTo(JSON.stringify(sent(answer)[0]), s);
    expect(done.kind === "done" && done.enrolled.name).toBe("attic");
    expect(done.kind === "done" && [...done.enrolled.state.entries.keys()]).toEqual([
      "mesh",
      "node/attic",
      "node/hub",
    ]);
  });

  test("a proof cannot be replayed on another connection, through another use, or with other content", async () => {
    const s = await setUp(2);
    using _ = s.register;
    const line = request(s);
    const code = (effects: readonly EnrolEffect[]) => sent(effects)[0]?.code;
    expect(code(ask(s, request(s, new Uint8Array(32).fill(8)))[1])).toBe("bad-proof");
    expect(code(ask(s, line, tokenUse(s.token, 1).address)[1])).toBe("bad-proof");
    expect(code(ask(s, line.replace("attic", "cellar"))[1])).toBe("bad-proof");
    const foreign = line.replace(s.newcomer.key.publicKey, PrivateKey.random().publicKey);
    expect(code(ask(s, foreign)[1])).toBe("bad-proof");
    // Order 1: the shared secret would be zero for everybody.
    const low = line.replace(s.newcomer.key.publicKey, `${"A".repeat(43)}=`);
    expect(code(ask(s, low)[1])).toBe("bad-proof");
  });

  test("one nonce is good for one request", async () => {
    const s = await setUp();
    using _ = s.register;
    const [session] = ask(s, request(s));
    expect(stepEnrol(session, { kind: "line", text: request(s) }, [hubKey])).toEqual([session, []]);
  });

  test("a refusal is a sentence, and the hub's free uses are tried next in the newcomer's own order", async () => {
    const s = await setUp();
    using _ = s.register;
    const [session] = ask(s, request(s));
    const refusal = new Refusal("use-taken", "taken", { freeUses: [3, 1] });
    const [, effects] = stepEnrol(session, { kind: "refused", refusal }, [hubKey]);
    expect(sent(effects)).toEqual([
      { type: "refused", code: "use-taken", message: "taken", freeUses: [3, 1] },
    ]);
    expect(() => answerTo(JSON.stringify(sent(effects)[0]), s)).toThrow(Refusal);
    expect(nextUses([2, 3, 0, 1], new Set([2]), [3, 1])).toEqual([3, 1]);
    expect(nextUses([2, 3, 0, 1], new Set([2, 0]))).toEqual([3, 1]);
    // The answer through use 2 was lost, and by now all uses are taken: one of them by this very key.
    expect(usesAfterRefusal([], new Set([2]))).toEqual([2]);
    expect(usesAfterRefusal([3, 2, 1], new Set([2]))).toEqual([2, 3, 1]);
    expect(usesAfterRefusal([], new Set())).toEqual([]);
  });

  test("a state that another key signed, or that is for another node, is not taken", async () => {
    const s = await setUp();
    using register = s.register;
    await s.registrar.registerNode(
      { ...s.newcomer, publicKey: s.newcomer.key.publicKey, address: s.use.address },
      NOW,
    );
    const forged = new Snapshots(register, SigningSecret.random()).message("attic");
    expect(() => answerTo(JSON.stringify({ type: "welcome", name: "attic", state: forged }), s)).toThrow(
      StateError,
    );
    const others = new Snapshots(register, signing).message("hub");
    expect(() => answerTo(JSON.stringify({ type: "welcome", name: "attic", state: others }), s)).toThrow(
      StateError,
    );
  });

  test("no line makes the hub throw or register", async () => {
    const s = await setUp();
    using _ = s.register;
    const line = request(s);
    let seed = 11;
    const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff);
    const deep = `${"[".repeat(2000)}${"]".repeat(2000)}`;
    const lines = [
      "",
      "null",
      "[]",
      "{}",
      '{"type":"register"}',
      deep,
      line.replace('"version":1', '"version":2'),
    ];
    for (let i = 0; i < 2000; i++)
      lines.push(
        [...line].map((c) => (random() % 60 === 0 ? String.fromCharCode(random() % 256) : c)).join(""),
      );
    for (const text of lines.filter((text) => text !== line)) {
      const [session, effects] = ask(s, text);
      const kinds = effects.map((effect) => effect.kind);
      if (session.kind === "deciding") throw new Error(`accepted: ${text}`);
      expect(kinds).toEqual(["send", "close"]);
    }
  });

  test("no answer makes the newcomer do anything but throw", async () => {
    const s = await setUp();
    using _ = s.register;
    for (const text of [
      "",
      "{}",
      '{"type":"nonce","nonce":"AA=="}',
      '{"type":"welcome"}',
      '{"type":"refused"}',
    ])
      expect(() => answerTo(text, s)).toThrow();
  });

  test("addresses are written one way only", async () => {
    expect(formatIp(parseIp("fd00:0:0:1::ABC"))).toBe("fd00:0:0:1::abc");
  });
});
