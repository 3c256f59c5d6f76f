/**
 * A hub of thousands of nodes, and one node among them. The hub is real, and so is the node: agent and data plane as they are installed. All others are
 * simulated in this process (member.ts): each has a WireGuard session with the hub, follows it over TCP in the tunnel, and probes it.
 */
import { writeFileSync } from "node:fs";
import { Netns, processesInNetns } from "../../src/sys/mod.ts";
import {
  formatIp,
  parseEndpoint,
  parseIp,
  parsePublicKey,
  PrivateKey,
  publicKeyBytes,
} from "../../src/net/mod.ts";
import { alone, type Row } from "../measure.ts";
import { must } from "../tunnel/cable.ts";
import { HUB, LargeMesh, ONE, preferNode, setTopology, type Use } from "./large-mesh.ts";
import type { Member } from "./member.ts";
import type { MeshPlan } from "./plan.ts";

const LATER_MS = 3_000;
const NO_SUCH = "no other mesh here has a hub like this one's";
const ALONE = "see the same node with no conversation, and in full mesh";

type Say = (text: string) => void;

interface Rest {
  readonly before: Use;
  readonly after: Use;
  readonly minutes: number;
}

async function atRest(mesh: LargeMesh, node: string, seconds: number): Promise<Rest> {
  const before = mesh.use(node);
  const startMs = performance.now();
  await Bun.sleep(seconds * 1000);
  return { before, after: mesh.use(node), minutes: (performance.now() - startMs) / 60_000 };
}

/** What a node's processes hold and do in a minute. */
function restRows(prefix: string, { before, after, minutes }: Rest, why: string): Row[] {
  const one = (name: string, unit: string, value: number) =>
    alone({ case: `${prefix}-${name}`, unit, why }, [value]);
  return [
    one("agent-rss", "MB", after.agent.resident),
    one("agent-written", "MB", after.agent.written),
    one("dataplane-rss", "MB", after.dataplane.resident),
    one("dataplane-written", "MB", after.dataplane.written),
    one("agent-cpu", "CPU-s/minute", (after.agentCpuSeconds - before.agentCpuSeconds) / minutes),
    one("dataplane-cpu", "CPU-s/minute", (after.dataplaneCpuSeconds - before.dataplaneCpuSeconds) / minutes),
    one("bytes", "bytes/minute", (after.bytes - before.bytes) / minutes),
    one("packets", "packets/minute", (after.packets - before.packets) / minutes),
  ];
}

/** Facts of one node, a node's joining and a node's removal, each until all have heard. */
async function measureNews(mesh: LargeMesh, { rounds, urgent }: MeshPlan, say: Say): Promise<Row[]> {
  const { crowd, lab } = mesh;
  const samples: Record<string, number[]> = {};
  const add = (name: string, ms: number) => {
    (samples[name] ??= []).push(ms);
    say(`${name}: ${ms.toFixed(0)} ms`);
  };
  /** What the hub's processes have used until all had heard, and a little longer: they may have more to do. */
  const cost = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const before = mesh.use(HUB);
    const done = await work();
    await Bun.sleep(LATER_MS);
    const after = mesh.use(HUB);
    add(`${name}-agent-cpu`, (after.agentCpuSeconds - before.agentCpuSeconds) * 1000);
    add(`${name}-dataplane-cpu`, (after.dataplaneCpuSeconds - before.dataplaneCpuSeconds) * 1000);
    return done;
  };
  const [teller] = crowd.members as [Member];
  const others = crowd.members.slice(1);
  for (let round = 0; round < rounds; round++) {
    const rttMs = 100 + round;
    const told = await cost("facts", () =>
      crowd.untilAll(`"rttMs":${rttMs}`, () => teller.tellFacts(rttMs), others),
    );
    add("facts-to-first", told.firstMs);
    add("facts-to-all", told.allMs);
    const returns = crowd.members.reduce((sum, member) => sum + member.returns, 0);
    say(
      `since the start: ${dropped(mesh)} packets dropped before the hub's tunnel, ${returns} connections made anew`,
    );
    await Bun.sleep(LATER_MS);

    const name = `one${round}`;
    const { token } = await lab.causewayJson<{ token: string }>(HUB, ["token", "create"]);
    await lab.startAgent(ONE);
    if (urgent) void preferNode(lab, ONE);
    let returnedMs = 0;
    const startMs = performance.now();
    const join = async () => {
      await lab.causewayJson(ONE, ["join", "-", "--name", name], token);
      returnedMs = performance.now() - startMs;
    };
    const joined = await cost("join", () => crowd.untilAll(`"node/${name}"`, join));
    add("join-returns", returnedMs);
    add("join-to-first", joined.firstMs);
    add("join-to-all", joined.allMs);

    const remove = () => lab.causewayJson(HUB, ["node", "remove", name]);
    const removed = await cost("removal", () => crowd.untilAll('"type":"removals"', remove));
    add("removal-to-first", removed.firstMs);
    add("removal-to-all", removed.allMs);
    await mesh.renew(ONE);
    await Bun.sleep(LATER_MS);
  }
  return Object.entries(samples).map(([name, values]) =>
    alone({ case: `hub-${name}`, unit: "ms", why: NO_SUCH }, values),
  );
}

/** What a burst of news is too much for. */
function dropped({ lab }: LargeMesh): number {
  using netns = lab.netns(HUB);
  const [link] = JSON.parse(must(netns, ..."ip -j -s link show dev cw0".split(" "))) as [
    { readonly stats64: { readonly tx: { readonly dropped: number } } },
  ];
  return link.stats64.tx.dropped;
}

async function untilAgent(
  { lab }: LargeMesh,
  holds: (status: Awaited<ReturnType<typeof lab.status>>) => boolean,
): Promise<void> {
  for (let tries = 0; !holds(await lab.status(ONE)); tries++) {
    if (tries > 200) throw new Error("the node does not get there");
    await Bun.sleep(200);
  }
}

/** giveKey makes the node's key before it runs: one that so many members' keys are larger than. Returns those members. */
function giveKey({ crowd, lab }: LargeMesh, wanted: number): readonly Member[] {
  if (wanted > crowd.members.length)
    throw new Error(
      `The node cannot talk to ${wanted} of ${crowd.members.length} nodes; let it talk to fewer`,
    );
  for (;;) {
    const key = PrivateKey.random();
    const own = publicKeyBytes(key.publicKey);
    const larger = crowd.members.filter(
      ({ seat }) => Buffer.compare(own, publicKeyBytes(seat.key.publicKey)) < 0,
    );
    if (larger.length < wanted) continue;
    writeFileSync(`${lab.place.state(ONE)}/var-lib/node.key`, key.toFile(), { mode: 0o600 });
    return larger;
  }
}

/** The real node among them. It nominates paths, since those that it talks to only answer: their keys are the larger ones. */
async function measureNode(mesh: LargeMesh, plan: MeshPlan, say: Say): Promise<Row[]> {
  const { crowd, lab } = mesh;
  const larger = giveKey(mesh, 2 * plan.talking);
  await lab.startAgent(ONE);
  if (plan.urgent) void preferNode(lab, ONE);
  const { token } = await lab.causewayJson<{ token: string }>(HUB, ["token", "create"]);
  await lab.causewayJson(ONE, ["join", "-", "--name", ONE], token);
  await untilAgent(mesh, (status) => status?.hub?.connected === true);
  const self = (await lab.status(ONE))?.node;
  if (self === undefined) throw new Error("the node has not joined");
  const publicKey = parsePublicKey(self.publicKey);
  const inside = parseIp(self.overlay4);
  const own = parseEndpoint(`${lab.address(ONE)}:51820`);
  crowd.reach(inside);
  for (const member of crowd.members) member.know(publicKey, { inside });
  const rows: Row[] = [];
  const settings = [
    { topology: "on-demand", talking: 0 },
    { topology: "on-demand", talking: plan.talking },
    { topology: "on-demand", talking: 2 * plan.talking },
    { topology: "full-mesh", talking: plan.talking },
  ] as const;
  using netns = lab.netns(ONE);
  for (const { topology, talking } of settings) {
    await setTopology(lab, topology);
    const partners = larger.slice(0, talking).map(({ seat }) => formatIp(seat.node.overlay4));
    startTalking(netns, partners);
    await Bun.sleep(plan.calmSeconds * 1000);
    for (const member of crowd.members) member.pings = 0;
    const rest = await atRest(mesh, ONE, plan.seconds);
    const probed = crowd.members.filter((member) => member.pings > 0).length;
    const paths = crowd.members.filter((member) => member.reaches(publicKey, own)).length;
    const prefix = `node-${topology}-${talking}`;
    say(`${prefix}: ${probed} members were probed, ${paths} paths are direct`);
    rows.push(...restRows(prefix, rest, ALONE));
    const askedMs = performance.now();
    await lab.causewayJson(ONE, ["peers"]);
    const answeredMs = performance.now() - askedMs;
    rows.push(alone({ case: `${prefix}-peers-command`, unit: "ms", why: ALONE }, [answeredMs]));
    rows.push(alone({ case: `${prefix}-peers-probed`, unit: "nodes", why: ALONE }, [probed]));
    rows.push(alone({ case: `${prefix}-direct`, unit: "nodes", why: ALONE }, [paths]));
    stopTalking(netns);
  }
  return rows;
}

/** One ping a second to each. */
function startTalking(netns: Netns, addresses: readonly string[]): void {
  for (const address of addresses)
    netns.run(() => {
      Bun.spawn(["ping", "-n", "-q", "-i", "1", address], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "ignore",
      });
    });
}

function stopTalking(netns: Netns): void {
  for (const pid of processesInNetns(new Set([netns.inode])))
    if (must(undefined, "cat", `/proc/${pid}/comm`).trim() === "ping") process.kill(pid, "SIGKILL");
}

/** measureLarge brings the mesh up and measures what is asked for. */
export async function measureLarge(plan: MeshPlan, say: Say): Promise<Row[]> {
  const { nodes, executable, parts, seconds, urgent } = plan;
  await using mesh = await LargeMesh.open({ nodes, executable, topology: "on-demand", urgent, say });
  const { crowd } = mesh;
  const rows: Row[] = [];
  const timed = async (name: string, work: () => Promise<void>) => {
    const [startMs, before] = [performance.now(), mesh.use(HUB)];
    await work();
    const [ms, after] = [performance.now() - startMs, mesh.use(HUB)];
    say(
      `${name}: ${(ms / 1000).toFixed(1)} s, hub's CPU ${(after.agentCpuSeconds - before.agentCpuSeconds).toFixed(1)} s agent, ${(after.dataplaneCpuSeconds - before.dataplaneCpuSeconds).toFixed(1)} s data plane, ${((after.bytes - before.bytes) / 1e6).toFixed(1)} MB`,
    );
  };
  await timed("all shake hands", () => crowd.shakeHands());
  await timed("all connect", () => crowd.follow());
  await Bun.sleep(plan.calmSeconds * 1000);
  if (parts.includes("hub")) {
    const rest = await atRest(mesh, HUB, seconds);
    const { before, after, minutes } = rest;
    rows.push(...restRows("hub", rest, NO_SUCH));
    const perNode = (after.bytes - before.bytes) / minutes / nodes;
    rows.push(alone({ case: "hub-bytes-per-node", unit: "bytes/minute", why: NO_SUCH }, [perNode]));
    say(`at rest: ${perNode.toFixed(0)} bytes per node and minute`);
    rows.push(...(await measureNews(mesh, plan, say)));
  }
  if (parts.includes("node")) rows.push(...(await measureNode(mesh, plan, say)));
  return rows;
}
