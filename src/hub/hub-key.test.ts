/** A hub's own key in the register: announced, then its own, and the one before is good until it is dropped. */
import { describe, expect, test } from "bun:test";
import { SharedLog } from "../../test/support/shared-log.ts";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

const key = () => PrivateKey.random().publicKey;

async function setUp() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register, new SharedLog(register));
  const one = key();
  await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
    name: "one",
    publicKey: one,
    endpoints: [],
  });
  const add = async (name: string, role: string) => {
    const { token } = await registrar.createToken({
      uses: 1,
      nowMs: 1,
      expiresAtMs: 2,
      role,
      signingKey: SigningSecret.random().publicKey,
    });
    const publicKey = key();
    const { address } = tokenUse(token, 0);
    await registrar.registerNode({ address, publicKey, name, endpoints: ["x:1"] }, 1);
    return publicKey;
  };
  return { register, registrar, one, two: await add("two", "hub"), ann: await add("ann", "node") };
}
const refused = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: Error) => error.message,
  );

describe("a hub's own key", () => {
  test("is announced, then the hub's; the one before is revoked when it is dropped, not before", async () => {
    const { register, registrar, one } = await setUp();
    using _ = register;
    const next = key();
    await registrar.announceHubKey("one", { now: one, next });
    expect(register.node("one")).toMatchObject({ publicKey: one, nextPublicKey: next });
    await registrar.promoteHubKey("one", next);
    expect(register.node("one")?.publicKey).toBe(next);
    expect(register.node("one")?.nextPublicKey).toBeUndefined();
    expect(register.isRevoked(one)).toBe(false);
    const { revision } = register;
    await registrar.dropHubKey("one", one);
    expect(register.isRevoked(one)).toBe(true);
    expect(register.revocations(revision, 9).map(({ publicKey }) => publicKey)).toEqual([one]);
    // Said again, as by an agent that was killed before it had heard: nothing more.
    const after = register.revision;
    await registrar.dropHubKey("one", one);
    await registrar.promoteHubKey("one", next);
    expect(register.revision).toBe(after);
  });

  test("when the hub goes, the key that it still answered to is revoked with all its others", async () => {
    const { register, registrar, two } = await setUp();
    using _ = register;
    const [next, after] = [key(), key()];
    await registrar.announceHubKey("two", { now: two, next });
    await registrar.promoteHubKey("two", next);
    await registrar.announceHubKey("two", { now: next, next: after });
    const { revision } = register;
    await registrar.removeHub("two");
    expect(new Set(register.revocations(revision, 9).map(({ publicKey }) => publicKey))).toEqual(
      new Set([two, next, after]),
    );
  });

  test("a hub has one former key: one that it did not drop is revoked when there is another", async () => {
    const { register, registrar, one } = await setUp();
    using _ = register;
    const [second, third] = [key(), key()];
    await registrar.announceHubKey("one", { now: one, next: second });
    await registrar.promoteHubKey("one", second);
    await registrar.announceHubKey("one", { now: second, next: third });
    await registrar.promoteHubKey("one", third);
    expect([one, second].map((old) => register.isRevoked(old))).toEqual([true, false]);
    expect(register.nodeByFormerKey(second)?.name).toBe("one");
    await registrar.dropHubKey("one", second);
    expect(register.isRevoked(second)).toBe(true);
    expect(register.nodeByFormerKey(second)).toBeUndefined();
  });

  test("the former one is nobody else's, and is dropped by nobody else", async () => {
    const { register, registrar, one, two, ann } = await setUp();
    using _ = register;
    await registrar.announceHubKey("one", { now: one, next: key() });
    await registrar.promoteHubKey("one", register.node("one")?.nextPublicKey as never);
    expect(await refused(registrar.announceHubKey("two", { now: two, next: one }))).toContain("belongs to");
    expect(await refused(registrar.announceKey("ann", { now: ann, next: one }))).toContain("belongs to");
    expect(await refused(registrar.dropHubKey("two", one))).toContain("in use");
    expect(register.isRevoked(one)).toBe(false);
  });

  test("two hubs change theirs one after the other", async () => {
    const { register, registrar, one, two } = await setUp();
    using _ = register;
    const [first, second] = [key(), key()];
    await registrar.announceHubKey("one", { now: one, next: first });
    expect(await refused(registrar.announceHubKey("two", { now: two, next: second }))).toContain(
      "Hub one changes",
    );
    expect(register.node("two")?.nextPublicKey).toBeUndefined();
    await registrar.promoteHubKey("one", first);
    expect(await refused(registrar.announceHubKey("two", { now: two, next: second }))).toBe("done");
  });

  test("is no key that is anybody's, of a node that is no hub, or that is in use", async () => {
    const { register, registrar, one, two, ann } = await setUp();
    using _ = register;
    for (const next of [two, ann])
      expect(await refused(registrar.announceHubKey("one", { now: one, next }))).toContain("belongs to");
    expect(await refused(registrar.announceHubKey("ann", { now: ann, next: key() }))).toContain("no hub ann");
    expect(await refused(registrar.announceHubKey("one", { now: key(), next: key() }))).toContain(
      "another key by now",
    );
    for (const used of [one, ann])
      expect(await refused(registrar.dropHubKey("one", used))).toContain("in use");
    expect(register.isRevoked(ann)).toBe(false);
  });
});
