/**
 * When this node's own network changes: the kernel tells of links, addresses and routes as they change. Several changes come together, and a
 * machine with many pods always changes something; so the first is answered soon and the others after a while, all at once.
 */
import { Monitor } from "../netlink/mod.ts";
import { after, monotonicMs } from "../sys/mod.ts";

/** SOON_MS lets what belongs together come together. */
export const SOON_MS = 50;
/** REST_MS lies between two answers. */
export const REST_MS = 1_000;
/** For a second of many changes; more than fits costs one look. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/** NetworkWatch listens until it is disposed. */
export class NetworkWatch implements Disposable {
  readonly #monitor: Monitor;
  readonly #changed: () => void;
  #waiting: Disposable | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.#monitor = Monitor.open({
      groups: ["link", "address", "route"],
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      onEvent: () => this.#tell(),
      onOverrun: () => this.#tell(),
    });
  }

  #tell(): void {
    if (this.#waiting !== undefined) return;
    const restMs = this.#lastMs + REST_MS - monotonicMs();
    this.#waiting = after(Math.max(SOON_MS, restMs), () => {
      this.#waiting = undefined;
      this.#lastMs = monotonicMs();
      this.#changed();
    });
  }

  [Symbol.dispose](): void {
    this.#waiting?.[Symbol.dispose]();
    this.#monitor[Symbol.dispose]();
  }
}
