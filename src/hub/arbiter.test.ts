import { describe, expect, test } from "bun:test";
import {
  type ArbiterEffect,
  type ArbiterEvent,
  type ArbiterState,
  arbiterFrom,
  publishedPairs,
  stepArbiter,
} from "./arbiter.ts";

const empty = arbiterFrom([]);

function run(state: ArbiterState, ...events: ArbiterEvent[]): [ArbiterState, string[]] {
  const said: string[] = [];
  for (const event of events) {
    const [next, effects] = stepArbiter(state, event);
    state = next;
    for (const effect of effects) said.push(show(effect));
  }
  return [state, said];
}

function show(effect: ArbiterEffect): string {
  if (effect.kind === "remove") return `${effect.a}-${effect.b} removed`;
  const { a, b, path, generation } = effect.pair;
  return `${a}-${b} ${path} ${generation}`;
}

const hello = (
  node: string,
  session = "s1",
  ...reports: [peer: string, up: boolean, sequence: number][]
): ArbiterEvent => ({
  kind: "hello",
  node,
  session,
  reports: reports.map(([peer, up, sequence]) => ({ peer, up, sequence })),
});
const report = (node: string, peer: string, up: boolean, sequence: number, session = "s1"): ArbiterEvent => ({
  kind: "report",
  node,
  session,
  report: { peer, up, sequence },
});

describe("pair arbitration", () => {
  test("direct when both are up, through the hub when one is down, each change with a new generation", () => {
    const [, said] = run(
      empty,
      hello("a"),
      hello("b"),
      report("a", "b", true, 0),
      report("b", "a", true, 0),
      report("b", "a", false, 1),
      report("a", "b", false, 1),
      report("a", "b", true, 2),
      report("b", "a", true, 2),
    );
    expect(said).toEqual(["a-b direct 1", "a-b hub 2", "a-b direct 3"]);
  });

  test("late and repeated reports are passed over", () => {
    const [, said] = run(
      empty,
      hello("a"),
      hello("b"),
      report("a", "b", true, 5),
      report("b", "a", true, 1),
      report("a", "b", false, 4),
      report("a", "b", false, 5),
    );
    expect(said).toEqual(["a-b direct 1"]);
  });

  test("a lost report is made good by the list of the next connection", () => {
    const [state] = run(empty, hello("a"), hello("b"), report("a", "b", true, 0), report("b", "a", true, 0));
    expect(run(state, hello("a", "s1", ["b", false, 3]))[1]).toEqual(["a-b hub 2"]);
  });

  test("a restarted hub or agent changes nothing until somebody knows", () => {
    const [before] = run(empty, hello("a"), hello("b"), report("a", "b", true, 0), report("b", "a", true, 0));
    const restarted = arbiterFrom(publishedPairs(before));
    expect(run(restarted, hello("a"), hello("b"), report("a", "b", true, 1))[1]).toEqual([]);
    expect(run(restarted, hello("a"), hello("b"), report("a", "b", false, 1))[1]).toEqual(["a-b hub 2"]);
    expect(run(before, hello("a", "s2"))[1]).toEqual([]);
  });

  test("what an earlier life said does not count", () => {
    const [state] = run(empty, hello("a"), hello("b"), report("a", "b", true, 7));
    // The new life has not heard b yet: its old `up` must not make the pair direct.
    const [, said] = run(state, hello("a", "s2"), report("b", "a", true, 0), report("a", "b", true, 8, "s1"));
    expect(said).toEqual([]);
    expect(
      run(state, hello("a", "s2"), report("b", "a", true, 0), report("a", "b", true, 0, "s2"))[1],
    ).toEqual(["a-b direct 1"]);
  });

  test("a node that was removed or replaced starts from nothing", () => {
    const [state] = run(empty, hello("a"), hello("b"), report("a", "b", true, 0), report("b", "a", true, 0));
    const [after, said] = run(state, { kind: "reset", node: "b" });
    expect(said).toEqual(["a-b removed"]);
    expect([...after.pairs.keys(), ...after.reports.keys()]).toEqual([]);
    expect(run(after, report("b", "a", true, 9))[1]).toEqual([]);
  });

  test("a step copies what it changes and shares the rest", () => {
    const [before] = run(
      empty,
      ...["a", "b", "c", "d"].map((name) => hello(name)),
      report("a", "b", true, 0),
      report("b", "a", true, 0),
      report("c", "d", true, 0),
      report("d", "c", true, 0),
    );
    const shown = JSON.stringify([...before.reports].map(([from, row]) => [from, [...row]]));
    // Nothing new: nothing is copied at all.
    const [same] = run(before, report("a", "b", true, 0));
    expect([same.reports === before.reports, same.pairs === before.pairs]).toEqual([true, true]);
    // A report that moves no pair.
    const [repeated] = run(before, report("a", "b", true, 1));
    expect(repeated.pairs).toBe(before.pairs);
    for (const other of ["b", "c", "d"])
      expect(repeated.reports.get(other)).toBe(before.reports.get(other) as never);
    // A report that moves one.
    const [moved] = run(before, report("a", "b", false, 1));
    expect(moved.pairs.get("c")).toBe(before.pairs.get("c") as never);
    expect(moved.pairs.get("a")?.get("b")?.path).toBe("hub");
    expect(before.pairs.get("a")?.get("b")?.path).toBe("direct");
    expect(JSON.stringify([...before.reports].map(([from, row]) => [from, [...row]]))).toBe(shown);
    // A reset in a mesh of others.
    const [reset, said] = run(before, { kind: "reset", node: "a" });
    expect(said).toEqual(["a-b removed"]);
    expect([...reset.reports.keys()]).toEqual(["c", "d"]);
    expect(reset.reports.get("c")).toBe(before.reports.get("c") as never);
  });

  test("a node cannot speak of itself", () => {
    expect(run(empty, hello("a"), report("a", "a", true, 0))[1]).toEqual([]);
  });
});
