/**
 * Runs contenders in turn, each as a reflector in a namespace of its own on processor 0, with the load's sender and receivers in another on
 * processor 1. `measure-bgp.ts PLAN` prints what was measured as JSON.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { cpuSeconds, preferSession } from "../tunnel/usage.ts";
import { contenders, prepared } from "./contenders.ts";
import type { LoadName } from "./load.ts";
import type { PhaseResult, TrafficPlan } from "./traffic.ts";

/** BgpPlan says what is measured. */
export interface BgpPlan {
  readonly contenders: readonly string[];
  readonly cases: readonly BgpCase[];
  readonly rounds: number;
  readonly urgent: boolean;
  readonly limitSeconds: number;
}

/** BgpCase is one load. */
export interface BgpCase {
  readonly name: string;
  readonly load: LoadName;
  readonly routes: number;
  readonly receivers: number;
  readonly phases: TrafficPlan["phases"];
  readonly churn: TrafficPlan["churn"];
}

/** Measured is one phase of one run. */
export interface Measured {
  readonly contender: string;
  readonly case: string;
  readonly phase: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** The most that was resident until the end of the phase. */
  readonly memoryMb: number;
  readonly lagMs?: PhaseResult["lagMs"];
  readonly failed?: string;
}

const ROUTER = "192.0.2.1";

function ip(...words: string[]): void {
  const done = Bun.spawnSync(["ip", ...words], { stderr: "pipe" });
  if (!done.success) throw new Error(`ip ${words.join(" ")}: ${done.stderr}`);
}

/** The process that does the work: what the command became, past shells and `env`. */
function peakMb(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kilobytes) * 1024) / 1e6;
}

async function measure(name: string, one: BgpCase, plan: BgpPlan): Promise<Measured[]> {
  const contender = contenders.find((candidate) => candidate.name === name);
  if (contender === undefined) throw new Error(`there is no ${name}`);
  const folder = mkdtempSync(`${tmpdir()}/causeway-bench-bgp-`);
  const addresses = Array.from(
    { length: one.receivers + 1 },
    (_, i) => `192.0.${2 + Math.floor((i + 2) / 250)}.${((i + 2) % 250) + 1}`,
  );
  try {
    const argv = prepared(contender, `${folder}/router`, {
      address: ROUTER,
      clients: addresses,
      load: one.load,
    });
    if (typeof argv === "string") return [missing(name, one, argv)];
    ip("netns", "add", "router");
    ip("netns", "add", "traffic");
    ip("link", "add", "left", "netns", "router", "type", "veth", "peer", "name", "right", "netns", "traffic");
    for (const [netns, link, own] of [
      ["router", "left", [ROUTER]],
      ["traffic", "right", addresses],
    ] as const) {
      for (const address of own) ip("-n", netns, "addr", "add", `${address}/16`, "dev", link);
      ip("-n", netns, "link", "set", link, "up");
      ip("-n", netns, "link", "set", "lo", "up");
    }
    return await run(argv, one, { plan, name, folder, addresses });
  } finally {
    for (const netns of ["router", "traffic"])
      Bun.spawnSync(["ip", "netns", "del", netns], { stderr: "ignore" });
    rmSync(folder, { recursive: true, force: true });
  }
}

function missing(contender: string, one: BgpCase, failed: string): Measured {
  return {
    contender,
    case: one.name,
    phase: "start",
    seconds: Number.NaN,
    cpuSeconds: Number.NaN,
    memoryMb: Number.NaN,
    failed,
  };
}

async function run(
  argv: readonly string[],
  one: BgpCase,
  context: {
    readonly plan: BgpPlan;
    readonly name: string;
    readonly folder: string;
    readonly addresses: readonly string[];
  },
): Promise<Measured[]> {
  const { plan, name, folder, addresses } = context;
  const log = Bun.file(`${folder}/router.log`);
  const router = Bun.spawn(["taskset", "-c", "0", "ip", "netns", "exec", "router", ...argv], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
  const traffic: TrafficPlan = {
    router: ROUTER,
    addresses,
    load: one.load,
    routes: one.routes,
    phases: one.phases,
    churn: one.churn,
    limitSeconds: plan.limitSeconds,
  };
  await listening();
  const program = Bun.spawn(
    [
      "taskset",
      "-c",
      "1",
      "ip",
      "netns",
      "exec",
      "traffic",
      process.execPath,
      `${import.meta.dir}/traffic.ts`,
      JSON.stringify(traffic),
    ],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  const results: Measured[] = [];
  try {
    if (plan.urgent && router.exitCode === null) preferSession(router.pid);
    let before = 0;
    let text = "";
    for await (const chunk of program.stdout) {
      text += new TextDecoder().decode(chunk);
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        if (line === "ready") {
          if (router.exitCode === null) before = cpuSeconds([router.pid]);
          program.stdin.write("go\n");
          program.stdin.flush();
          continue;
        }
        if (router.exitCode !== null) continue;
        const result = JSON.parse(line) as PhaseResult;
        results.push({
          ...result,
          contender: name,
          case: one.name,
          cpuSeconds: cpuSeconds([router.pid]) - before,
          memoryMb: peakMb(router.pid),
        });
      }
    }
    await program.exited;
    if (router.exitCode !== null)
      return [missing(name, one, `it ended: ${(await log.text()).trim().split("\n").at(-1)}`)];
    return results;
  } finally {
    program.kill("SIGKILL");
    router.kill("SIGKILL");
    await Promise.all([program.exited, router.exited]);
  }
}

/** Waits until somebody listens on the BGP port in the router's namespace. */
async function listening(): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const { stdout } = Bun.spawnSync(["ip", "netns", "exec", "router", "ss", "-Hltn", "sport", "=", ":179"]);
    if (stdout.length > 0) break;
    await Bun.sleep(50);
  }
  // Some listen before they know their neighbors.
  await Bun.sleep(500);
}

const plan = JSON.parse(process.argv[2] as string) as BgpPlan;
const all: Measured[] = [];
for (let round = 0; round < plan.rounds; round++)
  for (const one of plan.cases)
    for (const name of plan.contenders) {
      if (contenders.find((candidate) => candidate.name === name)?.not?.includes(one.load) === true) continue;
      const results = await measure(name, one, plan);
      all.push(...results);
      for (const result of results)
        process.stderr.write(
          `${result.case} ${result.contender} ${result.phase}: ${result.failed ?? `${result.seconds.toFixed(2)} s, CPU ${result.cpuSeconds.toFixed(2)} s, ${Math.round(result.memoryMb)} MB${result.lagMs === undefined ? "" : `, lag p50 ${result.lagMs.p50.toFixed(1)} p99 ${result.lagMs.p99.toFixed(1)} max ${result.lagMs.max.toFixed(0)} ms`}`}\n`,
        );
    }
process.stdout.write(JSON.stringify(all));
