/** `causeway doctor`: what is wrong with this node, and the commands that mend it. */
import {
  type Check,
  checkIds,
  type AgentFacts,
  diagnose,
  type Diagnosis,
  gather,
  type PeerFacts,
  treat,
  untreat,
} from "../doctor/mod.ts";
import { STATE } from "../agent/asked/mod.ts";
import type { ShownEdge, ShownNode, ShownPeer } from "../agent/mod.ts";
import { parseIp, parsePrefix } from "../net/mod.ts";
import { type Mesh, parseManifest } from "../resources/mod.ts";
import { isRoot } from "../sys/mod.ts";
import { ask } from "./client.ts";
import { type Command, type Given, UsageError, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";

function present<T>(...values: readonly (T | undefined)[]): readonly T[] {
  return values.filter((value) => value !== undefined);
}

function networks({ pods4, pods6 }: Pick<ShownNode, "pods4" | "pods6">) {
  return present(pods4, pods6).map((text) => parsePrefix(text));
}

function addresses({ overlay4, overlay6 }: Pick<ShownNode, "overlay4" | "overlay6">) {
  return present(overlay4, overlay6).map((text) => parseIp(text));
}

function peerFacts(peer: ShownPeer): PeerFacts {
  const { name, hub, path, reason, mtuBytes } = peer;
  return {
    ...{ name, hub, reason, overlay: addresses(peer), pods: networks(peer), down: path === "down" },
    ...(mtuBytes !== undefined && { mtuBytes }),
  };
}

function edgeFacts({ routers, problems }: ShownEdge): Pick<AgentFacts, "edge"> {
  const of = ({ problems: own, domains }: ShownEdge["routers"][number]) => [
    ...own,
    ...domains.flatMap(({ name, problems }) => problems.map((problem) => `VPC "${name}": ${problem}`)),
  ];
  const all = [...problems, ...routers.flatMap(of)];
  if (routers.length + all.length === 0) return {};
  return { edge: { routers: routers.map(({ router }) => router), problems: all } };
}

async function meshOf(): Promise<Mesh | undefined> {
  const { manifest } = await ask({ op: "mesh-show" }, progress);
  const [resource] = parseManifest(manifest).resources;
  return resource?.kind === "Mesh" ? resource.value : undefined;
}

/** What the agent says; it throws where there is none. */
async function agentFacts(): Promise<AgentFacts> {
  const { node, tunnel, hub, objects, edge: shown } = await ask({ op: "status" }, progress);
  const failed = objects.failed.map(({ key, reason }) => `${key}: ${reason}`);
  const edge = shown === undefined ? {} : edgeFacts(shown);
  if (node === undefined) return { hub: false, overlay: [], pods: [], failed, ...edge, peers: [] };
  const [mesh, { peers }] = [await meshOf(), await ask({ op: "peers" }, progress)];
  return {
    ...{ node: node.name, hub: node.hub, overlay: addresses(node), pods: networks(node), failed, ...edge },
    ...(mesh && {
      mesh: {
        overlay: [mesh.overlay4, mesh.overlay6],
        pods: present(mesh.pods4, mesh.pods6),
        services: mesh.services,
      },
    }),
    ...(tunnel && {
      tunnel: { mtuBytes: tunnel.mtuBytes, ...(tunnel.problem !== undefined && { problem: tunnel.problem }) },
    }),
    ...(hub && !node.hub && { connected: hub.connected }),
    ...(mesh && !node.hub && { hubEndpoints: mesh.endpoints }),
    peers: peers.map(peerFacts),
  };
}

async function examined(given: Given): Promise<Diagnosis> {
  const root = given.value("root") ?? "/";
  const asked = await agentFacts().then(
    (agent) => ({ agent }),
    (error: Error) => ({ agentProblem: error.message }),
  );
  const ids = given.positionals;
  return diagnose(await gather({ ...asked, state: STATE, root, ids }), ids);
}

function shown({ id, ok, found, why, fix }: Check): string {
  if (ok) return `ok     ${id}: ${found}\n`;
  return `WRONG  ${id}: ${found}\n         why: ${why}\n         fix: ${fix}\n`;
}

function print({ checks, skipped }: Diagnosis, given: Given): number {
  const wrong = checks.filter(({ ok }) => !ok);
  const document = {
    checks: checks.map(({ id, ok, found, why, fix }) => ({ id, ok, found, why, fix })),
    skipped,
  };
  if (given.flag("json")) printJson(document);
  else {
    printText(checks.map(shown).join(""));
    printText(skipped.map(({ id, why }) => `–      ${id}: not looked at: ${why}\n`).join(""));
    printText(`${checks.length} checks, ${wrong.length} wrong, ${skipped.length} not looked at\n`);
  }
  return wrong.length > 0 ? 1 : 0;
}

async function run(given: Given): Promise<number> {
  const unknown = given.positionals.find((id) => !checkIds.includes(id));
  if (unknown !== undefined)
    throw new UsageError(
      "causeway doctor",
      `there is no check "${unknown}"; the checks are ${checkIds.join(", ")}`,
    );
  if (!isRoot())
    throw new Error("Firewalls and keys are shown to root alone; become root: sudo causeway doctor");
  const options = { state: STATE, tell: progress };
  if (given.flag("undo")) {
    const undone = await untreat(options);
    if (given.flag("json")) printJson({ undone });
    return undone ? 0 : 1;
  }
  const first = await examined(given);
  if (!given.flag("fix")) return print(first, given);
  const treated = first.checks.filter(({ ok, commands, keeps }) => !ok && (commands !== undefined || keeps));
  if (treated.length === 0) progress("nothing that could be done by itself");
  await treat(treated, options);
  return print(treated.length === 0 ? first : await examined(given), given);
}

export const doctor: Command = {
  name: "doctor",
  about: "Say what is wrong with this node, why it matters, what mends it",
  more: `With --fix it runs the commands that it names, each told before; what a person
must decide it only says. Firewall rules are put in ahead of those that refuse,
marked by a comment, and put back by the agent after a reload; rules of others
stay. --undo takes ours away again. What only the agent knows is left out when
it does not run. The exit status is 1 if something is wrong. docs/doctor.md
lists the checks.`,
  positionals: ["[CHECK…]"],
  choices: checkIds,
  options: withJson({
    fix: { about: "do what can be done by itself, then look again" },
    undo: { about: "remove the firewall rules that --fix put in" },
    root: { about: "look for Kubernetes' files below this folder", value: "DIR" },
  }),
  examples: [
    "causeway doctor",
    "causeway doctor --json",
    "causeway doctor firewall-input firewall-forward --fix",
    "causeway doctor --undo",
  ],
  run,
};
