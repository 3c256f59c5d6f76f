/**
 * Another queue of the same gateway as the way of packets: a queue that cannot reach a route's peer hands its packets, as they came from the
 * private side, to one that can, and that one seals them under its own association.
 *
 * ```
 * private port ─▶ OutboundStep ── route.detour ─▶ Detour ═ socket pair ═ inbox ─▶ OutboundStep of the other queue ─▶ its public port
 * ```
 * It costs two copies and two system calls for each batch, and only what is handed over pays. Frames for which the other has no room are lost,
 * as in a ring that is full.
 */
import { type Arena, sendMessages, SIZE } from "../../sys/mod.ts";
import { layData } from "../path/message-header.ts";

/** Frames of one sendmmsg. */
const MOST = 64;

/** Detour takes frames that stay where they are until `flush`. It makes no objects after it was made. */
export class Detour {
  readonly #arena: Arena;
  readonly #socket: number;
  readonly #messages: number;
  #count = 0;

  /** `socket` is a descriptor of which the other queue reads the other end; it is the caller's. */
  constructor(arena: Arena, socket: number) {
    this.#arena = arena;
    this.#socket = socket;
    this.#messages = arena.allocate(MOST * (SIZE.mmsghdr + SIZE.iovec));
  }

  /** isFull tells whether `flush` has to come first. */
  get isFull(): boolean {
    return this.#count === MOST;
  }

  /** add notes a frame. */
  add(at: number, bytes: number): void {
    const header = this.#messages + this.#count * SIZE.mmsghdr;
    const vector = this.#messages + MOST * SIZE.mmsghdr + this.#count++ * SIZE.iovec;
    layData(this.#arena, header, vector, at, bytes);
  }

  /** flush hands over what was added, and returns how many frames the other had no room for. */
  flush(): number {
    let done = 0;
    while (done < this.#count) {
      const messages = this.#messages + done * SIZE.mmsghdr;
      const taken = sendMessages(this.#socket, this.#arena, messages, this.#count - done);
      if (taken <= 0) break;
      done += taken;
    }
    const lost = this.#count - done;
    this.#count = 0;
    return lost;
  }
}
