/**
 * Pods of a laboratory: a namespace each, attached by calls of the CNI plugin as a container runtime makes them, with what
 * libcni does around: the plugins of the list in order, name and version injected, the previous result handed on.
 */
import { parseInterfaceAddress, type Ip } from "../net/mod.ts";
import {
  createNetns,
  exists,
  listDirectory,
  Netns,
  randomBytes,
  readText,
  removeNetns,
  removeTree,
  run,
  runSync,
  writeAtomic,
} from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import { makeLoopback } from "./network.ts";
import type { Place } from "./place.ts";
import { clearNamespaces } from "./processes.ts";

/** Pod is an attached pod. */
export interface Pod {
  readonly name: string;
  readonly node: string;
  readonly ip4?: Ip;
  readonly ip6?: Ip;
}

/** The part of a CNI result that the lab reads. */
interface CniResult {
  readonly ips?: readonly { readonly address: string }[];
}

interface PluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
}

interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly PluginConfig[];
}

/** Attachment is one interface of a pod, as the runtime (or Multus) asked for it. */
interface Attachment {
  readonly ifname: string;
  /** Configurations as each plugin gets them, but for `prevResult`. */
  readonly plugins: readonly Config[];
  readonly result: CniResult;
}

interface PodRecord {
  readonly node: string;
  readonly containerId: string;
  /** Of the cluster. */
  readonly namespace: string;
  /** In the order in which they were made. */
  readonly attachments: readonly Attachment[];
}

/** Config is what a plugin is given on standard input. */
export type Config = PluginConfig & { readonly [field: string]: unknown };

/** What runtimes inject; a plugin gets what it says it can do (libcni). */
type RuntimeConfig = Readonly<Record<string, unknown>>;

/** The plugins of the first list by name, as container runtimes choose. */
function defaultNetwork(place: Place, node: string, runtimeConfig: RuntimeConfig = {}): Config[] {
  const folder = `${place.state(node)}/etc-cni`;
  const file = listDirectory(folder).find((name) => name.endsWith(".conflist"));
  const text = file === undefined ? undefined : readText(`${folder}/${file}`);
  if (text === undefined)
    throw new Error(`Node ${node} has no CNI configuration; run in it: causeway cni install`);
  const { name, cniVersion, plugins } = JSON.parse(text) as NetworkList;
  return plugins.map((plugin) => {
    const given = Object.entries(runtimeConfig).filter(([key]) => plugin.capabilities?.[key] === true);
    const injected = given.length > 0 && { runtimeConfig: Object.fromEntries(given) };
    return { ...plugin, name, cniVersion, ...injected };
  });
}

/** One call of one plugin, in the node's namespaces. */
async function call(
  place: Place,
  target: {
    readonly command: "ADD" | "DEL" | "CHECK";
    readonly node: string;
    readonly pod: string;
    readonly containerId: string;
    readonly namespace: string;
    readonly ifname: string;
    /** The pod's namespace was lost, in a reboot; the runtime only has its name. */
    readonly lost?: boolean;
  },
  config: Config,
): Promise<string> {
  const { command, node, pod, containerId, namespace, ifname, lost } = target;
  const done = await run(inNode(place, { node, netns: node }, [`/opt/cni/bin/${config.type}`]), {
    input: JSON.stringify(config),
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: lost === true ? "" : `/run/netns/${pod}`,
      CNI_IFNAME: ifname,
      CNI_PATH: "/opt/cni/bin",
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${pod};K8S_POD_INFRA_CONTAINER_ID=${containerId}`,
    },
  });
  if (done.status !== 0)
    throw new Error(
      `CNI ${command} of pod ${pod} failed: ${done.stdout.trim() || done.stderr.trim() || `status ${done.status}`}`,
    );
  return done.stdout;
}

/** Wish is a network that a pod gets instead of the node's default one. */
export interface Wish {
  /** Default `eth0`. */
  readonly ifname?: string;
  /** As it is given to the plugin; default: the node's default network. */
  readonly config?: Config;
  /** What the runtime adds for the default network, as `{dns: {servers: […]}}`. */
  readonly runtimeConfig?: RuntimeConfig;
}

/**
 * addPod makes a pod's namespace and attaches it to the node's default network, or to others. A container of that name which a reboot ended
 * is given up first, as kubelet does.
 */
export async function addPod(
  place: Place,
  where: {
    readonly node: string;
    readonly pod: string;
    /** Default `lab`. */
    readonly namespace?: string;
    readonly networks?: readonly Wish[];
  },
): Promise<Pod> {
  const { node, pod, namespace = "lab", networks = [{}] } = where;
  const lost = recordAt(place.lostRecord(pod));
  if (lost !== undefined) await detach(place, pod, { ...lost, lost: true });
  removeTree(place.lostRecord(pod));
  const containerId = `lab-${pod}-${Buffer.from(randomBytes(4)).toString("hex")}`;
  const wishes = networks.map(({ ifname = "eth0", config, runtimeConfig }) => ({
    ifname,
    plugins: config === undefined ? defaultNetwork(place, node, runtimeConfig) : [config],
  }));
  const owner = { node, containerId, namespace };
  const begun = { ...owner, attachments: wishes.map((wish) => ({ ...wish, result: {} })) };
  try {
    makeSandbox(place, node, pod);
    const attachments: Attachment[] = [];
    for (const wish of wishes) attachments.push(await attach(place, { ...owner, pod, ...wish }));
    writeAtomic(place.podRecord(pod), JSON.stringify({ ...begun, attachments } satisfies PodRecord));
  } catch (error) {
    // Runtimes detach after a failed ADD too; that may fail for the same reason, which is the one to tell. Then they do it again later.
    await detach(place, pod, begun).catch(() => writeAtomic(place.lostRecord(pod), JSON.stringify(begun)));
    removeSandbox(place, node, pod);
    throw error;
  }
  return readPod(place, pod) as Pod;
}

/** The pod's namespace, shown to the node where runtimes put it. */
function makeSandbox(place: Place, node: string, pod: string): void {
  createNetns(place.netns(pod));
  using netns = Netns.open(place.netns(pod));
  makeLoopback(netns);
  const bind = ["sh", "-c", 'touch "$0" && mount -n --bind /proc/self/ns/net "$0"', `/run/netns/${pod}`];
  const bound = runSync(inNode(place, { node, netns: pod }, bind));
  if (bound.status !== 0) throw new Error(`Cannot show pod ${pod} to its node: ${bound.stderr.trim()}`);
}

function removeSandbox(place: Place, node: string, pod: string): void {
  const unbind = ["sh", "-c", 'umount -n -l "$0"; rm -f "$0"', `/run/netns/${pod}`];
  if (exists(place.mountNamespace(node))) runSync(inNode(place, { node, netns: node }, unbind));
  removeNetns(place.netns(pod));
}

/** The plugins in order, each with the result of the one before. */
async function attach(
  place: Place,
  target: {
    readonly node: string;
    readonly pod: string;
    readonly containerId: string;
    readonly namespace: string;
    readonly ifname: string;
    readonly plugins: readonly Config[];
  },
): Promise<Attachment> {
  const { ifname, plugins } = target;
  let prevResult: CniResult | undefined;
  for (const plugin of plugins) {
    const config = { ...plugin, ...(prevResult === undefined ? {} : { prevResult }) };
    prevResult = JSON.parse(await call(place, { ...target, command: "ADD" }, config)) as CniResult;
  }
  return { ifname, plugins, result: prevResult ?? {} };
}

/** checkPod asks the plugins whether a pod is as they made it; throws what they find wrong. */
export async function checkPod(place: Place, pod: string): Promise<void> {
  const record = recordAt(place.podRecord(pod));
  if (record === undefined) throw new Error(`There is no pod ${pod}`);
  const { node, containerId, namespace } = record;
  for (const { ifname, plugins, result: prevResult } of record.attachments)
    for (const plugin of plugins)
      await call(
        place,
        { command: "CHECK", node, pod, containerId, namespace, ifname },
        { ...plugin, prevResult },
      );
}

/** deletePod detaches a pod, also one that a reboot ended, and removes its namespace and what runs in it. */
export async function deletePod(place: Place, pod: string): Promise<void> {
  const record = recordAt(place.podRecord(pod));
  const lost = recordAt(place.lostRecord(pod));
  if (record !== undefined) await detach(place, pod, record);
  else if (lost !== undefined) await detach(place, pod, { ...lost, lost: true });
  await dropPod(place, pod);
  removeTree(place.lostRecord(pod));
}

/** Attachments and plugins in reverse order. */
async function detach(
  place: Place,
  pod: string,
  record: PodRecord & { readonly lost?: boolean },
): Promise<void> {
  const { node, containerId, namespace, lost } = record;
  for (const { ifname, plugins, result: prevResult } of [...record.attachments].reverse()) {
    const target = {
      command: "DEL",
      node,
      pod,
      containerId,
      namespace,
      ifname,
      lost: lost === true,
    } as const;
    for (const plugin of [...plugins].reverse()) await call(place, target, { ...plugin, prevResult });
  }
}

/** dropPod removes a pod's namespace without a word to the plugins, as a power failure does; its record is kept apart. */
export async function dropPod(place: Place, pod: string): Promise<void> {
  await clearNamespaces(place, [pod]);
  const record = recordAt(place.podRecord(pod));
  if (record === undefined) return;
  removeSandbox(place, record.node, pod);
  writeAtomic(place.lostRecord(pod), JSON.stringify(record));
  removeTree(place.podRecord(pod));
}

function recordAt(path: string): PodRecord | undefined {
  const text = readText(path);
  return text === undefined ? undefined : (JSON.parse(text) as PodRecord);
}

/** readPod returns an attached pod, or undefined. */
export function readPod(place: Place, pod: string): Pod | undefined {
  const record = recordAt(place.podRecord(pod));
  if (record === undefined) return undefined;
  const ips = record.attachments.flatMap(({ result }) => result.ips ?? []);
  const addresses = ips.map((entry) => parseInterfaceAddress(entry.address).ip);
  const ip4 = addresses.find((address) => address.family === 4);
  const ip6 = addresses.find((address) => address.family === 6);
  return {
    name: pod,
    node: record.node,
    ...(ip4 === undefined ? {} : { ip4 }),
    ...(ip6 === undefined ? {} : { ip6 }),
  };
}
