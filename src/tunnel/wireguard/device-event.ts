/** What happens to a device, and what it asks for. */
import type { Endpoint, Prefix } from "../../net/mod.ts";
import type { Configuration } from "./configuration.ts";
import type { PeerEffect } from "./peer-state.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";
import type { Session, SessionMemory } from "./session.ts";
import type { Timing } from "./specification.ts";

/** Clock is the time of an event. */
export interface Clock {
  /** Milliseconds that never go back and that pass in sleep too (CLOCK_BOOTTIME): the ages of sessions count a sleep. */
  readonly nowMs: number;
  /** Milliseconds since 1970, wherever the clock jumps. */
  readonly wallMs: number;
}

/** DeviceEvent is what happens to a device. */
export type DeviceEvent =
  /** A datagram that is not a data message came; whatever it is. */
  | {
      readonly kind: "message";
      readonly datagram: Uint8Array;
      readonly from: Endpoint;
      /** How many more wait in the caller's queue; default none. */
      readonly backlog?: number;
    }
  /** Packets to a peer that cannot be sealed now: there is no session to send with. They are kept, so they must not change. */
  | { readonly kind: "packets"; readonly peer: number; readonly packets: readonly Uint8Array[] }
  /** Packets were sealed and sent; `data` if any of them was not empty; `bytes` of datagrams. */
  | { readonly kind: "sent"; readonly session: Session; readonly data: boolean; readonly bytes: number }
  /** Packets came that were authentic and new; `from` the last of them, if that is not the peer's known endpoint. */
  | {
      readonly kind: "received";
      readonly session: Session;
      readonly data: boolean;
      readonly bytes: number;
      readonly from?: Endpoint;
    }
  /** Timers may be due. */
  | { readonly kind: "due" }
  | { readonly kind: "configure"; readonly configuration: Configuration }
  /** The socket is open at this port: the one that was asked for, or for 0 the one that was found. */
  | { readonly kind: "bound"; readonly port: number };

/** DeviceEffect is what a device asks for. */
export type DeviceEffect =
  | Exclude<PeerEffect, { readonly kind: "send" }>
  /** Send a handshake message; `peer` unless it is an answer to somebody who is not known yet. */
  | { readonly kind: "send"; readonly to: Endpoint; readonly datagram: Bytes; readonly peer?: number }
  /** Move the socket to this port, 0 for any; then step `bound`. */
  | { readonly kind: "listen"; readonly port: number }
  /** A peer is there from now on, or no more. */
  | { readonly kind: "added" | "removed"; readonly peer: number }
  /** Who may have which addresses changed: as the methods of AllowedIps. */
  | { readonly kind: "insert" | "remove"; readonly prefix: Prefix; readonly peer: number }
  | { readonly kind: "clear"; readonly peer: number }
  /** Mark what is sent (SO_MARK). */
  | { readonly kind: "mark"; readonly mark: number }
  /** The rest of a configuration was not applied: a table is full. Last; what is asked for before it has to be done all the same. */
  | { readonly kind: "refused"; readonly error: Error };

/** DeviceOptions are what a device is made of. */
export interface DeviceOptions {
  readonly primitives?: Primitives;
  readonly timing?: Timing;
  readonly memory?: SessionMemory;
  /** Of the link: packets are not padded beyond it. Default 1420. */
  readonly mtuBytes?: number;
}
