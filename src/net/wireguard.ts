/**
 * What WireGuard knows of a device and its peers, whoever implements it: the kernel, wireguard-go, or our own engine.
 * Terms are those of wg(8).
 */
import type { Endpoint } from "./endpoint.ts";
import type { PrivateKey, PublicKey, Secret } from "./key.ts";
import type { Prefix } from "./prefix.ts";

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
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** DeviceState is a device as it reports itself. */
export interface DeviceState {
  readonly publicKey?: PublicKey;
  readonly listenPort: number;
  readonly peers: readonly PeerState[];
}

/** PeerChange asks for one peer to be made, changed or removed. What is absent stays as it is. */
export interface PeerChange {
  readonly publicKey: PublicKey;
  readonly remove?: boolean;
  /** Remove the peer first, in the same request: its sessions end, and the next packet begins a handshake. */
  readonly anew?: boolean;
  /** Fail silently if the peer is not there, instead of making it. */
  readonly updateOnly?: boolean;
  readonly endpoint?: Endpoint;
  /** Replaces the whole list; an address that another peer had moves here. */
  readonly allowedIps?: readonly Prefix[];
  /** Seconds; 0 turns it off. */
  readonly keepaliveSeconds?: number;
  readonly presharedKey?: Secret;
}

/** DeviceChange is applied as one request; peers that are not named are not touched. */
export interface DeviceChange {
  readonly privateKey?: PrivateKey;
  readonly listenPort?: number;
  readonly peers?: readonly PeerChange[];
}

/** WireguardDevice is one device, whichever back-end runs it. */
export interface WireguardDevice {
  read(): DeviceState;
  change(change: DeviceChange): void;
}
