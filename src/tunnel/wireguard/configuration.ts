/** What a device can be told (the set operation of https://www.wireguard.com/xplatform/). */
import type {
  DeviceChange,
  Endpoint,
  PeerChange,
  Prefix,
  PrivateKey,
  PublicKey,
  Secret,
} from "../../net/mod.ts";

/** Configuration is applied as a whole, in the order of its fields. What is absent stays as it is. */
export interface Configuration {
  /** "none" takes the key away: the device speaks with nobody. */
  readonly privateKey?: PrivateKey | "none";
  /**
   * The key that the device had before, and answers to beside `privateKey`; "none" takes it away. Given with another `privateKey` when it is the
   * device's own, sessions go on under it, until peers are moved.
   */
  readonly formerKey?: PrivateKey | "none";
  readonly listenPort?: number;
  /** Mark of the datagrams that are sent; 0 for none. */
  readonly fwmark?: number;
  /** Peers that are not named are removed. */
  readonly replacePeers?: boolean;
  readonly peers?: readonly PeerConfiguration[];
}

/** PeerConfiguration is about one peer. */
export interface PeerConfiguration {
  readonly publicKey: PublicKey;
  readonly remove?: boolean;
  /** Do nothing if there is no such peer, instead of making it. */
  readonly updateOnly?: boolean;
  /** It has heard of the device's present key: begin under that, if the former one was used with it. */
  readonly move?: boolean;
  readonly presharedKey?: Secret | "none";
  readonly endpoint?: Endpoint;
  /** Seconds; 0 is off. */
  readonly keepaliveSeconds?: number;
  /** Prefixes that are not named are removed. */
  readonly replaceAllowedIps?: boolean;
  readonly allowedIps?: readonly AllowedIpChange[];
}

/** AllowedIpChange gives a prefix to the peer, or takes it away. */
export interface AllowedIpChange {
  readonly prefix: Prefix;
  readonly remove?: boolean;
}

/** configurationOf says a change as the engine makes it in these terms. */
export function configurationOf({ peers, ...device }: DeviceChange): Configuration {
  return { ...device, ...(peers === undefined ? {} : { peers: peers.flatMap(peerConfigurationsOf) }) };
}

function peerConfigurationsOf({ allowedIps, anew, ...peer }: PeerChange): PeerConfiguration[] {
  const gone = anew === true ? [{ publicKey: peer.publicKey, remove: true }] : [];
  if (allowedIps === undefined) return [...gone, peer];
  return [
    ...gone,
    { ...peer, replaceAllowedIps: true, allowedIps: allowedIps.map((prefix) => ({ prefix })) },
  ];
}
