/** The inside of bench edge. It runs in namespaces of its own, with which everything ends. */
import { runSync } from "../../src/sys/mod.ts";
import { alone, type Row } from "../measure.ts";
import { cpuSeconds, memoryUse, preferSession } from "../tunnel/usage.ts";
import type { EdgePlan } from "./plan.ts";
import { edgeOf, Rack, vniOf } from "./rack.ts";

/** After so long the agent has nothing left to do. */
const CALM_MS = 3_000;
/** Networks that the fabric announces are in here. */
const FABRIC = "10.200.0.0/16";
const WHY = "FRR needs a VRF for each domain, which not every kernel has";

const started = performance.now();

function say(text: string): void {
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}\n`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

async function within(work: Promise<void>, what: string): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not in 20 s: ${what}`)), 20_000);
  await Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

/** From the moment when the fabric's router announces a network until the first packet to it, sent by the host all the time, is there. */
async function forwarding(rack: Rack, domains: number, tries: number): Promise<number[]> {
  const { taken } = rack.tor.run(() => ({
    taken: Bun.udpSocket({ port: 4789, socket: { data: () => arrived?.() } }),
  }));
  const { sending } = rack.host.run(() => ({ sending: Bun.udpSocket({ socket: { error: () => {} } }) }));
  let arrived: (() => void) | undefined;
  const [receiver, sender] = await Promise.all([taken, sending]);
  const times: number[] = [];
  for (let i = 0; i < tries; i++) {
    const domain = Math.floor((i * domains) / tries);
    const address = `10.200.${i >> 8}.${i & 255}`;
    const way = ["ip", "route", "replace", FABRIC, "via", edgeOf(domain), "dev", `cwh${vniOf(domain)}`];
    const done = runSync(way, { netns: rack.host });
    if (done.status !== 0) throw new Error(done.stderr);
    const { promise, resolve } = Promise.withResolvers<void>();
    arrived = resolve;
    const poll = setInterval(() => sender.send("here", 9, address), 1);
    times.push(
      await timed(async () => {
        rack.announce(domain, `${address}/32`);
        await within(promise, `a packet to ${address} of domain ${domain}`);
      }),
    );
    clearInterval(poll);
    // What is still under way is this one's.
    await Bun.sleep(20);
  }
  receiver.close();
  sender.close();
  return times;
}

async function measureDomains(domains: number, last: boolean, plan: EdgePlan): Promise<Row[]> {
  await using rack = await Rack.open(plan.executable);
  const numbers = Array.from({ length: domains }, (_, i) => i);
  const more = last ? numbers.slice(0, plan.tries).map((i) => domains + i) : [];
  rack.prepare([...numbers, ...more]);
  await Bun.sleep(CALM_MS);
  const [memory, cpu] = [memoryUse(rack.agent).written, cpuSeconds([rack.agent])];
  const name = `domains-${domains}`;
  const rows = [
    alone({ case: name, unit: "s from nothing until the fabric has heard of each", why: WHY }, [
      (await timed(() => rack.add(numbers))) / 1000,
    ]),
  ];
  say(`${domains} domains are there`);
  await Bun.sleep(CALM_MS);
  const each = (total: number) => [total / domains];
  rows.push(
    alone(
      { case: `${name}-memory`, unit: "KB of the agent for each", why: "written by it alone" },
      each((memoryUse(rack.agent).written - memory) * 1000),
    ),
    alone(
      { case: `${name}-cpu`, unit: "ms of the agent for each", why: "of one core" },
      each((cpuSeconds([rack.agent]) - cpu) * 1000),
    ),
    alone(
      { case: `${name}-fabric-to-forwarding`, unit: "ms", why: WHY },
      await forwarding(rack, domains, plan.tries),
    ),
  );
  say("routes of the fabric forward");
  if (!last) return rows;
  const added: number[] = [];
  for (const one of more) added.push(await timed(() => rack.add([one])));
  return [...rows, alone({ case: "add-one", unit: `ms, to ${domains}`, why: WHY }, added)];
}

async function measureEdge(plan: EdgePlan): Promise<Row[]> {
  if (plan.urgent) preferSession(process.pid);
  const rows: Row[] = [];
  for (const [i, domains] of plan.domains.entries())
    rows.push(...(await measureDomains(domains, i === plan.domains.length - 1, plan)));
  return rows;
}

console.log(JSON.stringify(await measureEdge(JSON.parse(process.argv[2] as string) as EdgePlan)));
// What was started ends with this process's namespaces.
process.exit(0);
