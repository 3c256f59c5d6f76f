/**
 * What WireGuard knows of a device and its peers, whoever implements it: the kernel, wireguard-go, or our own engine.
 * Terms are those of wg(8).
 */
import { type Endpoint, endpointEqual } from "./endpoint.ts";
import type { PrivateKey, PublicKey, Secret } from "./key.ts";
import { type Prefix, prefixEqual } from "./prefix.ts";

/** PeerState is a peer as the device reports it. */
export interface PeerState {
  readonly publicKey: PublicKey;
  readonly endpoint?: Endpoint;
  readonly allowedIps: readonly Prefix[];
  /** Seconds; absent when off. */
  readonly keepaliveSeconds?: number;
  /** Whether a pre-shared key is set; the key itself is never read. */
  readonly presharedKey: boolean;
  /** Milliseconds since 1970, the device's clock; absent before the first handshake. */
  readonly lastHandshakeMs?: number;
  /** It is spoken to under the key that the device had before. */
  readonly former?: true;
  /** It is spoken to under the present key, but its last handshake was under the one before. */
  readonly moving?: true;
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** samePeer tells whether two readings say the same of a peer. */
export function samePeer(a: PeerState, b: PeerState): boolean {
  return (
    a.rxBytes === b.rxBytes &&
    a.txBytes === b.txBytes &&
    a.lastHandshakeMs === b.lastHandshakeMs &&
    a.keepaliveSeconds === b.keepaliveSeconds &&
    a.presharedKey === b.presharedKey &&
    a.publicKey === b.publicKey &&
    a.former === b.former &&
    a.moving === b.moving &&
    sameEndpoint(a.endpoint, b.endpoint) &&
    samePrefixes(a.allowedIps, b.allowedIps)
  );
}

function sameEndpoint(a: Endpoint | undefined, b: Endpoint | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && endpointEqual(a, b));
}

function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a === b || (a.length === b.length && a.every((one, i) => prefixEqual(one, b[i] as Prefix)));
}

/** DeviceState is a device as it reports itself. */
export interface DeviceState {
  readonly publicKey?: PublicKey;
  /** Of the key that it had before, if it still answers to that; our own engine can. */
  readonly formerPublicKey?: PublicKey;
  readonly listenPort: number;
  readonly peers: readonly PeerState[];
}

/** PeerChange asks for one peer to be made, changed or removed. What is absent stays as it is. */
export interface PeerChange {
  readonly publicKey: PublicKey;
  readonly remove?: boolean;
  /**
   * Remove the peer first, in the same request: its sessions end, and the next packet begins a handshake. With our own engine sessions go on receiving,
   * and what waits goes on waiting: the peer sends under them, by the way of before, until it hears of another.
   */
  readonly anew?: boolean;
  /** Fail silently if the peer is not there, instead of making it. */
  readonly updateOnly?: boolean;
  readonly endpoint?: Endpoint;
  /** Replaces the whole list; an address that another peer had moves here. */
  readonly allowedIps?: readonly Prefix[];
  /** Seconds; 0 turns it off. */
  readonly keepaliveSeconds?: number;
  readonly presharedKey?: Secret;
  /** It has heard of the device's present key: speak to it under that. */
  readonly move?: boolean;
}

/** DeviceChange is applied as one request; peers that are not named are not touched. */
export interface DeviceChange {
  readonly privateKey?: PrivateKey;
  /** The key before, which the device answers to beside the present one; "none" ends that. For our own engine only. */
  readonly formerKey?: PrivateKey | "none";
  readonly listenPort?: number;
  readonly peers?: readonly PeerChange[];
}

/** WireguardDevice is one device, whichever back-end runs it. */
export interface WireguardDevice {
  /** read returns what it is now. A peer of which nothing changed is the value of the reading before: who compares identities finds what is new. */
  read(): DeviceState;
  change(change: DeviceChange): void;
}
