/** The agent as a process: alone on its node, ready when it says so, gone at SIGTERM without touching the kernel. */
import { CNI_SOCKET } from "../cni/mod.ts";
import { FirewallKeeper } from "../doctor/mod.ts";
import {
  collectAfter,
  connectUnix,
  ensureDirectory,
  exit,
  isErrno,
  onBug,
  onSignal,
  raiseOpenFiles,
  openHostMounts,
  sleep,
} from "../sys/mod.ts";
import { Agent, type AgentOptions } from "./agent.ts";
import { BgpFiles } from "./bgp.ts";
import { EdgeHolder } from "./edge-holder.ts";
import { serveControl } from "./control.ts";
import { ClusterControl } from "./kube-controller.ts";
import { info, warn } from "./log.ts";
import { RUN, STATE } from "./paths.ts";
import { VERSION } from "./version.ts";

/** As long as little is done, a node of thousands holds what it needs and this much more. */
const COLLECT_BYTES = 24_000_000;

/** As the service has: a VPC takes 17. */
const OPEN_FILES = 65_536;

/** How often is looked whether another agent has gone. */
const GONE_MS = 500;

/** Only who is not there is none: an agent that is busy lets nobody in for a while (EAGAIN). */
function isAlone(): boolean {
  try {
    connectUnix(CNI_SOCKET, { timeoutMs: 2000 }).close();
    return false;
  } catch (error) {
    return isErrno(error, "ENOENT", "ECONNREFUSED");
  }
}

/** A second agent would undo, as left behind by a dead one, what the first is just making. In a pod it waits until it may take over. */
async function beAlone(inPod: boolean): Promise<void> {
  if (isAlone()) return;
  if (!inPod)
    throw new Error(
      "Cannot start the agent: another one answers on this node; stop it first: systemctl stop causeway",
    );
  warn(
    "another agent answers on this node; this one takes over when it ends: systemctl disable --now causeway",
  );
  while (!isAlone()) await sleep(GONE_MS);
}

/** RunOptions are those of the agent, and of what runs beside it. */
export interface RunOptions extends AgentOptions {
  /** On a hub: the cluster that it may control, by a kubeconfig or IN_CLUSTER. */
  readonly controls?: string;
  /** The agent runs in a pod of the host's network and process ids: it enters the host's mounts for what others must see there. */
  readonly inPod: boolean;
}

/** runAgent serves until SIGTERM or SIGINT, and leaves the kernel as it is. */
export async function runAgent(options: RunOptions): Promise<never> {
  collectAfter(COLLECT_BYTES);
  const files = raiseOpenFiles(OPEN_FILES);
  if (files < OPEN_FILES)
    warn(
      `too few files may be open for hundreds of VPCs, of which each takes 17: let it have ${OPEN_FILES} (LimitNOFILE=, ulimit -n)`,
      { count: files },
    );
  if (options.inPod) openHostMounts();
  ensureDirectory(STATE, 0o700);
  ensureDirectory(RUN, 0o755);
  await beAlone(options.inPod);
  // Weather is borne where it happens; what comes here is a bug. The service starts a new agent, and the kernel goes on meanwhile.
  onBug((error) => {
    warn("the agent ends because of a bug", {
      error,
      reason: error instanceof Error ? (error.stack ?? "") : "",
    });
    exit(70);
  });
  info(`causeway ${VERSION} starts`);
  const bgp = new EdgeHolder(new BgpFiles(), options.pods.kubeconfig);
  const agent = await Agent.start(options, bgp);
  const control = serveControl(agent);
  const cluster = options.controls === undefined ? undefined : new ClusterControl(agent, options.controls);
  using _firewall = new FirewallKeeper({
    state: STATE,
    onPutBack: (rules) => info("the firewall was loaded anew; our rules are put back", { count: rules }),
    onProblem: (error) => warn("the firewall", { error }),
  });
  const stop = Promise.withResolvers<void>();
  using _ = onSignal(["SIGTERM", "SIGINT"], () => stop.resolve());
  info("agent is ready", { path: control.path });
  await stop.promise;
  info("agent stops");
  await cluster?.end();
  control.close();
  // Neighbors are told nothing, as nothing changes for them.
  bgp[Symbol.dispose]();
  agent[Symbol.dispose]();
  return exit(0);
}
