/** A client of a LineServer that stays: lines go out when they are said, and come in from the event loop. */
import { isErrno } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { connectUnix, sendAll } from "./unix.ts";
import { type SocketWatcher, watchSocket } from "./watch.ts";

/** LineClientEvents is told what comes. After `onClosed` nothing does. */
export interface LineClientEvents {
  readonly onLine: (line: string) => void;
  readonly onClosed: () => void;
}

/** LineClient owns one connection. */
export class LineClient implements Disposable {
  readonly #fd: Fd;
  readonly #watch: SocketWatcher;
  readonly #events: LineClientEvents;
  #waiting = Buffer.alloc(0);
  #closed = false;

  private constructor(fd: Fd, events: LineClientEvents) {
    this.#fd = fd;
    this.#events = events;
    this.#watch = watchSocket(fd, {
      onMessage: (bytes) => this.#receive(bytes),
      onFailure: () => this.#end(),
    });
  }

  /** connect throws as connect(2) does: ENOENT, ECONNREFUSED when nobody listens. A line that is not taken in so long ends the connection. */
  static connect(
    path: string,
    events: LineClientEvents,
    options: { readonly timeoutMs?: number } = {},
  ): LineClient {
    return new LineClient(connectUnix(path, { timeoutMs: options.timeoutMs ?? 5000 }), events);
  }

  /** send says one line; it must hold no line feed. Does nothing once closed. */
  send(line: string): void {
    if (this.#closed) return;
    try {
      sendAll(this.#fd, new TextEncoder().encode(`${line}\n`));
    } catch (error) {
      if (!isErrno(error, "EPIPE", "ECONNRESET", "EAGAIN", "ETIMEDOUT")) throw error;
      this.#end();
    }
  }

  #receive(bytes: Uint8Array): void {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    for (let end = this.#waiting.indexOf(10); end >= 0 && !this.#closed; end = this.#waiting.indexOf(10)) {
      const line = this.#waiting.subarray(0, end).toString("utf8");
      this.#waiting = this.#waiting.subarray(end + 1);
      this.#events.onLine(line);
    }
  }

  #end(): void {
    if (this.#closed) return;
    this[Symbol.dispose]();
    this.#events.onClosed();
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    this.#fd.close();
  }
}
