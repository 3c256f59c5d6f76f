/** Waiting for any of several descriptors, which come and go: poll(2). */
import { type Arena, pollMany, SIZE, SystemError } from "../../sys/mod.ts";

const POLLIN = 0x001;
const POLLOUT = 0x004;
const POLLERR_HUP = 0x018;

/** Watched is a descriptor, and what to do when something can be read (unless `wantsRead` says no), or written if `wantsWrite` says so. */
export interface Watched {
  readonly fd: number;
  readonly wantsRead?: () => boolean;
  readonly wantsWrite?: () => boolean;
  ready(writable: boolean): void;
}

/** Poller waits for up to `most` descriptors. */
export class Poller {
  readonly #arena: Arena;
  readonly #requests: number;
  readonly #most: number;

  constructor(arena: Arena, most: number) {
    this.#arena = arena;
    this.#most = most;
    this.#requests = arena.allocate(most * SIZE.pollfd);
  }

  /** turn waits up to `timeoutMs` (-1: for ever), and calls `ready` of all that are; false if none was. */
  turn(watched: readonly Watched[], timeoutMs: number): boolean {
    const { view } = this.#arena;
    const count = Math.min(watched.length, this.#most);
    for (let i = 0; i < count; i++) {
      const { fd, wantsRead, wantsWrite } = watched[i] as Watched;
      const at = this.#requests + i * SIZE.pollfd;
      view.setInt32(at, fd, true);
      const reads = wantsRead?.() === false ? 0 : POLLIN;
      view.setInt16(at + 4, wantsWrite?.() === true ? reads | POLLOUT : reads, true);
      view.setInt16(at + 6, 0, true);
    }
    const ready = pollMany(this.#arena, this.#requests, count, timeoutMs);
    if (ready < 0) throw new SystemError("poll", -ready);
    if (ready === 0) return false;
    for (let i = 0; i < count; i++) {
      const answer = view.getInt16(this.#requests + i * SIZE.pollfd + 6, true);
      if ((answer & (POLLIN | POLLOUT | POLLERR_HUP)) !== 0)
        (watched[i] as Watched).ready((answer & POLLOUT) !== 0);
    }
    return true;
  }
}
