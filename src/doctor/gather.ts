/** Gathers the facts: what the kernel, files and tools say; the agent's part is asked for by who calls. */
import { join } from "node:path";
import { Rtnetlink } from "../netlink/mod.ts";
import { exists, removeTree, writeAtomic } from "../sys/mod.ts";
import type { AgentFacts, Facts } from "./facts.ts";
import { readFirewall } from "./firewall-reader.ts";
import { lackingModules, readSettings } from "./kernel-facts.ts";
import { readKey } from "./key-facts.ts";
import { readCni, readKube } from "./kube-facts.ts";
import { readPings, readWays } from "./way-facts.ts";

/** KEEP is the file in the state's folder that asks the agent to keep our rules. */
const KEEP = "firewall.keep";

/** GatherOptions say where to look. */
export interface GatherOptions {
  readonly agent?: AgentFacts | undefined;
  readonly agentProblem?: string | undefined;
  /** Folder of the agent's state. */
  readonly state: string;
  /** Where files of Kubernetes are; usually `/`. */
  readonly root: string;
  /** Checks that are wanted: what only others need and takes long, echoes, is left. None: all. */
  readonly ids?: readonly string[];
}

/** gather changes nothing, but for modules that the kernel loads when it is asked for what they do. */
export async function gather({ agent, agentProblem, state, root, ids = [] }: GatherOptions): Promise<Facts> {
  const view = await readFirewall();
  const [ways, pings, kube] = await Promise.all([
    readWays(agent?.peers ?? [], view.place),
    ids.length === 0 || ids.includes("mtu-path") ? readPings(agent) : undefined,
    readKube(root),
  ]);
  const key = readKey(state, view.kernel.links);
  return {
    ...(agent && { agent }),
    ...(agentProblem !== undefined && { agentProblem }),
    lacking: lackingModules(),
    tun: exists("/dev/net/tun"),
    settings: readSettings(),
    neighbours: countNeighbours(),
    view,
    kept: isKept(state),
    ways,
    ...(pings && { pings }),
    ...(kube && { kube }),
    cni: readCni(root, kube?.distribution),
    ...(key && { key }),
  };
}

function countNeighbours(): number {
  using route = Rtnetlink.open();
  return route.neighbours().length;
}

/** isKept tells whether our rules shall be put back. */
export function isKept(state: string): boolean {
  return exists(join(state, KEEP));
}

/** setKept asks for it, or ends it. */
export function setKept(state: string, kept: boolean): void {
  if (kept)
    writeAtomic(
      join(state, KEEP),
      "Written by `causeway doctor --fix`: the agent puts its rules back after a reload.\n",
      0o600,
    );
  else removeTree(join(state, KEEP));
}
