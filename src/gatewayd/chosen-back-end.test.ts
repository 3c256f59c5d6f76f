import { describe, expect, test } from "bun:test";
import { MemoryBackEnd } from "../../test/support/memory-back-end.ts";
import { formatPrefix, parsePrefix } from "../net/mod.ts";
import type { BackEndKind, BackEndNews, GatewayBackEnd } from "./back-end.ts";
import { type BackEndFacts, chooseBackEnd, ChosenBackEnd } from "./chosen-back-end.ts";
import type { QueuePlan } from "./queue-plan.ts";

const can: BackEndFacts = { user: () => undefined, kernel: () => undefined };
const lacks = (...kinds: readonly BackEndKind[]): BackEndFacts => ({
  user: () => (kinds.includes("user") ? "no AF_XDP" : undefined),
  kernel: () => (kinds.includes("kernel") ? "no ESP" : undefined),
});
const plan: QueuePlan = {
  ...{ number: 1, sides: { problem: "" }, own: [], mtuBytes: 1400, tfc: false, port: 303, asksPrivate: true },
};

/** One with both back-ends in memory; `log` has what happens to them in order, and what is told. */
function bed(facts: BackEndFacts = can) {
  const log: string[] = [];
  const made: MemoryBackEnd[] = [];
  let [isLeft, isTaken] = [false, false];
  let refusal: string | undefined;
  const make = (kind: BackEndKind) => (tell: (news: BackEndNews) => void) => {
    const backEnd: MemoryBackEnd & Pick<GatewayBackEnd, "prepare"> = new MemoryBackEnd(tell);
    made.push(backEnd);
    backEnd.prepare = ({ prefixes }) => {
      log.push(`${kind} protects ${prefixes.map(formatPrefix).join(" ")}`);
      isLeft ||= kind === "kernel";
      if (refusal !== undefined) throw new Error(refusal);
    };
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
      return () => {
        isTaken = false;
      };
    },
    refuse: (reason: string) => {
      refusal = reason;
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

test("a kernel that did not say what it can is asked again", () => {
  let asks = 0;
  const kernel = () => {
    if (asks++ === 0) throw new Error("no memory");
    return undefined;
  };
  const { chosen, log } = bed({ ...lacks("user"), kernel });
  chosen.choose("auto");
  chosen.choose("auto");
  expect(log()).toEqual([
    "chosen user auto: the kernel cannot (no memory), and user space lacks: no AF_XDP",
    "locked",
    "kernel protects ",
    "user ends",
    "chosen kernel auto: the kernel has ESP, and user space cannot: no AF_XDP",
  ]);
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
      "user protects ",
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

  test("ends user space when the kernel protects what it will carry", () => {
    const { chosen, log } = bed();
    chosen.choose("user");
    chosen.set([plan]);
    log();
    chosen.choose("kernel", { plans: [plan], prefixes: [parsePrefix("10.9.0.0/16")] });
    expect(log()).toEqual([
      "locked",
      "kernel protects 10.9.0.0/16",
      "down  another back-end carries it from now on: kernel",
      "user ends",
      "chosen kernel the configuration says so",
    ]);
  });

  test("is refused where it cannot protect, and the one before goes on with nothing blocked", async () => {
    const { chosen, made, log, refuse } = bed();
    chosen.choose("user");
    chosen.set([plan]);
    log();
    refuse("no memory");
    expect(() => chosen.choose("kernel")).toThrow("no memory");
    expect(log()).toEqual(["locked", "kernel protects ", "lets go", "unlocked"]);
    made[0]?.tell({ kind: "hindered", queue: 1, reason: "no carrier" });
    expect([log(), (await chosen.report()).size]).toEqual([["hindered  no carrier"], 1]);
  });

  test("is refused where the kernel cannot, or does not say whether it can; at the start that is its queues' status", () => {
    const { chosen, log } = bed(lacks("kernel"));
    chosen.choose("user");
    expect(() => chosen.claim("kernel")).toThrow("no ESP");
    const kernel = () => {
      throw new Error("no answer");
    };
    const unsure = bed({ ...can, kernel }).chosen;
    unsure.choose("user");
    expect(() => unsure.claim("kernel")).toThrow("no answer");
    const first = bed(lacks("kernel"));
    first.chosen.choose("kernel");
    expect([log().at(-1), first.log().at(-1)]).toEqual([
      "chosen user the configuration says so",
      "chosen kernel the configuration says so",
    ]);
  });

  test("what is blocked is let go of also when the queue that was down is removed, and where that was refused before", () => {
    const { chosen, made, log, leave, take } = bed();
    leave();
    chosen.choose("user");
    const user = made[0] as MemoryBackEnd;
    user.set = ([first]) => {
      if (!user.queues.has(1) && first !== undefined) user.up(1);
    };
    chosen.set([plan, { ...plan, number: 2 }]);
    const release = take();
    log();
    chosen.set([plan]);
    chosen.look();
    expect(log()).toEqual(["failed  lyon has it"]);
    release();
    chosen.look();
    chosen.look();
    expect(log()).toEqual(["locked", "lets go", "unlocked"]);
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
