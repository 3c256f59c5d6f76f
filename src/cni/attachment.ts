/**
 * The kernel's side of one attachment: made as a whole or not at all, and removed with nothing but its name.
 *
 * ```
 *   node                                       container
 *   cw-pods ── cw<id> ═════ veth pair ═════ eth0   address, default routes
 *      │          └ sets of table bridge causeway: what it may send
 *      └ gateway addresses, neighbour entry of the pod
 * ```
 */
import { ALIAS, type Engine } from "../engine/mod.ts";
import { addLink, type LinkRemover, NetlinkError, Rtnetlink } from "../netlink/mod.ts";
import {
  BRIDGE,
  hostLinkOf,
  hostMac,
  type NodeFacts,
  type Pod,
  podObjects,
  type PodRoute,
  type PodRouteOptions,
  podScope,
  shaperLinkOf,
} from "../pods/mod.ts";
import { type Netns, pause } from "../sys/mod.ts";
import { CniError } from "./error.ts";
import { missingOf } from "./forwarding.ts";
import { makeInterior } from "./interior.ts";

/** How often, and how far apart, a new link is looked at until it works. */
const MOST_LOOKS = 100;
const LOOK_MS = 0.5;

/** AttachmentTools are what making and removing need. */
export interface AttachmentTools {
  readonly engine: Engine;
  /** Socket in the node's namespace. */
  readonly route: Rtnetlink;
  readonly remover: LinkRemover;
}

/**
 * attach makes the link, the node's side and the interior, and returns the routes that the pod got. When it throws, detach removes what
 * was made.
 */
export function attach(
  pod: Pod,
  netns: Netns,
  node: NodeFacts,
  tools: AttachmentTools & { readonly wishes?: PodRouteOptions },
): PodRoute[] {
  const { engine, wishes } = tools;
  makeLink(pod, netns, tools);
  engine.set(podScope(pod.id), podObjects(pod));
  requireApplied(engine, podScope(pod.id));
  const routes = makeInterior(pod, { ...wishes, netns, node });
  awaitUp(pod, netns, tools);
  return routes;
}

/** Waits moments until the kernel forwards. What stays down is CHECK's affair. */
function awaitUp({ id, addresses }: Pod, netns: Netns, { route }: AttachmentTools): void {
  using inside = Rtnetlink.open({ netns });
  const isUp = () =>
    missingOf({ route, links: [hostLinkOf(id), BRIDGE], addresses: [] }).length === 0 &&
    missingOf({ route: inside, links: [], addresses }).length === 0;
  for (let looks = 0; looks < MOST_LOOKS && !isUp(); looks++) pause(LOOK_MS);
}

/**
 * detach removes everything of an attachment that is there; nothing being there is not an error. With what the store knows of it, rules
 * that an earlier agent made go as well.
 */
export function detach(id: string, pod: Pod | undefined, { engine, remover }: AttachmentTools): void {
  const scope = podScope(id);
  remover.remove(hostLinkOf(id));
  if (pod?.bandwidth?.egress !== undefined) remover.remove(shaperLinkOf(id));
  if (pod !== undefined) engine.set(scope, podObjects(pod));
  engine.remove(scope);
  const [failed] = engine.apply(scope).failed;
  if (failed !== undefined)
    throw new CniError("kernel", `Cannot remove ${scope}: ${failed.reason ?? failed.key}`);
}

/** The bridge and the table are there since the node has a range, unless somebody removed them, or made a bridge of that name first. */
function bridgeIndex({ engine, route }: AttachmentTools): number {
  const found = route.link(BRIDGE);
  if (found?.alias?.startsWith(ALIAS) === true) return found.index;
  requireApplied(engine, "pods");
  return route.link(BRIDGE)?.index ?? 0;
}

function requireApplied(engine: Engine, scope: string): void {
  engine.apply(scope);
  const problems = engine.status(scope).filter(({ state }) => state !== "ready");
  if (problems.length === 0) return;
  throw new CniError("kernel", `Cannot make ${scope}: ${problems[0]?.reason ?? "an object is not ready"}`, {
    details: problems.map(({ key, state, reason }) => `${key} is ${state}: ${reason ?? ""}`).join("; "),
  });
}

/** The inner end is made in the container under its final name, so the kernel itself refuses a second one (A2). */
function makeLink(pod: Pod, netns: Netns, tools: AttachmentTools): void {
  const { route, remover } = tools;
  const name = hostLinkOf(pod.id);
  const link = addLink({
    type: "veth",
    name,
    mtuBytes: pod.mtuBytes,
    mac: hostMac(pod.id),
    addrGen: "none",
    alias: `${ALIAS} external`,
    up: true,
    master: bridgeIndex(tools),
    peer: { name: pod.ifname, netns, mac: pod.mac, mtuBytes: pod.mtuBytes },
  });
  try {
    route.request(link);
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
    if (interfaceExists(netns, pod.ifname))
      throw new CniError(
        "interfaceExists",
        `Cannot add ${pod.ifname}: the container has an interface of that name`,
        {
          details: `CNI_IFNAME is ${JSON.stringify(pod.ifname)}, CNI_NETNS is ${JSON.stringify(netns.path)}`,
          cause: error,
        },
      );
    // A dead agent left it: the name says whose it is, and the alias that it is ours.
    if (route.link(name)?.alias?.startsWith(ALIAS) === true) remover.remove(name);
    route.request(link);
  }
}

function interfaceExists(netns: Netns, name: string): boolean {
  using inside = Rtnetlink.open({ netns });
  return inside.link(name) !== undefined;
}
