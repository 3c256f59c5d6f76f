/**
 * One TCP connection to a peer: cut into messages on the way in, in slices that leave room for others; on the way out our own messages between those of
 * the outbox, so that a KEEPALIVE waits for one message at most, and for what the kernel has already.
 */
import { monotonicMs, soon, type StreamEvents, type TcpStream } from "../../sys/mod.ts";
import { type BgpError, EXTENDED_BYTES_MAX, MessageStream } from "../wire/mod.ts";

/** Outbox is a queue of whole messages that others fill: what is written is taken away. A session begins with one that begins with a message. */
export interface Outbox {
  /** The next bytes, which begin where the last ones taken away ended, and end where a message does; undefined when there are none. */
  peek(): Uint8Array | undefined;
  advance(bytes: number): void;
}

/** ConnectionEvents is told what happens on one connection. After `closed`, or `close` by the owner, nothing more comes. */
export interface ConnectionEvents {
  connected(): void;
  /** A message is `bytes[at, end)`, header included; valid during the call. */
  message(type: number, bytes: Uint8Array, at: number, end: number): void;
  headerError(error: BgpError): void;
  closed(reason: string): void;
}

/** How long one chunk may be worked on before others have their turn. */
const SLICE_MS = 10;
/** How many messages are taken between two looks at the clock. */
const MESSAGES_PER_LOOK = 16;
/** The most that one write hands over. */
const WRITE_BYTES = 256 * 1024;

/** MessageCounts counts messages by type, 1 to 5; index 0 has all bytes. */
export type MessageCounts = Float64Array;

/** Connection owns a stream. */
export class Connection implements Disposable {
  /** When the last message came. */
  heardMs: number;
  /** Since when something waits of which the kernel takes nothing; undefined: nothing waits. */
  stuckMs: number | undefined;
  readonly received: MessageCounts = new Float64Array(6);
  readonly sent: MessageCounts = new Float64Array(6);
  readonly #events: ConnectionEvents;
  readonly #messages = new MessageStream();
  #stream: TcpStream | undefined;
  #closed = false;

  // On the way in.
  readonly #chunks: Uint8Array[] = [];
  #reading = false;
  #heldBack = false;
  /** The slice ended before the chunk did. */
  #unfinished = false;
  #later: Disposable | undefined;

  // On the way out.
  readonly #own: Uint8Array[] = [];
  #ownAt = 0;
  #outbox: Outbox | undefined;
  /** What is left of the outbox's message that has begun; 0 between messages. */
  #left = 0;

  constructor(events: ConnectionEvents) {
    this.#events = events;
    this.heardMs = monotonicMs();
  }

  /** Events for the stream that this connection gets. */
  get streamEvents(): StreamEvents & { accepted(stream: TcpStream): void } {
    return {
      accepted: (stream) => this.use(stream),
      connected: () => {
        if (!this.#closed) this.#events.connected();
      },
      data: (bytes) => this.#take(bytes),
      writable: () => this.flush(),
      closed: (reason) => this.#lost(reason ?? "the peer closed the connection"),
    };
  }

  use(stream: TcpStream): void {
    this.#stream = stream;
    if (this.#closed) stream.abort();
  }

  get stream(): TcpStream | undefined {
    return this.#stream;
  }

  /** Takes messages of up to 65,535 bytes from now on (RFC 8654). */
  extend(): void {
    this.#messages.mostBytes = EXTENDED_BYTES_MAX;
  }

  /** attach says where messages to send come from, beside our own. */
  attach(outbox: Outbox): void {
    this.#outbox = outbox;
    this.flush();
  }

  /** send queues one message of our own; it goes before what the outbox has. */
  send(message: Uint8Array): void {
    if (this.#closed) return;
    this.#own.push(message);
    this.flush();
  }

  /** hold stops taking messages, for those who cannot keep up; the peer's window closes. `release` goes on. */
  hold(): void {
    this.#heldBack = true;
    this.#stream?.pause();
  }

  release(): void {
    if (!this.#heldBack) return;
    this.#heldBack = false;
    this.#schedule();
  }

  /** Whether messages wait that have not been looked at. */
  get behind(): boolean {
    return this.#heldBack || this.#unfinished || this.#chunks.length > 0;
  }

  #take(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#chunks.push(bytes);
    if (this.#later === undefined) this.#work();
  }

  /** Works on what has come until it is done, held back, or has had its time. */
  #work(): void {
    this.#later = undefined;
    if (this.#reading) return;
    this.#reading = true;
    this.#unfinished = false;
    try {
      const until = monotonicMs() + SLICE_MS;
      let count = 0;
      while (!this.#closed && !this.#heldBack) {
        if (!this.#messages.next()) {
          if (this.#messages.error !== undefined) return this.#events.headerError(this.#messages.error);
          const chunk = this.#chunks.shift();
          if (chunk === undefined) break;
          this.#messages.feed(chunk);
          continue;
        }
        const { type, bytes, at, end } = this.#messages;
        if (count === 0) this.heardMs = monotonicMs();
        this.received[type] = (this.received[type] as number) + 1;
        this.received[0] = (this.received[0] as number) + end - at;
        this.#events.message(type, bytes, at, end);
        if (++count % MESSAGES_PER_LOOK === 0 && monotonicMs() >= until) {
          this.#unfinished = true;
          this.#stream?.pause();
          return this.#schedule();
        }
      }
    } finally {
      this.#reading = false;
    }
    if (!this.#heldBack && !this.#closed) this.#stream?.resume();
  }

  #schedule(): void {
    this.#later ??= soon(() => this.#work());
  }

  /** flush writes until the kernel takes no more: our own messages first, at the next border of the outbox's. */
  flush(): void {
    const stream = this.#stream;
    while (!this.#closed && stream !== undefined) {
      const own = this.#left === 0 ? this.#own[0] : undefined;
      const bytes = own === undefined ? this.#outbox?.peek() : own.subarray(this.#ownAt);
      if (bytes === undefined || bytes.length === 0) {
        this.stuckMs = undefined;
        return;
      }
      const piece = own === undefined ? this.#pieceOf(bytes) : bytes;
      const taken = stream.write(piece);
      if (taken > 0) {
        if (own === undefined) this.#tookOfOutbox(bytes, taken);
        else this.#tookOwn(own, taken);
        this.stuckMs = undefined;
      }
      if (taken === piece.length) continue;
      // `writable` comes back here.
      this.stuckMs ??= monotonicMs();
      return;
    }
  }

  #pieceOf(bytes: Uint8Array): Uint8Array {
    // Ours waits: to the next border, and no further.
    const most = this.#own.length > 0 ? this.#left : WRITE_BYTES;
    return bytes.length > most ? bytes.subarray(0, most) : bytes;
  }

  #tookOwn(message: Uint8Array, taken: number): void {
    this.#ownAt += taken;
    if (this.#ownAt < message.length) return;
    this.#own.shift();
    this.#ownAt = 0;
    this.#count(message[18] as number, message.length);
  }

  /** Follows the messages of the outbox, to know where a border is. `bytes` are all that it gave, and begin where `#left` bytes of a message are left. */
  #tookOfOutbox(bytes: Uint8Array, taken: number): void {
    let at = this.#left;
    while (at < taken) {
      // They end with a message: a header that begins in them is all there, also where what was written ends within it.
      const length = ((bytes[at + 16] as number) << 8) | (bytes[at + 17] as number);
      if (!(length >= 19)) throw new Error(`The outbox has no message at byte ${at} of what it gave`);
      this.#count(bytes[at + 18] as number, length);
      at += length;
    }
    this.#left = at - taken;
    this.#outbox?.advance(taken);
  }

  #count(type: number, bytes: number): void {
    this.sent[type] = (this.sent[type] as number) + 1;
    this.sent[0] = (this.sent[0] as number) + bytes;
  }

  /** close sends what our own messages are left, as far as a border allows and the kernel takes it, and ends the connection. */
  close(): void {
    if (this.#closed) return;
    this.#outbox = undefined;
    // In the middle of a message nothing else can be said: the peer would take it as a part of that one.
    if (this.#left === 0) this.flush();
    this.#end();
    this.#stream?.finish();
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    // What came before the end counts: a NOTIFICATION above all.
    while (!this.#closed && !this.#heldBack && (this.#unfinished || this.#chunks.length > 0)) this.#work();
    if (this.#closed) return;
    this.#end();
    this.#events.closed(reason);
  }

  #end(): void {
    this.#closed = true;
    this.#later?.[Symbol.dispose]();
    this.#later = undefined;
    this.#chunks.length = 0;
    this.#own.length = 0;
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#stream?.abort();
  }
}
