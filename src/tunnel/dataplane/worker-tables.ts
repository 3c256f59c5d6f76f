/** What a worker knows of peers, sessions and addresses, as the control thread's orders say. */
import type { AeadProvider, Arena } from "../../sys/mod.ts";
import { parsePrefix } from "../../net/mod.ts";
import { ENDPOINT_BYTES, type FrameSink, type PathTables, type SealStep } from "../path/mod.ts";
import { AllowedIps, MOST_RECEIVED } from "../wireguard/mod.ts";
import type { Order } from "./link.ts";
import { familyOf } from "./place.ts";
import type { SessionStore } from "./session-store.ts";
import { SharedSession } from "./shared-session.ts";
import { workerOf } from "./steering.ts";
import { WorkerPeer } from "./worker-peer.ts";

type OrderOf<K extends Order["kind"]> = Extract<Order, { readonly kind: K }>;

/** WorkerTablesOptions are what the tables are filled from. */
export interface WorkerTablesOptions {
  readonly arena: Arena;
  readonly store: SessionStore;
  readonly provider: AeadProvider;
  /** Number of this worker, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  readonly sender: (family: 4 | 6) => FrameSink | undefined;
}

/** WorkerTables own the keys of all sessions. */
export class WorkerTables implements PathTables<SharedSession, SharedSession> {
  readonly peers = new Map<number, WorkerPeer>();
  /** The sessions whose packets come to this worker. */
  readonly sessions = new Map<number, SharedSession>();
  readonly allowed4;
  readonly allowed6;
  readonly mostMessages = MOST_RECEIVED;
  nowMs = 0;
  readonly #options: WorkerTablesOptions;
  readonly #allowed = new AllowedIps();
  /** All sessions, since any worker seals. */
  readonly #all = new Map<number, SharedSession>();
  /** Memories of endpoints that no peer has now. */
  readonly #endpoints: number[] = [];

  constructor(options: WorkerTablesOptions) {
    this.#options = options;
    this.allowed4 = this.#allowed.trie(4);
    this.allowed6 = this.#allowed.trie(6);
  }

  /** owns tells whether packets of a session come to this worker. */
  owns(localIndex: number): boolean {
    return workerOf(localIndex, this.#options.workers) === this.#options.worker;
  }

  /** knows tells whether there is a session with an index, at whichever worker. */
  knows(localIndex: number): boolean {
    return this.#all.has(localIndex);
  }

  setPeer({ peer, place, session }: OrderOf<"peer">): void {
    const { arena, sender } = this.#options;
    const known = this.#peer(peer);
    known.session = session === undefined ? undefined : this.#all.get(session);
    if (place === undefined) known.sender = undefined;
    else {
      const bytes = new Uint8Array(Buffer.from(place, "hex"));
      if (bytes.length !== ENDPOINT_BYTES) throw new RangeError(`A place of ${bytes.length} bytes`);
      arena.store(known.endpoint, bytes);
      known.sender = sender(familyOf(bytes));
      known.placed();
    }
  }

  /** The peer, new if need be: its first session may begin before anything else is known of it. */
  #peer(peer: number): WorkerPeer {
    const known = this.peers.get(peer);
    if (known !== undefined) return known;
    const made = new WorkerPeer(
      this.#endpoints.pop() ?? this.#options.arena.allocate(ENDPOINT_BYTES),
      this.#options,
    );
    this.peers.set(peer, made);
    return made;
  }

  removePeer(peer: number): void {
    this.#allowed.clear(peer);
    const known = this.peers.get(peer);
    if (known === undefined) return;
    this.peers.delete(peer);
    this.#endpoints.push(known.endpoint);
  }

  start(order: OrderOf<"started">): void {
    const { store, provider } = this.#options;
    const session = new SharedSession(
      { memory: store.memory(order.slot), place: store.place(order.slot) },
      order,
      provider,
    );
    this.#all.set(session.localIndex, session);
    if (this.owns(session.localIndex)) this.sessions.set(session.localIndex, session);
    const peer = this.#peer(order.peer);
    if (session.endsMs > (peer.session?.endsMs ?? 0)) peer.began(session);
  }

  /** end wipes the keys of a session; returns it, or undefined if there is none. */
  end(localIndex: number, seal: SealStep<SharedSession>): SharedSession | undefined {
    const session = this.#all.get(localIndex);
    if (session === undefined) return undefined;
    this.#all.delete(localIndex);
    this.sessions.delete(localIndex);
    this.peers.get(session.peer)?.ended(session);
    seal.release(session);
    session[Symbol.dispose]();
    return session;
  }

  allow(order: Extract<Order, { readonly kind: "insert" | "remove" | "clear" }>): void {
    if (order.kind === "clear") this.#allowed.clear(order.peer);
    else if (order.kind === "insert") this.#allowed.insert(parsePrefix(order.prefix), order.peer);
    else this.#allowed.remove(parsePrefix(order.prefix), order.peer);
  }
}
