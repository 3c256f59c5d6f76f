import { describe, expect, test } from "bun:test";
import { Admission } from "./admission.ts";

const at = (nowMs: number) => ({ nowMs, wallMs: 1_800_000_000_000 + nowMs });
const use = (n: number, token = "aa") => ({ from: `fd01::${token}:${n}`, token });

describe("how often newcomers may knock", () => {
  test("one use has few connections at once, and few in a minute", () => {
    const admission = new Admission();
    for (let i = 0; i < 4; i++) expect(admission.enter(use(1), 0)).toBeUndefined();
    expect(admission.enter(use(1), 0)).toBe("too-many");
    expect(admission.enter(use(2), 0)).toBeUndefined();
    for (let i = 0; i < 26; i++) {
      admission.leave(use(1));
      expect(admission.enter(use(1), 1000)).toBeUndefined();
    }
    admission.leave(use(1));
    expect(admission.enter(use(1), 2000)).toBe("too-many");
    expect(admission.enter(use(1), 60_000)).toBeUndefined();
  });

  test("a stolen token with many uses leaves room for others", () => {
    const admission = new Admission();
    let taken = 0;
    for (let i = 0; i < 64; i++) if (admission.enter(use(i), 0) === undefined) taken++;
    expect(taken).toBe(32);
    expect(admission.enter(use(1, "bb"), 0)).toBeUndefined();
    admission.leave(use(0));
    expect(admission.enter(use(40), 0)).toBeUndefined();
  });

  test("a token that is refused again and again has to wait; going on to a free use is no offence", () => {
    const admission = new Admission();
    for (let i = 0; i < 100; i++) admission.refused(use(i), { reason: "use-taken", harmless: true }, at(i));
    expect(admission.enter(use(1), 100)).toBeUndefined();
    for (let i = 0; i < 20; i++) admission.refused(use(1), { reason: "bad-proof" }, at(1000));
    expect(admission.enter(use(2), 2000)).toBe("too-many");
    expect(admission.enter(use(2, "bb"), 2000)).toBeUndefined();
    expect(admission.enter(use(2), 61_000)).toBeUndefined();
  });
});

describe("what is counted", () => {
  test("by reason, and of each token how many and the last", () => {
    const admission = new Admission();
    admission.refused({ from: "fd09::1", token: undefined }, { reason: "not-enrolment" }, at(0));
    admission.refused(use(1), { reason: "use-taken" }, at(5));
    admission.refused(use(2), { reason: "bad-proof" }, at(7));
    expect([...admission.counts()]).toEqual([
      ["bad-proof", 1],
      ["not-enrolment", 1],
      ["use-taken", 1],
    ]);
    expect(admission.ofToken("aa")).toEqual({
      count: 2,
      last: { reason: "bad-proof", from: "fd01::aa:2", wallMs: 1_800_000_000_007 },
    });
    expect(admission.ofToken("bb")).toBeUndefined();
  });

  test("memory is bounded: the token refused longest ago is forgotten", () => {
    const admission = new Admission();
    for (let i = 0; i < 1025; i++) admission.refused(use(1, `t${i}`), { reason: "bad-request" }, at(i));
    expect(admission.ofToken("t0")).toBeUndefined();
    expect(admission.ofToken("t1")?.count).toBe(1);
  });
});
