/** The inside of bench cni: a private host with our agent in its namespace, and another namespace for the reference plugins. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Netns } from "../src/sys/mod.ts";
import { compare, type Row, row } from "./measure.ts";

const executable = fileURLToPath(new URL("../dist/causeway", import.meta.url));
const BIN = "/run/cni/bin";
const REFERENCE = "/usr/lib/cni";
const CALLERS = 8;
const SETTLE_MS = 60;
const RUNS = 100;
/** The agent lives for months, and its code is compiled as it is used. */
const WARM_UP = 50;
const RATE_PODS = 200;
const RATE_ROUNDS = 5;
const HELD_PODS = 250;

function must(...command: string[]): string {
  const done = Bun.spawnSync(command, { stdin: "ignore" });
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}

/** Contender is a plugin with its configuration, and where it runs. */
interface Contender {
  readonly plugin: string;
  readonly configuration: Record<string, unknown>;
  readonly netns: Netns;
}

function environment(command: string, pod: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    CNI_COMMAND: command,
    CNI_CONTAINERID: pod,
    CNI_NETNS: `/run/netns/${pod}`,
    CNI_IFNAME: "eth0",
    CNI_PATH: REFERENCE,
  };
}

/** call runs the plugin once and returns how long that took in milliseconds. */
function call({ plugin, configuration, netns }: Contender, command: string, pod: string): number {
  const stdin = Buffer.from(JSON.stringify(configuration));
  const env = environment(command, pod);
  return netns.run(() => {
    const start = performance.now();
    const done = Bun.spawnSync([plugin], { stdin, env });
    const ms = performance.now() - start;
    if (done.exitCode !== 0) throw new Error(`${plugin} ${command}: ${done.stdout}${done.stderr}`);
    return ms;
  });
}

/** together runs the plugin for all pods, from CALLERS shells at once, and returns how many there were in a second. */
function together(
  { plugin, configuration, netns }: Contender,
  command: string,
  pods: readonly string[],
): Promise<number> {
  writeFileSync("/run/conf.json", JSON.stringify(configuration));
  const loop = `for pod in "$@"; do
    CNI_CONTAINERID=$pod CNI_NETNS=/run/netns/$pod ${plugin} </run/conf.json >/run/out.$$ || { cat /run/out.$$; exit 1; }
  done`;
  const start = performance.now();
  const callers = Array.from({ length: CALLERS }, (_, caller) => {
    const mine = pods.filter((_pod, index) => index % CALLERS === caller);
    return netns.run(() => {
      const child = Bun.spawn(["sh", "-c", loop, "sh", ...mine], {
        env: environment(command, "none"),
        stdout: "pipe",
      });
      return { child };
    });
  });
  return Promise.all(
    callers.map(async ({ child }) => {
      if ((await child.exited) !== 0) throw new Error(`${plugin} ${command}: ${await child.stdout.text()}`);
    }),
  ).then(() => (pods.length * 1000) / (performance.now() - start));
}

async function startAgent(): Promise<number> {
  must("ip", "link", "add", "up0", "type", "veth", "peer", "name", "wan0");
  must("ip", "addr", "add", "192.0.2.1/24", "dev", "up0");
  must("ip", "link", "set", "up0", "up");
  const agent = Bun.spawn([executable, "agent"], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: Bun.file("/run/agent.log"),
  });
  for (let tries = 0; tries < 200; tries++) {
    const done = Bun.spawnSync([
      executable,
      "init",
      "--endpoint",
      "192.0.2.1:51820",
      "--name",
      "bench",
      "--node-bits",
      "4",
    ]);
    if (done.exitCode === 0) {
      if (!must("nft", "list", "table", "inet", "causeway").includes("masquerade"))
        throw new Error("the agent does not masquerade: nothing to compare");
      return agent.pid;
    }
    if (agent.exitCode !== null) break;
    await Bun.sleep(50);
  }
  throw new Error(`the agent does not start: ${readFileSync("/run/agent.log", "utf8")}`);
}

/** Memory that the process has written, in MB: what it takes from the node, since clean pages of its file can be dropped. */
function privateMb(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Private_Dirty:\s+(\d+)/m.exec(text)?.[1]) / 1000;
}

function pods(prefix: string, count: number): string[] {
  const names = Array.from({ length: count }, (_, index) => `${prefix}${index}`);
  writeFileSync("/run/batch", names.map((name) => `netns add ${name}\n`).join(""));
  must("ip", "-batch", "/run/batch");
  return names;
}

async function main(): Promise<Row[]> {
  for (const folder of ["/run", "/var/lib"]) must("mount", "-t", "tmpfs", "tmpfs", folder);
  for (const folder of ["/run/netns", "/run/causeway", "/var/lib/causeway", BIN])
    mkdirSync(folder, { recursive: true });
  must("ip", "link", "set", "lo", "up");
  must("ip", "netns", "add", "theirs");
  const agent = await startAgent();
  must(executable, "cni", "install", "--bin-dir", BIN, "--conf-dir", "/run/cni/conf");
  const ours: Contender = {
    plugin: `${BIN}/causeway`,
    configuration: { cniVersion: "1.0.0", name: "causeway", type: "causeway" },
    netns: Netns.current(),
  };
  const reference = (name: string, more: object, subnet: string): Contender => ({
    plugin: `${REFERENCE}/bridge`,
    configuration: {
      cniVersion: "1.0.0",
      name,
      type: "bridge",
      bridge: name,
      isGateway: true,
      isDefaultGateway: true,
      ...more,
      ipam: { type: "host-local", ranges: [[{ subnet }]] },
    },
    netns: Netns.open("/run/netns/theirs"),
  });
  const theirs = reference("plain", {}, "10.1.0.0/16");
  const masked = reference("masked", { ipMasq: true }, "10.2.0.0/16");

  const rows: Row[] = [];
  const unit = "ms";
  const peer = "bridge + host-local";
  for (const [suffix, other, name] of [
    ["", theirs, peer],
    ["-masquerade", masked, `${peer}, ipMasq`],
  ] as const) {
    const [mine, its] = [
      pods(`o${suffix.length}x`, RUNS + WARM_UP),
      pods(`t${suffix.length}x`, RUNS + WARM_UP),
    ];
    for (const command of ["ADD", "DEL"] as const) {
      let [at, itsAt] = [0, 0];
      rows.push(
        compare({
          case: `${command.toLowerCase()}${suffix}`,
          unit,
          peer: name,
          runs: RUNS,
          warmUp: WARM_UP,
          ours: () => {
            const ms = call(ours, command, mine[at++] as string);
            // What the kernel still does for ours must not hold theirs up.
            if (command === "DEL") Bun.sleepSync(SETTLE_MS);
            return ms;
          },
          theirs: () => call(other, command, its[itsAt++] as string),
        }),
      );
    }
  }

  const rates: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  for (let round = 0; round <= RATE_ROUNDS; round++)
    for (const [who, contender] of [
      ["ours", ours],
      ["theirs", theirs],
    ] as const) {
      const names = pods(`r${who}${round}x`, RATE_PODS);
      const rate = await together(contender, "ADD", names);
      await together(contender, "DEL", names);
      // The first round warms up.
      if (round > 0) rates[who].push(rate);
    }
  rows.push(
    row(
      { case: "rate-8", unit: "ADD/s", peer: `${peer}, ${CALLERS} callers`, moreIsBetter: true },
      rates.ours,
      rates.theirs,
    ),
  );

  const before = privateMb(agent);
  const held = pods("held", HELD_PODS);
  await together(ours, "ADD", held);
  rows.push(
    row(
      { case: "memory-250", unit: "MB private", peer: "the same agent without pods" },
      [privateMb(agent)],
      [before],
    ),
  );
  return rows;
}

console.log(JSON.stringify(await main()));
process.exit(0);
