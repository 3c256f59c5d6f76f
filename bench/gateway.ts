/**
 * bench gateway: what one core of a site gateway does, in millions of packets a second, beside Vita's SoftBench on a machine of this kind.
 *
 * The first rows say how fast the machine is beside that of Vita's figures.
 *
 * The soft rows are one queue in memory: each packet is copied, sealed and opened, as in SoftBench. `two-workers` are two of them at once, on a thread
 * each. The rows on AF_XDP seal what comes by one veth and leaves by another; they need root. All are measured in seconds of the process's own
 * CPU time, so that what else the machine does costs less.
 *
 * The rows from end to end are packets that come through two gateways, beside wireguard-go and strongSwan's ESP in user space, all in the same
 * run; those of stalls the worst round trip through them while one is changed.
 */
import { fileURLToPath } from "node:url";
import { fetchIpsecMb } from "../test/support/ipsec-mb.ts";
import { fetchPackages, SuiteError } from "../tools/debian-suite.ts";
import { E2E_CASES, type E2eName, type E2ePlan } from "./gateway/measure-e2e.ts";
import { MACHINE_CASES, type MachineName, measureMachine } from "./gateway/machine.ts";
import { STALL_NAMES } from "./gateway/measure-stalls.ts";
import type { XdpPlan } from "./gateway/measure-xdp.ts";
import { SoftLoop, type SoftLoopOptions } from "./gateway/soft-loop.ts";
import { IMIX } from "./gateway/template.ts";
import { fetchStrongswan } from "./gateway/strongswan-pair.ts";
import { measureWorkers } from "./gateway/two-workers.ts";
import type { Bench, Row } from "./measure.ts";
import { row } from "./measure.ts";
import { chosen, positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";
import { preferSession } from "./tunnel/usage.ts";

interface SoftCase {
  readonly name: string;
  readonly loop: SoftLoopOptions;
  /** Vita's figure in Mpps (IPv4, AES-128-GCM), or the case of ours that it is compared with. */
  readonly theirs: number | SoftLoopOptions;
}

const CASES: readonly SoftCase[] = [
  { name: "soft-60", loop: { frameBytes: [60] }, theirs: 3.9 },
  { name: "soft-imix", loop: { frameBytes: IMIX }, theirs: 2.6 },
  { name: "soft-1414", loop: { frameBytes: [1414] }, theirs: 1.06 },
  { name: "routes-1000", loop: { frameBytes: [60], routes: 1000 }, theirs: { frameBytes: [60] } },
];

/** On AF_XDP, beside a throw-away prototype's figures on a machine of this kind. */
const XDP_CASES: XdpPlan["cases"] = [
  { name: "xdp-60", frameBytes: [60], theirs: 1.53 },
  { name: "xdp-imix", frameBytes: IMIX, theirs: 1.3 },
  { name: "xdp-1414", frameBytes: [1414], theirs: 0.94 },
];
const TWO_WORKERS = "two-workers";
const E2E_NAMES = Object.keys(E2E_CASES) as E2eName[];
const MACHINE_NAMES = Object.keys(MACHINE_CASES) as MachineName[];
const NAMES = [
  ...MACHINE_NAMES,
  ...CASES.map(({ name }) => name),
  TWO_WORKERS,
  ...XDP_CASES.map(({ name }) => name),
  ...E2E_NAMES,
  ...STALL_NAMES,
];

const WARM_UP = 1_280_000;
const PACKETS = 320_000;
/** A round of all contenders from end to end takes two minutes. */
const MOST_E2E_ROUNDS = 3;

/** Millions of packets in a second of CPU time. */
function rate(loop: SoftLoop): number {
  const before = process.cpuUsage();
  loop.run(PACKETS);
  const { user, system } = process.cpuUsage(before);
  return PACKETS / (user + system);
}

function measure({ name, loop, theirs }: SoftCase, rounds: number): Row {
  const ours = new SoftLoop(loop);
  const other = typeof theirs === "number" ? undefined : new SoftLoop(theirs);
  const samples: { readonly ours: number[]; readonly theirs: number[] } = { ours: [], theirs: [] };
  ours.run(WARM_UP);
  other?.run(WARM_UP);
  for (let i = 0; i < rounds; i++) {
    samples.ours.push(rate(ours));
    samples.theirs.push(other === undefined ? (theirs as number) : rate(other));
  }
  const peer = other === undefined ? "Vita's SoftBench, as measured before" : "ours with 1 route";
  const about = { case: name, unit: "Mpps", peer: `${peer}; ours by ${ours.provider}`, moreIsBetter: true };
  return row(about, samples.ours, samples.theirs);
}

export const bench: Bench = {
  about: "a site gateway's data path: in memory on one core, on AF_XDP, and two gateways beside others",
  options: `[--quick] [--urgent] [--rounds N] [--cases ${NAMES.join(",")}]`,
  async run(words) {
    const options = readOptions(words, { values: ["rounds", "cases"], flags: ["quick", "urgent"] });
    const wanted = options.cases === undefined ? NAMES : chosen(options.cases, NAMES);
    const rounds = positive(options.rounds ?? (options.quick ? "3" : "11"));
    const urgent = options.urgent ?? false;
    if (urgent) preferSession(process.pid);
    // What a gateway has where Debian's libipsec-mb is installed; fetched, not installed.
    const lacks = fetchIpsecMb();
    if (lacks !== undefined) process.stderr.write(`measured with libcrypto, which is slower: ${lacks}\n`);
    const rows = MACHINE_NAMES.filter((name) => wanted.includes(name)).map((one) =>
      measureMachine(one, rounds),
    );
    rows.push(...CASES.filter(({ name }) => wanted.includes(name)).map((one) => measure(one, rounds)));
    if (wanted.includes(TWO_WORKERS)) {
      const loop = { frameBytes: IMIX };
      rows.push(await measureWorkers({ loop, rounds, warmUp: WARM_UP, packets: PACKETS }));
    }
    const cases = XDP_CASES.filter(({ name }) => wanted.includes(name));
    if (cases.length > 0)
      rows.push(...(await within("measure-xdp", { rounds, urgent, cases } satisfies XdpPlan)));
    const e2e = {
      ...{ urgent, rounds: Math.min(rounds, MOST_E2E_ROUNDS), seconds: options.quick ? 0.3 : 1 },
      cases: E2E_NAMES.filter((name) => wanted.includes(name)),
      stalls: STALL_NAMES.filter((name) => wanted.includes(name)),
    } satisfies E2ePlan;
    if (e2e.cases.length > 0) fetchPeers();
    if (e2e.cases.length + e2e.stalls.length > 0) rows.push(...(await within("measure-e2e", e2e)));
    return rows;
  },
};

/** Runs a program of this bench in namespaces of its own. */
async function within(program: string, plan: XdpPlan | E2ePlan): Promise<Row[]> {
  const path = fileURLToPath(new URL(`./gateway/${program}.ts`, import.meta.url));
  return JSON.parse(await privately([path, JSON.stringify(plan)])) as Row[];
}

/** Where there is a network; who cannot be had does not take part, and its rows say why. */
function fetchPeers(): void {
  for (const fetch of [() => fetchPackages("trixie", ["wireguard-go"]), fetchStrongswan])
    try {
      fetch();
    } catch (error) {
      if (!(error instanceof SuiteError)) throw error;
      process.stderr.write(`${error.message}\n`);
    }
}
