/**
 * bench gateway: what one core of a site gateway does, in millions of packets a second, beside Vita's SoftBench on a machine of this kind.
 *
 * The soft rows are one queue in memory: each packet is copied, sealed and opened, as in SoftBench. They are measured in seconds of the
 * thread's own CPU time, so that what else the machine does costs less.
 */
import { SoftLoop, type SoftLoopOptions } from "./gateway/soft-loop.ts";
import { IMIX } from "./gateway/template.ts";
import type { Bench, Row } from "./measure.ts";
import { row } from "./measure.ts";
import { chosen, positive, readOptions } from "./options.ts";

interface SoftCase {
  readonly name: string;
  readonly loop: SoftLoopOptions;
  /** Vita's figure in Mpps (IPv4, AES-128-GCM), or the case of ours that it is compared with. */
  readonly theirs: number | SoftLoopOptions;
}

const CASES: readonly SoftCase[] = [
  { name: "soft-60", loop: { frameBytes: [60] }, theirs: 3.9 },
  { name: "soft-imix", loop: { frameBytes: IMIX }, theirs: 2.6 },
  { name: "soft-1414", loop: { frameBytes: [1414] }, theirs: 1.06 },
  { name: "routes-1000", loop: { frameBytes: [60], routes: 1000 }, theirs: { frameBytes: [60] } },
];

const WARM_UP = 1_280_000;
const PACKETS = 320_000;

/** Millions of packets in a second of CPU time. */
function rate(loop: SoftLoop): number {
  const before = process.cpuUsage();
  loop.run(PACKETS);
  const { user, system } = process.cpuUsage(before);
  return PACKETS / (user + system);
}

function measure({ name, loop, theirs }: SoftCase, rounds: number): Row {
  const ours = new SoftLoop(loop);
  const other = typeof theirs === "number" ? undefined : new SoftLoop(theirs);
  const samples: { readonly ours: number[]; readonly theirs: number[] } = { ours: [], theirs: [] };
  ours.run(WARM_UP);
  other?.run(WARM_UP);
  for (let i = 0; i < rounds; i++) {
    samples.ours.push(rate(ours));
    samples.theirs.push(other === undefined ? (theirs as number) : rate(other));
  }
  const peer = other === undefined ? "Vita's SoftBench, as measured before" : "ours with 1 route";
  const about = { case: name, unit: "Mpps", peer: `${peer}; ours by ${ours.provider}`, moreIsBetter: true };
  return row(about, samples.ours, samples.theirs);
}

export const bench: Bench = {
  about: "a site gateway's data path, in memory on one core: packets sealed and opened",
  options: "[--quick] [--rounds N] [--cases LIST]",
  run(words) {
    const options = readOptions(words, { values: ["rounds", "cases"], flags: ["quick"] });
    const names = CASES.map(({ name }) => name);
    const wanted = options.cases === undefined ? names : chosen(options.cases, names);
    const rounds = positive(options.rounds ?? (options.quick ? "3" : "11"));
    return CASES.filter(({ name }) => wanted.includes(name)).map((one) => measure(one, rounds));
  },
};
