/**
 * Thousands of MAC/IP entries of another node in one VPC: from decoded routes (what BGP hands over) through RemoteTable to the kernel, beside
 * `bridge -batch` and `ip -batch` with the same entries on a bridge and VXLAN made by hand.
 */
import { heapStats } from "bun:jsc";
import type { EvpnRoute } from "../../src/bgp/mod.ts";
import { RemoteTable } from "../../src/domain/mod.ts";
import { formatIp, formatMac, ip, mac } from "../../src/net/mod.ts";
import { runSync } from "../../src/sys/mod.ts";
import { DomainLab, type Host as LabHost, segment, vpc } from "../../test/support/domain-lab.ts";
import { alone, type Row, row, timeMs } from "../measure.ts";
import { HandNode } from "./hand-node.ts";
import type { Say, VpcPlan } from "./plan.ts";

const BATCH = 1_000;
const VNI = 101;
const near = segment("near", VNI, ["10.0.0.0/12"]);
const domain = vpc("big", 5000, [near]);

type Host = Extract<EvpnRoute, { kind: "host" }>;

const targets = [...near.importTargets, ...(domain.routing?.importTargets ?? [])];

/** One of the other node's addresses, which begin after those of the pods. */
function host({ node: { vtep }, domains: { routerMac } }: LabHost, i: number): Host {
  return {
    ...{ kind: "host", vni: VNI, mac: mac(0x0a59_0000_0000 + i), ip: ip(4, (10n << 24n) + 256n + BigInt(i)) },
    ...{ vtep, routerMac, l3vni: domain.vni, targets, sequence: 0, sticky: false },
  };
}

/** The same entries by the tools: where a MAC is, for VXLAN and for the bridge, and whose address it is. */
function byTools(node: HandNode, some: readonly Host[]): void {
  const [stations, neighbours] = [
    some.map(
      ({ mac: at, vtep }) =>
        `fdb replace ${formatMac(at)} dev ${node.vxlan} dst ${formatIp(vtep)} self master extern_learn`,
    ),
    some.map(
      ({ mac: at, ip: address }) =>
        `neigh replace ${formatIp(address as NonNullable<Host["ip"]>)} lladdr ${formatMac(at)} nud noarp extern_learn dev ${node.bridge}`,
    ),
  ];
  for (const [program, lines] of [
    ["bridge", stations],
    ["ip", neighbours],
  ] as const) {
    const done = runSync([program, "-batch", "-"], { netns: node.netns, input: `${lines.join("\n")}\n` });
    if (done.status !== 0) throw new Error(`${program} -batch: ${done.stderr.slice(0, 500)}`);
  }
}

/** What is alive: of what a process has written, much is only garbage that nobody needed to collect yet. */
function heapBytes(): number {
  Bun.gc(true);
  return heapStats().heapSize;
}

/** What one round gave; times are of batches, in order. */
interface Round {
  readonly oursMs: number[];
  readonly theirsMs: number[];
  readonly bytes: number;
}

function round(count: number): Round {
  using lab = new DomainLab();
  lab.setDomains(domain);
  const [one, two] = [lab.host(1), lab.host(2)];
  lab.pod(one, "a", { domain, segment: near, addresses: ["10.0.0.2"] });
  const table = new RemoteTable({ own: [one.node.vtep] });
  table.setActive([{ domain, segments: [VNI] }]);
  const hand = new HandNode(lab, { number: 11, vni: VNI });
  const [oursMs, theirsMs]: [number[], number[]] = [[], []];
  const beforeBytes = heapBytes();
  for (let from = 0; from < count; from += BATCH) {
    const some = Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => host(two, from + i));
    oursMs.push(
      timeMs(() => {
        const changes = table.apply(some.map((route, i) => ({ op: "set", id: from + i + 1, route })));
        one.domains.apply(changes);
      }),
    );
    theirsMs.push(timeMs(() => byTools(hand, some)));
  }
  const bytes = heapBytes() - beforeBytes;
  const [status] = one.domains.status();
  if (status?.remote.hosts !== count || status.problems.length > 0)
    throw new Error(`not all is there: ${JSON.stringify(status)}`);
  return { oursMs, theirsMs, bytes };
}

/** measureEntries returns the rows; the first round warms up. */
export function measureEntries({ entries, rounds }: VpcPlan, say: Say): Row[] {
  const all: Round[] = [];
  for (let i = 0; i <= rounds; i++) {
    const one = round(entries);
    say(
      `${i === 0 ? "warm-up" : `round ${i} of ${rounds}`}: ${entries} entries: ${one.oursMs.map(Math.round).join(" ")} ms`,
    );
    if (i > 0) all.push(one);
  }
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const first = all.map(({ oursMs }) => oursMs[0] as number);
  const last = all.map(({ oursMs }) => oursMs.at(-1) as number);
  const name = `entries-${entries}`;
  return [
    row(
      { case: name, unit: "ms", peer: "bridge -batch, ip -batch" },
      all.map(({ oursMs }) => sum(oursMs)),
      all.map(({ theirsMs }) => sum(theirsMs)),
    ),
    row({ case: `${name}-last-${BATCH}`, unit: "ms", peer: `the first ${BATCH}` }, last, first),
    row(
      {
        case: `${name}-last-${BATCH}-tools`,
        unit: "ms of the tools",
        peer: `the first ${BATCH}, by the tools`,
      },
      all.map(({ theirsMs }) => theirsMs.at(-1) as number),
      all.map(({ theirsMs }) => theirsMs[0] as number),
    ),
    alone(
      { case: `${name}-memory`, unit: "bytes for each", why: "alive in our process, the kernel's not in it" },
      all.map(({ bytes }) => bytes / entries),
    ),
  ];
}
