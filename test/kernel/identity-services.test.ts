/** Tokens, rules, removals, keys and pre-shared keys over real sockets, in a namespace of their own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const why = notRoot ?? lacksTool("ip");

test.skipIf(why !== undefined)(
  `tokens bind, rules hide, keys change, removals are told${why === undefined ? "" : ` (skipped: ${why})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/identity-scenario.ts", import.meta.url).pathname;
    const done = runSync([process.execPath, scenario], { netns: scratch.netns, timeoutMs: 100_000 });
    expect(done.stderr).toBe("");
    expect(JSON.parse(done.stdout)).toEqual({
      otherSite: "not-bound",
      replayed: "use-taken",
      bound: ["hub  ", "w1 worker attic", "w2 worker attic", "c1 control cellar"],
      counts: { "not-bound": 1, "use-taken": 1 },
      ofToken: 2,
      sees: ["c1 hub", "c1 hub", "hub w1 w2"],
      samePsk: true,
      hubPsk: true,
      notForOthers: true,
      asked: true,
      unproven: "Cannot announce another key of w1: its proof does not fit the key",
      removed: true,
    });
  },
);
