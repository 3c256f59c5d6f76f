/**
 * The inside of bench relay: all ways in each case, in turn, round by round; the first round is short and does not count. It runs in namespaces of its
 * own, with which everything ends.
 */
import { fileURLToPath } from "node:url";
import { type Row, row } from "../measure.ts";
import { cpuSeconds, preferSession } from "../tunnel/usage.ts";
import { Frames } from "./frames.ts";
import { forwarding, relaying, type Way } from "./ways.ts";

/** What is still on its way when the sender stops. */
const DRAIN_MS = 100;

/** Plan says what is measured. */
export interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly urgent: boolean;
  readonly executable: string;
}

/** A case: datagrams as the engine sends them (`joined`) or one by one. */
interface Case {
  readonly name: string;
  readonly unit: string;
  readonly bytes: number;
  readonly how: "joined" | "single";
  /** Who is measured beside forwarding. */
  readonly way: "relay" | "xdp";
  readonly value: (datagrams: number, seconds: number) => number;
}

/** A packet of 1420 bytes inside, and one of 64. */
const [LARGE_BYTES, SMALL_BYTES] = [1452, 96];
const gigabits = (bytes: number) => (datagrams: number, seconds: number) =>
  (datagrams * bytes * 8) / seconds / 1e9;
const perSecond = (datagrams: number, seconds: number) => datagrams / seconds;
const cases: readonly Case[] = [
  {
    name: "user-space-gbit",
    unit: "Gbit/s",
    bytes: LARGE_BYTES,
    how: "joined",
    way: "relay",
    value: gigabits(LARGE_BYTES),
  },
  {
    name: "user-space-gbit-single",
    unit: "Gbit/s",
    bytes: LARGE_BYTES,
    how: "single",
    way: "relay",
    value: gigabits(LARGE_BYTES),
  },
  {
    name: "user-space-pps",
    unit: "packets/s",
    bytes: SMALL_BYTES,
    how: "single",
    way: "relay",
    value: perSecond,
  },
  {
    name: "xdp-veth",
    unit: "packets/s",
    bytes: SMALL_BYTES,
    how: "single",
    way: "xdp",
    value: perSecond,
  },
];

/** Plain forwarding under the same conditions. */
const besides = (way: Case["way"]) => (way === "xdp" ? "forwarding as xdp" : "forwarding");

const program = (name: string) => fileURLToPath(new URL(name, import.meta.url));

async function flood(way: Way, each: Case, seconds: number) {
  const { address, port, index } = await way.prepare();
  const start = (netns: typeof way.line.far, argv: string[]) =>
    netns.run(() => ({ child: Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "inherit" }) })).child;
  const sink = start(way.line.far, [
    process.execPath,
    program("../tunnel/count.ts"),
    `${way.farPort}`,
    "joined",
  ]);
  const heard = sink.stdout.getReader();
  const text = async () => new TextDecoder().decode((await heard.read()).value);
  if (!(await text()).startsWith("ready")) throw new Error("the counter does not start");
  const words = [address, port, way.nearPort, index, each.bytes, seconds, each.how].map(String);
  const before = cpuSeconds(way.pids);
  const source = start(way.line.near, [process.execPath, program("blast-frames.ts"), ...words]);
  const said = JSON.parse(await source.stdout.text()) as { datagrams: number; seconds: number };
  const used = cpuSeconds(way.pids) - before;
  await Bun.sleep(DRAIN_MS);
  await sink.stdin.end();
  const received = Number(await text()) / each.bytes;
  await sink.exited;
  return { ...said, received, cpuMicroseconds: (used / Math.max(1, received)) * 1e6 };
}

const say = (text: string) => process.stderr.write(`${text}\n`);

async function measureRelay(plan: Plan): Promise<Row[]> {
  if (plan.urgent) preferSession(process.pid);
  using stack = new DisposableStack();
  const argv = [plan.executable, "dataplane"];
  const all = [
    stack.use(await relaying(argv, { xdp: false })),
    stack.use(await relaying(argv, { xdp: true })),
    stack.use(forwarding({ machines: false })),
    stack.use(forwarding({ machines: true })),
  ];
  if (plan.urgent) for (const { pids } of all) for (const pid of pids) preferSession(pid);
  const samples = new Map<string, number[]>();
  for (let round = 0; round <= plan.rounds; round++)
    for (const each of cases) {
      const shown: string[] = [];
      const ways = all.filter(({ name }) => name === each.way || name === besides(each.way));
      for (const [i] of ways.entries()) {
        const way = ways[(i + round) % ways.length] as Way;
        const { datagrams, received, seconds, cpuMicroseconds } = await flood(
          way,
          each,
          round === 0 ? 1 : plan.seconds,
        );
        const value = each.value(received, seconds);
        shown.push(
          `${way.name} ${Number(value.toPrecision(3))} (${Math.round((100 * received) / datagrams)} % of what was sent${way.pids.length > 0 ? `, ${cpuMicroseconds.toPrecision(2)} µs of CPU each` : ""})`,
        );
        const key = `${each.name} ${way.name}`;
        if (round > 0) samples.set(key, [...(samples.get(key) ?? []), value]);
      }
      say(
        `${round === 0 ? "warm-up" : `round ${round} of ${plan.rounds}`}: ${each.name}: ${shown.join(", ")}`,
      );
    }
  const rows = cases.map(({ name, unit, way }) =>
    row(
      { case: name, unit, peer: "plain forwarding by Linux", moreIsBetter: true },
      samples.get(`${name} ${way}`) ?? [],
      samples.get(`${name} ${besides(way)}`) ?? [],
    ),
  );
  return [...rows, await measureFrames(plan)];
}

/** The program itself, on frames of 96 bytes of payload. */
async function measureFrames({ rounds, seconds }: Plan): Promise<Row> {
  using frames = new Frames();
  const samples = { relay: [] as number[], pass: [] as number[] };
  for (let round = 0; round <= rounds; round++)
    for (const kind of round % 2 === 0 ? (["relay", "pass"] as const) : (["pass", "relay"] as const)) {
      const rate = await frames.run(kind, { bytes: SMALL_BYTES, seconds: round === 0 ? 1 : seconds });
      if (round > 0) samples[kind].push(rate);
      say(
        `${round === 0 ? "warm-up" : `round ${round} of ${rounds}`}: xdp: ${kind} ${Number(rate.toPrecision(3))}`,
      );
    }
  const peer = "plain forwarding by Linux";
  return row({ case: "xdp", unit: "packets/s", peer, moreIsBetter: true }, samples.relay, samples.pass);
}

console.log(JSON.stringify(await measureRelay(JSON.parse(process.argv[2] as string) as Plan)));
// What was started ends with this process's namespaces.
process.exit(0);
