/** One pod: the node's side of its link as desired state, and what belongs into its network namespace, which is made once. */
import type { KernelObject, Sysctl } from "../engine/mod.ts";
import {
  type InterfaceAddress,
  type Ip,
  ip,
  type Mac,
  type Prefix,
  prefixContains,
  prefixOf,
} from "../net/mod.ts";
import { BRIDGE, hostLinkOf, hostMac } from "./identity.ts";
import { gatewaysOf, type NodeFacts } from "./node.ts";
import { ownAddresses } from "./spoofing.ts";

/** Pod is an interface in a pod. */
export interface Pod {
  /** podId of what it belongs to. */
  readonly id: string;
  /** Name inside. */
  readonly ifname: string;
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  readonly mtuBytes: number;
}

/**
 * podObjects is scope `pod/<id>`, the node's side. The link itself is `external`: it is made together with its inner end, and goes with
 * the pod's namespace, so the engine must never make it anew. The neighbours spare the node to ask, and the pods to be asked.
 */
export function podObjects(pod: Pod): KernelObject[] {
  const link = hostLinkOf(pod.id);
  return [
    {
      kind: "link",
      type: "external",
      name: link,
      master: BRIDGE,
      mtuBytes: pod.mtuBytes,
      mac: hostMac(pod.id),
      addrGen: "none",
    },
    ...ownAddresses(link, pod),
    ...pod.addresses.map(
      (address) => ({ kind: "neighbour", link: BRIDGE, ip: address, mac: pod.mac }) as const,
    ),
  ];
}

/** interiorAddresses returns a pod's addresses with the node's masks. */
export function interiorAddresses(pod: Pod, node: NodeFacts): InterfaceAddress[] {
  return pod.addresses.map((address) => {
    const range = node.ranges.find((candidate) => prefixContains(candidate, address));
    return { ip: address, length: range?.length ?? (address.family === 4 ? 32 : 128) };
  });
}

/** PodRoute is a default route of a pod. */
export interface PodRoute {
  readonly destination: Prefix;
  readonly gateway: Ip;
}

/** interiorRoutes returns the default routes of the families that a pod has addresses of. */
export function interiorRoutes(pod: Pod, node: NodeFacts): PodRoute[] {
  return gatewaysOf(node.ranges)
    .filter((gateway) => pod.addresses.some(({ family }) => family === gateway.ip.family))
    .map(({ ip: gateway }) => ({ destination: prefixOf(ip(gateway.family, 0n), 0), gateway }));
}

/** interiorSettings are the kernel settings that must stand in the pod's namespace before its interface comes up. */
export function interiorSettings(pod: Pod): Sysctl[] {
  if (!pod.addresses.some(({ family }) => family === 6)) return [];
  const setting = (name: string, value: string): Sysctl => ({
    kind: "sysctl",
    path: `net/ipv6/conf/${pod.ifname}/${name}`,
    value,
  });
  // Runtimes switch IPv6 off in new namespaces. The node knows that addresses are unique, and is the only router.
  return [setting("disable_ipv6", "0"), setting("accept_dad", "0"), setting("accept_ra", "0")];
}
