/**
 * PMSI_TUNNEL (RFC 6514 section 5): through which tunnel broadcast, unknown unicast and multicast are sent.
 *
 * ```
 *  flags 1 | tunnel type 1 | label 3 (VXLAN: the VNI, RFC 8365 section 5.1.3) | tunnel identifier
 * ```
 */
import { formatIp, type Ip, ipBytes, ipFromBytes } from "../../net/mod.ts";
import { readU24 } from "./octets.ts";

/** PMSI_INGRESS_REPLICATION is the tunnel type whose identifier is the address of the receiver. */
export const PMSI_INGRESS_REPLICATION = 6;

/** PmsiTunnel is the attribute; `label` is 24 bits as they stand. */
export type PmsiTunnel =
  | {
      readonly kind: "ingress-replication";
      readonly flags: number;
      readonly label: number;
      readonly endpoint: Ip;
    }
  | {
      readonly kind: "other";
      readonly flags: number;
      readonly type: number;
      readonly label: number;
      readonly identifier: Uint8Array;
    };

/** decodePmsiTunnel reads the attribute's value; undefined when it is malformed. */
export function decodePmsiTunnel(bytes: Uint8Array): PmsiTunnel | undefined {
  if (bytes.length < 5) return undefined;
  const flags = bytes[0] as number;
  const type = bytes[1] as number;
  const label = readU24(bytes, 2);
  const identifier = bytes.slice(5);
  if (type !== PMSI_INGRESS_REPLICATION) return { kind: "other", flags, type, label, identifier };
  if (identifier.length !== 4 && identifier.length !== 16) return undefined;
  return { kind: "ingress-replication", flags, label, endpoint: ipFromBytes(identifier) };
}

/** encodePmsiTunnel returns the attribute's value. */
export function encodePmsiTunnel(tunnel: PmsiTunnel): readonly number[] {
  const { flags, label } = tunnel;
  const [type, identifier] =
    tunnel.kind === "other"
      ? [tunnel.type, tunnel.identifier]
      : [PMSI_INGRESS_REPLICATION, ipBytes(tunnel.endpoint)];
  return [flags, type, label >>> 16, (label >>> 8) & 0xff, label & 0xff, ...identifier];
}

/** printPmsiTunnel returns the tunnel as `show bgp l2vpn evpn` of FRR does, with the label. */
export function printPmsiTunnel(tunnel: PmsiTunnel): string {
  return tunnel.kind === "other"
    ? `type ${tunnel.type}, label ${tunnel.label}`
    : `Ingress Replication ${formatIp(tunnel.endpoint)}, label ${tunnel.label}`;
}
