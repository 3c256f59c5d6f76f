/** What the demo shows at its end: the picture, the nodes, the matrix, the proof; for people, within 80 columns. */
import { graphText, type MatrixCell, type Topology } from "../../src/lab/mod.ts";
import { paint } from "./paint.ts";
import type { Tenants } from "./tenants.ts";

/** DemoReport is the demo's result as `--json` prints it. */
export interface DemoReport {
  readonly nodes: readonly {
    readonly name: string;
    readonly site: string;
    /** `none`, or the kind of the NAT box in front. */
    readonly nat: string;
    readonly overlay4: string;
    readonly overlay6: string;
    readonly podRange4: string;
    readonly podRange6: string;
    readonly tunnel: string;
  }[];
  readonly pods: readonly {
    readonly name: string;
    readonly node: string;
    readonly ip4: string;
    readonly ip6: string;
  }[];
  readonly matrix: readonly MatrixCell[];
  /** Ports of nodes that were seen on any wire, what NAT boxes make of them undone. */
  readonly udpPorts: readonly number[];
  readonly plaintextSeen: boolean;
  readonly throughput?:
    { readonly from: string; readonly to: string; readonly mbitPerSecond: number } | undefined;
  readonly tenants: Tenants;
  readonly seconds: number;
}

/** Proof is what the recordings of all wires showed. */
export interface Proof {
  readonly wires: readonly string[];
  readonly packets: number;
  readonly protocols: readonly string[];
  readonly udpPorts: readonly number[];
  readonly plaintextSeen: boolean;
  /** The text was seen where it must be: on the pods' bridge. */
  readonly controlSeen: boolean;
}

/** What a network needs by itself: everything else on the wires must be the one UDP port. */
const NETWORK_PROTOCOLS = new Set(["arp", "icmp", "icmp6", "udp"]);

/** onlyOnePort tells whether the nodes used one UDP port, and nothing beside what a network needs by itself. */
export function onlyOnePort(proof: Proof): boolean {
  return proof.udpPorts.length === 1 && proof.protocols.every((name) => NETWORK_PROTOCOLS.has(name));
}

/** keepsApart tells whether each tenant reached all of its own, and nothing of the other. */
export function keepsApart({ inside, across }: Tenants): boolean {
  return inside.answered === inside.of && across.answered === 0;
}

function tenantsText({ network, pods, inside, across }: Tenants): string {
  const nodes = new Set(pods.map(({ node }) => node)).size;
  return `two tenants with ${network} on the same ${nodes} nodes: ${inside.answered} of ${inside.of} pairs inside answer, ${across.answered} of ${across.of} across`;
}

/** unproven names what the demo set out to show and did not; empty when all is well. */
export function unproven(
  matrix: readonly MatrixCell[],
  {
    proof,
    measured,
    tenants,
  }: { readonly proof: Proof; readonly measured: boolean; readonly tenants: Tenants },
): string[] {
  const { wires, plaintextSeen, controlSeen, udpPorts, protocols } = proof;
  return [
    ...matrix
      .filter(({ ok }) => !ok)
      .map(({ from, to, family, path }) => `${to} answers ${from} by IPv${family} (path: ${path})`),
    ...(plaintextSeen ? [`no text of a ping in plain on ${wires.join(", ")}`] : []),
    ...(controlSeen ? [] : ["the recordings would see the text: that on a pods' bridge did not"]),
    ...(onlyOnePort(proof)
      ? []
      : [`one UDP port and nothing else: seen were ${udpPorts.join(", ")} and ${protocols.join(", ")}`]),
    ...(keepsApart(tenants) ? [] : [`tenants reach their own and nobody else: ${tenantsText(tenants)}`]),
    ...(measured ? [] : ["a TCP flow between two pods: iperf3 measured nothing in three attempts"]),
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return rows.map((row, index) => `  ${index === 0 ? paint("dim", line(row)) : line(row)}\n`).join("");
}

const MARKS = {
  local: " ",
  lan: "l",
  direct: "d",
  punched: "p",
  relay: "r",
  down: "?",
  unknown: "?",
} as const;

function cellText(cell: MatrixCell | undefined): string {
  if (cell === undefined) return paint("dim", "    · ");
  if (!cell.ok || cell.rttMs === undefined) return paint("red", "   ✗  ");
  const text =
    `${cell.rttMs < 10 ? cell.rttMs.toFixed(1) : Math.round(cell.rttMs)}${MARKS[cell.path]}`.padStart(6);
  if (cell.path === "relay") return paint("yellow", text);
  return cell.path === "local" ? text : paint("green", text);
}

/** matrixText draws one family's matrix: a row for each pod that asks, a column for each that answers. */
export function matrixText(matrix: readonly MatrixCell[], family: 4 | 6): string {
  const cells = new Map(
    matrix.filter((cell) => cell.family === family).map((cell) => [`${cell.from} ${cell.to}`, cell]),
  );
  const names = [...new Set(matrix.map((cell) => cell.from))].sort();
  const width = Math.max(5, ...names.map((name) => name.length));
  const header = `  ${`IPv${family}`.padEnd(width)} ${names.map((name) => name.padStart(6)).join(" ")}\n`;
  const rows = names.map(
    (from) =>
      `  ${from.padEnd(width)} ${names.map((to) => cellText(cells.get(`${from} ${to}`))).join(" ")}\n`,
  );
  return paint("dim", header) + rows.join("");
}

function verdict(good: boolean, text: string): string {
  return `  ${good ? paint("green", "✓") : paint("red", "✗")} ${text}\n`;
}

/** reportText is the whole text. */
export function reportText(
  topology: Topology,
  report: DemoReport,
  options: { readonly proof: Proof; readonly keep: boolean },
): string {
  const { proof, keep } = options;
  const title = (text: string) => `\n${paint("bold", text)}\n`;
  const failed = report.matrix.filter((cell) => !cell.ok).length;
  const ways = (path: MatrixCell["path"]) =>
    report.matrix.filter((cell) => cell.ok && cell.path === path).length;
  const flow = report.throughput;
  const wires = proof.wires.join(", ");
  return [
    title("The network"),
    graphText(topology).replace(/^(?=.)/gm, "  "),
    title("The nodes"),
    table([
      ["NODE", "SITE", "NAT", "OVERLAY", "PODS"],
      ...report.nodes.map((n) => [n.name, n.site, n.nat, n.overlay4, n.podRange4]),
    ]),
    tunnelText(report.nodes),
    title("Every pod to every pod, round trip in ms"),
    matrixText(report.matrix, 4),
    "\n",
    matrixText(report.matrix, 6),
    `  l: same LAN, d: direct, p: punched through NATs, r: relayed by the hub (which cannot read it), nothing: on the same node\n`,
    title("What it proves"),
    verdict(
      failed === 0,
      failed === 0
        ? `all ${report.matrix.length} pairs answer: ${ways("lan")} on a LAN, ${ways("direct")} direct, ${ways("punched")} punched, ${ways("relay")} relayed, ${ways("local")} on one node`
        : `${failed} of ${report.matrix.length} pairs do not answer`,
    ),
    verdict(
      onlyOnePort(proof),
      `UDP ports of nodes on the wires: ${proof.udpPorts.join(", ") || "none"}; beside UDP: ${proof.protocols.filter((name) => name !== "udp").join(", ") || "nothing"}`,
    ),
    verdict(
      !proof.plaintextSeen,
      `the text in the pings was ${proof.plaintextSeen ? "SEEN" : "not seen"} in ${proof.packets} packets on the wires`,
    ),
    `      (${wires})\n`,
    verdict(
      proof.controlSeen,
      `on the pods' side of the tunnel it was ${proof.controlSeen ? "seen" : "NOT seen"}, as it must be`,
    ),
    verdict(keepsApart(report.tenants), tenantsText(report.tenants)),
    flow === undefined
      ? verdict(false, "the TCP flow between two pods did not work")
      : verdict(true, `one TCP flow from ${flow.from} to ${flow.to}: ${flow.mbitPerSecond} Mbit/s`),
    `\n  ${report.seconds} s in all\n`,
    keep
      ? lookAround()
      : `\nTo look around in it, keep it running: ${paint("cyan", "npm run demo -- --keep")}\n`,
  ].join("");
}

/** What runs the tunnels: one line, where it is the same on every node. */
function tunnelText(nodes: DemoReport["nodes"]): string {
  const providers = [...new Set(nodes.map(({ tunnel }) => tunnel))];
  const users = (provider: string) =>
    providers.length === 1
      ? "every node"
      : nodes
          .filter(({ tunnel }) => tunnel === provider)
          .map(({ name }) => name)
          .join(", ");
  return providers.map((provider) => `  tunnel of ${users(provider)}: ${provider}\n`).join("");
}

function lookAround(): string {
  const lines: [command: string, about: string][] = [
    ["lab status", "nodes and pods"],
    ["lab exec a1 -- causeway peers", "how a1 reaches the others, and why"],
    ["lab exec a1 -- causeway status", "a1 itself"],
    ["lab exec a1 -- causeway vpc show red", "what a tenant has on a1"],
    ["lab exec a1-p1 -- bash", "a shell in a pod (or a node, a NAT box)"],
    ["lab exec nat-a -- conntrack -L", "what a NAT box remembers"],
    ["lab down demo", "stop it and remove all of it"],
  ];
  const width = Math.max(...lines.map(([command]) => command.length));
  const text = lines.map(
    ([command, about]) => `  dist/causeway ${command.padEnd(width)}  ${paint("dim", about)}\n`,
  );
  return `\n${paint("bold", "It is still running. Look around:")}\n${text.join("")}`;
}
