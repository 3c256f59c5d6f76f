/**
 * The inside of a pod's namespace. Made once, in one batch, and not kept by the engine: what happens in there is the pod's affair.
 */
import { addAddress, addRoute, Rtnetlink, setLink } from "../netlink/mod.ts";
import {
  interiorAddresses,
  interiorRoutes,
  interiorSettings,
  type NodeFacts,
  type Pod,
  type PodRoute,
} from "../pods/mod.ts";
import { type Netns, writeKernelFile } from "../sys/mod.ts";

/** Routes that an administrator made (RTPROT_STATIC): no daemon in the pod takes them for its own. */
const STATIC = 4;

/**
 * makeInterior brings the pod's end of the link up with addresses and default routes, and returns the routes it made. A default route
 * that another interface of the pod has stays: the first network is the main one.
 */
export function makeInterior(pod: Pod, netns: Netns, node: NodeFacts): PodRoute[] {
  // One visit: entering a namespace costs more than what is done there.
  using inside = netns.run(() => {
    for (const { path, value } of interiorSettings(pod)) writeKernelFile(`/proc/sys/${path}`, value);
    return Rtnetlink.open();
  });
  const link = inside.link(pod.ifname);
  if (link === undefined)
    throw new Error(`Cannot set up ${pod.ifname} in ${netns.path}: somebody removed it; try again`);
  const linkIndex = link.index;
  const links = [
    setLink({ index: linkIndex, up: true }),
    ...interiorAddresses(pod, node).map((address) => addAddress({ linkIndex, address, nodad: true })),
  ];
  const routes = interiorRoutes(pod, node);
  const answers = inside.execute([
    ...links,
    ...routes.map(({ destination, gateway }) =>
      addRoute({ destination, protocol: STATIC, hops: [{ via: gateway, linkIndex }] }),
    ),
  ]);
  const refused = answers.find((error, index) => error && (index < links.length || error.code !== "EEXIST"));
  if (refused !== undefined) throw refused;
  return routes.filter((_, index) => answers[links.length + index] === undefined);
}
