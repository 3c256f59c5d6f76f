/** What is known of a peer, what can happen to it, and what it asks for. The transitions are in peer.ts. */
import type { Endpoint, PublicKey, Secret } from "../../net/mod.ts";
import type { Cookie } from "./cookie.ts";
import type { Keypairs } from "./keypair.ts";
import type { MacKeys } from "./mac.ts";
import type { Initiation, Response, CookieReply } from "./message.ts";
import type { Bytes, DhKey, Heard, Primitives, Sent } from "../../noise/mod.ts";
import type { Session, SessionMemory } from "./session.ts";
import type { Timing } from "./specification.ts";
import type { Timers } from "./timers.ts";
import type { Moment } from "./timestamp.ts";

/** PeerIdentity never changes. */
export interface PeerIdentity {
  /** The device's name for the peer; never used again for another one. */
  readonly number: number;
  readonly publicKey: PublicKey;
  readonly publicBytes: Bytes;
  readonly macKeys: MacKeys;
}

/** Pending is a handshake that we began. */
export interface Pending {
  readonly sent: Sent;
  readonly index: number;
  /** Where it went: who answers it was there. */
  readonly to: Endpoint;
  /** Under our former identity. */
  readonly former: boolean;
}

/** PeerState is a value, replaced as a whole; only the memory of sessions and the two counts of bytes change in place. */
export interface PeerState {
  readonly identity: PeerIdentity;
  /** The secret shared by both static keys; absent for a key of low order, and while the device has no key. */
  readonly staticStatic?: Secret;
  /** The same with our former identity, once it was needed. */
  readonly formerStatic?: Secret;
  /** What we begin with this peer is under our former identity: it is not known to have heard of the present one. */
  readonly former?: true;
  /** It was moved to the present identity, and has said nothing under that yet: its last handshake was under the former one. */
  readonly moving?: true;
  /** It was made anew, and no handshake has come about since: where its packets under the sessions of before come from is not where to send to. */
  readonly anew?: true;
  /** The present attempt at a handshake is under the other identity: the one before had no answer. */
  readonly other?: true;
  readonly psk?: Secret;
  /** Where it was last heard from, or is said to be. */
  readonly endpoint?: Endpoint;
  /** Persistent keepalive; 0 is off. */
  readonly persistentMs: number;
  readonly timers: Timers;
  readonly keypairs: Keypairs;
  readonly pending?: Pending;
  /** When the last initiation or response left. */
  readonly spokeMs?: number;
  /** The timestamp of the last initiation that left. */
  readonly moment?: Moment;
  /** The greatest timestamp that an initiation of the peer had. */
  readonly greatest?: Bytes;
  /** When the last initiation of the peer was believed. */
  readonly heardMs?: number;
  readonly cookie?: Cookie;
  /** mac1 of the last message that left, until a cookie came for it. */
  readonly mac1?: Bytes;
  /** That the present session was renewed for its age by receiving. */
  readonly renewed: boolean;
  /** Packets that wait for a session, oldest first. */
  readonly staged: readonly Uint8Array[];
  /** Milliseconds since 1970. */
  readonly lastHandshakeMs?: number;
  /** Bytes received and sent, of datagrams. */
  readonly traffic: Float64Array;
}

/** PeerEvent is what happens to a peer. Datagrams have been found to be for it, and nothing more. */
export type PeerEvent =
  /** An initiation whose sender proved to be the peer. Whoever gets the event ends `heard`. */
  | {
      readonly kind: "initiation";
      readonly message: Initiation;
      readonly heard: Heard;
      readonly timestamp: Bytes;
      readonly from: Endpoint;
      /** It is for our former identity. */
      readonly former: boolean;
    }
  | { readonly kind: "response"; readonly message: Response; readonly from: Endpoint }
  | { readonly kind: "cookie"; readonly message: CookieReply }
  /** Packets to the peer that the data path did not seal by itself. */
  | { readonly kind: "packets"; readonly packets: readonly Uint8Array[] }
  /** The data path sealed packets and sent them. */
  | { readonly kind: "sent"; readonly session: Session; readonly data: boolean; readonly bytes: number }
  /** The data path opened packets that were authentic and new; `from` if it is not the known endpoint. */
  | {
      readonly kind: "received";
      readonly session: Session;
      readonly data: boolean;
      readonly bytes: number;
      readonly from?: Endpoint;
    }
  | { readonly kind: "due" }
  | {
      readonly kind: "set";
      readonly endpoint?: Endpoint;
      readonly persistentMs?: number;
      readonly psk?: Secret | "none";
    }
  /**
   * The device's private key is another one, with this `staticStatic`: handshakes end; sessions only receive, until they are too old. `hold`: packets
   * wait until the peer is heard under the next one.
   */
  | { readonly kind: "identity"; readonly staticStatic?: Secret; readonly hold: boolean }
  /** The device has another private key beside this one from now on, with this `staticStatic`; with the peer all goes on under the one before. */
  | { readonly kind: "demoted"; readonly staticStatic?: Secret }
  /** The peer has heard of the present private key: begin with it under that. */
  | { readonly kind: "move" }
  /** The former private key is no more. */
  | { readonly kind: "alone" }
  /** As if it had just been made, but that its sessions go on receiving, what waits goes on waiting, and timestamps of initiations are remembered. */
  | { readonly kind: "anew" }
  /** All sessions and handshakes end; `staticStatic` is that of the device's key. */
  | { readonly kind: "reset"; readonly staticStatic?: Secret };

/** PeerEffect is what a peer asks for. */
export type PeerEffect =
  /** Send a handshake message. */
  | { readonly kind: "send"; readonly to: Endpoint; readonly datagram: Bytes }
  /** Seal packets (an empty one is a keepalive) and send them, in order. They are counted already: no `sent` for them. */
  | {
      readonly kind: "transmit";
      readonly to: Endpoint;
      readonly session: Session;
      readonly packets: readonly Uint8Array[];
    }
  /** Packets under this session can come from now on. */
  | { readonly kind: "started"; readonly session: Session }
  /** Which session packets are sealed under is another one, and none of them is new. */
  | { readonly kind: "retired"; readonly peer: number }
  /** This session is over. Its memory is valid until the next step. */
  | { readonly kind: "ended"; readonly session: Session };

/** Surroundings are what a step needs beside the state: the device's part, and the time. */
export interface Surroundings {
  readonly primitives: Primitives;
  readonly timing: Timing;
  readonly memory: SessionMemory;
  /** The device's private key. */
  readonly key?: DhKey;
  /** The one before it, which the device still answers to. */
  readonly formerKey?: DhKey;
  readonly mtuBytes: number;
  /** Time that never goes back and that passes in sleep too (CLOCK_BOOTTIME). */
  readonly nowMs: number;
  /** Milliseconds since 1970, whatever the clock says. */
  readonly wallMs: number;
  /** A receiver index that nobody has, from now on this peer's. */
  claimIndex(peer: number): number;
  releaseIndex(index: number): void;
}
