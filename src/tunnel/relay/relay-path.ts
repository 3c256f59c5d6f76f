/**
 * The relay's part of a worker: data messages that are for none of our sessions go on to where their circuit leads, from where they lie.
 *
 * ```
 *   message ─▶ who sends from its address? (PlaceTable) ─▶ circuit of its receiver index (CircuitTable) ─▶ endpoint of the other node ─▶ RelaySender
 * ```
 * Whatever is not found is left to others. One datagram that comes is at most one that goes, never longer, and never to where it came from.
 */
import { type Arena, SOCKET_ADDRESS } from "../../sys/mod.ts";
import { CircuitTable } from "./circuit-table.ts";
import { Meters } from "./meters.ts";
import { PlaceTable } from "./place-table.ts";
import type { RelayOrder } from "./relay-order.ts";

const AF_INET = 2;

/** RelayDestination is a peer as the worker has it: reading its session makes the endpoint's memory what is known best (dataplane/worker-peer.ts). */
export interface RelayDestination {
  readonly endpoint: number;
  readonly session: unknown;
  readonly sender: unknown;
}

/** RelayOutlet takes datagrams for the endpoint whose memory is at an offset, and sends them when it is flushed (relay-sender.ts). */
export interface RelayOutlet {
  add(endpoint: number, at: number, bytes: number): void;
  flush(): void;
}

/** RelayPathOptions are what it works with. */
export interface RelayPathOptions {
  readonly sourceAt: (message: number) => number;
  readonly peers: ReadonlyMap<number, RelayDestination>;
  readonly sender4: RelayOutlet | undefined;
  readonly sender6: RelayOutlet | undefined;
  /** Random bytes, so that nobody knows where entries of the tables lie. */
  readonly random: (length: number) => Uint8Array;
}

/** RelayPath makes no objects while datagrams come. */
export class RelayPath {
  /** Datagrams of nodes for indices that no circuit has; beyond a pair's rate; for a node that is nowhere now; and for where they came from. */
  unknown = 0;
  limited = 0;
  absent = 0;
  back = 0;
  nowMs = 0;
  readonly #arena: Arena;
  readonly #options: RelayPathOptions;
  readonly #circuits: CircuitTable;
  readonly #places: PlaceTable;
  readonly #meters = new Meters();
  /** What the last datagram was: those of one run are the same. */
  #message = -1;
  #source = 0;
  #index = -1;
  #endpoint = 0;
  #meter = 0;
  #sender: RelayOutlet | undefined;

  constructor(arena: Arena, options: RelayPathOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#circuits = new CircuitTable(options.random(8));
    this.#places = new PlaceTable(options.random(8));
  }

  /** obey takes an order. Call `flush` before. */
  obey(order: RelayOrder): void {
    switch (order.kind) {
      case "node":
        this.#places.set(
          order.node,
          order.address === undefined ? undefined : new Uint8Array(Buffer.from(order.address, "hex")),
        );
        return;
      case "circuit":
        this.#circuits.set(order.source, order.index, order);
        return;
      case "cut":
        this.#circuits.delete(order.source, order.index);
        return;
      case "rate":
        this.#meters.setRate(order.bytesPerSecond);
        return;
    }
  }

  /**
   * take takes the datagram of a message, with the receiver index that is in it; false if it is no business of the relay's. `isLast` if nobody else
   * will take it. It stays where it is until `flush`.
   */
  take(index: number, at: number, bytes: number, message: number, isLast: boolean): boolean {
    if (this.#places.size === 0) return false;
    if (message !== this.#message) this.#begin(message);
    if (this.#source === 0) return false;
    if (index !== this.#index && !this.#find(index)) {
      if (isLast) this.unknown++;
      return false;
    }
    const sender = this.#sender;
    if (sender === undefined) this.absent++;
    else if (!this.#meters.allow(this.#meter, bytes, this.nowMs)) this.limited++;
    else sender.add(this.#endpoint, at, bytes);
    return true;
  }

  #begin(message: number): void {
    this.#message = message;
    const source = this.#places.find(this.#arena, this.#options.sourceAt(message));
    if (source === this.#source) return;
    this.#source = source;
    this.#index = -1;
  }

  #find(index: number): boolean {
    const entry = this.#circuits.find(this.#source, index);
    if (entry < 0) return false;
    const to = this.#circuits.to(entry);
    this.#index = index;
    this.#meter = this.#circuits.meter(entry);
    this.#sender = this.#senderTo(to);
    return true;
  }

  #senderTo(node: number): RelayOutlet | undefined {
    const { peers, sender4, sender6 } = this.#options;
    const peer = peers.get(node);
    if (peer === undefined || !this.#places.has(node)) return undefined;
    // Reading it is what brings the endpoint up to date.
    void peer.session;
    const { endpoint } = peer;
    const { view } = this.#arena;
    const four = view.getUint16(endpoint, true) === AF_INET;
    if (peer.sender === undefined) return undefined;
    if (this.#isSource(endpoint, four)) {
      this.back++;
      return undefined;
    }
    this.#endpoint = endpoint;
    return four ? sender4 : sender6;
  }

  /** Whether an endpoint is where the message came from. */
  #isSource(endpoint: number, four: boolean): boolean {
    const { view } = this.#arena;
    const source = this.#options.sourceAt(this.#message);
    if (view.getInt32(source, true) !== view.getInt32(endpoint, true)) return false;
    const at = four ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6;
    for (let i = 0; i < (four ? 4 : 16); i += 4)
      if (view.getInt32(source + at + i, true) !== view.getInt32(endpoint + at + i, true)) return false;
    return true;
  }

  /** flush sends what was taken, and forgets what the last datagram was. */
  flush(): void {
    const { sender4, sender6 } = this.#options;
    sender4?.flush();
    sender6?.flush();
    this.#message = -1;
    this.#source = 0;
    this.#index = -1;
  }
}
