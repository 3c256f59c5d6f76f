/**
 * One TLS connection as a stream of bytes, whose queue for sending has an end: what does not fit is refused, never kept.
 *
 * ```
 * write ──▶ queue (512 KiB, only while something waits) ──▶ TLS ──▶ kernel (TCP_NOTSENT_LOWAT) ──▶ network
 * ```
 * Pieces that are written in one turn of the event loop leave together, as few TLS records.
 */
import type { Socket } from "bun";
import { after } from "./clock.ts";
import * as libc from "./libc.ts";
import { type QueueHolder, SEND_QUEUES, SendQueues } from "./send-queues.ts";

const QUEUE_BYTES = SEND_QUEUES.bytes;
/** A call of TLS gets so much at most; a repeated call may not be shorter than the one before (SSL_write(3)), and is not. */
const PIECE_BYTES = 64 * 1024;
/** How long a closed connection may take to say goodbye. */
const FAREWELL_MS = 1000;

/** Levels and options of include/uapi/linux/tcp.h. */
const SOL_TCP = 6;
const TCP_USER_TIMEOUT = 18;
const TCP_NOTSENT_LOWAT = 25;
/** What was sent and is not acknowledged for so long ends the connection: what lies between may have forgotten it. */
const UNHEARD_MS = 15_000;
const KEEPALIVE_MS = 30_000;
/** More unsent bytes than this do not enter the kernel, so that they are in the queue, which drops. */
const KERNEL_BYTES = 256 * 1024;

/** TlsEvents is told what happens on one connection. After `closed` nothing more comes. */
export interface TlsEvents {
  /** The memory is the runtime's, and is used again after the call. */
  data(bytes: Uint8Array): void;
  /** The reason is absent for an orderly end by the other side. */
  closed(reason?: string): void;
}

/** Of this process. */
const queues = new SendQueues();

/** TlsStream is one open connection. */
export class TlsStream implements QueueHolder {
  /** Address of the other end, without port; an IPv4 address is never written as a mapped IPv6 one. */
  readonly remoteAddress: string;
  readonly source: string;
  readonly #socket: Socket<unknown>;
  readonly #queues: SendQueues;
  #taken = 0;
  #events: TlsEvents | undefined;
  #queue: Uint8Array | undefined;
  #from = 0;
  #to = 0;
  #blocked = false;
  #scheduled = false;

  constructor(
    socket: Socket<unknown>,
    events: TlsEvents,
    own: { readonly queues?: SendQueues | undefined; readonly source?: string | undefined } = {},
  ) {
    this.#queues = own.queues ?? queues;
    this.#socket = socket;
    this.#events = events;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    this.source = own.source ?? this.remoteAddress;
  }

  /** Whether the connection has ended, by either side. */
  get closed(): boolean {
    return this.#events === undefined;
  }

  /** Bytes that the system has taken. */
  get takenBytes(): number {
    return this.#taken;
  }

  /** Bytes that wait for the network. */
  get queuedBytes(): number {
    return this.#to - this.#from;
  }

  /** write queues both parts, or nothing of them: false if there is no room, or no connection any more. */
  write(head: Uint8Array, body: Uint8Array): boolean {
    if (this.#events === undefined) return false;
    const queue = (this.#queue ??= this.#queues.take(this));
    const bytes = head.length + body.length;
    if (queue === undefined || this.queuedBytes + bytes > QUEUE_BYTES) return false;
    if (this.#to + bytes > QUEUE_BYTES) {
      queue.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    queue.set(head, this.#to);
    queue.set(body, this.#to + head.length);
    this.#to += bytes;
    if (this.#blocked) return true;
    if (this.queuedBytes >= PIECE_BYTES) this.#flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#turn);
    }
    return true;
  }

  /** close ends the connection; `closed` is told of it at once. What is queued is not sent. */
  close(reason?: string): void {
    if (this.#events === undefined) return;
    this.ended(reason);
    this.#socket.end();
    // To one that does not read, an end is never sent.
    after(FAREWELL_MS, () => this.#socket.terminate());
  }

  /** giveUp ends a connection whose other side does not read. */
  giveUp(): void {
    this.close("it does not read what it is sent");
  }

  /** received is called by the runtime's side with what came. */
  received(bytes: Uint8Array): void {
    this.#events?.data(bytes);
  }

  /** drained is called by the runtime's side when the system takes bytes again. */
  drained(): void {
    this.#blocked = false;
    this.#flush();
  }

  /** ended is called by the runtime's side when there is no connection any more. */
  ended(reason?: string): void {
    const events = this.#events;
    if (events === undefined) return;
    this.#events = undefined;
    this.#release();
    events.closed(reason);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    if (!this.#blocked) this.#flush();
  };

  #flush(): void {
    const queue = this.#queue;
    if (queue === undefined || this.#events === undefined) return;
    while (this.#from < this.#to) {
      const piece = Math.min(this.#to - this.#from, PIECE_BYTES);
      const taken = this.#socket.write(queue.subarray(this.#from, this.#from + piece));
      if (taken > 0) {
        this.#from += taken;
        this.#taken += taken;
      }
      if (taken < piece) {
        this.#blocked = true;
        return;
      }
    }
    this.#release();
  }

  #release(): void {
    if (this.#queue !== undefined) this.#queues.giveBack(this, this.#queue);
    this.#queue = undefined;
    this.#from = 0;
    this.#to = 0;
  }
}

/** plainAddress writes an address that the runtime told without scope, and IPv4 as IPv4. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*$/, "");
}

/** tuneTcp makes a connection right for datagrams: nothing waits for more, and a dead one is noticed. */
export function tuneTcp(socket: Socket<unknown>): void {
  const { fd } = socket as unknown as { readonly fd: number };
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_MS);
  libc.setsockopt(fd, SOL_TCP, TCP_USER_TIMEOUT, UNHEARD_MS);
  libc.setsockopt(fd, SOL_TCP, TCP_NOTSENT_LOWAT, KERNEL_BYTES);
}
