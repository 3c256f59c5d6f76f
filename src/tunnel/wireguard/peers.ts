/** The peers of a device, and the ways to find one: by number, by public key, by when its timers are due. */
import type { PublicKey } from "../../net/mod.ts";
import { Changes } from "./changes.ts";
import { Deadlines } from "./deadlines.ts";
import { keypairsOf } from "./keypair.ts";
import { MAX_PEERS } from "./limits.ts";
import type { PeerState } from "./peer-state.ts";
import type { Session } from "./session.ts";
import { nextDue } from "./timers.ts";

/** Peers keeps the state of each peer. */
export class Peers {
  readonly changes = new Changes();
  readonly #states = new Map<number, PeerState>();
  readonly #numbers = new Map<PublicKey, number>();
  readonly #deadlines = new Deadlines();
  #last = 0;

  get size(): number {
    return this.#states.size;
  }

  /** newNumber returns a number that no peer ever had; throws when there are too many peers. */
  newNumber(publicKey: PublicKey): number {
    if (this.#states.size >= MAX_PEERS)
      throw new Error(`Cannot add peer ${publicKey}: there are ${MAX_PEERS} already; remove some`);
    return ++this.#last;
  }

  get(number: number): PeerState | undefined {
    return this.#states.get(number);
  }

  withKey(publicKey: PublicKey): PeerState | undefined {
    const number = this.#numbers.get(publicKey);
    return number === undefined ? undefined : this.#states.get(number);
  }

  all(): IterableIterator<PeerState> {
    return this.#states.values();
  }

  /** put stores the state of a peer, new or not. */
  put(state: PeerState): void {
    const { number, publicKey } = state.identity;
    const before = this.#states.get(number);
    this.#states.set(number, state);
    if (before === undefined) {
      this.#numbers.set(publicKey, number);
      this.changes.came(publicKey);
      // One of the same key may have had some until now.
      this.changes.touchAllowed(number);
    } else this.changes.touch(number);
    if (before?.timers !== state.timers) this.#deadlines.set(number, nextDue(state.timers));
  }

  delete(state: PeerState): void {
    const { number, publicKey } = state.identity;
    this.#states.delete(number);
    this.#numbers.delete(publicKey);
    this.changes.left(number, publicKey);
    this.#deadlines.set(number, Number.POSITIVE_INFINITY);
  }

  /** nextDueMs returns when to ask for `due` again. It may be early, never late. */
  nextDueMs(): number | undefined {
    return this.#deadlines.next();
  }

  /** due returns the peers that have a timer to look at. */
  due(nowMs: number): PeerState[] {
    return this.#deadlines.due(nowMs).flatMap((number) => this.#states.get(number) ?? []);
  }

  /** Sessions of all peers; for reports. */
  sessions(): Session[] {
    return [...this.#states.values()].flatMap(({ keypairs }) => keypairsOf(keypairs));
  }
}
