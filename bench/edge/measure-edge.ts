/** The inside of bench edge. It runs in namespaces of its own, or in a guest, with which everything ends. */
import { writeFileSync } from "node:fs";
import { runSync } from "../../src/sys/mod.ts";
import { alone, type Row, row } from "../measure.ts";
import { cpuSeconds, memoryUse, preferSession } from "../tunnel/usage.ts";
import { type Bed, edgeOf } from "./bed.ts";
import { FrrRack, frrRoot } from "./frr-rack.ts";
import type { EdgePlan } from "./plan.ts";
import { Rack } from "./rack.ts";

/** A control plane that did next to nothing for so long has nothing left to do; in an emulated machine it takes a while to begin. */
const CALM_MS = 3_000;
const CALM_SHARE = 0.05;
const MOST_LOOKS = 40;
/** A packet that does not come by then never will, in an emulated machine too. */
const LATE_MS = 120_000;
/** Networks that the fabric announces are in here. */
const FABRIC = "10.200.0.0/16";
const WHY = "FRR needs a VRF for each domain, which not every kernel has (--beside-frr)";
const PEER = "FRR 8.4 by hand";

/** Figure is a case as measured on one node. */
interface Figure {
  readonly case: string;
  readonly unit: string;
  readonly values: readonly number[];
}

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
  const timer = setTimeout(() => late.reject(new Error(`not in ${LATE_MS / 1000} s: ${what}`)), LATE_MS);
  await Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

/** From the moment when the fabric's router announces a network until the first packet to it, sent by the host all the time, is there. */
async function forwarding(bed: Bed, domains: number, tries: number): Promise<number[]> {
  const { taken } = bed.tor.netns.run(() => ({
    taken: Bun.udpSocket({ port: 4789, socket: { data: () => arrived?.() } }),
  }));
  const { sending } = bed.host.run(() => ({ sending: Bun.udpSocket({ socket: { error: () => {} } }) }));
  let arrived: (() => void) | undefined;
  const [receiver, sender] = await Promise.all([taken, sending]);
  const times: number[] = [];
  for (let i = 0; i < tries; i++) {
    const domain = Math.floor((i * domains) / tries);
    const address = `10.200.${i >> 8}.${i & 255}`;
    const way = ["ip", "route", "replace", FABRIC, "via", edgeOf(domain), "dev", bed.linkOf(domain)];
    const done = runSync(way, { netns: bed.host });
    if (done.status !== 0) throw new Error(done.stderr);
    const { promise, resolve } = Promise.withResolvers<void>();
    arrived = resolve;
    const poll = setInterval(() => sender.send("here", 9, address), 1);
    times.push(
      await timed(async () => {
        bed.tor.announce(domain, `${address}/32`);
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

async function calm({ processes }: Bed): Promise<void> {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const before = cpuSeconds(processes);
    await Bun.sleep(CALM_MS);
    if ((cpuSeconds(processes) - before) * 1000 < CALM_SHARE * CALM_MS) return;
  }
}

/** What the processes of a control plane have written themselves, in MB. */
function written(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + memoryUse(pid).written, 0);
}

async function measureDomains(
  open: () => Promise<Bed>,
  { domains, tries, last }: { readonly domains: number; readonly tries: number; readonly last: boolean },
): Promise<Figure[]> {
  await using bed = await open();
  const numbers = Array.from({ length: domains }, (_, i) => i);
  const more = last ? Array.from({ length: tries }, (_, i) => domains + i) : [];
  bed.tor.prepare([...numbers, ...more]);
  await calm(bed);
  const [memory, cpu] = [written(bed.processes), cpuSeconds(bed.processes)];
  const name = `domains-${domains}`;
  const addedMs = await timed(() => bed.add(numbers));
  say(`${domains} domains are there`);
  await calm(bed);
  const each = (total: number) => [total / domains];
  const figures: Figure[] = [
    { case: name, unit: "s from nothing until the fabric has heard of each", values: [addedMs / 1000] },
    {
      ...{ case: `${name}-memory`, unit: "KB of the control plane for each, written by it alone" },
      values: each((written(bed.processes) - memory) * 1000),
    },
    {
      ...{ case: `${name}-cpu`, unit: "ms of one core of the control plane for each" },
      values: each((cpuSeconds(bed.processes) - cpu) * 1000),
    },
    {
      ...{ case: `${name}-fabric-to-forwarding`, unit: "ms" },
      values: await forwarding(bed, domains, tries),
    },
  ];
  say("routes of the fabric forward");
  if (!last) return figures;
  const added: number[] = [];
  for (const one of more) added.push(await timed(() => bed.add([one])));
  return [...figures, { case: "add-one", unit: `ms, to ${domains}`, values: added }];
}

async function measureEdge(plan: EdgePlan): Promise<Row[]> {
  if (plan.urgent) preferSession(process.pid);
  const root = plan.frr ? frrRoot() : undefined;
  const rows: Row[] = [];
  for (const [i, domains] of plan.domains.entries()) {
    const much = { domains, tries: plan.tries, last: i === plan.domains.length - 1 };
    const ours = await measureDomains(() => Rack.open(plan.executable), much);
    if (root === undefined) {
      rows.push(...ours.map(({ values, ...of }) => alone({ ...of, why: WHY }, values)));
      continue;
    }
    say("FRR");
    const theirs = await measureDomains(() => FrrRack.open(root), much);
    for (const [j, { values, ...of }] of ours.entries())
      rows.push(row({ ...of, peer: PEER }, values, theirs[j]?.values ?? []));
  }
  return rows;
}

const [text = "", file] = process.argv.slice(2);
const rows = JSON.stringify(await measureEdge(JSON.parse(text) as EdgePlan));
if (file === undefined) console.log(rows);
else writeFileSync(file, rows);
// What was started ends with this process's namespaces.
process.exit(0);
