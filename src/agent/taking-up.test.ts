import { describe, expect, test } from "bun:test";
import { TakingUp } from "./taking-up.ts";

type Runs = { readonly key: string };

/** An agent as far as this goes: `fails` says what goes wrong at each try, "" for nothing. */
function agent({ hub, fails }: { readonly hub: boolean; readonly fails: readonly string[] }) {
  const said: string[] = [];
  let tries = 0;
  const state: { now: object | undefined; hub: boolean } = { now: { key: "old" }, hub };
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  let turn: Promise<unknown> = Promise.resolve();
  const taking = new TakingUp<Runs>(
    {
      inTurn: (work) => {
        const next = turn.then(work);
        turn = next.then(() => {
          if (tries === fails.length) finish();
        });
        return next;
      },
      now: () => state.now,
      isHub: () => state.hub,
      end: () => {
        if (state.now === undefined || state.now instanceof Error) return;
        said.push("end");
        Object.assign(state, { now: undefined, hub: false });
      },
      stored: () => {
        said.push("read");
        const problem = fails[tries++];
        if (problem === "none") return undefined;
        if (problem === "unreadable") throw new Error(problem);
        return { key: problem === "cannot run" ? problem : "new" };
      },
      run: async (role) => {
        said.push("run");
        Object.assign(state, { now: role, hub });
        await Promise.resolve();
        if (role.key !== "new") throw new Error(role.key);
      },
      failed: (why) => {
        said.push("failed");
        Object.assign(state, { now: why, hub: false });
      },
    },
    { againMs: 1 },
  );
  return { taking, said, state, finished };
}

describe("a new key of its own", () => {
  test("is taken up by a hub after its register was closed, and by a node before it stops what runs", async () => {
    for (const hub of [true, false]) {
      const one = agent({ hub, fails: [""] });
      one.taking.begin(one.state.now);
      await one.finished;
      expect(one.said).toEqual(hub ? ["end", "read", "run"] : ["read", "end", "run"]);
      expect(one.state.now).toEqual({ key: "new" });
    }
  });

  test("is taken up at last by a hub, whatever fails before", async () => {
    const one = agent({ hub: true, fails: ["unreadable", "none", "cannot run", ""] });
    one.taking.begin(one.state.now);
    await one.finished;
    expect(one.said.join(" ")).toBe("end read failed read read run failed read run");
    expect(one.state.now).toEqual({ key: "new" });
  });

  test("does not stop a node while it cannot be read", async () => {
    const one = agent({ hub: false, fails: ["unreadable", ""] });
    one.taking.begin(one.state.now);
    await one.finished;
    expect(one.said).toEqual(["read", "read", "end", "run"]);
  });

  test("is of no account once the node is another, or the agent stops", async () => {
    for (const how of ["left", "stopped"]) {
      const one = agent({ hub: true, fails: ["unreadable", ""] });
      one.taking.begin(one.state.now);
      while (!one.said.includes("failed")) await Promise.resolve();
      if (how === "left") one.state.now = { key: "of another mesh" };
      else one.taking[Symbol.dispose]();
      await Bun.sleep(20);
      expect(one.said).toEqual(["end", "read", "failed"]);
    }
  });
});
