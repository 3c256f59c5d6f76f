/**
 * Where the peer of a session is, for all workers: the one that opened a packet from a new place writes it before it hands the packet on, and so whoever seals
 * the answer sends it there.
 *
 * ```
 *   0  moves (int32): how often it was written, twice; odd while it is being written │ 4  … │ 8  place (ENDPOINT_BYTES)
 * ```
 * One worker writes: the one that opens the session's packets. Who reads in the middle of a write reads again at the next packet.
 */
import type { Arena } from "../../sys/mod.ts";
import { ENDPOINT_BYTES } from "../path/mod.ts";

const PLACE_AT = 8;

/** SharedPlace is a view of the room behind a session. */
export class SharedPlace {
  readonly #moves: Int32Array;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  constructor({ buffer, byteOffset }: Uint8Array<ArrayBuffer>) {
    this.#moves = new Int32Array(buffer, byteOffset, 1);
    this.#bytes = new Uint8Array(buffer, byteOffset + PLACE_AT, ENDPOINT_BYTES);
  }

  /** moves changes whenever the place does; 0 if it was never written. For every packet. */
  get moves(): number {
    return this.#moves[0] as number;
  }

  /** write takes over the endpoint memory at `at`. */
  write(arena: Arena, at: number): void {
    Atomics.add(this.#moves, 0, 1);
    this.#bytes.set(arena.copy(at, ENDPOINT_BYTES));
    Atomics.add(this.#moves, 0, 1);
  }

  /** copy returns the place that was written last; for the worker that writes. */
  copy(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice();
  }

  /** read writes the place to the endpoint memory at `at`; false, with nothing written, while it is being written itself. */
  read(arena: Arena, at: number): boolean {
    const before = Atomics.load(this.#moves, 0);
    const place = this.#bytes.slice();
    if (before % 2 !== 0 || Atomics.load(this.#moves, 0) !== before) return false;
    arena.store(at, place);
    return true;
  }
}
