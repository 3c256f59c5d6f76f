/**
 * The inside of bench tunnel: builds all contenders, then measures one case after the other, all contenders in each, round by round. The
 * first round is short and does not count. It runs in namespaces of its own, with which everything ends.
 */
import type { Contender, Entry } from "./contender.ts";
import { debianVersion, entries } from "./entries.ts";
import { addPeers } from "./many-peers.ts";
import { Samples, type TunnelRow } from "./samples.ts";
import { flood, roundTrips, startServer, tcp } from "./traffic.ts";
import { memoryUse, preferSession } from "./usage.ts";
import { WireguardPair } from "./wireguard-pair.ts";

/** Bytes of UDP payload in an IPv4 packet of 1400. */
const LARGE_BYTES = 1372;
const SMALL_BYTES = 64;
const PEERS = 1000;
/** Who is there for orientation does not need as many. */
const ORIENTATION_ROUNDS = 2;

/** Plan says what is measured. */
export interface Plan {
  readonly contenders: readonly string[];
  readonly cases: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  /** Whether all of it comes before other work on the machine. */
  readonly urgent: boolean;
}

/** Takes a case's samples of one contender. */
type Measurement = (
  contender: Contender,
  seconds: number,
  add: (name: string, value: number) => void,
) => Promise<void>;

const tcpOf =
  (name: string, flows: number): Measurement =>
  async (contender, seconds, add) => {
    const flow = await tcp(contender, { flows, seconds });
    add(name, flow.gigabits / flow.seconds);
    if (flows === 1 && contender.pids.length > 0) add("cpu-per-gbit", flow.cpuSeconds / flow.gigabits);
  };

const measurements: Readonly<Record<string, Measurement>> = {
  "tcp-1": tcpOf("tcp-1", 1),
  "tcp-4": tcpOf("tcp-4", 4),
  "udp-1400": async (contender, seconds, add) => {
    const { received, seconds: took } = await flood(contender, { payloadBytes: LARGE_BYTES, seconds });
    add("udp-1400", (received * LARGE_BYTES * 8) / took / 1e9);
  },
  "udp-64-pps": async (contender, seconds, add) => {
    const { received, seconds: took } = await flood(contender, { payloadBytes: SMALL_BYTES, seconds });
    add("udp-64-pps", received / took);
  },
  "udp-64-pps-single": async (contender, seconds, add) => {
    const options = { payloadBytes: SMALL_BYTES, seconds, single: true };
    const { received, seconds: took } = await flood(contender, options);
    add("udp-64-pps-single", received / took);
  },
  rtt: async (contender, _seconds, add) => {
    const times = await roundTrips(contender);
    const at = (share: number) => times[Math.ceil(times.length * share) - 1] as number;
    add("rtt", at(0.5));
    add("rtt-p99", at(0.99));
  },
};

const say = (text: string) => process.stderr.write(`${text}\n`);

/** Opens a contender; its processes have sessions of their own. */
async function open(entry: Entry, { urgent }: Plan): Promise<Contender> {
  const contender = await entry.open();
  if (urgent) for (const pid of contender.pids) preferSession(pid);
  return contender;
}

async function memory(entry: Entry, plan: Plan, add: (name: string, value: number) => void) {
  const { seconds } = plan;
  using pair = await open(entry, plan);
  if (!(pair instanceof WireguardPair)) return;
  await addPeers(pair, PEERS);
  const pid = pair.pids[1] as number;
  const idle = memoryUse(pid);
  add("memory-1000-peers-idle", idle.resident);
  add("memory-1000-peers-idle-written", idle.written);
  await startServer(pair);
  await tcp(pair, { flows: 4, seconds });
  await flood(pair, { payloadBytes: SMALL_BYTES, seconds });
  const after = memoryUse(pid);
  add("memory-1000-peers", after.resident);
  add("memory-1000-peers-written", after.written);
}

/** measureTunnels does what a plan says, with progress on standard error. */
export async function measureTunnels(plan: Plan): Promise<TunnelRow[]> {
  const chosen = entries.filter(({ name }) => plan.contenders.includes(name));
  const samples = new Samples();
  if (plan.urgent) preferSession(process.pid);
  using stack = new DisposableStack();
  const field: { readonly entry: Entry; readonly contender: Contender }[] = [];
  for (const entry of chosen) {
    say(`starting ${entry.title}`);
    const contender = stack.use(await open(entry, plan));
    await startServer(contender);
    field.push({ entry, contender });
  }
  const measured = Object.entries(measurements).filter(([name]) => plan.cases.includes(name));
  for (let round = 0; round <= plan.rounds; round++) {
    // Who comes after whom changes from round to round.
    const order = field
      .map((_, index) => field[(index + round) % field.length] as (typeof field)[number])
      .filter(({ entry }) => entry.side !== "orientation" || (round > 0 && round <= ORIENTATION_ROUNDS));
    for (const [name, measure] of measured) {
      const shown: string[] = [];
      for (const { entry, contender } of order) {
        const add = (sample: string, value: number) => {
          if (round > 0) samples.add(sample, entry, value);
          if (sample === name) shown.push(`${entry.name} ${Number(value.toPrecision(3))}`);
        };
        await measure(contender, round === 0 ? 1 : plan.seconds, add);
      }
      say(`${round === 0 ? "warm-up" : `round ${round} of ${plan.rounds}`}: ${name}: ${shown.join(", ")}`);
    }
  }
  if (plan.cases.includes("memory-1000-peers"))
    for (const entry of chosen.filter(({ side }) => side !== "orientation")) {
      say(`memory with ${PEERS} peers: ${entry.title}`);
      await memory(entry, plan, (name, value) => samples.add(name, entry, value));
    }
  return samples.rows(chosen, titleOf);
}

function titleOf({ side, title }: Entry): string {
  if (title === "nebula") return `nebula ${debianVersion("nebula")}`;
  if (side !== "wireguard-go") return title;
  const setting = title.replace(/^its /, "");
  return `wireguard-go ${debianVersion("wireguard-go")} (${setting === "wireguard-go" ? "default" : setting})`;
}

if (import.meta.main) {
  const plan = JSON.parse(process.argv[2] as string) as Plan;
  console.log(JSON.stringify(await measureTunnels(plan)));
  // What was started ends with this process's namespaces.
  process.exit(0);
}
