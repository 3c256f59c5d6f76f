/** The inside of bench tunnel-profile: one contender of ours and one other under the same traffic, and where the CPU time of their ends went. */
import { type Row, row } from "../measure.ts";
import type { Contender } from "./contender.ts";
import { entries } from "./entries.ts";
import { nameCompiledCode, PARTS, type ProcessProfile, profile } from "./profile.ts";
import { flood, startServer, tcp } from "./traffic.ts";
import { cpuSeconds } from "./usage.ts";

/** ProfilePlan says whom to compare, and how long each traffic is watched. */
export interface ProfilePlan {
  readonly ours: string;
  readonly theirs: string;
  readonly seconds: number;
}

/** Traffic starts before and ends after what is sampled. */
const MARGIN_SECONDS = 1;
const SMALL_BYTES = 64;
const ENDS = ["near", "far"] as const;

/** Work is traffic, and in what its cost is counted. */
interface Work {
  readonly name: string;
  readonly unit: string;
  /** Runs the traffic and returns how many units came through. */
  run(contender: Contender, seconds: number): Promise<number>;
}

const works: readonly Work[] = [
  {
    name: "tcp-1",
    unit: "core-s/Gbit",
    run: async (contender, seconds) => (await tcp(contender, { flows: 1, seconds })).gigabits,
  },
  {
    name: "udp-64-pps",
    unit: "µs/packet",
    run: async (contender, seconds) =>
      (await flood(contender, { payloadBytes: SMALL_BYTES, seconds })).received / 1e6,
  },
];

const percent = (share: number) => `${Math.round(share * 1000) / 10} %`;

/** Costs of both ends by part. */
async function costs(
  name: string,
  contender: Contender,
  { work, seconds }: { readonly work: Work; readonly seconds: number },
): Promise<readonly (readonly number[])[]> {
  const used = () => contender.pids.map((pid) => cpuSeconds([pid]));
  const before = used();
  const running = work.run(contender, seconds + 2 * MARGIN_SECONDS);
  await Bun.sleep(MARGIN_SECONDS * 1000);
  const profiles = await profile(contender.pids, seconds);
  const units = await running;
  const after = used();
  return profiles.map((each, index) => {
    show(`${work.name}, ${name}, ${ENDS[index]}`, each);
    const cost = ((after[index] as number) - (before[index] as number)) / units;
    return PARTS.map((part) => each.shares[part] * cost);
  });
}

function show(title: string, { samples, threads, symbols }: ProcessProfile): void {
  const busy = threads.filter((share) => share >= 0.01).map(percent);
  process.stderr.write(`${title}: ${samples} samples, threads ${busy.join(", ")}\n`);
  for (const { name, share } of symbols) process.stderr.write(`  ${percent(share).padStart(6)}  ${name}\n`);
}

async function profileTunnels(plan: ProfilePlan): Promise<Row[]> {
  using stack = new DisposableStack();
  const open = async (wanted: string) => {
    const entry = entries.find(({ name }) => name === wanted);
    if (entry === undefined) throw new RangeError(`There is no "${wanted}"`);
    const contender = stack.use(await entry.open());
    await startServer(contender);
    // Code is compiled as it is used.
    for (const work of works) await work.run(contender, 2);
    return contender;
  };
  nameCompiledCode();
  const [ours, theirs] = [await open(plan.ours), await open(plan.theirs)];
  const rows: Row[] = [];
  for (const work of works) {
    const mine = await costs(plan.ours, ours, { work, seconds: plan.seconds });
    const its = await costs(plan.theirs, theirs, { work, seconds: plan.seconds });
    for (const [end, where] of ENDS.entries())
      for (const [index, part] of PARTS.entries())
        rows.push(
          row(
            { case: `${work.name} ${where} ${part}`, unit: work.unit, peer: plan.theirs },
            [mine[end]?.[index] as number],
            [its[end]?.[index] as number],
          ),
        );
  }
  return rows;
}

if (import.meta.main) {
  console.log(JSON.stringify(await profileTunnels(JSON.parse(process.argv[2] as string) as ProfilePlan)));
  // What was started ends with this process's namespaces.
  process.exit(0);
}
