/** What the packet path knows of peers and sessions; the protocol makes them, and takes them away. */
import type { AeadKey } from "../../sys/mod.ts";
import type { ReplayWindow } from "../wireguard/replay.ts";
import type { FrameSink } from "./datagram-port.ts";

/** PathSession is a session with its keys in the AEAD provider's form. `Session` of wireguard/session.ts has the rest of it. */
export interface PathSession {
  /** Number of the peer. */
  readonly peer: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  /** One number: the counter of the next packet. */
  readonly sendCounter: Float64Array;
  readonly window: ReplayWindow;
  readonly sealKey: AeadKey;
  readonly openKey: AeadKey;
}

/** PathPeer is a peer that packets go to. */
export interface PathPeer {
  /** The session to seal with; absent while there is none. */
  session: PathSession | undefined;
  /** Memory of its endpoint (endpoint-memory.ts), and the socket to use; absent while it is unknown. */
  readonly endpoint: number;
  sender: FrameSink | undefined;
}

/** AddressLookup tells which peer has an address, by allowed IPs: 4 or 16 bytes at an offset. PrefixTrie is one. */
export interface AddressLookup {
  find(bytes: Uint8Array, at: number): number | undefined;
}

/** PathTables are shared by both directions. */
export interface PathTables {
  readonly peers: ReadonlyMap<number, PathPeer>;
  /** Sessions by local index. */
  readonly sessions: ReadonlyMap<number, PathSession>;
  readonly allowed4: AddressLookup;
  readonly allowed6: AddressLookup;
  /** From this counter on a session seals nothing (Reject-After-Messages). */
  readonly mostMessages: number;
}

/** PathCounters say what became of packets. All only grow. */
export interface PathCounters {
  /** Datagrams that were not authentic, or came twice or too late. */
  forged: number;
  replayed: number;
  /** For an index that no session has. */
  unknown: number;
  /** Inside: not IP, or from an address that the peer may not use. */
  malformed: number;
  refusedSource: number;
  /** From TUN: nonsense, to nobody, or to a peer without session or endpoint. */
  unreadable: number;
  unrouted: number;
  unready: number;
}

/** newCounters returns counters of zero. */
export function newCounters(): PathCounters {
  return {
    forged: 0,
    replayed: 0,
    unknown: 0,
    malformed: 0,
    refusedSource: 0,
    unreadable: 0,
    unrouted: 0,
    unready: 0,
  };
}
