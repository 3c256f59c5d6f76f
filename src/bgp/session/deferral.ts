/**
 * A speaker that has restarted selects no routes of a family before its peers have said all they know: the restarter's part of graceful restart
 * (RFC 4724 section 4.1), as pure steps.
 */
import type { BgpFamily } from "../wire/mod.ts";
import type { Negotiated } from "./negotiated.ts";

/** DeferralState has the families that wait, and for whom; empty: all is selected. */
export interface DeferralState {
  readonly untilMs: number;
  readonly families: ReadonlyMap<BgpFamily, ReadonlySet<string>>;
}

/** DeferralEvent is what the peers do. */
export type DeferralEvent =
  | { readonly kind: "up"; readonly peer: string; readonly negotiated: Negotiated }
  | { readonly kind: "end-of-rib"; readonly peer: string; readonly family: BgpFamily }
  /** The peer is not configured any more. */
  | { readonly kind: "removed"; readonly peer: string }
  | { readonly kind: "time"; readonly nowMs: number };

/** DEFERRAL_MS is Selection_Deferral_Timer's default, as FRR has it. */
export const DEFERRAL_MS = 360_000;

/** startDeferral waits for every configured peer in every family that it is configured with. */
export function startDeferral(options: {
  readonly nowMs: number;
  readonly deferralMs?: number;
  readonly peers: ReadonlyMap<string, Iterable<BgpFamily>>;
}): DeferralState {
  const families = new Map<BgpFamily, Set<string>>();
  for (const [peer, own] of options.peers)
    for (const family of own) families.set(family, (families.get(family) ?? new Set()).add(peer));
  return { untilMs: options.nowMs + (options.deferralMs ?? DEFERRAL_MS), families };
}

/** stepDeferral takes one event; the second part of what it returns are the families to select, and to send with End-of-RIB, now. */
export function stepDeferral(
  state: DeferralState,
  event: DeferralEvent,
): readonly [DeferralState, readonly BgpFamily[]] {
  const families = new Map<BgpFamily, ReadonlySet<string>>();
  const selected: BgpFamily[] = [];
  for (const [family, waiting] of state.families) {
    const left = stillWaiting(waiting, event, { family, untilMs: state.untilMs });
    if (left.size === 0) selected.push(family);
    else families.set(family, left);
  }
  return [{ ...state, families }, selected];
}

function stillWaiting(
  waiting: ReadonlySet<string>,
  event: DeferralEvent,
  { family, untilMs }: { readonly family: BgpFamily; readonly untilMs: number },
): ReadonlySet<string> {
  switch (event.kind) {
    case "time":
      return event.nowMs >= untilMs ? new Set() : waiting;
    case "up": {
      // "excluding the ones with the 'Restart State' bit set in the received capability and excluding the ones that do not advertise the graceful
      // restart capability"
      const { restart, families } = event.negotiated;
      const counts = families.has(family) && restart !== undefined && !restart.restarting;
      return counts ? waiting : without(waiting, event.peer);
    }
    case "end-of-rib":
      return event.family === family ? without(waiting, event.peer) : waiting;
    case "removed":
      return without(waiting, event.peer);
  }
}

function without(peers: ReadonlySet<string>, peer: string): ReadonlySet<string> {
  if (!peers.has(peer)) return peers;
  const left = new Set(peers);
  left.delete(peer);
  return left;
}
