/** Traffic from a contender's near end to its far end. Generators are processes of their own and may run on any CPU. */
import { fileURLToPath } from "node:url";
import { run } from "../../src/sys/mod.ts";
import type { CableEnd } from "./cable.ts";
import type { Contender } from "./contender.ts";
import { cpuSeconds } from "./usage.ts";

const SINK_PORT = 7777;
/** What is still on its way when the sender stops. */
const DRAIN_MS = 100;
const PINGS = 200;
const PING_PAUSE_SECONDS = 0.004;

/** start runs a program in an end's namespace, with pipes. */
function start({ netns }: CableEnd, argv: string[]) {
  return netns.run(() => {
    // A window may not return a promise, which a child has inside.
    const child = Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    return { child };
  }).child;
}

/** startServer runs iperf3's server at a far end; it lives until this process ends. */
export async function startServer({ far }: Contender): Promise<void> {
  const server = start(far, ["iperf3", "-s", "--forceflush"]);
  const { value } = await server.stdout.getReader().read();
  if (value === undefined) throw new Error("iperf3 -s ended");
}

/** Flow is what came through, and what that cost. */
export interface Flow {
  readonly gigabits: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** tcp runs some TCP flows for a while. */
export async function tcp(
  contender: Contender,
  { flows, seconds }: { readonly flows: number; readonly seconds: number },
): Promise<Flow> {
  const before = cpuSeconds(contender.pids);
  const argv = ["iperf3", "-c", contender.to, "-t", `${seconds}`, "-P", `${flows}`, "-J"];
  const { stdout } = await run(argv, { netns: contender.near.netns });
  const used = cpuSeconds(contender.pids) - before;
  const { end, error } = JSON.parse(stdout) as {
    readonly error?: string;
    readonly end: { readonly sum_received?: { readonly bytes: number; readonly seconds: number } };
  };
  if (end.sum_received === undefined) throw new Error(`iperf3: ${error ?? "it says nothing"}`);
  const { bytes, seconds: took } = end.sum_received;
  return { gigabits: (bytes * 8) / 1e9, seconds: took, cpuSeconds: used };
}

/** Flood is what was sent and what arrived. */
export interface Flood {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** FloodOptions say what is sent. */
export interface FloodOptions {
  readonly payloadBytes: number;
  readonly seconds: number;
  /** Datagrams that are offered in a second; default as many as the sender can. */
  readonly perSecond?: number;
  /** Whether the receiver takes datagrams one by one, as most programs do, or joined by the kernel. */
  readonly single?: boolean;
}

/** flood sends datagrams, as fast as the sender can or at a pace. */
export async function flood(
  contender: Contender,
  { payloadBytes, seconds, perSecond, single = false }: FloodOptions,
): Promise<Flood> {
  const program = (name: string) => fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const how = single ? "single" : "joined";
  const sink = start(contender.far, [process.execPath, program("count"), `${SINK_PORT}`, how]);
  const heard = sink.stdout.getReader();
  const text = async () => new TextDecoder().decode((await heard.read()).value);
  if (!(await text()).startsWith("ready")) throw new Error("the counter does not start");
  const before = cpuSeconds(contender.pids);
  const pace = perSecond === undefined ? [] : [`${perSecond}`];
  const words = [contender.to, `${SINK_PORT}`, `${payloadBytes}`, `${seconds}`, ...pace];
  const source = start(contender.near, [process.execPath, program("blast"), ...words]);
  const said = JSON.parse(await source.stdout.text()) as { datagrams: number; seconds: number };
  const used = cpuSeconds(contender.pids) - before;
  await Bun.sleep(DRAIN_MS);
  await sink.stdin.end();
  const received = Number(await text()) / payloadBytes;
  await sink.exited;
  return { sent: said.datagrams, received, seconds: said.seconds, cpuSeconds: used };
}

/** roundTrips returns how long answers took, in milliseconds, sorted; the tunnel does nothing else. */
export async function roundTrips(contender: Contender): Promise<number[]> {
  const argv = ["ping", "-n", "-i", `${PING_PAUSE_SECONDS}`, "-c", `${PINGS}`, contender.to];
  const { stdout, stderr } = await run(argv, { netns: contender.near.netns });
  const times = [...stdout.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
  if (times.length < PINGS / 2) throw new Error(`ping: ${stdout.slice(-200)}${stderr}`);
  return times.sort((a, b) => a - b);
}
