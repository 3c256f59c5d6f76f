import { describe, expect, test } from "bun:test";
import { MemoryBackEnd } from "../../test/support/memory-back-end.ts";
import { parsePrefix } from "../net/mod.ts";
import type { BackEndKind, BackEndNews } from "./back-end.ts";
import { type BackEndFacts, chooseBackEnd, ChosenBackEnd } from "./chosen-back-end.ts";
import type { QueuePlan } from "./queue-plan.ts";

const can: BackEndFacts = { user: () => undefined, kernel: () => undefined };
const lacks = (...kinds: readonly BackEndKind[]): BackEndFacts => ({
  user: () => (kinds.includes("user") ? "no AF_XDP" : undefined),
  kernel: () => (kinds.includes("kernel") ? "no ESP" : undefined),
});
const plan: QueuePlan = {
  ...{ number: 1, sides: { problem: "" }, mtuBytes: 1400, tfc: false, port: 303, asksPrivate: true },
};

/** One with both back-ends in memory; `log` has what happens to them in order, and what is told. */
function bed(facts: BackEndFacts = can) {
  const log: string[] = [];
  const made: MemoryBackEnd[] = [];
  let [isLeft, isTaken] = [false, false];
  const make = (kind: BackEndKind) => (tell: (news: BackEndNews) => void) => {
    const backEnd = new MemoryBackEnd(tell);
    made.push(backEnd);
    const close = backEnd.close.bind(backEnd);
    backEnd.close = (forGood) => {
      log.push(`${kind} ends${forGood === true ? " for good" : ""}`);
      if (kind === "kernel") isLeft = forGood !== true;
      return close(forGood);
    };
    return backEnd;
  };
  const chosen = new ChosenBackEnd({
    tell: (news) => {
      if (news.kind !== "news")
        log.push(
          [news.kind, "by" in news ? news.by : "", "reason" in news ? news.reason : ""].join(" ").trim(),
        );
    },
    facts,
    make: { kernel: make("kernel"), user: make("user") },
    lock: () => {
      if (isTaken) throw new Error("lyon has it");
      log.push("locked");
      return { [Symbol.dispose]: () => void log.push("unlocked") };
    },
    isLeft: () => isLeft,
    letGo: () => {
      log.push("lets go");
      isLeft = false;
    },
  });
  return {
    chosen,
    made,
    log: () => log.splice(0),
    leave: () => {
      isLeft = true;
    },
    take: () => {
      isTaken = true;
    },
  };
}

describe("who carries packets", () => {
  test.each([
    ["auto", can, "user", "auto: the machine has AF_XDP"],
    ["auto", lacks("user"), "kernel", "no AF_XDP"],
    ["auto", lacks("user", "kernel"), "user", "no ESP"],
    ["kernel", lacks("kernel"), "kernel", "the configuration says so"],
    ["user", lacks("user"), "user", "the configuration says so"],
  ] as const)("%s is chosen with its reason", (wish, facts, kind, reason) => {
    expect(chooseBackEnd(wish, facts)).toEqual({ kind, reason: expect.stringContaining(reason) });
  });

  test("what the machine is able to is looked up once", () => {
    let looks = 0;
    const { chosen, log } = bed({
      ...can,
      user: () => {
        looks++;
        return undefined;
      },
    });
    for (const wish of ["auto", "user", "auto", "auto"] as const) chosen.choose(wish);
    expect(looks).toBe(1);
    expect(log()).toEqual([
      "chosen user auto: the machine has AF_XDP",
      "chosen user the configuration says so",
      "chosen user auto: the machine has AF_XDP",
    ]);
  });
});

describe("another choice while it runs", () => {
  test("brings queues down and up, and what is blocked is let go of when all are up", async () => {
    const { chosen, made, log } = bed();
    chosen.choose("kernel");
    chosen.protect([parsePrefix("10.9.0.0/16")]);
    chosen.set([plan]);
    expect(log()).toEqual(["locked", "chosen kernel the configuration says so", "up memory"]);
    expect(made[0]?.protected).toEqual(["10.9.0.0/16"]);
    chosen.choose("user");
    expect(log()).toEqual([
      "down  another back-end carries it from now on: user",
      "kernel ends",
      "chosen user the configuration says so",
    ]);
    // News of who is gone is none.
    made[0]?.tell({ kind: "failed", reason: "late" });
    chosen.set([plan]);
    expect(log()).toEqual(["up memory", "lets go", "unlocked"]);
    chosen.choose("kernel");
    expect(log().at(-1)).toBe("chosen kernel the configuration says so");
    await chosen.close(true);
    expect(log()).toEqual(["kernel ends for good", "unlocked"]);
  });

  test("nothing is let go of while a queue is down, but at a goodbye", async () => {
    const { chosen, made, log, leave } = bed();
    leave();
    chosen.choose("user");
    const user = made[0] as MemoryBackEnd;
    user.set = () => user.up(1);
    chosen.set([plan, { ...plan, number: 2 }]);
    expect(log().at(-1)).toBe("up memory");
    await chosen.close(true);
    expect(log()).toEqual(["locked", "lets go", "unlocked", "user ends for good"]);
  });

  test("is refused where another gateway has the kernel's, and nothing has changed", () => {
    const { chosen, log, take } = bed();
    chosen.choose("user");
    chosen.set([plan]);
    log();
    take();
    expect(() => chosen.claim("kernel")).toThrow("lyon has it");
    expect(() => chosen.choose("kernel")).toThrow("lyon has it");
    expect(log()).toEqual([]);
  });
});
