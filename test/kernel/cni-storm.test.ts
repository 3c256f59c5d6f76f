/**
 * The storm: 10,000 ADDs and DELs of the real plugin from eight callers at once, while the real agent is killed (SIGKILL) at random
 * instants. No address is given twice, no attached pod is cut off, and after DEL of all there is nothing left.
 *
 * `SEED=… bun test test/kernel/cni-storm.test.ts` repeats what the callers and the killer draw; `STORM_OPERATIONS` makes it shorter.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import type { StormOptions, StormReport } from "../support/cni-storm.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { newSeed } from "../support/random.ts";

const seed = newSeed();
const operations = Number(process.env["STORM_OPERATIONS"] ?? 10_000);

/** Guards against hanging only. */
const DEADLINE_MS = 900_000;

const suffix = labLacks === undefined ? ` (SEED=${seed})` : ` (skipped: ${labLacks})`;

describe.skipIf(labLacks !== undefined)(`CNI: storm${suffix}`, () => {
  let report: StormReport;
  beforeAll(async () => {
    const program = `${import.meta.dir}/../support/cni-storm.ts`;
    const options: StormOptions = { seed, operations, executable };
    // With its PID namespace everything that the storm started ends, whatever becomes of it.
    const child = Bun.spawn(
      [
        ...["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
        ...["--propagation", "private", process.execPath, program, JSON.stringify(options)],
      ],
      { stdout: "pipe", stderr: "inherit" },
    );
    try {
      report = JSON.parse(await child.stdout.text()) as StormReport;
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
    const { adds, dels, retried, pings, kills, seconds } = report;
    const rate = Math.round((adds + dels) / seconds);
    console.log(
      `${adds} ADD, ${dels} DEL in ${Math.round(seconds)} s (${rate}/s), ${retried} ADDs tried again, ${pings} pings; ` +
        `${kills.all} kills: ${kills.whileStarting} of a starting agent, ${kills.addsCut} in an ADD, ${kills.delsCut} in a DEL`,
    );
  }, DEADLINE_MS);

  test("every call ended as a runtime may expect, and no address was given twice", () =>
    expect(report.violations).toEqual([]));

  test("the storm was one: all operations done, and kills in the middle of ADD and DEL", () => {
    expect(report.adds + report.dels).toBeGreaterThanOrEqual(operations);
    if (operations >= 10_000) expect(Math.min(report.kills.addsCut, report.kills.delsCut)).toBeGreaterThan(0);
  });

  test("two pods that talked all the time lost nothing", () =>
    expect([report.witness.sent > 20, report.witness.lost]).toEqual([true, []]));

  test("after DEL of all nothing is left: no row, no link, no element, no neighbour, no tombstone", () =>
    expect([report.alive > 0, report.remains]).toEqual([true, []]));
});
