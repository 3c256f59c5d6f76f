/** Commands that show: status, peers, plan. */
import type { Status } from "../agent/mod.ts";
import { formatRateBits } from "../net/mod.ts";
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";
import { ago, bytes, facts, table } from "./table.ts";

const natTexts = {
  none: "none: hubs see this node's own address",
  "endpoint-independent": "one mapping for all destinations: can be punched",
  "endpoint-dependent":
    "another mapping for each destination: only public nodes and open NATs are reached directly",
  unknown: undefined,
} as const;

function tlsText({ using, status }: NonNullable<Status["tls"]>): string | undefined {
  const hubs = status.hubs
    .map(({ name, state, reason }) => `${name} ${state}${reason === undefined ? "" : ` (${reason})`}`)
    .join(", ");
  const door = status.listener === undefined ? "" : `served at port ${status.listener.port}`;
  return (
    [door, hubs && `${using ? "in use" : "not in use"}: ${hubs}`].filter(Boolean).join("; ") || undefined
  );
}

function relayText(relay: NonNullable<Status["relay"]>): string {
  const { pairs, liveNodes, bytes: carried, xdp, bitsPerSecond } = relay;
  const kernel = xdp === undefined ? "" : `, by the kernel ${bytes(xdp.bytes)}`;
  const rate = bitsPerSecond === undefined ? "" : `; each pair at most ${formatRateBits(bitsPerSecond)}`;
  return `${pairs} pairs of ${liveNodes} nodes; ${bytes(carried)}${kernel}${rate}`;
}

/** Where the kernel was asked to relay, and what became of it. */
async function relayLinks({
  xdpLinks,
  bitsPerSecond,
}: NonNullable<Status["relay"]>): Promise<[string, string][]> {
  if (xdpLinks.length === 0) return [];
  const { isXdpAttached } = await import("../tunnel/relay/mod.ts");
  return xdpLinks.map((line): [string, string] => {
    const limited = bitsPerSecond === undefined ? "" : " (not while there is a rate)";
    const rest = isXdpAttached(line) ? limited : " (relayed in user space)";
    return ["", `XDP at ${line}${rest}`];
  });
}

type Edge = NonNullable<Status["edge"]>;

function edgeText({ router, underlay, namespace, domains }: Edge["routers"][number]): string {
  const names = domains.map(({ name }) => name).join(", ");
  return `router ${router} of Underlay ${underlay}, namespace ${namespace}; ${names === "" ? "no VPCs" : `VPCs ${names}`}`;
}

function edgeProblems({ routers, problems }: Edge): string[] {
  return [
    ...problems,
    ...routers.flatMap((router) => [
      ...router.problems.map((problem) => `router ${router.router}: ${problem}`),
      ...router.domains.flatMap(({ name, problems: some }) =>
        some.map((problem) => `VPC ${name}: ${problem}`),
      ),
    ]),
  ];
}

export const status: Command = {
  name: "status",
  about: "Show this node: addresses, tunnel, hub, pods, and what is wrong",
  more: "The exit status is 1 if the agent does not answer or an object has failed.",
  options: withJson(),
  async run(given) {
    const result = await ask({ op: "status" }, progress);
    if (given.flag("json")) return printJson(result);
    const { node, tunnel, hub, objects } = result;
    printText(
      facts([
        ["causeway", result.version],
        [
          "node",
          node === undefined
            ? "has not joined; run: causeway join TOKEN (or causeway init)"
            : `${node.name}${node.hub ? " (hub)" : ""}`,
        ],
        ["mesh", result.mesh],
        ["overlay", node && `${node.overlay4}, ${node.overlay6}`],
        ["pod ranges", node && [node.pods4, node.pods6].filter(Boolean).join(", ")],
        ["public key", node?.publicKey],
        [
          "tunnel",
          tunnel &&
            `${tunnel.provider}, UDP port ${tunnel.listenPort}, MTU ${tunnel.mtuBytes} (${tunnel.reason})`,
        ],
        ["", tunnel?.problem],
        [
          "hub",
          hub &&
            (node?.hub
              ? `this node, revision ${hub.revision}`
              : `${hub.connected ? "connected" : "away"}${hub.followed === undefined ? "" : ` (${hub.followed})`}, revision ${hub.revision}`),
        ],
        ["", hub?.problem],
        [
          "register",
          hub?.writes &&
            (hub.writes.possible
              ? `${hub.writes.register === "etcd" ? "shared in etcd" : "on this hub"}, can be written`
              : `shared in etcd, cannot be written: ${hub.writes.problem}`),
        ],
        ["relay", result.relay && relayText(result.relay)],
        ...(result.relay === undefined ? [] : await relayLinks(result.relay)),
        ["nat", result.nat && natTexts[result.nat]],
        ...result.portMappings.map((line): [string, string] => ["port mapping", line]),
        ["tls", result.tls && tlsText(result.tls)],
        ["pods", node && String(result.pods)],
        ...(result.edge?.routers ?? []).map((router): [string, string] => ["edge", edgeText(router)]),
        ["objects", `${objects.ready} ready, ${objects.pending} pending, ${objects.failed.length} failed`],
      ]),
    );
    for (const failure of objects.failed) printText(`  failed: ${failure.key}: ${failure.reason}\n`);
    for (const problem of result.edge === undefined ? [] : edgeProblems(result.edge))
      printText(`  edge: ${problem}\n`);
    return objects.failed.length > 0 ? 1 : 0;
  },
};

export const peers: Command = {
  name: "peers",
  about: "Show the other nodes, and by which path each is reached",
  more: `PATH is the rung of the ladder: lan (same network), direct (an address that
anybody can call), punched (through NATs, which both sides call at once), relay
(through a hub, which cannot read it), or down. With NAME it also shows every
address that was tried, and why it is not used.`,
  positionals: ["[NAME]"],
  options: withJson(),
  examples: ["causeway peers", "causeway peers worker-3", "causeway peers --json"],
  async run(given) {
    const name = given.positionals[0];
    const result = await ask(name === undefined ? { op: "peers" } : { op: "peers", name }, progress);
    if (given.flag("json")) return printJson(result);
    const only = name === undefined ? undefined : result.peers[0];
    if (only !== undefined) {
      printText(
        facts([
          ["name", only.name],
          ["overlay", `${only.overlay4}, ${only.overlay6}`],
          ["pod ranges", [only.pods4, only.pods6].filter(Boolean).join(", ")],
          ["path", only.relay === undefined ? only.path : `${only.path} through ${only.relay}`],
          ["endpoint", only.endpoint],
          ["round trip", only.rttMs === undefined ? undefined : `${only.rttMs.toFixed(1)} ms`],
          ["path MTU", only.mtuBytes === undefined ? undefined : String(only.mtuBytes)],
          ["why", only.reason],
          [
            "handshake",
            only.lastHandshakeSeconds === undefined ? "never" : `${ago(only.lastHandshakeSeconds)} ago`,
          ],
          ["received", bytes(only.rxBytes)],
          ["sent", bytes(only.txBytes)],
        ]),
      );
      if (only.candidates.length > 0)
        printText(
          table(
            ["TRIED", "RUNG", "FROM", "STATE", "ROUND TRIP", "WHY"],
            only.candidates.map((one) => [
              one.endpoint,
              one.rung,
              one.source,
              one.state,
              one.rttMs === undefined ? "" : `${one.rttMs.toFixed(1)} ms`,
              one.why,
            ]),
          ),
        );
      return 0;
    }
    printText(
      table(
        ["NAME", "OVERLAY", "PATH", "ENDPOINT", "HANDSHAKE", "RECEIVED", "SENT"],
        result.peers.map((peer) => [
          peer.name,
          peer.overlay4,
          peer.path,
          peer.endpoint ?? "",
          peer.lastHandshakeSeconds === undefined ? "" : `${ago(peer.lastHandshakeSeconds)} ago`,
          bytes(peer.rxBytes),
          bytes(peer.txBytes),
        ]),
      ),
    );
    return 0;
  },
};

export const plan: Command = {
  name: "plan",
  about: "Show what the agent would change now, in the idiom of ip(8)",
  more: "An empty plan means that the kernel is as it should be. Lines that begin with #\nsay what is in the way of a change.",
  options: withJson(),
  async run(given) {
    const result = await ask({ op: "plan" }, progress);
    if (given.flag("json")) return printJson(result);
    for (const step of result.steps) printText(`${step.text}\n`);
    for (const { key, reason } of result.blocked) printText(`# ${key}: ${reason}\n`);
    if (result.steps.length === 0 && result.blocked.length === 0) progress("nothing to change");
    return 0;
  },
};
