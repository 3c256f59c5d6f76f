/**
 * bench tunnel: what our engine moves through a veth, beside wireguard-go in each of its settings, and nebula and the bare veth for
 * orientation. Everybody in turn in every round.
 */
import { fileURLToPath } from "node:url";
import type { Bench } from "./measure.ts";
import { chosen, positive, readOptions } from "./options.ts";
import { entries, fetchContenders } from "./tunnel/entries.ts";
import { cases } from "./tunnel/goals.ts";
import type { Plan } from "./tunnel/measure-tunnels.ts";
import { privately } from "./tunnel/private.ts";
import type { TunnelRow } from "./tunnel/samples.ts";
import { tunnelTable } from "./tunnel/table.ts";

/** Cases that are measured together with another. */
const besides = /^cpu-per-gbit$|^rtt-p99$|^memory-1000-peers-/;

function planOf(words: readonly string[]): Plan {
  const options = readOptions(words, {
    values: ["rounds", "seconds", "cases", "contenders"],
    flags: ["quick", "urgent"],
  });
  const measured = cases.map(({ name }) => name).filter((name) => !besides.test(name));
  const everybody = entries.map(({ name }) => name);
  const usual = entries.filter(({ onRequest }) => onRequest === undefined).map(({ name }) => name);
  return {
    rounds: positive(options.rounds ?? (options.quick ? "1" : "4")),
    seconds: positive(options.seconds ?? (options.quick ? "1" : "2")),
    urgent: options.urgent ?? false,
    cases: options.cases === undefined ? measured : chosen(options.cases, measured),
    contenders: options.contenders === undefined ? usual : chosen(options.contenders, everybody),
  };
}

export const bench: Bench = {
  about: "our tunnel beside wireguard-go's: TCP, UDP, round trip, CPU, memory",
  options: "[--quick] [--urgent] [--rounds N] [--seconds N] [--cases LIST] [--contenders LIST]",
  async run(words) {
    const plan = planOf(words);
    fetchContenders();
    const program = fileURLToPath(new URL("./tunnel/measure-tunnels.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(plan)])) as TunnelRow[];
  },
  table: (rows) => tunnelTable(rows as readonly TunnelRow[]),
};
