/** Gathers the facts: what the kernel, files and tools say; the agent's part is asked for by who calls. */
import { join } from "node:path";
import { Rtnetlink } from "../netlink/mod.ts";
import { exists, readText, removeTree, writeAtomic } from "../sys/mod.ts";
import type { AgentFacts, Facts } from "./facts.ts";
import { readFirewall } from "./firewall-reader.ts";
import { lackingModules, readSettings } from "./kernel-facts.ts";
import { readKey } from "./key-facts.ts";
import { readCni, readKube } from "./kube-facts.ts";
import { readPlugins } from "./plugin-facts.ts";
import { readHubNames, readPings, readWays } from "./way-facts.ts";

/** KEEP is the file in the state's folder that asks the agent to keep our rules: a line for each that was put in. */
const KEEP = "firewall.keep";

/** GatherOptions say where to look. */
export interface GatherOptions {
  readonly agent?: AgentFacts | undefined;
  readonly agentProblem?: string | undefined;
  /** Folder of the agent's state. */
  readonly state: string;
  /** Where files of Kubernetes are; usually `/`. */
  readonly root: string;
  /** Checks that are wanted: what only others need and takes long (echoes, names, whole executables) is left. None: all. */
  readonly ids?: readonly string[];
}

/** gather changes nothing, but for modules that the kernel loads when it is asked for what they do. */
export async function gather({ agent, agentProblem, state, root, ids = [] }: GatherOptions): Promise<Facts> {
  const isWanted = (id: string) => ids.length === 0 || ids.includes(id);
  const view = await readFirewall();
  const [ways, pings, hubNames, kube] = await Promise.all([
    readWays(agent?.peers ?? [], view.place),
    isWanted("mtu-path") ? readPings(agent) : undefined,
    isWanted("hub-name") ? readHubNames(agent, state) : undefined,
    readKube(root),
  ]);
  const key = readKey(state, view.kernel.links);
  const cni = readCni(root, kube?.distribution);
  return {
    ...(agent && { agent }),
    ...(agentProblem !== undefined && { agentProblem }),
    lacking: lackingModules(),
    tun: exists("/dev/net/tun"),
    settings: readSettings(),
    neighbours: countNeighbours(),
    view,
    kept: readKept(state),
    ...ways,
    ...(pings && { pings }),
    ...(kube && { kube }),
    cni,
    ...(isWanted("cni-files") && { plugins: readPlugins(root, { cni, distribution: kube?.distribution }) }),
    ...(hubNames && { hubNames }),
    ...(key && { key }),
  };
}

function countNeighbours(): number {
  using route = Rtnetlink.open();
  return route.neighbours().length;
}

/** readKept returns the keys (keyOf) of rules that shall be put back; none where nobody asked for that. */
export function readKept(state: string): ReadonlySet<string> {
  const lines = (readText(join(state, KEEP)) ?? "").split("\n");
  return new Set(lines.filter((line) => line !== "" && !line.startsWith("#")));
}

/** hasKept tells whether any shall be. */
export function hasKept(state: string): boolean {
  return readKept(state).size > 0;
}

/** writeKept asks for it; without keys it ends it. */
export function writeKept(state: string, keys: Iterable<string>): void {
  const lines = [...new Set(keys)].toSorted();
  const about = "# Written by `causeway doctor --fix`: the agent puts these rules back after a reload.";
  if (lines.length > 0) writeAtomic(join(state, KEEP), `${[about, ...lines].join("\n")}\n`, 0o600);
  else removeTree(join(state, KEEP));
}
