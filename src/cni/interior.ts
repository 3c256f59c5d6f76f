/**
 * The inside of a pod's namespace. Made once, in one batch, and not kept by the engine: what happens in there is the pod's affair.
 */
import {
  addAddress,
  addNeighbour,
  addRoute,
  addRule,
  type NetlinkError,
  type RouteChange,
  type RouteRequest,
  Rtnetlink,
  setLink,
} from "../netlink/mod.ts";
import type { InterfaceAddress } from "../net/mod.ts";
import {
  confinedNeighbours,
  interiorAddresses,
  interiorRoutes,
  interiorSettings,
  linkLocalOf,
  type NodeFacts,
  type Pod,
  type PodRoute,
  type PodRouteOptions,
  policyOf,
} from "../pods/mod.ts";
import { type Netns, writeKernelFile } from "../sys/mod.ts";
import { CniError } from "./error.ts";

/** Routes that an administrator made (RTPROT_STATIC): no daemon in the pod takes them for its own. */
const STATIC = 4;

/** InteriorOptions are what the configuration asks for, and where. */
export interface InteriorOptions extends PodRouteOptions {
  readonly netns: Netns;
  readonly node: NodeFacts;
}

/**
 * makeInterior brings the pod's end of the link up with addresses and routes, and returns the routes it made. One that the pod has
 * already, through another interface, stays: the first network is the main one.
 */
export function makeInterior(pod: Pod, options: InteriorOptions): PodRoute[] {
  const { netns, node } = options;
  using inside = Rtnetlink.open({ netns });
  const link = inside.link(pod.ifname);
  if (link === undefined)
    throw new Error(`Cannot set up ${pod.ifname} in ${netns.path}: somebody removed it; try again`);
  const linkIndex = link.index;
  const linkLocal = linkLocalOf(pod);
  const addresses = [...(linkLocal ? [linkLocal] : []), ...interiorAddresses(pod, node)];
  const isApart = (address: InterfaceAddress) => pod.confined !== undefined && address !== linkLocal;
  const links = [
    ...(linkLocal ? [setLink({ index: linkIndex, addrGen: "none" })] : []),
    setLink({ index: linkIndex, up: true }),
    ...addresses.map((address) =>
      addAddress({ linkIndex, address, nodad: true, noprefixroute: isApart(address) }),
    ),
    ...confinedNeighbours(pod, node).map((known) => addNeighbour({ linkIndex, ...known, replace: true })),
    ...policyOf(pod).map((rule) => addRule({ ...rule, family: rule.from.family })),
  ];
  const routes = interiorRoutes(pod, node, options);
  const requests = [...links, ...routes.map((route) => addRoute(changeOf(route, linkIndex)))];
  let answers = inside.execute(requests);
  // In each pod, a file of /proc/sys would cost more the more pods there are, since all have the same names (fs/proc/proc_sysctl.c,
  // proc_sys_compare). So it is opened only where the runtime has switched IPv6 off (net/ipv6/addrconf.c, addrconf_add_dev).
  if (linkLocal !== undefined && answers.some((error) => error?.code === "EACCES")) {
    netns.run(() => {
      for (const { path, value } of interiorSettings(pod)) writeKernelFile(`/proc/sys/${path}`, value);
    });
    answers = answers.map((error, index) =>
      error === undefined ? undefined : inside.execute([requests[index] as RouteRequest])[0],
    );
  }
  const refused = answers.slice(0, links.length).find((error) => error !== undefined);
  if (refused !== undefined) throw refused;
  return routes.filter((_, index) => isMade(answers[links.length + index], options));
}

function isMade(error: NetlinkError | undefined, { routes }: InteriorOptions): boolean {
  if (error === undefined) return true;
  if (error.code === "EEXIST") return false;
  if (routes === undefined) throw error;
  throw new CniError("badConfiguration", `Cannot install the routes of the configuration: ${error.message}`, {
    cause: error,
  });
}

/** changeOf asks the kernel for a route of a pod. */
export function changeOf({ priority, gateway, onlink, ...route }: PodRoute, linkIndex: number): RouteChange {
  const hop =
    gateway === undefined ? { linkIndex } : { via: gateway, linkIndex, ...(onlink === true && { onlink }) };
  return { ...route, protocol: STATIC, hops: [hop], ...(priority !== undefined && { metric: priority }) };
}
