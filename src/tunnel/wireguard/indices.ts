/** Receiver indices: what a peer writes into its messages, so that we know which handshake or session they are for. */
import type { Primitives } from "../../noise/mod.ts";
import type { Session } from "./session.ts";

/** Indices maps indices to peers and sessions. They are random, so that nobody else can guess one in use. */
export class Indices {
  readonly #owners = new Map<number, { readonly peer: number; readonly session?: Session }>();
  readonly #primitives: Primitives;

  constructor(primitives: Primitives) {
    this.#primitives = primitives;
  }

  get size(): number {
    return this.#owners.size;
  }

  /** claim returns a new index of a peer. There are five at most for each, so a free one is found at once. */
  claim(peer: number): number {
    for (;;) {
      const bytes = this.#primitives.random(4);
      const index = new DataView(bytes.buffer).getUint32(0);
      if (this.#owners.has(index)) continue;
      this.#owners.set(index, { peer });
      return index;
    }
  }

  /** bind makes an index that of a session. */
  bind(session: Session): void {
    this.#owners.set(session.localIndex, { peer: session.peer, session });
  }

  release(index: number): void {
    this.#owners.delete(index);
  }

  /** peer returns whose index it is. */
  peer(index: number): number | undefined {
    return this.#owners.get(index)?.peer;
  }

  /** session returns the session whose packets have this index; for every packet, so it allocates nothing. */
  session(index: number): Session | undefined {
    return this.#owners.get(index)?.session;
  }
}
