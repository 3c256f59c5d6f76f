/**
 * Station: a MAC address of ours, with its addresses, and whether it is announced against what other VTEPs say of it (RFC 7432 section 15). Pure.
 */
import { type EvpnHost, learnedHere, type LocalHost, type Mobility, MOST_SEQUENCE } from "../evpn/mod.ts";

/** Station is what is known of a MAC address in a segment. */
export interface Station {
  /** By its IP address as text, empty for the MAC alone. */
  readonly hosts: Map<string, LocalHost>;
  mobility: Mobility | undefined;
  /** It has moved elsewhere: it is not announced. */
  isElsewhere: boolean;
}

/** Settled is what follows from what others say. */
export interface Settled {
  /** The routes have to be announced anew, or taken back. */
  readonly changed: boolean;
  /** What people are told, once. */
  readonly problem?: "sticky elsewhere" | "duplicate";
}

/** newStation is a MAC address that is announced by nobody here yet; `sequence` is the last one that it was announced with from here. */
export function newStation(sequence: number | undefined): Station {
  // An earlier release counted on, and wrote down what does not fit.
  const known = sequence && Math.min(sequence, MOST_SEQUENCE);
  const mobility = known === undefined ? undefined : { sequence: known, movesMs: [], duplicate: false };
  return { hosts: new Map(), mobility, isElsewhere: false };
}

/** SettleOptions say when it is, and whether an address that has arrived holds against what others say: their routes are older than it. */
export interface SettleOptions {
  readonly nowMs: number;
  readonly othersAreOlder: boolean;
}

/** settle changes a station by the routes of others for its address. */
export function settle(
  station: Station,
  others: readonly EvpnHost[],
  { nowMs, othersAreOlder }: SettleOptions,
): Settled {
  const remote = strongest(others);
  const own = station.mobility?.sequence ?? 0;
  if (remote === undefined || (!remote.sticky && remote.sequence < own)) return be(station, false);
  const sticky = [...station.hosts.values()].some((host) => host.sticky === true);
  if (!holds(station, othersAreOlder))
    return be(station, !sticky && (remote.sticky || remote.sequence > own));
  const learned = learnedHere(station.mobility, remote, { nowMs, sticky });
  if (learned.kind === "sticky-elsewhere") return { ...be(station, false), problem: "sticky elsewhere" };
  const raised = learned.mobility.sequence !== own;
  station.mobility = learned.mobility;
  const { changed } = be(station, false);
  return {
    changed: changed || raised,
    ...(learned.kind === "duplicate" && learned.isNew ? { problem: "duplicate" } : {}),
  };
}

function holds({ hosts }: Station, othersAreOlder: boolean): boolean {
  for (const { claim = "arrived" } of hosts.values())
    if (claim === "always" || (claim === "arrived" && othersAreOlder)) return true;
  return false;
}

function be(station: Station, isElsewhere: boolean): Settled {
  const changed = station.isElsewhere !== isElsewhere;
  station.isElsewhere = isElsewhere;
  return { changed };
}

function strongest(others: readonly EvpnHost[]): EvpnHost | undefined {
  let best: EvpnHost | undefined;
  for (const one of others)
    if (best === undefined || (one.sticky === best.sticky ? one.sequence > best.sequence : one.sticky))
      best = one;
  return best;
}
