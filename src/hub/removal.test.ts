import { describe, expect, test } from "bun:test";
import { PrivateKey, type PublicKey, SigningSecret } from "../net/mod.ts";
import {
  formatRemovals,
  MAX_REMOVALS,
  mergeRemovals,
  operatorRemoval,
  parseRemovals,
  type Removal,
  removalsDigest,
  signRemoval,
} from "./removal.ts";
import { withoutRemoved } from "./removed-view.ts";
import type { MeshView } from "./view.ts";

const register = SigningSecret.random();
const operator = SigningSecret.random();
const trust = { signingKey: register.publicKey, operatorKey: operator.publicKey };
const key = () => PrivateKey.random().publicKey;
const removal = (of: PublicKey, revision: number) =>
  signRemoval({ by: "register", epoch: "e", key: of, revision }, register);

describe("removals", () => {
  test("hold when the register's or the operator's key signed them, and not otherwise", () => {
    const [a, b] = [key(), key()];
    const good = [removal(a, 5), operatorRemoval(b, operator)];
    expect(mergeRemovals(new Map(), good, trust).added).toEqual(good);
    const forged: Removal[] = [
      operatorRemoval(a, register),
      { ...removal(a, 5), by: "operator" },
      { ...removal(a, 5), key: b },
      { ...removal(a, 5), revision: 6 },
      { ...removal(a, 5), epoch: "f" },
      { ...removal(a, 5), signature: "" },
      signRemoval({ by: "register", epoch: "e", key: a, revision: 5 }, SigningSecret.random()),
    ];
    for (const one of forged) expect(mergeRemovals(new Map(), [one], trust).added).toEqual([]);
    // A mesh without an operator's key believes no operator.
    expect(mergeRemovals(new Map(), good, { signingKey: register.publicKey }).added).toEqual([
      good[0] as Removal,
    ]);
  });

  test("merging is the union in any order, and saying it again adds nothing", () => {
    const all = [removal(key(), 1), removal(key(), 2), operatorRemoval(key(), operator)];
    const one = mergeRemovals(new Map(), all, trust).removals;
    const other = mergeRemovals(
      mergeRemovals(new Map(), all.slice(1), trust).removals,
      [...all].reverse(),
      trust,
    ).removals;
    expect(removalsDigest(other)).toBe(removalsDigest(one));
    const again = mergeRemovals(one, all, trust);
    expect([again.removals === one, again.added]).toEqual([true, []]);
  });

  test("two statements on one key: every node keeps the same, whichever it heard first", () => {
    const of = key();
    const both = [removal(of, 9), operatorRemoval(of, operator)];
    const a = mergeRemovals(
      mergeRemovals(new Map(), [both[0] as Removal], trust).removals,
      [both[1] as Removal],
      trust,
    );
    const b = mergeRemovals(
      mergeRemovals(new Map(), [both[1] as Removal], trust).removals,
      [both[0] as Removal],
      trust,
    );
    expect(removalsDigest(a.removals)).toBe(removalsDigest(b.removals));
    // It was removed already: nothing new for those who drop it.
    expect([a.added, b.added]).toEqual([[], []]);
  });

  test("the newest are kept, the operator's before all", () => {
    const old = Array.from({ length: MAX_REMOVALS }, (_, i) => removal(key(), i + 1));
    const full = mergeRemovals(new Map(), old, trust).removals;
    const late = [removal(key(), 5000), operatorRemoval(key(), operator)];
    const { removals, added } = mergeRemovals(full, late, trust);
    expect([removals.size, added.length]).toEqual([MAX_REMOVALS, 2]);
    expect(old.filter(({ key: of }) => !removals.has(of)).map((one) => one.revision)).toEqual([1, 2]);
    // One that is older than all that are kept does not come in again and again.
    expect(mergeRemovals(removals, [old[0] as Removal], trust).added).toEqual([]);
  });

  test("the file comes back; a damaged part costs only itself", () => {
    const all = [removal(key(), 1), operatorRemoval(key(), operator)];
    const { removals } = mergeRemovals(new Map(), all, trust);
    const text = formatRemovals(removals);
    expect(removalsDigest(parseRemovals(text, trust))).toBe(removalsDigest(removals));
    expect(parseRemovals(text.replace('"revision":1', '"revision":2'), trust).size).toBe(1);
    expect(parseRemovals(text.slice(0, -5), trust).size).toBe(0);
  });
});

describe("a view without those who were removed", () => {
  const own = key();
  const node = (name: string, publicKey: PublicKey, nextPublicKey?: PublicKey) =>
    ({
      name,
      publicKey,
      ...(nextPublicKey === undefined ? {} : { nextPublicKey }),
    }) as MeshView["nodes"][number];
  const [a, b, next] = [key(), key(), key()];
  const view = {
    mesh: {},
    self: node("me", own),
    nodes: [node("a", a), node("b", b, next)],
  } as unknown as MeshView;

  test("their nodes are not in it; the same view comes back when nothing was removed", () => {
    expect(withoutRemoved(view, new Set(), own)).toBe(view);
    expect(withoutRemoved(view, new Set([a]), own).nodes.map((one) => one.name)).toEqual(["b"]);
    expect(withoutRemoved(view, new Set([own]), own).self).toBeUndefined();
  });

  test("a node that changed its key is known by the next one until the register says so", () => {
    const { nodes } = withoutRemoved(view, new Set([b]), own);
    expect(nodes[1]).toEqual(node("b", next));
    expect(withoutRemoved(view, new Set([b, next]), own).nodes.map((one) => one.name)).toEqual(["a"]);
    // The key that this node had before is none of its business any more.
    expect(withoutRemoved(view, new Set([key()]), own).self?.name).toBe("me");
  });
});
