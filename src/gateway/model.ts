/**
 * What a gateway is, as plain values: the keys and the packet path are planned from it, and compared by diff.ts. It is made from a
 * configuration by plan.ts.
 *
 * ```
 *  private side ── queue 1 ── public 203.0.113.2 ─── pair ───▶ gateways [198.51.100.5, …]  ┐
 *             └─── queue 2 ── public 203.0.113.3 ─── pair ───▶ gateways [198.51.100.6, …]  ┴─ route tokyo: 172.32.0.0/16
 * ```
 */
import type { Ip, Mac, Prefix, PublicKey } from "../net/mod.ts";
import type { algorithms, backends, encapsulations } from "./schema.ts";
import type { SecretBytes } from "./secret-bytes.ts";

/** Device is what carries an interface: a network interface by name, one by its place on the PCI bus, or none (`pci 00:00.0`, for tests). */
export type Device =
  | { readonly kind: "interface"; readonly name: string }
  | { readonly kind: "pci"; readonly address: string }
  | { readonly kind: "none" };

/** SideModel is one address on a device, and its one neighbor there. */
export interface SideModel {
  readonly device: Device;
  readonly ip: Ip;
  readonly nextHop: Ip;
  /** Absent: the device's own. */
  readonly mac?: Mac;
  /** Absent: asked for by ARP or neighbor discovery. */
  readonly nextHopMac?: Mac;
}

/** PublicModel is the side of other gateways, for one queue and one family. */
export interface PublicModel extends SideModel {
  /** Receive queue of the device, from 0. */
  readonly deviceQueue: number;
  /** What others know this gateway by: the address that a NAT shows for it, or `ip`. It is part of the exchange; packets come from `ip`. */
  readonly identity: Ip;
}

/** QueueModel is what one worker has. Receive queue `number - 1` of the private device is its. */
export interface QueueModel {
  /** 1 to 65535. */
  readonly number: number;
  readonly public4?: PublicModel;
  readonly public6?: PublicModel;
}

/** PrivateModel is the side of the site: interfaces, of one family or of both, or a VPC. */
export type PrivateModel =
  | { readonly kind: "none" }
  | { readonly kind: "vpc"; readonly vpc: string }
  | { readonly kind: "interfaces"; readonly private4?: SideModel; readonly private6?: SideModel };

/** Credential is what proves the other gateway: a key that both have, its public key, or both. */
export interface Credential {
  /** 32 bytes. */
  readonly presharedKey?: SecretBytes;
  readonly publicKey?: PublicKey;
}

/** ExchangeModel is how keys are agreed on: by vita-ske version 5, or by Causeway's own exchange. */
export type ExchangeModel =
  | { readonly protocol: "vita"; readonly credential: Credential; readonly algorithm: "aes-128-gcm" }
  | {
      readonly protocol: "causeway";
      readonly credential: Credential;
      readonly algorithm: (typeof algorithms)[number];
      readonly encapsulation: (typeof encapsulations)[number];
    };

/** PairModel is one way to a route: from one queue, by one family. */
export interface PairModel {
  readonly queue: number;
  /** Of this gateway: what packets come from, and what it is known by. */
  readonly local: { readonly ip: Ip; readonly identity: Ip };
  /** In the order in which they are tried; empty where the other gateway calls. */
  readonly gateways: readonly Ip[];
}

/** RouteModel is a tunnel to one remote site. */
export interface RouteModel {
  readonly id: string;
  /** Names the route in the exchange, on both ends; it is not the SPI of packets. */
  readonly spi: number;
  /** Networks of the remote site: what goes there, and what decrypted packets may come from. */
  readonly prefixes: readonly Prefix[];
  readonly exchange: ExchangeModel;
  /** At most one for each queue, by number. */
  readonly pairs: readonly PairModel[];
  /** For each queue of the gateway that has no pair: the queue whose pair carries its packets. */
  readonly carriers: ReadonlyMap<number, number>;
  /** Why nothing can go over it as things are; absent: nothing is known to be in the way. */
  readonly unusable?: string;
}

/** AssociationModel is an SA that an operator gave. */
export interface AssociationModel {
  readonly direction: "outbound" | "inbound";
  readonly spi: number;
  readonly queue: number;
  readonly route: string;
  readonly algorithm: (typeof algorithms)[number];
  /** 16 or 32 bytes. */
  readonly key: SecretBytes;
  /** 4 bytes. */
  readonly salt: SecretBytes;
}

/** LifetimeModel says when an SA ends. */
export interface LifetimeModel {
  readonly ms: number;
  /** Absent: as many as the algorithm may protect. */
  readonly bytes?: bigint;
  readonly packets?: bigint;
}

/** GatewayModel is all of a gateway. */
export interface GatewayModel {
  readonly inside: PrivateModel;
  /** By number. */
  readonly queues: readonly QueueModel[];
  /** By id, in the order of the configuration. */
  readonly routes: ReadonlyMap<string, RouteModel>;
  /** Operator-managed SAs, by `direction queue spi`; empty where the key keeper makes them. */
  readonly associations: ReadonlyMap<string, AssociationModel>;
  /** Whether SAs are the operator's, so that no keys are agreed on. */
  readonly dataPlane: boolean;
  /** Largest inner packet. */
  readonly mtuBytes: number;
  /** Pads every inner packet to `mtuBytes`, so that lengths tell nothing. */
  readonly padding: boolean;
  /** UDP port of the exchange, on both ends. */
  readonly port: number;
  /** How long each half of an exchange may take. */
  readonly negotiationMs: number;
  readonly lifetime: LifetimeModel;
  readonly backend: (typeof backends)[number];
  /** Processors for the workers, in order of queues; workers without one run where the kernel puts them. */
  readonly cpus: readonly number[];
}
