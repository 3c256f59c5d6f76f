import { describe, expect, test } from "bun:test";
import type { Rule } from "../resources/mod.ts";
import { explainTalk, mayTalk, type PolicyNode, talkClasses } from "./policy.ts";

const node = (name: string, role?: string, site?: string, hub = false): PolicyNode => ({
  name,
  hub,
  ...(role === undefined ? {} : { role }),
  ...(site === undefined ? {} : { site }),
});
const hub = node("hub", undefined, undefined, true);
const control = node("c1", "control");
const attic = node("w1", "worker", "attic");
const cellar = node("w2", "worker", "cellar");
const plain = node("p1");
const rules: readonly Rule[] = [
  { from: { role: ["worker"], site: ["attic"] }, to: { role: ["control"] } },
  { from: { node: ["p1"] }, to: { node: ["w2", "w3"] } },
];

describe("which nodes may talk", () => {
  test("without rules all, with rules what one of them allows, in both directions", () => {
    expect(mayTalk({}, attic, cellar)).toBe(true);
    expect(mayTalk({ rules }, attic, control)).toBe(true);
    expect(mayTalk({ rules }, control, attic)).toBe(true);
    expect(mayTalk({ rules }, control, cellar)).toBe(false);
    expect(mayTalk({ rules }, cellar, plain)).toBe(true);
    expect(mayTalk({ rules }, attic, plain)).toBe(false);
    expect(mayTalk({ rules: [] }, attic, control)).toBe(false);
  });

  test("hubs may always be talked to, a role that none gave is node", () => {
    expect(mayTalk({ rules: [] }, hub, attic)).toBe(true);
    expect(mayTalk({ rules: [{ from: { role: ["node"] }, to: {} }] }, plain, cellar)).toBe(true);
    expect(mayTalk({ rules: [{ from: { role: ["node"] }, to: {} }] }, attic, cellar)).toBe(false);
  });

  test("a selection of a site fits no node without one", () => {
    expect(mayTalk({ rules: [{ from: { site: ["attic"] }, to: {} }] }, plain, control)).toBe(false);
  });

  test("the reason is a sentence", () => {
    expect(explainTalk({}, attic, cellar)).toContain("no rules");
    expect(explainTalk({ rules }, attic, hub)).toBe("hub is a hub, and hubs may always be talked to");
    expect(explainTalk({ rules }, control, attic)).toBe(
      "rule 1 allows it: role worker, site attic ↔ role control",
    );
    expect(explainTalk({ rules }, control, cellar)).toBe(
      "none of the mesh's 2 rules allows c1 (role control) and w2 (role worker, site cellar) to talk; see causeway mesh show",
    );
  });
});

describe("classes", () => {
  test("without rules there is one, and it may talk to itself", () => {
    const { count, allowed } = talkClasses({}, [hub, control, attic]);
    expect([count, allowed]).toEqual([1, [[0, 0]]]);
  });

  test("nodes that rules name by different words but treat alike are of one class", () => {
    const same: Rule[] = [
      { from: { node: ["w1"] }, to: { role: ["control"] } },
      { from: { node: ["w2"] }, to: { role: ["control"] } },
    ];
    const classes = talkClasses({ rules: same }, [hub, control, attic, cellar]);
    expect(classes.count).toBe(3);
    expect(classes.classOf.get("w1")).toBe(classes.classOf.get("w2") as number);
  });

  test("they say of every pair what mayTalk says, for any rules", () => {
    let seed = 7;
    const random = (n: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >> 8) % n;
    };
    const roles = [undefined, "control", "worker", "edge"];
    const sites = [undefined, "attic", "cellar"];
    const some = <T>(values: readonly (T | undefined)[]) => {
      const value = values[random(values.length)];
      return value === undefined || random(2) === 0 ? undefined : [value];
    };
    for (let round = 0; round < 60; round++) {
      const nodes = Array.from({ length: 12 }, (_, i) =>
        node(`n${i}`, roles[random(4)], sites[random(3)], i === 0),
      );
      const selector = () =>
        Object.fromEntries(
          [
            ["role", some(roles)],
            ["site", some(sites)],
            ["node", random(4) === 0 ? [`n${random(12)}`] : undefined],
          ].filter(([, value]) => value !== undefined),
        );
      const mesh = { rules: Array.from({ length: random(5) }, () => ({ from: selector(), to: selector() })) };
      const classes = talkClasses(mesh, nodes);
      const allowed = new Set(classes.allowed.map(([a, b]) => `${a} ${b}`));
      for (const a of nodes)
        for (const b of nodes) {
          const pair = [a, b].map(({ name }) => classes.classOf.get(name) as number).sort((x, y) => x - y);
          expect({ round, a: a.name, b: b.name, may: allowed.has(pair.join(" ")) }).toEqual({
            round,
            a: a.name,
            b: b.name,
            may: mayTalk(mesh, a, b),
          });
        }
      // No two classes have the same partners.
      const partners = (one: number) =>
        Array.from({ length: classes.count }, (_, other) =>
          allowed.has([one, other].sort((x, y) => x - y).join(" ")),
        ).join();
      expect(new Set(Array.from({ length: classes.count }, (_, i) => partners(i))).size).toBe(classes.count);
    }
  });

  test("five thousand nodes of few kinds make few classes", () => {
    const nodes = [
      hub,
      ...Array.from({ length: 5000 }, (_, i) =>
        node(`n${i}`, i % 10 === 0 ? "control" : "worker", i % 2 === 0 ? "attic" : "cellar"),
      ),
    ];
    const { count, classOf } = talkClasses({ rules }, nodes);
    expect(classOf.size).toBe(5001);
    expect(count).toBeLessThan(6);
  });
});
