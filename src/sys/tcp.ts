/**
 * TCP that carries lines of text, both sides, with the limits that keep a bad peer from harming this process: length of a
 * line, number of connections, bytes that wait to be sent (send-budget.ts).
 */
import type { Socket, TCPSocketListener } from "bun";
import { after } from "./clock.ts";
import { SendBudget, type Sender } from "./send-budget.ts";

/** Of this process: what waits for slow readers before their connections are given up. */
const budget = new SendBudget();
/** How long a closed connection may take to send what was queued before. */
const LINGER_MS = 10_000;

/** TcpEvents is told what happens on one connection. After `closed` nothing more comes. */
export interface TcpEvents {
  line(text: string): void;
  /** The reason is absent for an orderly end. */
  closed(reason?: string): void;
}

/** TcpConnection is one open connection. */
export class TcpConnection {
  /** Address of the other end, without port; an IPv4 address is never written as a mapped IPv6 one. */
  readonly remoteAddress: string;
  readonly #socket: Socket<Wire>;

  constructor(socket: Socket<Wire>) {
    this.#socket = socket;
    this.remoteAddress = socket.remoteAddress.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*$/, "");
    socket.data.address = this.remoteAddress;
  }

  /** send queues one line; the text must hold no line feed. Does nothing once closed. */
  send(text: string): void {
    const wire = this.#socket.data;
    if (!wire.ended) wire.send(this.#socket, Buffer.from(`${text}\n`));
  }

  /** allowLines bounds the lines that come from now on: a long one is awaited, or none any more. */
  allowLines(maxBytes: number): void {
    this.#socket.data.maxLineBytes = maxBytes;
  }

  /** Whether the connection has ended, by either side. */
  get closed(): boolean {
    return this.#socket.data.ended;
  }

  /** close reads no more, sends what is queued, and ends the connection. */
  close(reason?: string): void {
    this.#socket.data.end(reason);
  }
}

/** Wire is the state of one socket: bytes of an unfinished line, and bytes not yet taken by the system. */
class Wire implements Sender {
  waitingBytes = 0;
  ended = false;
  readonly #budget: SendBudget;
  readonly #waiting: Buffer[] = [];
  /** Of the other end. */
  address = "";
  #parts: Buffer[] = [];
  #partBytes = 0;
  #events: TcpEvents | undefined;
  #close: (() => void) | undefined;
  #linger: Disposable | undefined;
  #reason: string | undefined;
  maxLineBytes: number;

  constructor(maxLineBytes: number, own: SendBudget = budget) {
    this.maxLineBytes = maxLineBytes;
    this.#budget = own;
  }

  start(events: TcpEvents, close: () => void): void {
    this.#events = events;
    this.#close = close;
    if (!this.ended) return;
    // It ended before anybody could be told.
    if (this.#waiting.length === 0) this.#finish();
    events.closed(this.#reason);
  }

  receive(data: Buffer): void {
    let from = 0;
    while (!this.ended) {
      const end = data.indexOf(10, from);
      const piece = data.subarray(from, end < 0 ? data.length : end);
      this.#partBytes += piece.length;
      if (this.#partBytes > this.maxLineBytes) return this.end(`line longer than ${this.maxLineBytes} bytes`);
      // The runtime uses the memory of `data` again.
      if (end < 0) {
        if (piece.length > 0) this.#parts.push(Buffer.from(piece));
        return;
      }
      const line = Buffer.concat([...this.#parts, piece]).toString("utf8");
      this.#parts = [];
      this.#partBytes = 0;
      from = end + 1;
      this.#events?.line(line);
    }
  }

  send(socket: Socket<Wire>, bytes: Buffer): void {
    const before = this.waitingBytes;
    this.#waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.#write(socket);
    this.#note(before);
  }

  flush(socket: Socket<Wire>): void {
    const before = this.waitingBytes;
    this.#write(socket);
    this.#note(before);
    if (this.ended && this.#waiting.length === 0) this.#finish();
  }

  #write(socket: Socket<Wire>): void {
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      const taken = socket.write(head);
      if (taken <= 0) return;
      this.waitingBytes -= taken;
      if (taken < head.length) {
        this.#waiting[0] = head.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
  }

  #note(before: number): void {
    if (this.waitingBytes !== before) this.#budget.note(this.address, this, this.waitingBytes - before);
  }

  giveUp(): void {
    this.#throwAway();
    if (this.ended) this.#finish();
    else this.end("the other side reads too slowly");
  }

  #throwAway(): void {
    const before = this.waitingBytes;
    this.#waiting.length = 0;
    this.waitingBytes = 0;
    this.#note(before);
  }

  end(reason?: string): void {
    if (this.ended) return;
    this.ended = true;
    this.#reason = reason;
    this.#parts = [];
    if (this.#waiting.length === 0) this.#finish();
    else this.#linger = after(LINGER_MS, () => this.#finish());
    this.#events?.closed(reason);
  }

  /** gone is called when the system has closed the socket. */
  gone(reason?: string): void {
    this.#throwAway();
    this.end(reason);
    this.#finish();
  }

  #finish(): void {
    this.#throwAway();
    this.#linger?.[Symbol.dispose]();
    this.#linger = undefined;
    this.#close?.();
    this.#close = undefined;
  }
}

const handlers = {
  binaryType: "buffer" as const,
  data: (socket: Socket<Wire>, data: Buffer) => socket.data.receive(data),
  drain: (socket: Socket<Wire>) => socket.data.flush(socket),
  end: (socket: Socket<Wire>) => socket.data.end(),
  close: (socket: Socket<Wire>, error?: Error) => socket.data.gone(error?.message),
  error: (socket: Socket<Wire>, error: Error) => socket.data.end(error.message),
};

/** TcpListener accepts connections until it is disposed; then it closes all of them. */
export interface TcpListener extends Disposable {
  readonly port: number;
}

/** listenTcp listens on one address. `accept` returns who is told about the connection, or a reason to turn it away. */
export function listenTcp(options: {
  readonly address: string;
  /** 0: the system chooses. */
  readonly port: number;
  readonly maxLineBytes: number;
  readonly maxConnections: number;
  readonly accept: (connection: TcpConnection) => TcpEvents | string;
  /** What may wait to be sent; default: that of this process. */
  readonly budget?: SendBudget;
}): TcpListener {
  const open = new Set<TcpConnection>();
  const listener: TCPSocketListener<Wire> = Bun.listen<Wire>({
    hostname: options.address,
    port: options.port,
    socket: {
      ...handlers,
      open(socket) {
        const wire = new Wire(options.maxLineBytes, options.budget);
        socket.data = wire;
        const connection = new TcpConnection(socket);
        const events =
          open.size >= options.maxConnections ? "too many connections" : options.accept(connection);
        if (typeof events === "string") {
          wire.ended = true;
          socket.end();
          return;
        }
        open.add(connection);
        wire.start(
          {
            line: (text) => events.line(text),
            closed(reason) {
              open.delete(connection);
              events.closed(reason);
            },
          },
          () => socket.end(),
        );
      },
    },
  });
  return {
    port: listener.port,
    [Symbol.dispose]() {
      listener.stop(false);
      for (const connection of [...open]) connection.close();
    },
  };
}

/** connectTcp opens a connection to a literal address; rejects when that fails or takes longer than `timeoutMs`. */
export async function connectTcp(options: {
  readonly address: string;
  readonly port: number;
  readonly maxLineBytes: number;
  readonly timeoutMs: number;
  readonly events: TcpEvents;
}): Promise<TcpConnection> {
  const wire = new Wire(options.maxLineBytes);
  let late = false;
  const connecting = Bun.connect<Wire>({
    hostname: options.address,
    port: options.port,
    data: wire,
    socket: {
      ...handlers,
      open(socket) {
        if (late) {
          wire.ended = true;
          socket.terminate();
        } else wire.start(options.events, () => socket.end());
      },
      connectError() {},
    },
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late = true;
      reject(new Error(`no answer for ${options.timeoutMs} ms`));
    }, options.timeoutMs);
  });
  connecting.catch(() => {});
  try {
    return new TcpConnection(await Promise.race([connecting, timeout]));
  } finally {
    clearTimeout(timer);
  }
}
