/**
 * The demo: two homes behind NATs, a hub and a public node become one network; every pod reaches every pod; the wires show
 * nothing but one UDP port; two tenants have the same addresses and never meet. `npm run demo`, with `-- --keep` to leave it running and `-- --json` for machines.
 */
import { fileURLToPath } from "node:url";
import {
  agentNodes,
  type Capture,
  Lab,
  type MatrixCell,
  natOf,
  pingMatrix,
  servicePorts,
  until,
} from "../src/lab/mod.ts";
import { formatIp } from "../src/net/mod.ts";
import {
  exit,
  monotonicMs,
  onSignal,
  readText,
  writeStandardError,
  writeStandardOutput,
} from "../src/sys/mod.ts";
import { type DemoReport, type Proof, reportText, unproven } from "./demo/report.ts";
import { paint } from "./demo/paint.ts";
import { proveTenants } from "./demo/tenants.ts";

const FILE = "examples/demo.yaml";
/** Fills the pings; 16 bytes is what ping(8) repeats. */
const MARKER = "causeway-secret!";
const THROUGHPUT_SECONDS = 3;

const help = `Brings up the demo network, proves that it works, and takes it down again.

Usage: npm run demo [-- OPTIONS]

  --keep  leave it running afterwards, to look around
  --json  end with one JSON document on standard output
`;

const startedMs = monotonicMs();

function progress(text: string): void {
  const seconds = ((monotonicMs() - startedMs) / 1000).toFixed(1).padStart(5);
  writeStandardError(`${paint("dim", `${seconds} s`)}  ${text}\n`);
}

/** What each node says of itself. */
async function describeNodes(lab: Lab): Promise<DemoReport["nodes"]> {
  return Promise.all(
    agentNodes(lab.topology).map(async (box) => {
      const status = await lab.status(box.name);
      const { node, tunnel } = status ?? {};
      return {
        name: box.name,
        site: box.site ?? "",
        nat: natOf(lab.topology, box)?.kind ?? "none",
        overlay4: node?.overlay4 ?? "",
        overlay6: node?.overlay6 ?? "",
        podRange4: node?.pods4 ?? "",
        podRange6: node?.pods6 ?? "",
        tunnel: tunnel?.provider ?? "",
      };
    }),
  );
}

/** The matrix, with every wire recorded while it runs. */
async function prove(
  lab: Lab,
  signal: AbortSignal,
): Promise<{ matrix: readonly MatrixCell[]; proof: Proof }> {
  const networks = lab.topology.networks.map((network) => network.name);
  const wires = await Promise.all(networks.map((network) => lab.capture(network)));
  // The control: where the pods' packets are still packets, the same recording must see the text.
  const control = await lab.capture("a1", "cw-pods");
  const shown = new Set<number>();
  const matrix = await pingMatrix(lab, {
    marker: MARKER,
    onCell: (_, done, total) => {
      signal.throwIfAborted();
      const quarter = Math.floor((4 * done) / total);
      if (shown.size === quarter - 1) progress(`${done} of ${total} pairs of pods pinged`);
      if (quarter > 0) shown.add(quarter);
    },
  });
  const stop = (capture: Capture) => capture.stop(MARKER);
  const reports = await Promise.all(wires.map(stop));
  return {
    matrix,
    proof: {
      wires: networks,
      packets: reports.reduce((sum, report) => sum + report.packets, 0),
      protocols: [...new Set(reports.flatMap((report) => report.protocols))].sort(),
      udpPorts: servicePorts(
        lab,
        reports.flatMap((report) => report.udpFlows),
      ),
      plaintextSeen: reports.some((report) => report.markerSeen),
      controlSeen: (await stop(control)).markerSeen,
    },
  };
}

/** What iperf3 reports; without `sum_received` when it measured nothing. */
interface FlowResult {
  readonly end?: { readonly sum_received?: { readonly bits_per_second: number } };
}

/** One TCP flow between two pods. */
async function throughput(lab: Lab, from: string, to: string): Promise<DemoReport["throughput"]> {
  const address = lab.pod(to).ip4;
  if (address === undefined) return undefined;
  const limit = { timeoutMs: (THROUGHPUT_SECONDS + 15) * 1000 };
  const client = ["iperf3", "-c", formatIp(address), "-t", String(THROUGHPUT_SECONDS), "-J"];
  // One server for each attempt: it serves one test, whether that measured something or not.
  for (let attempt = 0; attempt < 3; attempt++) {
    const server = lab.exec(to, ["iperf3", "-s", "-1"], limit);
    const listening = async () =>
      (await lab.exec(to, ["ss", "-Hltn", "sport = :5201"])).stdout === "" ? "not listening yet" : undefined;
    await until(listening, { what: `iperf3 in ${to}`, deadlineMs: 10_000 });
    const [{ stdout }] = await Promise.all([lab.exec(from, client, limit), server]);
    const received = stdout.startsWith("{")
      ? (JSON.parse(stdout) as FlowResult).end?.sum_received
      : undefined;
    if (received !== undefined)
      return { from, to, mbitPerSecond: Math.round(received.bits_per_second / 1e6) };
  }
  return undefined;
}

async function demo(
  options: { readonly json: boolean; readonly keep: boolean },
  signal: AbortSignal,
): Promise<boolean> {
  const manifest = readText(FILE) as string;
  if (await Lab.remove("demo")) progress("took away an earlier demo");
  const lab = await Lab.up(manifest, { onProgress: progress, signal });
  let finished = false;
  try {
    const { matrix, proof } = await prove(lab, signal);
    signal.throwIfAborted();
    const pods = lab.pods();
    progress("two tenants with the same addresses");
    const tenants = await proveTenants(lab);
    signal.throwIfAborted();
    progress(`measuring one TCP flow for ${THROUGHPUT_SECONDS} seconds`);
    const flow = await throughput(lab, "a1-p1", "c1-p1");
    signal.throwIfAborted();
    const report: DemoReport = {
      nodes: await describeNodes(lab),
      pods: pods.map(({ name, node, ip4, ip6 }) => ({
        name,
        node,
        ip4: ip4 === undefined ? "" : formatIp(ip4),
        ip6: ip6 === undefined ? "" : formatIp(ip6),
      })),
      matrix,
      udpPorts: proof.udpPorts,
      plaintextSeen: proof.plaintextSeen,
      tenants,
      throughput: flow,
      seconds: Math.round((monotonicMs() - startedMs) / 100) / 10,
    };
    if (options.json) writeStandardOutput(`${JSON.stringify(report, null, 2)}\n`);
    else writeStandardOutput(reportText(lab.topology, report, { proof, keep: options.keep }));
    finished = true;
    const faults = unproven(matrix, { proof, tenants, measured: flow !== undefined });
    for (const fault of faults) progress(paint("red", `not proven: ${fault}`));
    return faults.length === 0;
  } finally {
    if (!finished || !options.keep) {
      await lab.down();
      progress("everything is taken down");
    }
  }
}

async function main(): Promise<number> {
  process.chdir(fileURLToPath(new URL("..", import.meta.url)));
  const args = process.argv.slice(2);
  const unknown = args.find((arg) => !["--json", "--keep", "--help", "-h"].includes(arg));
  if (unknown !== undefined || args.includes("--help") || args.includes("-h")) {
    if (unknown !== undefined) writeStandardError(`"${unknown}" is not an option of the demo.\n\n`);
    writeStandardError(help);
    return unknown === undefined ? 0 : 2;
  }
  if (process.getuid?.() !== 0) {
    writeStandardError("The demo makes network namespaces, which needs root: sudo npm run demo\n");
    return 1;
  }
  const stop = new AbortController();
  using _ = onSignal(["SIGINT", "SIGTERM", "SIGHUP"], () => {
    if (!stop.signal.aborted) progress("stopping; a moment");
    stop.abort();
  });
  try {
    return (await demo({ json: args.includes("--json"), keep: args.includes("--keep") }, stop.signal))
      ? 0
      : 1;
  } catch (error) {
    if (stop.signal.aborted) {
      progress("stopped; nothing is left");
      return 130;
    }
    writeStandardError(
      `${paint("red", "The demo failed:")} ${error instanceof Error ? error.message : error}\n`,
    );
    return 1;
  }
}

exit(await main());
