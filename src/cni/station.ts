/**
 * Which Ethernet address an attachment gets. The bridge sends to whoever used an address last, so one that a container asks for must not be
 * another's, now or later.
 */
import { formatMac, type Ip, type Mac, macBytes } from "../net/mod.ts";
import { bridgeMac, gatewaysOf, type NodeFacts, podMac } from "../pods/mod.ts";
import { CniError } from "./error.ts";
import type { PodStore } from "./store.ts";

/** Addresses that begin so follow from IP addresses (podMac): that of a pod to come can be known before. */
const DERIVED = [0x0a, 0x58];

/** StationInput is what decides. */
export interface StationInput {
  readonly addresses: readonly Ip[];
  readonly node: NodeFacts;
  readonly store: Pick<PodStore, "hasMac">;
}

/** macOf returns the requested address, or the one that follows from the IP addresses; code 102 for one that is or may become another's. */
export function macOf(requested: Mac | undefined, { addresses, node, store }: StationInput): Mac {
  const derived = podMac(addresses);
  if (requested === undefined || requested === derived) return derived;
  const isDerived = DERIVED.every((byte, index) => macBytes(requested)[index] === byte);
  const problem =
    requested === bridgeMac(gatewaysOf(node.ranges).map(({ ip }) => ip))
      ? "it is the bridge's"
      : isDerived
        ? "addresses that begin with 0a:58 follow from IP addresses"
        : store.hasMac(requested)
          ? "another container has it"
          : undefined;
  if (problem === undefined) return requested;
  throw new CniError(
    "addressRefused",
    `Cannot use the MAC address ${formatMac(requested)}: ${problem}; request another`,
    {
      details: `mac is ${formatMac(requested)}`,
    },
  );
}
