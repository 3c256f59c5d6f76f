/** What an attachment to a VPC gets of what it asks for: Ethernet address, MTU, lengths; and refusals in the words of the CNI specification. */
import { CniError, type VpcWish } from "../cni/mod.ts";
import { type Segment, VXLAN_PORT, vxlanPortProblem } from "../domain/mod.ts";
import { SubnetPoolError } from "../ipam/mod.ts";
import {
  formatIp,
  type InterfaceAddress,
  type Ip,
  type Mac,
  macFromBytes,
  type Prefix,
  prefixContains,
} from "../net/mod.ts";
import { podMac } from "../pods/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import { randomBytes } from "../sys/mod.ts";

/** Codes of the CNI specification by the pool's reasons. */
const codes = {
  exhausted: "tryAgain",
  taken: "addressRefused",
  outside: "addressRefused",
  unreachable: "tryAgain",
  refused: "addressRefused",
  "already-allocated": "alreadyAttached",
} as const;

/** refusalOf returns what the runtime is told of an error of the pool of addresses. */
export function refusalOf(error: unknown): unknown {
  if (!(error instanceof SubnetPoolError)) return error;
  return new CniError(codes[error.reason], error.message, { cause: error });
}

/** lengthIn returns the length of the prefix that an address is in. */
export function lengthIn(prefixes: readonly Prefix[], ip: Ip): number {
  const prefix = prefixes.find((one) => prefixContains(one, ip));
  if (prefix === undefined) throw new RangeError(`${formatIp(ip)} is in none of the prefixes`);
  return prefix.length;
}

/** macOf: what follows from an address is the same for the next pod that has it; without one it is random: unicast, locally administered. */
export function macOf(addresses: readonly InterfaceAddress[]): Mac {
  if (addresses.length > 0) return podMac(addresses.map(({ ip }) => ip));
  const bytes = randomBytes(6);
  bytes[0] = 0x06;
  return macFromBytes(bytes);
}

/** mtuOf returns the MTU of an attachment; `most` is what fits. */
export function mtuOf({ mtuBytes }: VpcWish, most: number): number {
  if (mtuBytes === undefined || mtuBytes <= most) return mtuBytes ?? most;
  throw new CniError(
    "badConfiguration",
    `Cannot attach to a VPC: mtu ${mtuBytes} is more than the ${most} bytes that VXLAN over the mesh leaves; leave it out`,
  );
}

/** refusePort throws where an open VNI's UDP port is another's; `used` is what the VNI is on this node already. */
export function refusePort(
  { vni, dstPort = VXLAN_PORT }: Segment,
  used: Segment | undefined,
  mesh: Pick<Mesh, "listenPort">,
): void {
  const there = used === undefined ? dstPort : (used.dstPort ?? VXLAN_PORT);
  // The guard of VXLAN takes the port from all others on this node.
  const problem =
    there === dstPort ? vxlanPortProblem(dstPort, mesh) : `VNI ${vni} has port ${there} on this node`;
  if (problem === undefined) return;
  throw new CniError(
    "badConfiguration",
    `Cannot attach to a VPC: port ${dstPort}: ${problem}; leave it out, or choose another`,
  );
}
