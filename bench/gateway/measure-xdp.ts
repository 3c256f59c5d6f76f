/** The inside of bench gateway's rows on AF_XDP: it runs in namespaces of its own, with which everything ends. */
import { type Row, row } from "../measure.ts";
import { preferSession } from "../tunnel/usage.ts";
import { XdpLine } from "./xdp-line.ts";

/** XdpPlan says what is measured. */
export interface XdpPlan {
  readonly rounds: number;
  readonly urgent: boolean;
  readonly cases: readonly {
    readonly name: string;
    readonly frameBytes: readonly number[];
    /** Mpps of the prototype. */
    readonly theirs: number;
  }[];
}

const WARM_UP_MS = 2000;
const ROUND_MS = 500;

async function measureXdp({ rounds, urgent, cases }: XdpPlan): Promise<Row[]> {
  if (urgent) preferSession(process.pid);
  using line = new XdpLine();
  const rows: Row[] = [];
  for (const { name, frameBytes, theirs } of cases) {
    await using _flood = line.flood(frameBytes);
    line.run(WARM_UP_MS);
    const ours = Array.from({ length: rounds }, () => line.run(ROUND_MS));
    const peer = `a prototype without ARP, ICMP and counters, as measured before; ours by ${line.provider}`;
    const about = { case: name, unit: "Mpps", peer, moreIsBetter: true };
    rows.push(
      row(
        about,
        ours,
        ours.map(() => theirs),
      ),
    );
  }
  return rows;
}

console.log(JSON.stringify(await measureXdp(JSON.parse(process.argv[2] as string) as XdpPlan)));
// What was started ends with this process's namespaces.
process.exit(0);
