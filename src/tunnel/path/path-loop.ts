/**
 * The loop of one thread: waits for packets from TUN, datagrams from sockets, room in them, or a call, and runs the two steps.
 *
 * A turn is synchronous and may wait for ever, so it belongs into a thread of its own. Idle, it sleeps in poll(2).
 */
import { type Arena, type DatagramSocket, type Fd, pollMany, SIZE, SystemError } from "../../sys/mod.ts";
import type { DatagramReceiver } from "./datagram-receiver.ts";
import type { DatagramSender } from "./datagram-sender.ts";
import type { OpenStep } from "./open-step.ts";
import type { SealStep } from "./seal-step.ts";

const POLLIN = 0x001;
const POLLOUT = 0x004;
/** Errors are read like data: POLLERR and POLLHUP. */
const READABLE = POLLIN | 0x008 | 0x010;

/** PathPort is a socket with what waits for it. */
export interface PathPort {
  readonly socket: Pick<DatagramSocket, "fd">;
  readonly sender: DatagramSender;
}

/** LoopOptions are the parts that a loop drives. */
export interface LoopOptions {
  readonly queue: { readonly fd: Fd; readonly gone: boolean };
  readonly receiver: DatagramReceiver;
  readonly ports: readonly PathPort[];
  readonly seal: Pick<SealStep, "run" | "blocked">;
  readonly open: Pick<OpenStep, "run">;
  /** When this becomes readable `onCall` is called, before anything else of that turn is done; it makes it unreadable. */
  readonly caller?: Fd;
  readonly onCall?: () => void;
  /** Called when a wait is over and there is something to do. */
  readonly onTurn?: () => void;
}

/** PathLoop drives the steps. */
export class PathLoop {
  readonly #arena: Arena;
  readonly #options: LoopOptions;
  readonly #requests: number;
  readonly #count: number;

  constructor(arena: Arena, options: LoopOptions) {
    this.#arena = arena;
    this.#options = options;
    this.#count = 1 + options.ports.length + (options.caller === undefined ? 0 : 1);
    this.#requests = arena.allocate(this.#count * SIZE.pollfd);
    this.#place(0, options.queue.fd);
    options.ports.forEach(({ socket }, i) => this.#place(1 + i, socket.fd));
    if (options.caller !== undefined) this.#place(this.#count - 1, options.caller);
  }

  #place(index: number, fd: Fd): void {
    this.#arena.view.setInt32(this.#requests + index * SIZE.pollfd, fd.number, true);
    this.#ask(index, POLLIN);
  }

  #ask(index: number, events: number): void {
    this.#arena.view.setInt16(this.#requests + index * SIZE.pollfd + 4, events, true);
  }

  #answer(index: number): number {
    return this.#arena.view.getInt16(this.#requests + index * SIZE.pollfd + 6, true);
  }

  /** once waits up to `timeoutMs` (-1: for ever) and does what there is to do; false when nothing was. */
  once(timeoutMs: number): boolean {
    const { ports, seal, open, receiver } = this.#options;
    // Full senders mean that TUN is not read: its queue is the one that fills.
    this.#ask(0, seal.blocked ? 0 : POLLIN);
    for (let i = 0; i < ports.length; i++)
      this.#ask(1 + i, (ports[i] as PathPort).sender.blocked ? POLLIN | POLLOUT : POLLIN);
    const ready = pollMany(this.#arena, this.#requests, this.#count, timeoutMs);
    if (ready < 0) throw new SystemError("poll", -ready);
    if (ready === 0) return false;
    const { caller, onCall, onTurn } = this.#options;
    onTurn?.();
    if (caller !== undefined && (this.#answer(this.#count - 1) & READABLE) !== 0) onCall?.();
    let sealing = (this.#answer(0) & READABLE) !== 0;
    for (let i = 0; i < ports.length; i++) {
      const answer = this.#answer(1 + i);
      if ((answer & READABLE) !== 0) {
        // An error of the socket was about something sent; reading it clears it.
        const count = receiver.receive((ports[i] as PathPort).socket.fd.number);
        if (count > 0) open.run(count);
      }
      if ((answer & POLLOUT) !== 0) sealing = true;
    }
    if (sealing) seal.run();
    return true;
  }
}
