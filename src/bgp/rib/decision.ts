/**
 * Path selection (RFC 4271 section 9.1.2.2 and its successors): a table of steps, each of which leaves the paths that are best by it. What
 * is left is a set at every step, as the RFC has it, and not a chain of comparisons: with MED, which compares only paths of the same
 * neighbour, "better than" is not transitive, and the result would depend on the order of arrival.
 */
import { EVPN } from "../wire/mod.ts";
import { RANK_FLAG } from "./attribute-rank.ts";
import type { AttributeStore } from "./attribute-store.ts";
import type { NextHops } from "./next-hops.ts";
import { PATH_FLAG } from "./paths.ts";
import { LOCAL, type RibPeer } from "./peer.ts";
import type { RibTable } from "./table.ts";

/** DecisionOptions change the choice. */
export interface DecisionOptions {
  /** MED is compared between paths of different neighbours too. */
  readonly alwaysCompareMed?: boolean;
  /** How many equal paths may be used together; default 1. */
  readonly multipath?: number;
  /** Of external paths that are equal up to there, the lower router id wins, even over the present best path (against RFC 5004). */
  readonly compareRouterId?: boolean;
}

interface Facts {
  readonly store: AttributeStore;
  readonly nextHops: NextHops;
  readonly peers: readonly (RibPeer | undefined)[];
  readonly table: RibTable;
}

interface Step {
  readonly name: string;
  /** For MAC/IP routes of EVPN alone. */
  readonly macOnly?: true;
  /** Where multipath has its set: what follows only breaks ties. */
  readonly tie?: true;
  /** Negative where path `a` is better; undefined for MED, which is not an order. */
  readonly compare?: (facts: Facts, a: number, b: number) => number;
}

const attributes = ({ table }: Facts, path: number) => table.paths.accepted[path] as number;
const flags = (facts: Facts, path: number) => facts.store.flags[attributes(facts, path)] as number;
const peer = ({ peers, table }: Facts, path: number) => peers[table.paths.peer[path] as number] as RibPeer;
const has = (facts: Facts, path: number, flag: number) => ((flags(facts, path) & flag) === 0 ? 0 : 1);
const nextHop = (facts: Facts, path: number) => facts.store.nextHop[attributes(facts, path)] as number;
/** RFC 4456 section 9: the originator takes the router id's place. */
const identifier = (facts: Facts, path: number) =>
  has(facts, path, RANK_FLAG.hasOriginator) === 1
    ? (facts.store.originator[attributes(facts, path)] as number)
    : peer(facts, path).routerId;

const steps: readonly Step[] = [
  {
    // RFC 9494 section 4.2: "A route that has the LLGR_STALE community MUST be treated as least preferred".
    name: "not long-lived stale",
    compare: (facts, a, b) =>
      has(facts, a, RANK_FLAG.longLivedStale) - has(facts, b, RANK_FLAG.longLivedStale),
  },
  {
    // RFC 7432 section 15.2: an address that was said not to move stays.
    name: "sticky MAC",
    macOnly: true,
    compare: (facts, a, b) => has(facts, b, RANK_FLAG.sticky) - has(facts, a, RANK_FLAG.sticky),
  },
  {
    // RFC 7432 section 15: the higher sequence number.
    name: "MAC mobility sequence",
    macOnly: true,
    compare: (facts, a, b) =>
      (facts.store.mobility[attributes(facts, b)] as number) -
      (facts.store.mobility[attributes(facts, a)] as number),
  },
  {
    name: "not a proxy's answer",
    macOnly: true,
    compare: (facts, a, b) => has(facts, a, RANK_FLAG.proxy) - has(facts, b, RANK_FLAG.proxy),
  },
  {
    // RFC 7432 section 15.1: "the PE with the lowest IP address as the best route"; FRR does so before all other steps.
    name: "lowest VTEP",
    macOnly: true,
    compare: (facts, a, b) => facts.nextHops.order(nextHop(facts, a), nextHop(facts, b)),
  },
  {
    name: "weight",
    compare: (facts, a, b) => (peer(facts, b).options.weight ?? 0) - (peer(facts, a).options.weight ?? 0),
  },
  {
    // RFC 4271 section 9.1.1: the degree of preference.
    name: "local preference",
    compare: (facts, a, b) =>
      (facts.store.localPreference[attributes(facts, b)] as number) -
      (facts.store.localPreference[attributes(facts, a)] as number),
  },
  {
    name: "made here",
    compare: ({ table }, a, b) =>
      (table.paths.peer[a] === LOCAL ? 0 : 1) - (table.paths.peer[b] === LOCAL ? 0 : 1),
  },
  {
    name: "shortest AS path", // (a)
    compare: (facts, a, b) =>
      (facts.store.pathLength[attributes(facts, a)] as number) -
      (facts.store.pathLength[attributes(facts, b)] as number),
  },
  {
    name: "lowest origin", // (b)
    compare: (facts, a, b) =>
      (facts.store.origin[attributes(facts, a)] as number) -
      (facts.store.origin[attributes(facts, b)] as number),
  },
  { name: "lowest MED" }, // (c)
  {
    name: "external over internal", // (d)
    compare: (facts, a, b) =>
      (peer(facts, a).options.external ? 0 : 1) - (peer(facts, b).options.external ? 0 : 1),
  },
  {
    name: "nearest next hop", // (e)
    compare: (facts, a, b) =>
      (facts.nextHops.metric[nextHop(facts, a)] as number) -
      (facts.nextHops.metric[nextHop(facts, b)] as number),
  },
  {
    // RFC 5004 section 3: the present best path stays, so that a flapping router id moves nothing.
    name: "present best",
    tie: true,
    compare: ({ table }, a, b) =>
      ((table.paths.flags[b] as number) & PATH_FLAG.best) -
      ((table.paths.flags[a] as number) & PATH_FLAG.best),
  },
  {
    name: "lowest router id", // (f)
    tie: true,
    compare: (facts, a, b) => identifier(facts, a) - identifier(facts, b),
  },
  {
    // RFC 4456 section 9: between (f) and (g).
    name: "shortest cluster list",
    tie: true,
    compare: (facts, a, b) =>
      (facts.store.clusters[attributes(facts, a)] as number) -
      (facts.store.clusters[attributes(facts, b)] as number),
  },
  {
    name: "lowest peer address", // (g)
    tie: true,
    compare: (facts, a, b) => order(peer(facts, a).options.address, peer(facts, b).options.address),
  },
  {
    // One peer may announce several paths (RFC 7911).
    name: "lowest path identifier",
    tie: true,
    compare: ({ table }, a, b) => (table.paths.pathId[a] as number) - (table.paths.pathId[b] as number),
  },
];

/** Decision chooses among the paths of a destination. */
export class Decision {
  readonly options: DecisionOptions;
  /** After `select`: the equal paths, the best one among them first. */
  readonly equal: number[] = [];
  /** After `select`: the step that left one path. */
  reason = "";
  readonly #store: AttributeStore;
  readonly #nextHops: NextHops;
  readonly #peers: readonly (RibPeer | undefined)[];
  readonly #left: number[] = [];

  constructor(
    options: DecisionOptions,
    context: {
      readonly store: AttributeStore;
      readonly nextHops: NextHops;
      readonly peers: readonly (RibPeer | undefined)[];
    },
  ) {
    this.options = options;
    this.#store = context.store;
    this.#nextHops = context.nextHops;
    this.#peers = context.peers;
  }

  /** isEligible tells whether a path may be used at all (RFC 4271 section 9.1.2): accepted, and its next hop can be reached, if it is unicast. */
  isEligible(table: RibTable, path: number): boolean {
    const accepted = table.paths.accepted[path] as number;
    return (
      accepted !== 0 &&
      ((table.paths.flags[path] as number) & PATH_FLAG.gone) === 0 &&
      // A VTEP is reached by unicast routes of this very router, and those are no ways to next hops (next-hop-tracker.ts).
      (table.family === EVPN || this.#nextHops.valid[this.#store.nextHop[accepted] as number] === 1)
    );
  }

  /** select returns the best path of a destination, 0 where none can be used. */
  select(table: RibTable, destination: number): number {
    const left = this.#left;
    const { next } = table.paths;
    left.length = 0;
    for (let path = table.first[destination] as number; path !== 0; path = next[path] as number)
      if (this.isEligible(table, path)) left.push(path);
    this.equal.length = 0;
    this.reason = "";
    if (left.length > 1) return this.#choose(table, destination);
    if (left.length === 1) this.equal.push(left[0] as number);
    return left[0] ?? 0;
  }

  /** rank fills `into` with the best `most` paths of a destination, best first: what add-path sends. */
  rank(table: RibTable, destination: number, most: number, into: number[]): void {
    into.length = 0;
    const pool: number[] = [];
    const { next } = table.paths;
    for (let path = table.first[destination] as number; path !== 0; path = next[path] as number)
      if (this.isEligible(table, path)) pool.push(path);
    while (pool.length > 0 && into.length < most) {
      this.#left.length = 0;
      for (const path of pool) this.#left.push(path);
      const best = pool.length === 1 ? (pool[0] as number) : this.#choose(table, destination);
      into.push(best);
      pool.splice(pool.indexOf(best), 1);
    }
  }

  #choose(table: RibTable, destination: number): number {
    const facts: Facts = { store: this.#store, nextHops: this.#nextHops, peers: this.#peers, table };
    const left = this.#left;
    const isMac =
      table.family === EVPN && table.keys.memoryOf(destination)[table.keys.offsetIn(destination)] === 2;
    this.equal.length = 0;
    for (const step of steps) {
      if (step.macOnly === true && !isMac) continue;
      if (step.tie === true && this.equal.length === 0) for (const path of left) this.equal.push(path);
      if (left.length === 1) break;
      const before = left.length;
      if (step.compare === undefined) this.#byMed(table);
      else if (step.name !== "present best" || this.#stays(facts)) this.#by(facts, step.compare);
      if (left.length < before) this.reason = step.name;
    }
    if (this.equal.length === 0) for (const path of left) this.equal.push(path);
    const best = left[0] as number;
    const at = this.equal.indexOf(best);
    if (at > 0) {
      this.equal[at] = this.equal[0] as number;
      this.equal[0] = best;
    }
    return best;
  }

  /** Whether the present best path is kept: all that are left are external (RFC 5004 section 3). */
  #stays(facts: Facts): boolean {
    if (this.options.compareRouterId === true) return false;
    for (const path of this.#left) if (!peer(facts, path).options.external) return false;
    return true;
  }

  #by(facts: Facts, compare: (facts: Facts, a: number, b: number) => number): void {
    const left = this.#left;
    let best = left[0] as number;
    for (let i = 1; i < left.length; i++)
      if (compare(facts, left[i] as number, best) < 0) best = left[i] as number;
    let kept = 0;
    for (let i = 0; i < left.length; i++)
      if (compare(facts, left[i] as number, best) === 0) left[kept++] = left[i] as number;
    left.length = kept;
  }

  /** RFC 4271 section 9.1.2.2 (c): "for m = all routes still under consideration, for n = all ... if neighborAS(m) = neighborAS(n) and MED(n) < MED(m), remove m". */
  #byMed(table: RibTable): void {
    const { firstAs, med } = this.#store;
    const { accepted } = table.paths;
    const left = this.#left;
    const always = this.options.alwaysCompareMed === true;
    // Lowest first would need a copy; paths that lose here may still beat others, so they are marked and taken out afterwards.
    for (let i = 0; i < left.length; i++) {
      const one = accepted[left[i] as number] as number;
      let loses = false;
      for (let k = 0; k < left.length && !loses; k++) {
        const other = accepted[Math.abs(left[k] as number)] as number;
        loses = (always || firstAs[one] === firstAs[other]) && (med[other] as number) < (med[one] as number);
      }
      if (loses) left[i] = -(left[i] as number);
    }
    let kept = 0;
    for (let i = 0; i < left.length; i++) if ((left[i] as number) > 0) left[kept++] = left[i] as number;
    left.length = kept;
  }
}

/** Addresses in network order: IPv4 before IPv6. */
function order(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return a.length - b.length;
  for (let i = 0; i < a.length; i++) {
    const step = (a[i] as number) - (b[i] as number);
    if (step !== 0) return step;
  }
  return 0;
}
