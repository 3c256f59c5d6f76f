/** NodeBits: how many bits after the pod network's prefix number the nodes (Evio CNI's PodCIDR and nodeBits). */
import { bitsOf, formatPrefix, type Prefix } from "../net/mod.ts";

/** MAX_NODE_BITS keeps the number of nodes below 2^30. */
export const MAX_NODE_BITS = 30;

/**
 * nodeBitsProblem returns why a pod network cannot be divided so, or undefined. A node's range needs 2 host bits or more:
 * its first address is the network, then come the gateway, at least one pod, and the last address (IPv4: broadcast).
 */
export function nodeBitsProblem(pods: Prefix, nodeBits: number): string | undefined {
  if (!Number.isInteger(nodeBits) || nodeBits < 0 || nodeBits > MAX_NODE_BITS)
    return `is not a whole number from 0 to ${MAX_NODE_BITS}; write one without quotes`;
  const most = Math.min(bitsOf(pods.family) - 2 - pods.length, MAX_NODE_BITS);
  if (most < 0)
    return `${formatPrefix(pods)} is too small for a pod network; use /${bitsOf(pods.family) - 2} or larger`;
  if (nodeBits > most)
    return `leaves less than 2 host bits in ranges of ${formatPrefix(pods)}; use at most ${most}, or a larger pod network`;
  return undefined;
}
