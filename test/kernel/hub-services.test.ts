/** Enrolment and sync over real sockets, in a namespace of their own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const why = notRoot ?? lacksTool("ip");

test.skipIf(why !== undefined)(
  `newcomers register, nodes follow, both ends of a pair are invited, nodes leave${why === undefined ? "" : ` (skipped: ${why})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/hub-scenario.ts", import.meta.url).pathname;
    const done = runSync([process.execPath, scenario], { netns: scratch.netns, timeoutMs: 100_000 });
    expect(done.stderr).toBe("");
    const { events, ...result } = JSON.parse(done.stdout);
    expect(result).toEqual({
      sameAnswer: true,
      sameName: "name-taken",
      joined: ["a", "b", "c"],
      full: "use-taken",
      seen: ["b", "c", "hub"],
      paced: true,
      current: true,
      factsPaced: true,
      factsAlone: true,
      edge: "on a: spec.vni is taken",
      edgeAlone: true,
      granted: 400,
      unknownSubnet: "refused no-such-subnet",
      tooOften: ["200", "unanswered too-many"],
      stays: true,
      moved: ["10.7.0.254", "10.7.0.254"],
      claimed: 200,
      answered: 200,
      left: true,
      revoked: true,
      stranger: "unknown-source",
    });
    const said = events.map(
      (event: { kind: string; node?: string; code?: string }) => `${event.kind} ${event.node ?? event.code}`,
    );
    expect(said.filter((text: string) => !text.includes("use-taken"))).toEqual([
      "registered a",
      "registered a",
      "refused name-taken",
      "registered b",
      "registered c",
      "left c",
    ]);
  },
);
