import { expect, test } from "bun:test";
import { SharedLog } from "../../test/support/shared-log.ts";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { HubRemovals } from "./hub-removals.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { operatorRemoval, removalHolds } from "./removal.ts";
import { tokenUse } from "./token.ts";

const signing = SigningSecret.random();
const operator = SigningSecret.random();

async function setUp() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register, new SharedLog(register));
  const mesh = newMesh("home", { endpoints: ["h:1"], operatorKey: operator.publicKey });
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  const add = async (name: string, node?: string, role?: string) => {
    const { token } = await registrar.createToken({
      uses: 1,
      nowMs: 1,
      expiresAtMs: 2,
      signingKey: signing.publicKey,
      ...(node === undefined ? {} : { node }),
      ...(role === undefined ? {} : { role }),
    });
    const { publicKey } = PrivateKey.random();
    await registrar.registerNode({ address: tokenUse(token, 0).address, publicKey, name, endpoints: [] }, 1);
    return publicKey;
  };
  return { register, registrar, add, removals: new HubRemovals(register, signing) };
}

test("what the register removes is signed once, with the number of the change", async () => {
  const s = await setUp();
  using _ = s.register;
  const a = await s.add("a");
  const before = s.register.revision;
  expect(s.removals.after(0)).toEqual([]);
  await s.registrar.removeNode("a");
  const [removal] = s.removals.after(before);
  expect(removal).toMatchObject({ by: "register", key: a, revision: s.register.revision });
  expect(removal !== undefined && removalHolds(removal, { signingKey: signing.publicKey })).toBe(true);
  await s.add("b");
  expect(s.removals.after(before)[0]).toBe(removal as never);
  expect(s.removals.after(s.register.revision)).toEqual([]);
});

test("the key of a machine that was replaced is removed, and is in no way of the new one", async () => {
  const s = await setUp();
  using _ = s.register;
  const old = await s.add("a");
  const since = s.register.revision;
  const young = await s.add("a", "a");
  expect(s.removals.after(since).map(({ key }) => key)).toEqual([old]);
  expect(s.register.node("a")?.publicKey).toBe(young);
});

test("what the operator signed is asked of the register by the node's name; nothing else is", async () => {
  const s = await setUp();
  using _ = s.register;
  const [a, b] = [await s.add("a"), await s.add("b")];
  const unknown = PrivateKey.random().publicKey;
  expect(
    s.removals.asked([
      operatorRemoval(a, operator),
      operatorRemoval(b, SigningSecret.random()),
      operatorRemoval(unknown, operator),
    ]),
  ).toEqual(["a"]);
  await s.registrar.removeNode("a");
  expect(s.removals.asked([operatorRemoval(a, operator)])).toEqual([]);
});

test("the operator's word on a hub's former key is one on the hub: nodes that know that key only take who has it for the hub", async () => {
  const s = await setUp();
  using _ = s.register;
  const two = await s.add("two", undefined, "hub");
  const next = PrivateKey.random().publicKey;
  await s.registrar.announceHubKey("two", { now: two, next });
  await s.registrar.promoteHubKey("two", next);
  expect(s.removals.asked([operatorRemoval(two, operator)])).toEqual(["two"]);
  await s.registrar.remove("two");
  expect(new Set(s.removals.all().keys())).toEqual(new Set([two, next]));
  expect(s.removals.asked([operatorRemoval(two, operator)])).toEqual([]);
});

test("what could not be removed yet is news only now and then, or hubs would tell each other for ever", async () => {
  const s = await setUp();
  using _ = s.register;
  const removal = operatorRemoval(await s.add("a"), operator);
  expect(s.removals.news([removal], 0)).toEqual(["a"]);
  expect(s.removals.news([removal], 9_000)).toEqual([]);
  expect(s.removals.asked([removal])).toEqual(["a"]);
  expect(s.removals.news([removal], 11_000)).toEqual(["a"]);
  await s.registrar.removeNode("a");
  expect(s.removals.news([removal], 70_000)).toEqual([]);
});
