/** bench bgp: a route reflector beside FRR, BIRD and GoBGP: time until the last of its clients has all, CPU time, peak memory. */
import { fileURLToPath } from "node:url";
import type { BgpCase, BgpPlan, Measured } from "./bgp/measure-bgp.ts";
import { contenders, fetchContenders } from "./bgp/contenders.ts";
import { type Bench, type Row, row } from "./measure.ts";
import { chosen, OptionError, positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";

const cases = (scale: number, churnSeconds: number): readonly BgpCase[] => {
  const churn = { rate: 10_000, seconds: churnSeconds };
  const evpn = { load: "evpn", receivers: 10, churn } as const;
  return [
    { name: "evpn-reflect-10", ...evpn, routes: 500_000 / scale, phases: ["announce", "withdraw"] },
    {
      name: "ipv4-reflect-10",
      ...evpn,
      load: "ipv4",
      routes: 1_000_000 / scale,
      phases: ["announce", "withdraw"],
    },
    {
      name: "sessions-1000",
      ...evpn,
      receivers: 1000 / scale - 1,
      routes: 1000,
      phases: ["sessions", "announce"],
    },
    { name: "churn", ...evpn, routes: 500_000 / scale, phases: ["announce", "churn"] },
  ];
};

const names = contenders.map(({ name }) => name);
const caseNames = cases(1, 60).map(({ name }) => name);

/** A case that has one phase to show is its row; others are named with theirs. */
function titleOf(name: string, phase: string): string {
  if (name === "sessions-1000") return phase === "sessions" ? "sessions-1000-up" : `${name}-announce`;
  return phase === "withdraw" ? `${name}-withdraw` : name;
}

/** The rows of one measurement: each contender is a peer. */
function rowsOf(all: readonly Measured[]): Row[] {
  const rows: Row[] = [];
  const phases = [...new Set(all.map(({ case: name, phase }) => `${name} ${phase}`))];
  for (const text of phases) {
    const [name = "", phase = ""] = text.split(" ");
    // Churn is measured over routes that are there: their announcement is the other case's row.
    if (name === "churn" && phase === "announce") continue;
    const of = (contender: string) =>
      all.filter(
        (one) =>
          one.case === name && one.phase === phase && one.contender === contender && one.failed === undefined,
      );
    const ours = of("ours");
    if (ours.length === 0) continue;
    const title = titleOf(name, phase);
    for (const peer of names.slice(1)) {
      const theirs = of(peer);
      if (theirs.length === 0) continue;
      const add = (suffix: string, unit: string, value: (one: Measured) => number) =>
        rows.push(row({ case: `${title}${suffix}`, unit, peer }, ours.map(value), theirs.map(value)));
      if (phase === "churn") {
        add("-p50", "ms", (one) => one.lagMs?.p50 ?? Number.NaN);
        add("-p99", "ms", (one) => one.lagMs?.p99 ?? Number.NaN);
      } else add("", "s", (one) => one.seconds);
      add("-cpu", "s", (one) => one.cpuSeconds);
      if (phase === "announce") add("-memory", "MB", (one) => one.memoryMb);
    }
  }
  return rows;
}

export const bench: Bench = {
  about: "a route reflector beside FRR, BIRD and GoBGP: time, CPU and memory for the same load",
  options: "[--quick] [--urgent] [--rounds N] [--cases LIST] [--contenders LIST] [--limit SECONDS]",
  async run(words) {
    const options = readOptions(words, {
      values: ["rounds", "cases", "contenders", "limit"],
      flags: ["quick", "urgent"],
    });
    const quick = options.quick === true;
    const wanted = options.cases === undefined ? caseNames : chosen(options.cases, caseNames);
    const who = options.contenders === undefined ? names : chosen(options.contenders, names);
    if (!who.includes("ours"))
      throw new OptionError("--contenders lacks ours, which the others are compared with");
    const plan: BgpPlan = {
      contenders: who,
      cases: cases(quick ? 10 : 1, quick ? 5 : 60).filter(({ name }) => wanted.includes(name)),
      rounds: positive(options.rounds ?? "1"),
      urgent: options.urgent ?? false,
      limitSeconds: positive(options.limit ?? "180"),
    };
    fetchContenders(who);
    const program = fileURLToPath(new URL("./bgp/measure-bgp.ts", import.meta.url));
    return rowsOf(JSON.parse(await privately([program, JSON.stringify(plan)])) as Measured[]);
  },
};
