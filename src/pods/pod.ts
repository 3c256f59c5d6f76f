/** One pod: the node's side of its link as desired state, and what belongs into its network namespace, which is made once. */
import type { KernelObject, Sysctl } from "../engine/mod.ts";
import { type InterfaceAddress, type Ip, linkLocalIp, type Mac, prefixContains } from "../net/mod.ts";
import { confinedElements, type Confinement } from "./confined.ts";
import { type HostPort, hostPortBridgePort, hostPortElements, hostPortSettings } from "./host-port.ts";
import { type Bandwidth, bandwidthObjects } from "./bandwidth.ts";
import { BRIDGE, hostLinkOf, hostMac } from "./identity.ts";
import type { NodeFacts } from "./node.ts";
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
  readonly bridgePort?: PodBridgePort;
  readonly hostPorts?: readonly HostPort[];
  readonly bandwidth?: Bandwidth;
  /** Its primary network is a private one. */
  readonly confined?: Confinement;
}

/** PodBridgePort is how the node's bridge treats a pod. */
export interface PodBridgePort {
  /** The pod reaches the node, and through it the world, but no other isolated pod of the bridge. */
  readonly isolated?: true;
  /** Frames may return to the pod that they came from. */
  readonly hairpin?: true;
}

/**
 * podObjects is scope `pod/<id>`, the node's side. The link itself is `external`: it is made together with its inner end, and goes with
 * the pod's namespace, so the engine must never make it anew. The neighbours spare the node to ask, and the pods to be asked.
 */
export function podObjects(pod: Pod): KernelObject[] {
  const link = hostLinkOf(pod.id);
  const port = { ...pod.bridgePort, ...hostPortBridgePort(pod) };
  return [
    {
      kind: "link",
      type: "external",
      name: link,
      master: BRIDGE,
      mtuBytes: pod.mtuBytes,
      mac: hostMac(pod.id),
      addrGen: "none",
      ...(Object.keys(port).length > 0 && { port }),
    },
    ...ownAddresses(link, pod),
    ...confinedElements(pod),
    ...hostPortElements(pod),
    ...hostPortSettings(pod),
    ...pod.addresses.map(
      (address) => ({ kind: "neighbour", link: BRIDGE, ip: address, mac: pod.mac }) as const,
    ),
    ...bandwidthObjects(pod),
  ];
}

/** interiorAddresses returns a pod's addresses with the node's masks. */
export function interiorAddresses(pod: Pod, node: NodeFacts): InterfaceAddress[] {
  return pod.addresses.map((address) => {
    const range = node.ranges.find((candidate) => prefixContains(candidate, address));
    return { ip: address, length: range?.length ?? (address.family === 4 ? 32 : 128) };
  });
}

/**
 * linkLocalOf returns the link-local address of a pod with IPv6, as the kernel would make it. It is added like the others, so that the kernel
 * neither makes one nor waits whether somebody else has it.
 */
export function linkLocalOf({ mac, addresses }: Pod): InterfaceAddress | undefined {
  if (!addresses.some(({ family }) => family === 6)) return undefined;
  return { ip: linkLocalIp(mac), length: 64 };
}

/** interiorSettings are what a namespace needs in which the runtime has switched IPv6 off. */
export function interiorSettings({ ifname }: Pod): Sysctl[] {
  return [{ kind: "sysctl", path: `net/ipv6/conf/${ifname}/disable_ipv6`, value: "0" }];
}
