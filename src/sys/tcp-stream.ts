/**
 * TCP connections of sockets that were made by FFI, read and written by the runtime's event loop: what the kernel took of each write, when it takes
 * more, and an end that does not throw away what was written last.
 *
 * `Bun.connect({ fd })` and `Bun.listen({ fd })` are not in Bun's types (tested with 1.4): `open` comes at once, the first `drain` when the
 * connection stands, and each piece of data is memory of its own.
 */
import { after } from "./clock.ts";
import type { Fd } from "./fd.ts";
import { isErrno } from "./errno.ts";
import { localName, remoteName, setUserTimeout, startListening, type TcpName } from "./tcp-socket.ts";

/** How long the other side may take to end a connection that we ended, before it is dropped. */
const LINGER_MS = 3_000;

/** StreamEvents is told what happens on one connection. After `closed` nothing more comes. */
export interface StreamEvents {
  /** The connection stands. An accepted one does from the beginning; this comes for those that were connected. */
  connected?(): void;
  /** The bytes are the callback's. */
  data(bytes: Uint8Array): void;
  /** The kernel takes more, after a write of which it did not take all. */
  writable(): void;
  /** The reason is absent for an orderly end by the other side. */
  closed(reason?: string): void;
}

interface RuntimeSocket {
  readonly fd: number;
  write(bytes: Uint8Array): number;
  shutdown(): void;
  end(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  data: TcpStream | undefined;
}

interface RuntimeHandlers {
  readonly binaryType: "uint8array";
  open(socket: RuntimeSocket): void;
  drain(socket: RuntimeSocket): void;
  data(socket: RuntimeSocket, bytes: Uint8Array): void;
  end(socket: RuntimeSocket): void;
  close(socket: RuntimeSocket, error?: Error): void;
  error(socket: RuntimeSocket, error: Error): void;
  connectError(socket: RuntimeSocket, error: Error): void;
}

interface Runtime {
  connect(options: { fd: number; data: TcpStream; socket: RuntimeHandlers }): Promise<unknown>;
  listen(options: { fd: number; socket: RuntimeHandlers }): { stop(closeAll: boolean): void };
}

/** TcpStream owns one connection. */
export class TcpStream implements Disposable {
  readonly #number: number;
  readonly #events: StreamEvents;
  #socket: RuntimeSocket | undefined;
  #state: "connecting" | "open" | "finishing" | "closed";
  #paused = false;
  #linger: Disposable | undefined;

  private constructor(number: number, events: StreamEvents, state: "connecting" | "open") {
    this.#number = number;
    this.#events = events;
    this.#state = state;
  }

  /** connecting takes over a socket on which `startConnecting` was called. */
  static connecting(fd: Fd, events: StreamEvents): TcpStream {
    const number = fd.release();
    const stream = new TcpStream(number, events, "connecting");
    (Bun as unknown as Runtime)
      .connect({ fd: number, data: stream, socket: handlersOf(() => undefined) })
      .catch((error: unknown) => stream.gone(error instanceof Error ? error.message : String(error)));
    return stream;
  }

  /** accepted is for the listener: a connection that stands. */
  static accepted(socket: RuntimeSocket, accept: (stream: AcceptedStream) => StreamEvents | undefined): void {
    // The one who accepts may ask of the socket what it will, before it says who is told of the rest.
    const ask = () =>
      accept({ number: socket.fd, local: localName(socket.fd), remote: remoteName(socket.fd) });
    const events = unlessGone(ask);
    if (events === undefined) return socket.terminate();
    const stream = new TcpStream(socket.fd, events, "open");
    socket.data = stream;
    stream.#socket = socket;
    if ("accepted" in events) (events as AcceptedEvents).accepted(stream);
  }

  /** The descriptor, for options; throws once closed. */
  get number(): number {
    if (this.#state === "closed") throw new Error("connection is closed");
    return this.#number;
  }

  get closed(): boolean {
    return this.#state === "closed" || this.#state === "finishing";
  }

  get local(): TcpName {
    return localName(this.number);
  }

  get remote(): TcpName {
    return remoteName(this.number);
  }

  /** write returns how many bytes the kernel took; after fewer than all, `writable` says when it takes more. */
  write(bytes: Uint8Array): number {
    if (this.#state !== "open" || this.#socket === undefined || bytes.length === 0) return 0;
    return Math.max(0, this.#socket.write(bytes));
  }

  /** pause leaves what arrives in the kernel; the window closes when its buffer is full. What the runtime has read already still comes. */
  pause(): void {
    if (this.#paused || this.closed) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    if (!this.#paused || this.closed) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  /** finish sends what was written and an end. What still arrives is thrown away: closing at once would send a reset, which overtakes it (RFC 1122 section 4.2.2.13). */
  finish(): void {
    if (this.closed) return;
    if (this.#state === "connecting" || this.#socket === undefined) return this.abort();
    this.#state = "finishing";
    setUserTimeout(this.#number, LINGER_MS);
    if (this.#paused) this.#socket.resume();
    this.#socket.shutdown();
    this.#linger = after(LINGER_MS, () => this.abort());
  }

  /** abort ends the connection at once, with a reset. */
  abort(): void {
    this.#end(() => this.#socket?.terminate());
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  /** @internal The runtime adopted the socket. */
  opened(socket: RuntimeSocket): void {
    this.#socket = socket;
    if (this.#state === "closed") socket.terminate();
    else if (this.#paused) socket.pause();
  }

  /** @internal */
  drained(): void {
    if (this.#state === "connecting") this.#connected();
    else if (this.#state === "open") this.#events.writable();
  }

  /** @internal */
  received(bytes: Uint8Array): void {
    if (this.#state === "connecting") this.#connected();
    if (this.#state === "open") this.#events.data(bytes);
  }

  /** @internal The connection ended, whoever ended it. */
  gone(reason?: string): void {
    const told = this.closed;
    this.#end(() => this.#socket?.end());
    if (!told) this.#events.closed(reason);
  }

  #end(close: () => void): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#linger?.[Symbol.dispose]();
    close();
  }

  #connected(): void {
    try {
      remoteName(this.#number);
    } catch (error) {
      // Writable because it failed: `close` says why.
      if (isErrno(error, "ENOTCONN")) return;
      throw error;
    }
    this.#state = "open";
    this.#events.connected?.();
  }
}

/** AcceptedStream is a connection before it is decided who is told of it. */
export interface AcceptedStream {
  readonly number: number;
  readonly local: TcpName;
  readonly remote: TcpName;
}

/** AcceptedEvents gets the connection itself, before anything happens on it. */
export interface AcceptedEvents extends StreamEvents {
  accepted(stream: TcpStream): void;
}

/** listenStreams accepts connections of a bound socket until it is disposed; those that were accepted go on. `accept` returns undefined to turn one away. */
export function listenStreams(
  fd: Fd,
  accept: (stream: AcceptedStream) => AcceptedEvents | undefined,
): StreamListener {
  startListening(fd.number, 1024);
  const number = fd.release();
  const listener = (Bun as unknown as Runtime).listen({
    fd: number,
    socket: handlersOf((socket) => TcpStream.accepted(socket, accept)),
  });
  return { number, [Symbol.dispose]: () => listener.stop(false) };
}

/** StreamListener listens. */
export interface StreamListener extends Disposable {
  /** The descriptor, for keys. */
  readonly number: number;
}

/** A connection may be reset before it is looked at. */
function unlessGone<T>(work: () => T | undefined): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isErrno(error, "ENOTCONN", "ECONNRESET", "EINVAL")) return undefined;
    throw error;
  }
}

function handlersOf(accepted: (socket: RuntimeSocket) => void): RuntimeHandlers {
  const failed = (socket: RuntimeSocket, error?: Error) => socket.data?.gone(error && reasonOf(error));
  return {
    binaryType: "uint8array",
    open: (socket) => (socket.data === undefined ? accepted(socket) : socket.data.opened(socket)),
    drain: (socket) => socket.data?.drained(),
    data: (socket, bytes) => socket.data?.received(bytes),
    end: (socket) => socket.data?.gone(),
    close: failed,
    error: failed,
    connectError: failed,
  };
}

function reasonOf(error: Error): string {
  return "code" in error ? String(error.code) : error.message;
}
