/** What the packet path knows of peers and sessions; the protocol makes them, and takes them away. */
import type { AeadKey } from "../../sys/mod.ts";
import type { ReplayWindow } from "../wireguard/replay.ts";
import type { FrameSink } from "./datagram-port.ts";
import type { Outgoing } from "./framing.ts";

/** SealSession is what the way out asks of a session. */
export interface SealSession extends Outgoing {
  /** From this moment on (PathTables.nowMs) it seals nothing. */
  readonly endsMs: number;
  /** claim takes counters for so many frames and returns the first, an integer below 2^53; -1 when too few are left. */
  claim(frames: number): number;
  readonly sealKey: AeadKey;
}

/** OpenSession is what the way in asks of a session. */
export interface OpenSession {
  /** Number of the peer. */
  readonly peer: number;
  /** From this moment on (PathTables.nowMs) it opens nothing. */
  readonly endsMs: number;
  readonly openKey: AeadKey;
}

/**
 * PathSession is a session of WireGuard, for both ways, with its keys in the AEAD provider's form. `Session` of wireguard/session.ts has the
 * rest of it. ESP has associations of one direction instead (../esp).
 */
export interface PathSession extends SealSession, OpenSession {
  readonly localIndex: number;
  readonly window: ReplayWindow;
}

/** PathPeer is a peer that packets go to. */
export interface PathPeer<Seal extends SealSession = PathSession> {
  /** The session to seal with; absent while there is none. */
  session: Seal | undefined;
  /** Memory of its endpoint (endpoint-memory.ts), and the socket to use; absent while it is unknown. */
  readonly endpoint: number;
  sender: FrameSink | undefined;
}

/** AddressLookup tells which peer has an address, by allowed IPs: 4 or 16 bytes at an offset. PrefixTrie is one. */
export interface AddressLookup {
  find(bytes: Uint8Array, at: number): number | undefined;
}

/** PathTables are shared by both directions. */
export interface PathTables<Seal extends SealSession = PathSession, Open extends OpenSession = PathSession> {
  readonly peers: ReadonlyMap<number, PathPeer<Seal>>;
  /** Sessions by local index. */
  readonly sessions: ReadonlyMap<number, Open>;
  readonly allowed4: AddressLookup;
  readonly allowed6: AddressLookup;
  /** Frames with counters from here on are refused. */
  readonly mostMessages: number;
  /** The time of the turn of the loop that runs: milliseconds of CLOCK_BOOTTIME. */
  nowMs: number;
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
  /** For a session that has no counters left. */
  exhausted: number;
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
    exhausted: 0,
  };
}
