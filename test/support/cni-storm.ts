/**
 * The storm: eight callers attach and detach pods with the real plugin, while the real agent is killed again and again. Started as
 * root in network, mount and PID namespaces of its own, which are all that it changes; prints one JSON report.
 *
 * A caller does what a runtime does: an ADD that failed is followed by a DEL and tried again, a DEL is made once. It keeps a book of
 * who holds which address, by the time of the answers: from an ADD's success to the start of its DEL.
 */
import { mkdirSync } from "node:fs";
import { type Kills, StormAgent } from "./cni-storm-agent.ts";
import { StormPlugin, type Target } from "./cni-storm-plugin.ts";
import { Random } from "./random.ts";

/** StormOptions are the program's argument, as JSON. */
export interface StormOptions {
  readonly seed: number;
  /** How many ADDs and DELs must have succeeded. */
  readonly operations: number;
  readonly executable: string;
}

/** StormReport is the program's output, as JSON. */
export interface StormReport {
  readonly adds: number;
  readonly dels: number;
  /** ADDs that failed because the agent was away or died, and were tried again. */
  readonly retried: number;
  readonly pings: number;
  readonly kills: Kills;
  readonly seconds: number;
  /** The long ping between two pods, which ran all the time: how many were sent, and which never came back. */
  readonly witness: { readonly sent: number; readonly lost: readonly number[] };
  /** Pods that were attached when the killing ended, all of which were looked at. */
  readonly alive: number;
  /** Everything that must not have happened. */
  readonly violations: readonly string[];
  /** What was left after DEL of all. */
  readonly remains: readonly string[];
}

const CALLERS = 8;
const SLOTS_PER_CALLER = 8;
const [GATEWAY4, PODS4] = ["10.244.0.1", "10.244.0.0/17"]; // nodes get a /25: addresses come round soon
/** Guards against a storm that makes no progress. */
const MOST_TRIES = 500;

interface Attached extends Target {
  readonly addresses: readonly string[];
  readonly result: { readonly ips: readonly { address: string; gateway: string }[] };
}

const options = JSON.parse(process.argv[2] ?? "{}") as StormOptions;
/** Where runtimes find it: what is stormed is what an administrator installs. */
const BIN = "/run/cni/bin";
const plugin = new StormPlugin(`${BIN}/causeway`);
const agent = new StormAgent(options.executable);
const violations: string[] = [];
const holders = new Map<string, string>();
const count = { adds: 0, dels: 0, retried: 0, pings: 0 };

function violated(text: string): void {
  if (violations.length < 20) violations.push(text);
}

const done = () => count.adds + count.dels >= options.operations || violations.length >= 20;

function must(...argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}${stdout}`);
  return stdout.toString();
}

/** attach makes an ADD succeed, as a runtime would, and books its addresses. */
async function attach(target: Target, random: Random): Promise<Attached | undefined> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const reply = await plugin.call("ADD", target);
    if (reply.status === 0) {
      const result = JSON.parse(reply.stdout) as Attached["result"];
      const addresses = result.ips.map(({ address }) => address);
      for (const address of addresses) {
        const other = holders.get(address);
        if (other !== undefined)
          violated(`${address} was given to ${target.containerId}, and ${other} has it`);
        holders.set(address, target.containerId);
      }
      count.adds++;
      return { ...target, addresses, result };
    }
    if (reply.code !== 11) violated(`ADD of ${target.containerId} failed: ${reply.stdout}`);
    count.retried++;
    await remove(target);
    await Bun.sleep(150 + random.below(150));
  }
  violated(`ADD of ${target.containerId} failed ${MOST_TRIES} times`);
  return undefined;
}

async function remove(target: Target): Promise<void> {
  const reply = await plugin.call("DEL", target);
  if (reply.status !== 0 || reply.stdout !== "")
    violated(`DEL of ${target.containerId} failed: ${reply.status} ${reply.stdout}`);
}

async function detach(attached: Attached): Promise<void> {
  // From here on the address may be another's: the agent releases it before we hear of it.
  for (const address of attached.addresses) holders.delete(address);
  await remove(attached);
  count.dels++;
}

async function pings(attached: Attached): Promise<void> {
  count.pings++;
  for (const { gateway } of attached.result.ips) {
    const argv = ["ip", "netns", "exec", attached.netns.slice("/run/netns/".length)];
    const child = Bun.spawn([...argv, "ping", "-n", "-c", "1", "-W", "5", gateway], { stdout: "pipe" });
    const [text, status] = await Promise.all([child.stdout.text(), child.exited]);
    if (status !== 0) violated(`${attached.containerId} does not reach ${gateway}: ${text}`);
  }
}

async function caller(index: number): Promise<Attached[]> {
  const random = new Random(options.seed + index);
  const slots: (Attached | undefined)[] = Array.from({ length: SLOTS_PER_CALLER });
  for (let serial = 0; !done(); serial++) {
    const at = random.below(SLOTS_PER_CALLER);
    const attached = slots[at];
    if (attached === undefined) {
      const netns = `/run/netns/s${index}-${at}`;
      slots[at] = await attach({ containerId: `c${index}-${serial}`, netns }, random);
      continue;
    }
    if (random.chance(0.02)) await pings(attached);
    slots[at] = undefined;
    await detach(attached);
  }
  return slots.filter((slot) => slot !== undefined);
}

/** Kills the agent at random instants: while it starts, after some ADDs, or frozen with calls at its door. */
async function killer(): Promise<void> {
  const random = new Random(options.seed + CALLERS);
  while (!done()) {
    const whileStarting = random.chance(0.2);
    if (whileStarting) await Bun.sleep(random.below(80));
    else {
      const enough = count.adds + 1 + random.below(300);
      while (count.adds < enough && !done()) await Bun.sleep(1);
      await Bun.sleep(random.below(4));
      if (random.chance(0.2)) {
        agent.stop();
        await Bun.sleep(random.below(40));
      }
    }
    await agent.kill({ whileStarting });
    if (random.chance(0.3)) await Bun.sleep(random.below(100));
    agent.start();
  }
}

async function answered(): Promise<void> {
  while ((await plugin.call("STATUS")).status !== 0) await Bun.sleep(10);
}

/** The node: a wire, a mesh of one, and the pods' namespaces. */
async function prepare(): Promise<void> {
  for (const path of ["/run", "/var/lib"]) must("mount", "-t", "tmpfs", "tmpfs", path);
  for (const path of ["/run/netns", "/run/causeway", "/var/lib/causeway"]) mkdirSync(path);
  must("ip", "link", "set", "lo", "up");
  must("ip", "link", "add", "wire", "up", "type", "veth", "peer", "name", "far");
  must("ip", "address", "add", "192.0.2.1/24", "dev", "wire");
  must("ip", "link", "set", "far", "up");
  must(options.executable, "cni", "install", "--bin-dir", BIN, "--conf-dir", "/run/cni/net.d");
  agent.start();
  while (Bun.spawnSync([options.executable, "status"]).exitCode !== 0) await Bun.sleep(10);
  must(options.executable, "init", "--name", "node", "--endpoint", "192.0.2.1:51820", "--pods4", PODS4);
  for (let index = 0; index < CALLERS; index++)
    for (let at = 0; at < SLOTS_PER_CALLER; at++) must("ip", "netns", "add", `s${index}-${at}`);
  for (const name of ["w1", "w2"]) must("ip", "netns", "add", name);
  await answered();
}

/** What the pods left on the node; the constant part of it is not listed. */
function remains(): string[] {
  const links = (JSON.parse(must("ip", "-j", "link")) as { ifname: string }[])
    .map(({ ifname }) => ifname)
    .filter((name) => /^cw[0-9a-z]{11}$/.test(name));
  const table = JSON.parse(must("nft", "-j", "list", "table", "bridge", "causeway")) as {
    nftables: { set?: { name: string; elem?: unknown[] } }[];
  };
  const elements = table.nftables.flatMap(({ set }) => (set?.elem ?? []).map((elem) => [set?.name, elem]));
  const neighbours = (JSON.parse(must("ip", "-j", "neigh", "show", "dev", "cw-pods", "nud", "permanent")) ||
    []) as { dst: string }[];
  const tombstones = must("sh", "-c", "ls /var/lib/causeway/tombstones 2>/dev/null || true").split("\n");
  return [
    ...links.map((name) => `link ${name}`),
    ...elements.map((element) => `element ${JSON.stringify(element)}`),
    ...neighbours.map(({ dst }) => `neighbour ${dst}`),
    ...tombstones.filter(Boolean).map((name) => `tombstone ${name}`),
    ...agent.rows().map((row) => `row ${row}`),
  ];
}

async function settled(): Promise<string[]> {
  for (let tries = 0; ; tries++) {
    const left = remains();
    if (left.length === 0 || tries === 100) return left;
    await Bun.sleep(50);
  }
}

/** What ping(8) printed; the last one may have been on its way when it was ended. */
function pinged(text: string): StormReport["witness"] {
  const sent = Number(/(\d+) packets transmitted/.exec(text)?.[1] ?? 0);
  const answered = new Set([...text.matchAll(/icmp_seq=(\d+) ttl/g)].map((match) => Number(match[1])));
  const all = Array.from({ length: Math.max(0, sent - 1) }, (_, index) => index + 1);
  return { sent, lost: all.filter((sequence) => !answered.has(sequence)) };
}

async function storm(): Promise<StormReport> {
  await prepare();
  const random = new Random(options.seed);
  const witnesses = ["w1", "w2"].map((name) => ({ containerId: name, netns: `/run/netns/${name}` }));
  const [first, second] = [
    await attach(witnesses[0] as Target, random),
    await attach(witnesses[1] as Target, random),
  ];
  const far = second?.addresses[0]?.split("/")[0] ?? GATEWAY4;
  const witness = Bun.spawn(["ip", "netns", "exec", "w1", "ping", "-n", "-i", "0.05", far], {
    stdout: "pipe",
  });
  const started = performance.now();
  const killing = killer();
  const alive = (await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)))).flat();
  const seconds = (performance.now() - started) / 1000;
  await killing;
  await answered();
  witness.kill("SIGINT");
  const heard = await witness.stdout.text();
  const all = [...alive, ...[first, second].filter((pod) => pod !== undefined)];
  for (const pod of all) {
    await pings(pod);
    const check = await plugin.call("CHECK", pod, { prevResult: pod.result });
    if (check.status !== 0) violated(`CHECK of ${pod.containerId} failed: ${check.stdout}`);
  }
  const report = { ...count, kills: agent.kills, seconds, witness: pinged(heard), alive: all.length };
  for (const pod of all) await detach(pod);
  const left = await settled();
  return { ...report, violations, remains: left };
}

console.log(JSON.stringify(await storm()));
process.exit(0);
