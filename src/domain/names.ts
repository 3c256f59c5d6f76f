/**
 * Names and Ethernet addresses of what a domain consists of: derived, so that they are found again with nothing but a VNI.
 *
 * | name | what |
 * |---|---|
 * | `cw-<vni>` | the domain's network namespace |
 * | `br<vni>`, `vx<vni>` | bridge and VXLAN of a segment, or of the domain's own VNI, by which routers reach each other |
 * | `cw<id>` | the node's end of a pod's link |
 */
import { formatIp, type Ip, type Mac, macFromBytes } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";

/** domainNamespace returns the name of a domain's namespace, below /run/netns. */
export function domainNamespace(vni: number): string {
  return `cw-${vni}`;
}

/** namespaceVni is the reverse of domainNamespace; undefined for other names. */
export function namespaceVni(name: string): number | undefined {
  const digits = /^cw-([1-9]\d{0,7})$/.exec(name)?.[1];
  return digits === undefined || Number(digits) > 0xffffff ? undefined : Number(digits);
}

/** bridgeOf returns the name of a VNI's bridge. */
export function bridgeOf(vni: number): string {
  return `br${vni}`;
}

/** vxlanOf returns the name of a VNI's VXLAN device. */
export function vxlanOf(vni: number): string {
  return `vx${vni}`;
}

/** VXLAN_GROUP is the group of VXLAN devices (`ip link show group 67`): rules of the bridge, which see each packet, know them by it sooner than by a name. */
export const VXLAN_GROUP = 67;

/** portOf returns the name of the node's end of an attachment's link. */
export function portOf(id: string): string {
  return `cw${id}`;
}

/** isPort tells whether a link's name is that of an attachment: eleven letters or digits (pods/identity.ts). */
export function isPort(name: string): boolean {
  return /^cw[0-9a-z]{11}$/.test(name);
}

/** portMac returns the address of the node's end of an attachment's link: locally administered, never a pod's. */
export function portMac(id: string): Mac {
  return hashed(`port ${id}`);
}

/** routerMac returns the address under which a VTEP routes (RFC 9135, section 4.1), in all domains. */
export function routerMac(vtep: Ip): Mac {
  return hashed(`router ${formatIp(vtep)}`);
}

function hashed(text: string): Mac {
  const bytes = sha256(text).slice(0, 6);
  bytes[0] = 0x02;
  return macFromBytes(bytes);
}
