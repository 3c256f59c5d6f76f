/** The inside of bench kube. It runs in namespaces of its own, with which everything ends. */
import { after, runSync } from "../../src/sys/mod.ts";
import type { KubeAccess } from "../../src/kube/access.ts";
import { Collection } from "../../src/kube/collection.ts";
import { resourcePath } from "../../src/kube/definition.ts";
import { type KubeNode, parseKubeNode } from "../../src/kube/node-ranges.ts";
import { API_VERSION } from "../../src/resources/mod.ts";
import { ApiServer } from "../../test/support/api-server.ts";
import { alone, type Row } from "../measure.ts";
import { preferSession } from "../tunnel/usage.ts";
import { Cluster } from "./cluster.ts";
import { type KubePlan, OWN_NODE } from "./plan.ts";
import { Part } from "./part.ts";

const NO_SUCH = "no other controller does this";
/** After so long nothing is left to do of what was before. */
const CALM_MS = 5_000;
const HEARTBEAT_S = 300;
/** What our own manifests give rights to. */
const USER = "system:serviceaccount:causeway-system:causeway-controller";

const started = performance.now();
const nowMs = () => performance.timeOrigin + performance.now();

function say(text: string): void {
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}\n`);
}

const one = (name: string, unit: string, ...values: number[]): Row =>
  alone({ case: name, unit, why: NO_SUCH }, values);

const nameOf = (index: number) => `n${String(index + 1).padStart(5, "0")}`;

/** Nodes as somebody else sees them, and whoever waits for one to be so. */
class NodeView implements Disposable {
  readonly #nodes: Collection<KubeNode>;
  readonly #waiting = new Set<() => void>();

  constructor(access: KubeAccess) {
    this.#nodes = Collection.start({
      ...{ access, path: "/api/v1/nodes", most: 10_000, parse: parseKubeNode },
      onChange: () => [...this.#waiting].forEach((look) => look()),
    });
  }

  /** until resolves when `fits` is true of all that is known. */
  async until(what: string, fits: (nodes: Collection<KubeNode>["cache"]) => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => fits(this.#nodes.cache) && resolve();
    this.#waiting.add(look);
    using _ = after(1_200_000, () => reject(new Error(`not in 20 minutes: ${what}`)));
    look();
    await promise.finally(() => this.#waiting.delete(look));
  }

  [Symbol.dispose](): void {
    this.#nodes[Symbol.dispose]();
  }
}

const hasRange = (node: KubeNode | undefined) => node !== undefined && node.ranges.length > 0;

interface World {
  readonly plan: KubePlan;
  readonly cluster: Cluster;
  readonly access: KubeAccess;
  readonly input: { readonly server: string; readonly ca: string };
}

async function measureController({ plan, cluster, access, input }: World): Promise<Row[]> {
  const { nodes, tries, seconds } = plan;
  say(`a register of ${nodes} nodes …`);
  await using controller = new Part<unknown>("./controller.ts", {
    ...{ ...input, nodes, token: `token-of-${USER}` },
  });
  const addresses = (await controller.said()) as string[];
  const [rest, late] = [addresses.slice(0, nodes - tries), addresses.slice(nodes - tries)];
  say(`${rest.length} Nodes …`);
  await cluster.all(
    rest.map((address, i) => [nameOf(i), address] as const),
    ([name, address]) => cluster.node(name, address),
  );
  using view = new NodeView(access);
  await view.until("all to be listed", ({ size }) => size === rest.length);
  const idle = controller.memory;
  const rows: Row[] = [];
  say("the controller begins …");
  const [beganMs, beganCpu] = [performance.now(), controller.cpuSeconds];
  await controller.ask("begin");
  const all = (count: number) => (cache: { all(): Iterable<KubeNode> }) =>
    [...cache.all()].filter(hasRange).length === count;
  await view.until("all ranges", all(rest.length));
  rows.push(
    one(`ranges-${nodes}`, "s", (performance.now() - beganMs) / 1000),
    one(`ranges-${nodes}-cpu`, "CPU-s", controller.cpuSeconds - beganCpu),
  );
  await Bun.sleep(CALM_MS);
  say("one more, one after the other …");
  const news: number[] = [];
  for (const [i, address] of late.entries()) {
    const name = nameOf(rest.length + i);
    const begun = performance.now();
    await cluster.node(name, address);
    await view.until(`a range of ${name}`, (cache) => hasRange(cache.get(name)));
    news.push(performance.now() - begun);
  }
  rows.push(one("node-to-range", "ms", ...news));
  rows.push(one("vpc-to-accepted", "ms", ...(await verdicts(cluster, access, tries))));
  await Bun.sleep(CALM_MS);
  const before = controller.cpuSeconds;
  const restMs = performance.now();
  await beat(cluster, nodes, seconds);
  const minutes = (performance.now() - restMs) / 60_000;
  rows.push(
    one("controller-rest-cpu", "CPU-s/minute", (controller.cpuSeconds - before) / minutes),
    one("controller-rss", "MB", controller.memory.resident),
    one("controller-written", "MB", controller.memory.written),
    one("controller-register-rss", "MB", idle.resident),
  );
  return rows;
}

/** Kubelets of all nodes say that they live, evenly over their five minutes. */
async function beat(cluster: Cluster, nodes: number, seconds: number): Promise<void> {
  say(`heartbeats for ${seconds} s …`);
  const everyMs = (HEARTBEAT_S * 1000) / nodes;
  const begun = performance.now();
  for (let i = 0; performance.now() - begun < seconds * 1000; i++) {
    await Bun.sleep(Math.max(begun + i * everyMs - performance.now(), 0));
    await cluster.heartbeat(nameOf(i % nodes));
  }
}

/** From the moment when a VPC is applied until it is accepted, which the register did before. */
async function verdicts(cluster: Cluster, access: KubeAccess, tries: number): Promise<number[]> {
  say("resources …");
  const path = resourcePath("VPC");
  const accepted = new Map<string, () => void>();
  using _ = Collection.start({
    ...{ access, path, most: 10_000 },
    parse(object: unknown) {
      const { metadata, status } = object as {
        metadata: { name: string };
        status?: { conditions?: { status: string }[] };
      };
      if (status?.conditions?.[0]?.status === "True") accepted.get(metadata.name)?.();
      return { name: metadata.name };
    },
  });
  await Bun.sleep(CALM_MS);
  const times: number[] = [];
  for (let i = 0; i < tries; i++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    accepted.set(`v${i}`, resolve);
    const begun = performance.now();
    await cluster.send("POST", path, {
      ...{ apiVersion: API_VERSION, kind: "VPC", metadata: { name: `v${i}` }, spec: {} },
    });
    await promise;
    times.push(performance.now() - begun);
  }
  return times;
}

async function measurePods({ plan, cluster, input }: World): Promise<Row[]> {
  const { pods, ownPods, nodes, namespaces, tries, seconds } = plan;
  say(`${pods} pods in ${namespaces} namespaces …`);
  await cluster.all(
    Array.from({ length: namespaces }, (_, i) => `ns${i}`),
    (name) => cluster.namespace(name),
  );
  const own = Math.ceil(pods / ownPods);
  await cluster.all(
    Array.from({ length: pods }, (_, i) => i),
    (i) =>
      cluster.pod(`ns${i % namespaces}`, `p${i}`, i % own === 0 ? OWN_NODE : nameOf(1 + (i % (nodes - 1)))),
  );
  say("one node's watch …");
  const begun = performance.now();
  await using node = new Part<number>("./pod-node.ts", { ...input, node: OWN_NODE, token: "token-of-admin" });
  const known = await node.said();
  const listedMs = performance.now() - begun;
  const times: number[] = [];
  for (let i = 0; i < tries; i++) {
    const told = node.ask(`own${i}`);
    const at = nowMs();
    await cluster.pod("ns0", `own${i}`, OWN_NODE);
    times.push((await told) - at);
  }
  const [before, restMs] = [node.cpuSeconds, performance.now()];
  await busy(cluster, { namespaces, nodes, seconds });
  const minutes = (performance.now() - restMs) / 60_000;
  return [
    one("pods-of-node", "", known),
    one("watch-listed", "ms", listedMs),
    one("pod-to-known", "ms", ...times),
    one("watch-rest-cpu", "CPU-s/minute", (node.cpuSeconds - before) / minutes),
    one("watch-rss", "MB", node.memory.resident),
  ];
}

/** Pods of other nodes come, ten a second, of which one node need hear nothing. */
async function busy(
  cluster: Cluster,
  { namespaces, nodes, seconds }: Pick<KubePlan, "namespaces" | "nodes" | "seconds">,
): Promise<void> {
  const begun = performance.now();
  for (let i = 0; performance.now() - begun < seconds * 1000; i++) {
    await Bun.sleep(Math.max(begun + i * 100 - performance.now(), 0));
    await cluster.pod(`ns${i % namespaces}`, `other${i}`, nameOf(1 + (i % (nodes - 1))));
  }
}

const plan = JSON.parse(process.argv[2] as string) as KubePlan;
if (plan.urgent) preferSession(process.pid);
runSync(["ip", "link", "set", "lo", "up"]);
await using api = new ApiServer(plan.program, plan.etcd, [USER]);
await api.start();
const access = api.access();
const cluster = new Cluster(access);
await cluster.define(await api.version());
const world: World = { plan, cluster, access, input: { server: access.server, ca: access.tls.ca } };
const rows = [...(await measureController(world)), ...(await measurePods(world))];
process.stdout.write(JSON.stringify(rows));
