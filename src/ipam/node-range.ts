/**
 * Node ranges: the part of the pod network that a node gives to its pods (Evio CNI's PodCIDR and nodeBits).
 *
 * With H addresses in a range that starts at N: N is never used, N+1 is the bridge (gateway), N+2 to N+H-2 are pods, and the
 * last address (IPv4: broadcast) is never used. So a /24 holds 253 pods, a /30 one.
 */
import {
  bitsOf,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  ipPlus,
  type Prefix,
  prefixAddress,
  prefixLast,
  subnet,
} from "../net/mod.ts";
import { nodeBitsProblem } from "../resources/mod.ts";

/** NodeRange is one node's part of the pod network. */
export interface NodeRange {
  readonly network: Prefix;
  /** The bridge's address with the length of the node's range, which is what is on-link. */
  readonly gateway: InterfaceAddress;
  readonly firstPod: Ip;
  readonly lastPod: Ip;
  /** How many pods fit. */
  readonly capacity: bigint;
}

/** rangeOf describes a range; RangeError when it has less than 2 host bits. */
export function rangeOf(network: Prefix): NodeRange {
  if (bitsOf(network.family) - network.length < 2)
    throw new RangeError(`${formatPrefix(network)} is too small for pods; it needs 2 host bits or more`);
  const base = prefixAddress(network);
  const firstPod = ipPlus(base, 2n);
  const lastPod = ipPlus(prefixLast(network), -1n);
  return {
    network,
    gateway: { ip: ipPlus(base, 1n), length: network.length },
    firstPod,
    lastPod,
    capacity: lastPod.value - firstPod.value + 1n,
  };
}

/** nodeRange returns range number `index` (from 0) of a pod network; RangeError past the last, or when the network cannot be divided so. */
export function nodeRange(pods: Prefix, nodeBits: number, index: number): NodeRange {
  const problem = nodeBitsProblem(pods, nodeBits);
  if (problem !== undefined) throw new RangeError(`nodeBits ${nodeBits} ${problem}`);
  if (!Number.isInteger(index) || index < 0 || index >= nodeCount(nodeBits))
    throw new RangeError(
      `${formatPrefix(pods)} with nodeBits ${nodeBits} has ${nodeCount(nodeBits)} ranges, none with number ${index}`,
    );
  return rangeOf(subnet(pods, pods.length + nodeBits, BigInt(index)));
}

/** nodeCount returns how many ranges there are. */
export function nodeCount(nodeBits: number): number {
  return 2 ** nodeBits;
}
