/** The worker threads, as the control thread has them: their start, orders to them, reports from them. */
import {
  COMPILED,
  type Fd,
  receiveMessage,
  sendMessage,
  socketPair,
  stable,
  startThread,
  trySendMessage,
} from "../../sys/mod.ts";
import {
  decodeMessage,
  encodeDatagram,
  encodeLists,
  LINK_BYTES,
  type Message,
  MOST_MESSAGE,
  type Order,
  type Report,
} from "./link.ts";
import type { Place } from "./place.ts";
import type { Watched } from "./poller.ts";
import type { SessionStore } from "./session-store.ts";
import { workerOf } from "./steering.ts";
import type { WorkerStart } from "./worker.ts";

/** Messages that are read from one worker before others are looked at. */
const MOST_AT_ONCE = 64;

/** WorkerHears gets what a worker says. */
export type WorkerHears = (message: Message<Report>, worker: number) => void;

/** Workers are all threads of a data plane. */
export class Workers {
  readonly count: number;
  readonly #store: SessionStore;
  readonly #links: Fd[] = [];
  readonly #inbox = stable(MOST_MESSAGE);
  #orders: Order[] = [];

  constructor(count: number, store: SessionStore) {
    this.count = count;
    this.#store = store;
  }

  /** start begins one more thread. */
  start(start: Omit<WorkerStart, "worker" | "workers" | "store" | "link">): void {
    const [ours, theirs] = socketPair(LINK_BYTES);
    const worker = this.#links.push(ours) - 1;
    const input: WorkerStart = {
      ...start,
      worker,
      workers: this.count,
      store: this.#store.fd,
      link: theirs.release(),
    };
    startThread(threadModule(), input, (error) => {
      throw error;
    });
  }

  /** order tells all workers; they hear of it by `tell`. */
  order(order: Order): void {
    this.#orders.push(order);
  }

  /** tell sends the orders. Whatever depends on them may be done afterwards. */
  tell(): void {
    if (this.#orders.length === 0) return;
    const messages = encodeLists(this.#orders);
    this.#orders = [];
    for (const { number } of this.#links) for (const message of messages) sendMessage(number, message);
    this.#store.change();
  }

  /** pass hands a datagram to the worker whose session it is for; it is dropped if there is no room: anybody can send such, and nobody waits for them. */
  pass(place: Place, datagram: Uint8Array, localIndex: number): void {
    const link = this.#links[workerOf(localIndex, this.count)] as Fd;
    trySendMessage(link.number, encodeDatagram(place, datagram));
  }

  /** watched lists the links. */
  watched(hear: WorkerHears): Watched[] {
    return this.#links.map(({ number }, worker) => ({
      fd: number,
      ready: () => {
        for (let i = 0; i < MOST_AT_ONCE; i++) {
          const length = receiveMessage(number, this.#inbox);
          if (length === undefined) return;
          if (length === 0) throw new Error(`Worker ${worker} ended`);
          hear(decodeMessage<Report>(this.#inbox.subarray(0, length)), worker);
        }
      },
    }));
  }
}

/** The module of the thread: in the executable it lies by its path below src. */
function threadModule(): string {
  return COMPILED
    ? "./tunnel/dataplane/worker-thread.ts"
    : new URL("./worker-thread.ts", import.meta.url).href;
}
