/** The result of our own ADD. */
import {
  BRIDGE,
  bridgeMac,
  gatewaysOf,
  hostLinkOf,
  hostMac,
  interiorAddresses,
  type NodeFacts,
  type PodRoute,
} from "../pods/mod.ts";
import type { Dns } from "./configuration.ts";
import { type Result, type ResultRoute, SCOPES } from "./result.ts";
import type { StoredPod } from "./store.ts";
import type { VpcAttached } from "./vpc-network.ts";
import { vpcDns } from "./vpc-result.ts";
import { PRIMARY_LINK } from "./vpc-wish.ts";

/** Index of the container's interface: the bridge is 0, the node's end of the link is 1. */
const CONTAINER = 2;

/** SuccessInput is what ADD made, where, and what the configuration wants passed on. */
export interface SuccessInput {
  readonly pod: StoredPod;
  readonly node: NodeFacts;
  /** The routes that the pod got. */
  readonly routes: readonly PodRoute[];
  readonly dns: Dns | undefined;
  /** The private network that the pod is in before all. */
  readonly primary?: VpcAttached | undefined;
}

/**
 * successOf lists what ADD made. The sandbox is the very text of CNI_NETNS. Of a private primary network it has the link only: runtimes
 * take every address for one that the cluster reaches the pod by, and may have one of each family.
 */
export function successOf({ pod, node, routes, dns, primary }: SuccessInput): Result {
  const gateways = gatewaysOf(node.ranges).map((gateway) => gateway.ip);
  const names = primary === undefined ? dns : vpcDns(primary, dns);
  return {
    interfaces: [
      { name: BRIDGE, mac: bridgeMac(gateways), mtuBytes: node.mtuBytes },
      { name: hostLinkOf(pod.id), mac: hostMac(pod.id), mtuBytes: pod.mtuBytes },
      { name: pod.ifname, mac: pod.mac, mtuBytes: pod.mtuBytes, sandbox: pod.netns },
      ...(primary === undefined
        ? []
        : [{ name: PRIMARY_LINK, mac: primary.mac, mtuBytes: primary.mtuBytes, sandbox: pod.netns }]),
    ],
    addresses: interiorAddresses(pod, node).map((address) => {
      const gateway = gateways.find(({ family }) => family === address.ip.family);
      return { address, interface: CONTAINER, ...(gateway !== undefined && { gateway }) };
    }),
    routes: routes.map(resultRoute),
    ...(names !== undefined && { dns: names }),
  };
}

function resultRoute({ scope, onlink: _onlink, source: _source, ...route }: PodRoute): ResultRoute {
  return { ...route, ...(scope !== undefined && { scope: SCOPES[scope] }) };
}
