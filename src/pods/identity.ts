/**
 * Names and Ethernet addresses of a pod's link, derived from what it belongs to: the same after every restart, and found again with
 * nothing but network, container and interface name, which is all that a runtime's DEL brings.
 */
import { type Ip, type Mac, mac, macFromBytes } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";

/** BRIDGE is the node's bridge of the default pod network. */
export const BRIDGE = "cw-pods";

/** Attached names one interface of one container in one network. */
export interface Attached {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** podId returns the 11 characters that stand for an attachment: 56 bits of a hash. */
export function podId({ network, containerId, ifname }: Attached): string {
  // None of the parts can hold a zero byte, so two attachments never give the same text.
  let value = new DataView(sha256(`${network}\0${containerId}\0${ifname}`).buffer).getBigUint64(0);
  let id = "";
  for (let i = 0; i < 11; i++, value /= 36n) id += LETTERS[Number(value % 36n)];
  return id;
}

/** hostLinkOf returns the name of the host's end of a pod's link. */
export function hostLinkOf(id: string): string {
  return `cw${id}`;
}

/** podScope returns the engine's scope of a pod. */
export function podScope(id: string): string {
  return `pod/${id}`;
}

/**
 * podMac returns the address of a pod's interface. It follows from the IP address, so that who remembers the last pod of that address
 * (an ARP cache) reaches the next one as well.
 */
export function podMac(addresses: readonly Ip[]): Mac {
  const first = addresses[0];
  if (first === undefined) throw new RangeError("A pod without an address has no Ethernet address");
  return mac(0x0a58_0000_0000 + Number(first.value & 0xffff_ffffn));
}

/** hostMac returns the address of the host's end of a pod's link: locally administered, never a pod's. */
export function hostMac(id: string): Mac {
  return hashed(`host ${id}`);
}

/** bridgeMac returns the address of the node's bridge; without a fixed one it would change with the bridge's ports. */
export function bridgeMac(gateways: readonly Ip[]): Mac {
  return hashed(`bridge ${gateways.map(({ value }) => value).join(" ")}`);
}

function hashed(text: string): Mac {
  const bytes = sha256(text).slice(0, 6);
  bytes[0] = 0x02;
  return macFromBytes(bytes);
}
