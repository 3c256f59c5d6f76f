/** What a gateway said to the wish for a port, whichever protocol it was asked in. */
import { type Endpoint, type Ip, ipBytes, parsePrefix, prefixContains } from "../net/mod.ts";
import { hmacSha256 } from "../sys/mod.ts";

/** MappingProtocol is how a gateway is asked. */
export type MappingProtocol = "pcp" | "nat-pmp" | "upnp-igd";

/** MappingAnswer is a mapping, or why there is none. */
export type MappingAnswer =
  | { readonly kind: "mapped"; readonly protocol: MappingProtocol; readonly external: Endpoint }
  | {
      readonly kind: "refused";
      readonly protocol: MappingProtocol;
      /** For people: `no answer`, `not authorised (2)`. */
      readonly reason: string;
      /** Whether the gateway speaks the protocol at all. */
      readonly answered: boolean;
      /** It makes no sense to ask again before. */
      readonly retryMs: number;
    };

/** MappingWish is what a gateway is asked for. */
export interface MappingWish {
  readonly gateway: Ip;
  /** Our address, as the gateway sees it. */
  readonly local: Ip;
  readonly port: number;
  /** What only this node knows: a restarted agent can renew and delete what the one before it mapped. */
  readonly secret: Uint8Array;
}

/** mappingNonce returns the twelve bytes that prove that a PCP mapping is ours (RFC 6887 section 11.2). */
export function mappingNonce({ gateway, secret }: MappingWish): Uint8Array {
  return hmacSha256(secret, "causeway port mapping", ipBytes(gateway)).subarray(0, 12);
}

const NO_DESTINATION = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/3",
  "::/16",
  "fc00::/7",
  "fe80::/10",
  "ff00::/8",
].map(parsePrefix);

/** isReachable tells whether an address can be reached from the Internet: a gateway that has another is behind a NAT itself. */
export function isReachable(address: Ip): boolean {
  return !NO_DESTINATION.some((prefix) => prefixContains(prefix, address));
}
