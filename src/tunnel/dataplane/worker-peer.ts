/** A peer as a worker has it: where it is, and the session to seal with. */
import type { Arena } from "../../sys/mod.ts";
import type { FrameSink, PathPeer } from "../path/mod.ts";
import { familyOf } from "./place.ts";
import type { SharedSession } from "./shared-session.ts";

/**
 * WorkerPeer goes over to a session by itself when the first packet came under it, and to a place when a packet came from there, at whichever worker. What answers
 * that packet leaves under the same session, since a peer that was started anew does not have the one before, and to where it came from. The
 * control thread, which decides, hears of it at once and says what holds.
 */
export class WorkerPeer implements PathPeer<SharedSession> {
  readonly endpoint: number;
  sender: FrameSink | undefined = undefined;
  readonly #arena: Arena;
  readonly #senderOf: (family: 4 | 6) => FrameSink | undefined;
  #current: SharedSession | undefined = undefined;
  #next: SharedSession | undefined = undefined;
  /** What of the session's place is known here. */
  #moves = 0;

  constructor(
    endpoint: number,
    options: { readonly arena: Arena; readonly sender: (family: 4 | 6) => FrameSink | undefined },
  ) {
    this.endpoint = endpoint;
    this.#arena = options.arena;
    this.#senderOf = options.sender;
  }

  /** For every packet. */
  get session(): SharedSession | undefined {
    if (this.#next !== undefined && this.#next.heard) {
      this.#current = this.#next;
      this.#next = undefined;
      this.#moves = 0;
    }
    const session = this.#current;
    if (session !== undefined && session.place.moves !== this.#moves) this.#follow(session);
    return session;
  }

  /** What the control thread says. */
  set session(session: SharedSession | undefined) {
    this.#current = session;
    if (this.#next !== undefined && (this.#next === session || this.#next.heard)) this.#next = undefined;
    this.placed();
  }

  /**
   * follows tells whether packets under a session say where the peer is: for some seconds not those under one before, which may be on another way. Who
   * sends under that for longer has not heard of the present one.
   */
  follows(session: SharedSession, nowMs: number): boolean {
    const current = this.session;
    return current === undefined || session.endsMs >= current.endsMs || nowMs >= current.settledMs;
  }

  /** placed: the endpoint's memory holds what is known best. */
  placed(): void {
    this.#moves = this.#current?.place.moves ?? 0;
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

  #follow(session: SharedSession): void {
    const { moves } = session.place;
    if (moves !== 0 && !session.place.read(this.#arena, this.endpoint)) return;
    this.#moves = moves;
    if (moves !== 0) this.sender = this.#senderOf(familyOf(this.#arena.u8.subarray(this.endpoint)));
  }
}
