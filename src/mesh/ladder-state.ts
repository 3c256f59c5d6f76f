/** What the ladder of one pair knows, what happens to it, and what it asks for. The steps are in ladder.ts. */
import type { Answers } from "./answers.ts";
import type { Endpoint } from "../net/mod.ts";
import type { Candidate, Rung } from "./candidates.ts";
import type { PathMtu } from "./path-mtu.ts";

/** LadderMode is the mesh's topology: all pairs probe, none does, or those that talk. */
export type LadderMode = "full" | "hubs" | "on-demand";

/** Relay is a hub through which both ends of the pair can be reached. */
export interface Relay {
  /** Name of the hub. */
  readonly hub: string;
  readonly endpoint: Endpoint;
  /** From us to the hub and on to the peer, as far as it is known. */
  readonly rttMs?: number;
  /** Size of the largest IP packet that gets through both halves. */
  readonly mtuBytes?: number;
  /** Changes when the hub's relay table is lost. */
  readonly instance?: number;
}

/** LadderEvent is what happened. `nowMs` is monotonic. */
export type LadderEvent =
  /** Who may be reached where changed; best first. */
  | { readonly kind: "candidates"; readonly nowMs: number; readonly candidates: readonly Candidate[] }
  /** Hubs that can relay for this pair, best first (hub-choice.ts); none: only a direct path is possible. */
  | { readonly kind: "relays"; readonly nowMs: number; readonly relays: readonly Relay[] }
  /** An authentic ping came from the peer. */
  | {
      readonly kind: "ping";
      readonly nowMs: number;
      readonly from: Endpoint;
      readonly transaction: bigint;
      readonly chosen: boolean;
      readonly rung?: Candidate["rung"];
      readonly sizeBytes: number;
    }
  /** An authentic pong came from the peer. */
  | {
      readonly kind: "pong";
      readonly nowMs: number;
      readonly from: Endpoint;
      readonly transaction: bigint;
      readonly chosen: boolean;
      /** Size of the ping as it arrived. */
      readonly sizeBytes: number;
    }
  /** The device was read: once a second, and after the effect `look`. Without traffic nothing of it changes. */
  | {
      readonly kind: "observed";
      readonly nowMs: number;
      readonly rxBytes: number;
      readonly txBytes: number;
      /** Absent before the first handshake. */
      readonly handshakeAgeMs?: number;
      /** Where the device sends to. */
      readonly endpoint?: Endpoint;
    }
  /** The moment that the hub named has come: the other side begins now as well. */
  | { readonly kind: "invited"; readonly nowMs: number }
  /** Own interfaces, routes or observations changed. `moved`: packets of ours come from another address now (hub-choice.ts). */
  | { readonly kind: "network"; readonly nowMs: number; readonly moved?: boolean }
  /** This process stood still for so long: answers may have come, and were not read. */
  | { readonly kind: "stood"; readonly nowMs: number; readonly forMs: number }
  | { readonly kind: "mode"; readonly nowMs: number; readonly mode: LadderMode }
  /** `ladderDueMs` has come. */
  | { readonly kind: "due"; readonly nowMs: number };

/** LadderEffect is to be carried out by the caller, in order. */
export type LadderEffect =
  /** Send a ping of `sizeBytes` (UDP payload with magic; `LEAST_PROBE_BYTES` or more), do not fragment it. */
  | {
      readonly kind: "ping";
      readonly to: Endpoint;
      readonly transaction: bigint;
      readonly chosen: boolean;
      readonly rung: Candidate["rung"];
      readonly sizeBytes: number;
    }
  /** Answer a ping, to where it came from, never larger than it. */
  | {
      readonly kind: "pong";
      readonly to: Endpoint;
      readonly transaction: bigint;
      readonly chosen: boolean;
      /** What arrived. */
      readonly sizeBytes: number;
    }
  /** `ladderUse` changed, or the device went elsewhere and is to be brought back: make the device as it says. */
  | { readonly kind: "use" }
  /** Ask the other side, through a hub, to begin at the same moment; both get `invited` then. */
  | { readonly kind: "invite" }
  /** Read the device now and step `observed`. */
  | { readonly kind: "look" }
  /** What fits through the path changed. */
  | { readonly kind: "mtu" };

/** LadderUse is what the device's peer shall be. */
export interface LadderUse {
  /** Absent while neither a hub nor a direct path is known: the peer may still call. */
  readonly endpoint?: Endpoint;
  /** On while a handshake is to happen by itself. */
  readonly keepaliveSeconds?: number;
  /** When it changes the peer is made anew: nothing is sent under its sessions any more. */
  readonly generation: number;
}

/** Unanswered is a ping that is on its way. */
export interface Unanswered {
  readonly transaction: bigint;
  readonly sentMs: number;
  /** Larger than a plain ping: it says nothing of whether the path lives. */
  readonly padded: boolean;
  /** How long this process has stood still since: nobody's silence. */
  readonly stoodMs?: number;
}

/** Attempt is what is known of one endpoint of the peer. */
export interface Attempt extends Candidate {
  /** Still named by the register; what is not goes when it is not used. */
  readonly named: boolean;
  readonly unanswered: readonly Unanswered[];
  /** Plain pings sent in this round, and when the next is. */
  readonly sentInRound: number;
  readonly nextMs?: number;
  readonly sent: number;
  readonly rounds: number;
  /** Last pong to a ping of ours. */
  readonly pongMs?: number;
  /** The pong's sender used this path. */
  readonly chosenMs?: number;
  /** Last ping from here. */
  readonly heardMs?: number;
  readonly rttMs?: number;
  /** Share of plain pings without answer, smoothed. */
  readonly loss: number;
  /** Times it was used and lost, and when last. */
  readonly losses: number;
  readonly lostMs?: number;
  readonly lostWhy?: string;
  /** When the peer last asked to use it. */
  readonly askedMs?: number;
  /** The peer would not, and is asked again later. */
  readonly refusedMs?: number;
}

/** LadderPath is where the pair is. */
export type LadderPath =
  | { readonly kind: "none"; readonly sinceMs: number }
  | {
      readonly kind: "relay";
      readonly relay: Relay;
      readonly sinceMs: number;
      /** Where the device had the peer before: it says so until it is set, and that is no news. */
      readonly left?: Endpoint;
      /** Until a handshake is begun here or seen, packets go by that relay: this one knows no session of the pair yet. */
      readonly lingers?: true;
    }
  | {
      readonly kind: "direct";
      readonly endpoint: Endpoint;
      readonly sinceMs: number;
      /** When the device is looked at and the endpoint set again, lest late packets through the relay have led it back. */
      readonly looksMs: readonly number[];
      /** WireGuard went here by itself. */
      readonly roamedMs?: number;
    };

/** Traffic is what the device's counters say. */
export interface Traffic {
  readonly rxBytes?: number;
  readonly txBytes?: number;
  readonly atMs?: number;
  /** Last time that anything came in. */
  readonly rxMs?: number;
  readonly handshakeMs?: number;
  /** Last time that more than keepalives and handshakes moved, in each direction. */
  readonly heardMs?: number;
  readonly saidMs?: number;
  /** Since when we say and hear nothing. */
  readonly unheardMs?: number;
  /** Since when WireGuard sends and has no session. */
  readonly wantedMs?: number;
  /** Where the device sends to. */
  readonly endpoint?: Endpoint;
}

/** Round is one time that all better candidates are tried. */
export type Round =
  | { readonly kind: "trying"; readonly sinceMs: number; readonly number: number }
  | { readonly kind: "resting"; readonly untilMs: number; readonly number: number }
  /** Nothing to be tried: no candidate is better than what is used, or the mode forbids. */
  | { readonly kind: "off" };

/** LadderState is one pair's state at this node. A plain value. */
export interface LadderState {
  /** The smaller public key nominates, and makes handshakes through relays. */
  readonly controlling: boolean;
  readonly mode: LadderMode;
  readonly startedMs: number;
  readonly nextTransaction: bigint;
  readonly generation: number;
  readonly relays: readonly Relay[];
  /** All hubs that were ever named, lest the endpoint of one that is down is taken for the peer's. */
  readonly hubs: readonly Relay[];
  readonly attempts: readonly Attempt[];
  readonly path: LadderPath;
  /** A handshake is wanted and was not seen. */
  readonly handshake?: {
    readonly sinceMs: number;
    /** When the peer is made anew (again), unless a handshake was seen by then. */
    readonly dueMs: number;
    readonly attempts: number;
    /** The device was asked for. */
    readonly looked: boolean;
    /** Times that it was put off. */
    readonly postponed: number;
  };
  readonly round: Round;
  readonly traffic: Traffic;
  readonly mtu: PathMtu;
  /** The endpoint that the controlling side asks the other to use. */
  readonly nominee?: { readonly endpoint: Endpoint; readonly sinceMs: number; readonly nextMs: number };
  /** Last plain ping on the path in use. */
  readonly pingMs: number;
  readonly invitedMs?: number;
  /** Last peer-reflexive candidate. */
  readonly reflexiveMs?: number;
  /** Last handshake made because WireGuard's own did not come about, and how many in a row. */
  readonly renewedMs?: number;
  readonly renewals: number;
  readonly answers: Answers;
  /** Times the path changed. */
  readonly changes: number;
}

/** LadderStep is the new state and what to do, in order. */
export type LadderStep = readonly [LadderState, readonly LadderEffect[]];

/** LadderExplanation is for people, and for `causeway peers`. */
export interface LadderExplanation {
  readonly rung: Rung | "none";
  readonly endpoint?: Endpoint;
  /** Hub that relays. */
  readonly hub?: string;
  readonly rttMs?: number;
  readonly mtuBytes?: number;
  readonly sinceMs: number;
  readonly why: string;
  readonly candidates: readonly {
    readonly endpoint: Endpoint;
    readonly rung: Rung;
    readonly source: Candidate["source"];
    readonly state: "used" | "works" | "probing" | "failed" | "waiting";
    readonly rttMs?: number;
    readonly why: string;
  }[];
}
