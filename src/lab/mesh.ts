/** The mesh of a laboratory, made with the commands that a user types: agent, init, token, join, cni install. */
import type { ShownPeer, Status } from "../agent/mod.ts";
import { type ProcessResult, readText, run } from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import type { Place } from "./place.ts";
import { recorded, startProcess, stopProcess } from "./processes.ts";
import { agentNodes, isNat, isNode, type NodeBox, type Topology } from "./topology.ts";
import { throwIfStopped, until } from "./wait.ts";

/** MeshContext is a laboratory with what its nodes run. */
export interface MeshContext {
  readonly place: Place;
  readonly topology: Topology;
  readonly executable: string;
}

/** Watch is how a caller follows and stops long work. */
export interface Watch {
  /** Guards a wait against hanging. */
  readonly deadlineMs?: number;
  readonly onProgress?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** causeway runs the command line in a node and returns what came of it. */
export function causeway(
  context: MeshContext,
  node: string,
  args: readonly string[],
  input?: string,
): Promise<ProcessResult> {
  const argv = inNode(context.place, { node, netns: node }, [context.executable, ...args]);
  return run(argv, { timeoutMs: 120_000, ...(input === undefined ? {} : { input }) });
}

/** causewayJson runs a command with `--json`; throws with its words when it fails. */
export async function causewayJson<T>(
  context: MeshContext,
  node: string,
  args: readonly string[],
  input?: string,
): Promise<T> {
  const done = await causeway(context, node, [...args, "--json"], input);
  if (done.status !== 0)
    throw new Error(
      `Node ${node}: \`causeway ${args.join(" ")}\` ended with ${done.status}: ${(done.stderr || done.stdout).trim()}`,
    );
  return JSON.parse(done.stdout) as T;
}

/** startAgent starts a node's agent, if it does not run, and waits until it answers. */
export async function startAgent(context: MeshContext, node: string, watch: Watch = {}): Promise<void> {
  const { place, executable, topology } = context;
  const tunnel = topology.mesh.tunnel === undefined ? [] : ["--tunnel", topology.mesh.tunnel];
  const box = topology.boxes.filter(isNode).find(({ name }) => name === node);
  // Where no box maps ports there is nobody to ask, and wires show what the mesh itself needs.
  const asks = topology.boxes.some((one) => isNat(one) && one.portMapping);
  const mapping = asks ? [] : ["--port-mapping", "off"];
  const words = ["agent", ...tunnel, ...mapping, ...(box?.agentOptions ?? [])];
  const argv = inNode(place, { node, netns: node }, [executable, ...words]);
  startProcess(place, `agent-${node}`, { argv, logPath: place.agentLog(node) });
  await until(
    async () => {
      if (recorded(place, `agent-${node}`) === undefined)
        throw new Error(`The agent of ${node} ended; its last words:\n${lastLines(place.agentLog(node))}`);
      const done = await causeway(context, node, ["status", "--json"]);
      // `status` also fails while something is not as it should be; an answer is an answer.
      return done.stdout.startsWith("{") ? undefined : done.stderr.trim();
    },
    { what: `the agent of ${node}`, ...watch },
  );
}

function lastLines(path: string): string {
  return (readText(path) ?? "").trimEnd().split("\n").slice(-5).join("\n");
}

/** killAgent ends a node's agent: at once (SIGKILL), or with time to say goodbye. */
export async function killAgent(
  context: MeshContext,
  node: string,
  options: { gently?: boolean } = {},
): Promise<void> {
  await stopProcess(context.place, `agent-${node}`, { graceMs: options.gently === true ? 10_000 : 0 });
}

/** makeMesh starts all agents, makes the hub, lets the members join, and installs the CNI plugin. */
export async function makeMesh(context: MeshContext, watch: Watch): Promise<void> {
  const nodes = agentNodes(context.topology);
  const [hub, ...members] = nodes;
  if (hub === undefined) return;
  await Promise.all(nodes.map((node) => startAgent(context, node.name, watch)));
  watch.onProgress?.(`${nodes.length} agents run`);
  throwIfStopped(watch.signal);
  await causewayJson(context, hub.name, ["init", "--name", hub.name, ...initOptions(context.topology, hub)]);
  watch.onProgress?.(`${hub.name} is the hub at ${hub.endpoint}`);
  throwIfStopped(watch.signal);
  if (members.length > 0) {
    const uses = ["--uses", String(members.length)];
    const { token } = await causewayJson<{ token: string }>(context, hub.name, ["token", "create", ...uses]);
    await Promise.all(
      members.map(async (node) => {
        await causewayJson(
          context,
          node.name,
          ["join", "-", "--name", node.name, ...joinOptions(node)],
          token,
        );
        watch.onProgress?.(`${node.name} joined`);
      }),
    );
  }
  await waitForMesh(context, watch);
  // One after the other: the nodes share the plugin's folder.
  for (const node of nodes) await installPlugin(context, node.name);
}

function initOptions({ mesh }: Topology, hub: NodeBox): string[] {
  const options: [name: string, value: string | number | undefined][] = [
    ["--endpoint", hub.endpoint],
    ["--overlay4", mesh.overlay4],
    ["--overlay6", mesh.overlay6],
    ["--pods4", mesh.pods4],
    ["--pods6", mesh.pods6],
    ["--node-bits", mesh.nodeBits],
    ["--port", mesh.port],
    ["--mtu", mesh.mtuBytes],
    ...mesh.expose.map((port): [string, string] => ["--expose", port]),
  ];
  return options.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

function joinOptions(node: NodeBox): string[] {
  return [
    ...(node.endpoint === undefined ? [] : ["--endpoint", node.endpoint]),
    ...(node.site === undefined ? [] : ["--site", node.site]),
  ];
}

async function installPlugin(context: MeshContext, node: string): Promise<void> {
  const done = await causeway(context, node, ["cni", "install"]);
  if (done.status !== 0) throw new Error(`Cannot install the CNI plugin on ${node}: ${done.stderr.trim()}`);
}

/** statusOf asks a node's agent. */
export async function statusOf(context: MeshContext, node: string): Promise<Status | undefined> {
  const done = await causeway(context, node, ["status", "--json"]);
  return done.stdout.startsWith("{") ? (JSON.parse(done.stdout) as Status) : undefined;
}

/** peersOf asks a node's agent for the other nodes. */
export async function peersOf(context: MeshContext, node: string): Promise<readonly ShownPeer[]> {
  return (await causewayJson<{ peers: readonly ShownPeer[] }>(context, node, ["peers"])).peers;
}

/** waitForMesh waits until the named nodes (default all) have joined, know each other, and reach each other by some path. */
export async function waitForMesh(
  context: MeshContext,
  options: Watch & { readonly nodes?: readonly string[] } = {},
): Promise<void> {
  const names = options.nodes ?? agentNodes(context.topology).map((node) => node.name);
  const missing = async () => {
    const found = await Promise.all(names.map((name) => missingAt(context, name, names)));
    return found.find((text) => text !== undefined);
  };
  await until(missing, { what: "the nodes to reach each other", ...options });
}

async function missingAt(
  context: MeshContext,
  name: string,
  all: readonly string[],
): Promise<string | undefined> {
  const status = await statusOf(context, name);
  if (status?.node === undefined) return `${name} has not joined`;
  if (!status.node.hub && status.hub?.connected !== true) return `${name} does not hear the hub`;
  const peers = new Map((await peersOf(context, name)).map((peer) => [peer.name, peer]));
  for (const other of all) {
    if (other === name) continue;
    const peer = peers.get(other);
    if (peer === undefined || peer.path === "down") return `${name} has no path to ${other}`;
  }
  // What an agent says of a path is one thing, a packet that comes back another.
  const answers = await Promise.all(
    [...peers.values()].map(async (peer) => {
      const ping = ["ping", "-n", "-q", "-c", "1", "-W", "1", peer.overlay4];
      const { status } = await run(inNode(context.place, { netns: name }, ping));
      return status === 0 || !all.includes(peer.name) ? undefined : peer.name;
    }),
  );
  const silent = answers.find((peer) => peer !== undefined);
  return silent === undefined ? undefined : `${name} gets no answer from ${silent}`;
}
