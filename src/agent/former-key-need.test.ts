import { describe, expect, test } from "bun:test";
import { type PeerState, PrivateKey } from "../net/mod.ts";
import { FORMER_KEPT_MS, formerKeyNeed, type NeedFacts } from "./former-key-need.ts";

const key = () => PrivateKey.random().publicKey;
const [ann, bob, router] = [key(), key(), key()];
const heard = (publicKey: PeerState["publicKey"], more: Partial<PeerState> = {}): PeerState => ({
  publicKey,
  allowedIps: [],
  presharedKey: false,
  rxBytes: 0,
  txBytes: 0,
  lastHandshakeMs: 2_000,
  ...more,
});
const facts: NeedFacts = {
  former: { untilMs: 1_000, tokens: ["t1"] },
  wallMs: 3_000,
  peers: [heard(ann), heard(bob), heard(router)],
  nodes: [
    { name: "ann", publicKey: ann },
    { name: "bob", publicKey: bob },
  ],
  external: [{ name: "router", publicKey: router }],
  liveTokens: ["t2"],
};

describe("the former key of a hub", () => {
  test("is needed by nobody when all were heard with the present one and its tokens are over", () => {
    expect(formerKeyNeed(facts)).toBeUndefined();
  });

  test("is needed by a node that was never heard, not since, or under the former key only", () => {
    const states = [{ lastHandshakeMs: 999 }, { former: true }, { moving: true }] as const;
    for (const state of [[], ...states.map((more) => [heard(bob, more)])])
      expect(formerKeyNeed({ ...facts, peers: [heard(ann), heard(router), ...state] })).toContain("node bob");
  });

  test("is not needed by a node that was heard with a next key of its own", () => {
    const next = key();
    const nodes = [{ name: "ann", publicKey: key(), nextPublicKey: next }];
    expect(formerKeyNeed({ ...facts, nodes, peers: [heard(next), heard(router)] })).toBeUndefined();
  });

  test("is needed by an external peer with a file of before, and by a token of before", () => {
    const peers = [heard(ann), heard(bob), heard(router, { former: true })];
    expect(formerKeyNeed({ ...facts, peers })).toContain("peer router");
    expect(formerKeyNeed({ ...facts, liveTokens: ["t2", "t1"] })).toContain("token t1");
  });

  test("goes after the longest time whoever needs it", () => {
    const alone = { ...facts, peers: [] };
    expect(formerKeyNeed({ ...alone, wallMs: 1_000 + FORMER_KEPT_MS - 1 })).toBeDefined();
    expect(formerKeyNeed({ ...alone, wallMs: 1_000 + FORMER_KEPT_MS })).toBeUndefined();
  });
});
