/** bench tunnel-profile: where the CPU time of a tunnel's two ends goes, for a gigabit and for a small packet. Needs perf(1), Debian's linux-perf. */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "./measure.ts";
import { chosen, OptionError, positive, readOptions } from "./options.ts";
import { entries, fetchContenders } from "./tunnel/entries.ts";
import { privately } from "./tunnel/private.ts";
import type { ProfilePlan } from "./tunnel/profile-tunnels.ts";
import { PARTS } from "./tunnel/profile.ts";
import { aligned } from "./tunnel/table.ts";

const short = (value: number | undefined) =>
  value === undefined || value === 0 ? "–" : Number(value.toPrecision(2)).toString();

/** A line for each part of each end, and their sums. */
function table(rows: readonly Row[]): string {
  const sum = (numbers: readonly Row[], side: "ours" | "theirs") =>
    numbers.reduce((all, each) => all + each[side], 0);
  const works = [...new Set(rows.map((row) => row.case.split(" ")[0] as string))];
  return works
    .map((work) => {
      const mine = rows.filter((row) => row.case.startsWith(`${work} `));
      const ends = (["near", "far"] as const).map((end) =>
        mine.filter((row) => row.case.includes(` ${end} `)),
      );
      const columns = (["ours", "theirs"] as const).flatMap((side) => ends.map((rows) => ({ side, rows })));
      const value = ({ side, rows }: (typeof columns)[number], part: string) => {
        const all = sum(rows, side);
        const cost = part === "all" ? all : (rows.find((row) => row.case.endsWith(` ${part}`))?.[side] ?? 0);
        return cost === 0 ? "–" : `${short(cost)} (${Math.round((cost / all) * 100)} %)`;
      };
      const head = [
        `${work}, ${mine[0]?.unit}`,
        ...["ours", mine[0]?.peer as string].flatMap((who) => [`${who}, sender`, `${who}, receiver`]),
      ];
      return aligned([
        head,
        ...[...PARTS, "all"].map((part) => [part, ...columns.map((column) => value(column, part))]),
      ]);
    })
    .join("\n\n");
}

export const bench: Bench = {
  about: "where the tunnel's CPU time goes: kernel, AEAD, checksums, TypeScript, runtime",
  options: "[--seconds N] [--ours CONTENDER] [--theirs CONTENDER]",
  async run(words) {
    const names = entries.filter(({ name }) => name !== "veth").map(({ name }) => name);
    const {
      ours = "ours",
      theirs = "go-pinned",
      seconds = "3",
    } = readOptions(words, {
      values: ["seconds", "ours", "theirs"],
      flags: [],
    });
    chosen(`${ours},${theirs}`, names);
    const plan: ProfilePlan = { ours, theirs, seconds: positive(seconds) };
    if (Bun.which("perf") === null)
      throw new OptionError("Cannot profile: there is no perf; install linux-perf");
    fetchContenders();
    const program = fileURLToPath(new URL("./tunnel/profile-tunnels.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(plan)])) as Row[];
  },
  table,
};
