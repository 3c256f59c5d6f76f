/** A peer as a worker has it: where it is, and the session to seal with. */
import type { FrameSink, PathPeer } from "../path/mod.ts";
import type { SharedSession } from "./shared-session.ts";

/**
 * WorkerPeer goes over to a session by itself when the first packet came under it, at whichever worker: what answers that packet leaves under the same session, since
 * a peer that was started anew does not have the one before. The control thread, which decides, hears of it at once and says what holds.
 */
export class WorkerPeer implements PathPeer<SharedSession> {
  readonly endpoint: number;
  sender: FrameSink | undefined = undefined;
  #current: SharedSession | undefined = undefined;
  #next: SharedSession | undefined = undefined;

  constructor(endpoint: number) {
    this.endpoint = endpoint;
  }

  /** For every packet. */
  get session(): SharedSession | undefined {
    if (this.#next !== undefined && this.#next.heard) {
      this.#current = this.#next;
      this.#next = undefined;
    }
    return this.#current;
  }

  /** What the control thread says. */
  set session(session: SharedSession | undefined) {
    this.#current = session;
    if (this.#next !== undefined && (this.#next === session || this.#next.heard)) this.#next = undefined;
  }

  /** began takes note of a session that may be confirmed. */
  began(session: SharedSession): void {
    this.#next = session;
  }

  /** ended forgets a session. */
  ended(session: SharedSession): void {
    if (this.#current === session) this.#current = undefined;
    if (this.#next === session) this.#next = undefined;
  }
}
