/** NLRI as text, in the forms that users of FRR know. */
import { formatIp, formatMac, formatPrefix, prefixAddress } from "../../net/mod.ts";
import { printEsi } from "./esi.ts";
import { decodeExtendedCommunity, printExtendedCommunity } from "./extended-community.ts";
import type { EvpnNlri, Nlri } from "./nlri-value.ts";
import { readU32 } from "./octets.ts";
import { printRd, type RouteDistinguisher } from "./route-distinguisher.ts";

/** rdOf returns a route's distinguisher; undefined for routes that have none. */
export function rdOf(nlri: Nlri): RouteDistinguisher | undefined {
  return "rd" in nlri ? nlri.rd : undefined;
}

/** printNlri returns a prefix, or an EVPN route such as `[2]:[0]:[48]:[02:aa:00:00:00:05]:[32]:[10.1.1.5]`; its route distinguisher is rdOf's. */
export function printNlri(nlri: Nlri): string {
  switch (nlri.kind) {
    case "prefix":
      return formatPrefix(nlri.prefix);
    case "route-target":
      return printMembership(nlri.bits, nlri.value);
    default:
      return printEvpn(nlri)
        .map((part) => `[${part}]`)
        .join(":");
  }
}

/** printNlriWithRd puts the route distinguisher in front: `10.255.0.1:2 [2]:[0]:[48]:[…]`. */
export function printNlriWithRd(nlri: Nlri): string {
  const rd = rdOf(nlri);
  return rd === undefined ? printNlri(nlri) : `${printRd(rd)} ${printNlri(nlri)}`;
}

function printEvpn(nlri: EvpnNlri): readonly (string | number)[] {
  switch (nlri.kind) {
    case "ethernet-auto-discovery":
      return [1, nlri.tag, printEsi(nlri.esi)];
    case "mac-ip": {
      const address = nlri.ip === undefined ? [] : [nlri.ip.family === 4 ? 32 : 128, formatIp(nlri.ip)];
      return [2, nlri.tag, 48, formatMac(nlri.mac), ...address];
    }
    case "inclusive-multicast":
      return [3, nlri.tag, nlri.originator.family === 4 ? 32 : 128, formatIp(nlri.originator)];
    case "ethernet-segment":
      return [4, printEsi(nlri.esi), nlri.originator.family === 4 ? 32 : 128, formatIp(nlri.originator)];
    case "ip-prefix":
      return [5, nlri.tag, nlri.prefix.length, formatIp(prefixAddress(nlri.prefix))];
    case "evpn-unknown":
      return [nlri.type, `0x${Buffer.from(nlri.value).toString("hex")}`];
  }
}

/** A route target membership: `default`, `65001:RT:65001:100`, or as far as it goes with its length. */
function printMembership(bits: number, value: Uint8Array): string {
  if (bits === 0) return "default";
  const as = readU32(value, 0);
  if (bits === 96) return `${as}:${printExtendedCommunity(decodeExtendedCommunity(value, 4))}`;
  return bits === 32 ? `${as}:*` : `${as}:0x${Buffer.from(value.subarray(4)).toString("hex")}/${bits - 32}`;
}
