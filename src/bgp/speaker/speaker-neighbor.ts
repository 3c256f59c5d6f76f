/** SpeakerNeighbor: one session of a speaker with what belongs to it. */
import type { NeighborOptions } from "../../resources/mod.ts";
import type { BgpSession } from "../io/mod.ts";
import type { RibPeer } from "../rib/mod.ts";
import type { HelperState } from "../session/mod.ts";

/** SpeakerNeighbor is one session with what belongs to it. */
export interface SpeakerNeighbor {
  readonly name: string;
  readonly session: BgpSession;
  options: NeighborOptions;
  /** The prefix that it came by, for a dynamic neighbor. */
  readonly dynamic: boolean;
  /** Absent until the session was established once. */
  peer: RibPeer | undefined;
  helper: HelperState;
  /** When its present state began. */
  sinceMs: number;
  /** Why it has lost its session, where it told more routes than it may. */
  limited: string | undefined;
}
