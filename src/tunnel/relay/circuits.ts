/**
 * Circuits: which node a message goes to, by the node it comes from and the receiver index in it. Each is learnt from a handshake, and lives as long as
 * the session that came of it can.
 *
 * ```
 *   initiation A ▶ B, sender a       B's messages to a go to A: pending, until the response
 *   response   B ▶ A, sender b       B's messages to a go to A, A's messages to b go to B: live
 * ```
 * A circuit belongs to a pair of nodes. Only circuits of the same pair give way to it; an index that another pair has is refused, and WireGuard
 * begins again with another one.
 */
import { Bucket } from "./bucket.ts";
import {
  INITIATION_BURST,
  INITIATIONS_PER_SECOND,
  LIVE_MS,
  MOST_ANSWERS,
  MOST_CIRCUITS,
  MOST_CIRCUITS_OF_NODE,
  MOST_LIVE,
  MOST_PAIRS,
  MOST_PENDING,
  PENDING_MS,
} from "./limits.ts";

/** Circuit is one direction of a session between two nodes, of which `source` sends. Nodes have numbers. */
export interface Circuit {
  readonly source: number;
  readonly index: number;
  readonly to: number;
  readonly pair: Pair;
  /** That the response came: data may pass. */
  live: boolean;
  expiresMs: number;
  /** Different responses to the initiation that it was learnt from. */
  answers: number;
}

/** Pair is two nodes that have circuits. */
export interface Pair {
  readonly nodes: readonly [number, number];
  /** Its place in the shared memory of meters; 0 is nobody's. */
  readonly meter: number;
  readonly pending: Circuit[];
  readonly live: Circuit[];
  /** Initiations that go through, by which node begins. */
  readonly initiations: readonly [Bucket, Bucket];
  /** And those that were seen before. */
  readonly repeated: Bucket;
}

/** CircuitChange is what the data path has to know; pending circuits are nothing to it. */
export type CircuitChange =
  | {
      readonly kind: "circuit";
      readonly source: number;
      readonly index: number;
      readonly to: number;
      readonly meter: number;
    }
  | { readonly kind: "cut"; readonly source: number; readonly index: number };

/** CircuitRefusal says why a circuit was not made. */
export type CircuitRefusal = "taken" | "full";

interface Expiry {
  readonly circuit: Circuit;
  readonly atMs: number;
}

/** Circuits are all of them. `tell` hears what the data path has to know. */
export class Circuits {
  readonly #tell: (change: CircuitChange) => void;
  /** By source, then index. */
  readonly #circuits = new Map<number, Map<number, Circuit>>();
  /** By each node, then the other one. */
  readonly #pairs = new Map<number, Map<number, Pair>>();
  /** In the order in which they expire, as all of one kind live equally long. */
  readonly #pendingEnds = new Queue<Expiry>();
  readonly #liveEnds = new Queue<Expiry>();
  readonly #freeMeters: number[] = [];
  #meters = 0;
  #pairCount = 0;
  #size = 0;
  #live = 0;

  constructor(tell: (change: CircuitChange) => void) {
    this.#tell = tell;
  }

  /** Circuits, those that are live, and pairs that have any. */
  get counts(): { readonly circuits: number; readonly live: number; readonly pairs: number } {
    return { circuits: this.#size, live: this.#live, pairs: this.#pairCount };
  }

  /** find returns the circuit of a message. */
  find(source: number, index: number): Circuit | undefined {
    return this.#circuits.get(source)?.get(index);
  }

  /** pair returns the pair of two nodes, new if need be; undefined when there are too many. */
  pair(a: number, b: number, nowMs: number): Pair | undefined {
    const known = this.#pairs.get(a)?.get(b);
    if (known !== undefined) return known;
    if (this.#pairCount >= MOST_PAIRS) return undefined;
    const rate = { perSecond: INITIATIONS_PER_SECOND, burst: INITIATION_BURST };
    const pair: Pair = {
      nodes: [a, b],
      meter: this.#freeMeters.pop() ?? ++this.#meters,
      pending: [],
      live: [],
      initiations: [new Bucket(rate, nowMs), new Bucket(rate, nowMs)],
      repeated: new Bucket(rate, nowMs),
    };
    inner(this.#pairs, a).set(b, pair);
    inner(this.#pairs, b).set(a, pair);
    this.#pairCount++;
    return pair;
  }

  /** expect makes a pending circuit: `source` is asked to answer to `index`. One for an initiation that was seen before displaces no other. */
  expect(
    pair: Pair,
    {
      source,
      index,
      isRepeated,
      nowMs,
    }: {
      readonly source: number;
      readonly index: number;
      readonly isRepeated: boolean;
      readonly nowMs: number;
    },
  ): CircuitRefusal | undefined {
    const known = this.find(source, index);
    // The same initiation again.
    if (known !== undefined) return known.pair === pair ? undefined : "taken";
    if (!this.#hasRoom(source)) return "full";
    if (pair.pending.length >= MOST_PENDING) {
      if (isRepeated) return "full";
      this.cut(pair.pending[0] as Circuit);
    }
    this.#await(this.#make({ pair, source, index, expiresMs: nowMs + PENDING_MS }));
    return undefined;
  }

  /** answer makes live what a response shows: the circuit that it came by, and the one back to its sender. */
  answer(asked: Circuit, sender: number, nowMs: number): CircuitRefusal | undefined {
    const { to, pair } = asked;
    const known = this.find(to, sender);
    if (known !== undefined && known.pair !== pair) return "taken";
    if (known === undefined && (!this.#hasRoom(to) || asked.answers >= MOST_ANSWERS)) return "full";
    this.#enliven(asked, nowMs);
    if (known === undefined) {
      asked.answers++;
      this.#goLive(this.#make({ pair, source: to, index: sender, expiresMs: nowMs + LIVE_MS }));
    } else this.#enliven(known, nowMs);
    return undefined;
  }

  /** restore makes a live circuit, as it was handed over; those with earlier ends first. */
  restore(
    {
      source,
      index,
      to,
      expiresMs,
    }: { readonly source: number; readonly index: number; readonly to: number; readonly expiresMs: number },
    nowMs: number,
  ): void {
    const pair = this.pair(source, to, nowMs);
    if (pair === undefined || this.find(source, index) !== undefined || !this.#hasRoom(source)) return;
    this.#goLive(this.#make({ pair, source, index, expiresMs }));
  }

  #await(circuit: Circuit): void {
    const { pending } = circuit.pair;
    pending.push(circuit);
    if (pending.length > MOST_PENDING) this.cut(pending[0] as Circuit);
    this.#pendingEnds.push({ circuit, atMs: circuit.expiresMs });
  }

  #enliven(circuit: Circuit, nowMs: number): void {
    if (circuit.live) return;
    const { pending } = circuit.pair;
    pending.splice(pending.indexOf(circuit), 1);
    circuit.expiresMs = nowMs + LIVE_MS;
    this.#goLive(circuit);
  }

  #goLive(circuit: Circuit): void {
    const { pair, source, index, to } = circuit;
    circuit.live = true;
    this.#live++;
    pair.live.push(circuit);
    if (pair.live.length > MOST_LIVE) this.cut(pair.live[0] as Circuit);
    this.#liveEnds.push({ circuit, atMs: circuit.expiresMs });
    this.#tell({ kind: "circuit", source, index, to, meter: pair.meter });
  }

  #make({
    pair,
    source,
    index,
    expiresMs,
  }: Pick<Circuit, "pair" | "source" | "index" | "expiresMs">): Circuit {
    const to = pair.nodes[0] === source ? pair.nodes[1] : pair.nodes[0];
    const circuit: Circuit = { source, index, to, pair, live: false, expiresMs, answers: 0 };
    inner(this.#circuits, source).set(index, circuit);
    this.#size++;
    return circuit;
  }

  #hasRoom(source: number): boolean {
    return this.#size < MOST_CIRCUITS && (this.#circuits.get(source)?.size ?? 0) < MOST_CIRCUITS_OF_NODE;
  }

  /** cut ends a circuit, and its pair with the last one. */
  cut(circuit: Circuit): void {
    const { source, index, pair, live } = circuit;
    const bySource = this.#circuits.get(source);
    if (bySource?.get(index) !== circuit) return;
    bySource.delete(index);
    if (bySource.size === 0) this.#circuits.delete(source);
    const list = live ? pair.live : pair.pending;
    list.splice(list.indexOf(circuit), 1);
    this.#size--;
    if (live) {
      this.#live--;
      this.#tell({ kind: "cut", source, index });
    }
    this.drop(pair);
  }

  /** drop forgets a pair that has no circuits. */
  drop({ nodes: [a, b], meter, pending, live }: Pair): void {
    if (pending.length + live.length > 0 || this.#pairs.get(a)?.get(b) === undefined) return;
    for (const [one, other] of [[a, b] as const, [b, a] as const]) {
      const pairs = this.#pairs.get(one);
      pairs?.delete(other);
      if (pairs?.size === 0) this.#pairs.delete(one);
    }
    this.#freeMeters.push(meter);
    this.#pairCount--;
  }

  /** end ends all circuits of a node, or those with nodes that `stays` does not tell to. */
  end(node: number, stays: (other: number) => boolean = () => false): void {
    for (const [other, pair] of [...(this.#pairs.get(node) ?? [])]) {
      if (stays(other)) continue;
      for (const circuit of [...pair.pending, ...pair.live]) this.cut(circuit);
      this.drop(pair);
    }
  }

  /** rename gives a node's circuits to another one, which goes on where it stopped: the same node with another key. They live as long as new ones. */
  rename(from: number, to: number, nowMs: number): void {
    for (const [other, pair] of [...(this.#pairs.get(from) ?? [])]) {
      const moved = [...pair.pending, ...pair.live];
      for (const circuit of moved) this.cut(circuit);
      const next = other === to ? undefined : this.pair(to, other, nowMs);
      if (next === undefined) continue;
      for (const { source: before, index, live } of moved) {
        const source = before === from ? to : before;
        if (this.find(source, index) !== undefined || !this.#hasRoom(source)) continue;
        const expiresMs = nowMs + (live ? LIVE_MS : PENDING_MS);
        const circuit = this.#make({ pair: next, source, index, expiresMs });
        if (live) this.#goLive(circuit);
        else this.#await(circuit);
      }
      this.drop(next);
    }
  }

  /** expire ends what is due. */
  expire(nowMs: number): void {
    for (const queue of [this.#pendingEnds, this.#liveEnds])
      for (let first = queue.first; first !== undefined && first.atMs <= nowMs; first = queue.first) {
        queue.shift();
        // One that became live meanwhile has another end.
        if (first.circuit.expiresMs <= nowMs) this.cut(first.circuit);
      }
  }

  /** nextDueMs returns when something expires; it may be early. */
  nextDueMs(): number {
    const { first: pending } = this.#pendingEnds;
    const { first: live } = this.#liveEnds;
    return Math.min(pending?.atMs ?? Number.POSITIVE_INFINITY, live?.atMs ?? Number.POSITIVE_INFINITY);
  }

  /** all returns the live circuits, those with earlier ends first. */
  all(): Circuit[] {
    const list = [...this.#circuits.values()].flatMap((circuits) => [...circuits.values()]);
    return list.filter(({ live }) => live).sort((a, b) => a.expiresMs - b.expiresMs);
  }
}

/** Queue gives back what was pushed, in order; in constant time each. */
class Queue<T> {
  #items: T[] = [];
  #at = 0;

  get first(): T | undefined {
    return this.#items[this.#at];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): void {
    this.#at++;
    if (this.#at < 1024 || this.#at * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#at);
    this.#at = 0;
  }
}

function inner<T>(maps: Map<number, Map<number, T>>, key: number): Map<number, T> {
  const known = maps.get(key);
  if (known !== undefined) return known;
  const made = new Map<number, T>();
  maps.set(key, made);
  return made;
}
