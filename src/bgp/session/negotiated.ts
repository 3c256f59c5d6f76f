/** What a session can do, from both OPENs: the one record that readers of UPDATEs, the RIB and people look at. */
import type { Ip } from "../../net/mod.ts";
import type { BgpFamily, Capability, UpdateSession } from "../wire/mod.ts";

/** PeerRestart is what the peer's graceful restart capability says (RFC 4724 section 3, RFC 8538 section 2). */
export interface PeerRestart {
  /** The peer has restarted: do not wait for its End-of-RIB. */
  readonly restarting: boolean;
  /** Both sides keep routes over a NOTIFICATION too. */
  readonly notification: boolean;
  /** How long it takes to come back, by its own estimate. */
  readonly restartMs: number;
  /** Its families; with `true` it has kept its forwarding state. */
  readonly families: ReadonlyMap<BgpFamily, boolean>;
}

/** PeerLongLived is the peer's word on one family of RFC 9494. */
export interface PeerLongLived {
  readonly forwarding: boolean;
  readonly staleMs: number;
}

/** Negotiated is one session's. It serves as an UpdateSession for what the peer sends. */
export interface Negotiated extends UpdateSession {
  readonly localAs: number;
  readonly localId: Ip;
  readonly remoteAs: number;
  readonly remoteId: Ip;
  /** 0: no timers. */
  readonly holdMs: number;
  readonly keepaliveMs: number;
  /** Families in which we send path identifiers (RFC 7911). */
  readonly addPathSend: ReadonlySet<BgpFamily>;
  /** Messages of up to 65,535 bytes (RFC 8654): to send, when the peer said so; to receive, when we did. */
  readonly extendedMessagesSend: boolean;
  readonly extendedMessagesReceive: boolean;
  /** We may ask the peer for its routes (RFC 2918), and are told where they begin and end (RFC 7313). */
  readonly refresh: boolean;
  readonly enhancedRefresh: boolean;
  /** Absent unless both sides have the capability. */
  readonly restart?: PeerRestart;
  /** Empty unless both sides have the capability. */
  readonly longLived: ReadonlyMap<BgpFamily, PeerLongLived>;
  readonly hostname?: string;
  readonly software?: string;
  /** All that the peer said, for people. */
  readonly capabilities: readonly Capability[];
}
