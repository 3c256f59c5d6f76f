/** What workers count, in the memory that they share with the control thread (session-store.ts). */
import type { PathCounters } from "../path/mod.ts";

/** Places of the path's counters (path-peer.ts) and of a worker's own. Names are those that `get_dataplane` answers with. */
const PATH_COUNTERS = {
  forged: 0,
  replayed: 1,
  unknown: 2,
  malformed: 3,
  refused_source: 4,
  unreadable: 5,
  unrouted: 6,
  unready: 7,
  exhausted: 8,
} as const;

/** OWN_COUNTERS are the places of what the worker itself counts. */
export const OWN_COUNTERS = {
  /** Packets that the kernel did not take from us: the link is down, or they are nonsense. */
  refused_by_link: 9,
  datagrams_sent: 10,
  datagrams_refused: 11,
  /** Packets without a session that were too many to be kept. */
  not_handed_on: 12,
  /** What went on to other nodes, and what did not (../relay). */
  relayed: 24,
  relayed_bytes: 25,
  relay_drop_no_circuit: 26,
  relay_drop_rate: 27,
  relay_drop_nowhere: 28,
  relay_drop_back: 29,
  relay_drop_line_full: 30,
  relay_drop_refused: 31,
} as const;

/** publishCounters writes the path's counters. */
export function publishCounters(shared: Float64Array, counters: PathCounters): void {
  shared[PATH_COUNTERS.forged] = counters.forged;
  shared[PATH_COUNTERS.replayed] = counters.replayed;
  shared[PATH_COUNTERS.unknown] = counters.unknown;
  shared[PATH_COUNTERS.malformed] = counters.malformed;
  shared[PATH_COUNTERS.refused_source] = counters.refusedSource;
  shared[PATH_COUNTERS.unreadable] = counters.unreadable;
  shared[PATH_COUNTERS.unrouted] = counters.unrouted;
  shared[PATH_COUNTERS.unready] = counters.unready;
  shared[PATH_COUNTERS.exhausted] = counters.exhausted;
}

/** sumCounters returns the sums over all workers, by name. */
export function sumCounters(workers: readonly Float64Array[]): Record<string, number> {
  return Object.fromEntries(
    Object.entries({ ...PATH_COUNTERS, ...OWN_COUNTERS }).map(([name, at]) => [
      name,
      workers.reduce((sum, shared) => sum + (shared[at] as number), 0),
    ]),
  );
}
