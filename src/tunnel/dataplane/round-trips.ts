/**
 * Where peers have proved to be: a handshake's answer came from the address that the question went to, or the first data of a session from the address
 * that its response went to. Whoever only forges a source address sees neither.
 */
import { type Endpoint, endpointEqual } from "../../net/mod.ts";
import type { PeerState } from "../wireguard/mod.ts";

/** RoundTripState is what is looked at of a peer. */
export type RoundTripState = Pick<PeerState, "endpoint"> & {
  readonly pending?: { readonly index: number };
  readonly keypairs: {
    readonly current?: { readonly localIndex: number };
    readonly next?: { readonly localIndex: number };
  };
};

interface Way {
  readonly index: number;
  readonly at: Endpoint | undefined;
}

interface Trip {
  asked: Way | undefined;
  answered: Way | undefined;
  current: number | undefined;
  proven: { readonly at: Endpoint; readonly ms: number } | undefined;
}

/** RoundTrips remembers it for each peer. */
export class RoundTrips {
  readonly #trips = new Map<number, Trip>();

  /** look takes a peer's state after each step, and returns when it last proved to be where it is now. */
  look(peer: number, { endpoint, pending, keypairs }: RoundTripState, nowMs: number): number | undefined {
    const trip = this.#tripOf(peer);
    const { current, next } = keypairs;
    // Our messages left in the step in which these came, for where the peer was then.
    if (pending !== undefined && pending.index !== trip.asked?.index)
      trip.asked = { index: pending.index, at: endpoint };
    if (next !== undefined && next.localIndex !== trip.answered?.index)
      trip.answered = { index: next.localIndex, at: endpoint };
    if (current?.localIndex !== trip.current) {
      trip.current = current?.localIndex;
      const way = [trip.asked, trip.answered].find((one) => one?.index === trip.current);
      if (way?.at !== undefined && endpoint !== undefined && endpointEqual(way.at, endpoint))
        trip.proven = { at: endpoint, ms: nowMs };
    }
    const { proven } = trip;
    return proven !== undefined && endpoint !== undefined && endpointEqual(proven.at, endpoint)
      ? proven.ms
      : undefined;
  }

  #tripOf(peer: number): Trip {
    const known = this.#trips.get(peer);
    if (known !== undefined) return known;
    const trip: Trip = { asked: undefined, answered: undefined, current: undefined, proven: undefined };
    this.#trips.set(peer, trip);
    return trip;
  }

  /** forget: the peer is gone. */
  forget(peer: number): void {
    this.#trips.delete(peer);
  }
}
