/**
 * Servers on unix sockets that speak in lines: each line asks, any number of lines answer. Who asks is known by SO_PEERCRED,
 * and a client may attach a descriptor to the first bytes it sends (SCM_RIGHTS).
 *
 * ```
 * client                          server
 *   │ connect                       │ open: read the first bytes with recvmsg, before the event loop reads
 *   │ request␊  (+ descriptor) ───▶ │ onRequest(line, connection)
 *   │ ◀─────────── answer␊ answer␊  │ connection.reply(…), then connection.end()
 * ```
 * The runtime reads with plain recv, which throws descriptors away; so the first read is ours. A client that has connected but
 * not sent yet is paused and looked at again, without waiting in the event loop.
 */
import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import { after, monotonicMs } from "./clock.ts";
import { isErrno, SystemError } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { DescriptorError, receiveWithDescriptors } from "./fdpass.ts";
import { readText } from "./file.ts";
import { pollReadable, recv } from "./libc.ts";
import { stable } from "./memory.ts";
import { connectUnix, type PeerCredentials, peerCredentials, unixAddress } from "./unix.ts";

/** LineConnection is one client of a LineServer. */
export interface LineConnection {
  readonly peer: PeerCredentials;
  /** Whether the client is gone or was sent away; replies go nowhere then. */
  readonly closed: boolean;
  /** Whether the client has hung up, perhaps while its request waited: asks the kernel, and does not wait for the event. */
  readonly hungUp: boolean;
  /** reply sends one line; it must not hold a line feed. */
  reply(line: string): void;
  /** end closes once all replies are sent. */
  end(): void;
  /** onClose is called once when the connection ends, whoever ended it; for answers that stream. */
  onClose(work: () => void): void;
  /** takeDescriptor gives the descriptor that came with the request to the caller, who must close it; undefined if there is none. */
  takeDescriptor(): Fd | undefined;
}

export interface LineServerOptions {
  /** Permissions of the socket file: 0o600 lets only its owner in. */
  readonly mode: number;
  /** Group of the socket file, by name; ignored when the system has no such group. */
  readonly group?: string;
  /** Accept descriptors. Default false: they are closed unseen. */
  readonly descriptors?: boolean;
  /** A client whose line is longer is cut off. Default 4 MiB. */
  readonly maxLineBytes?: number;
  /** A client that does not read its answers is cut off when so much waits. Default 16 MiB. */
  readonly maxPendingBytes?: number;
  /** Clients above this number are cut off. Default 1024. */
  readonly maxConnections?: number;
  onRequest(line: string, connection: LineConnection): void;
}

/** How long a client of a server with descriptors may take between connecting and sending. */
const FIRST_BYTES_MS = 10_000;

/** Flags of recv(2). */
const MSG_PEEK_NOW = 0x2 | 0x40;

type RuntimeSocket = Bun.Socket<Connection> & { readonly fd: number };

class Connection implements LineConnection {
  readonly peer: PeerCredentials;
  readonly #socket: RuntimeSocket;
  readonly #options: LineServerOptions;
  readonly #onClose: (() => void)[] = [];
  #input: Uint8Array[] = [];
  #inputBytes = 0;
  #output: Uint8Array[] = [];
  #outputBytes = 0;
  #descriptors: Fd[] = [];
  #ending = false;
  #closed = false;

  constructor(socket: RuntimeSocket, options: LineServerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.peer = peerCredentials(socket.fd);
  }

  get closed(): boolean {
    return this.#closed;
  }

  get hungUp(): boolean {
    try {
      return this.#closed || recv(this.#socket.fd, stable(1), MSG_PEEK_NOW) === 0;
    } catch (error) {
      if (error instanceof SystemError) return true;
      throw error;
    }
  }

  reply(line: string): void {
    if (this.#closed || this.#ending) return;
    const bytes = new TextEncoder().encode(`${line}\n`);
    this.#output.push(bytes);
    this.#outputBytes += bytes.length;
    this.flush();
    if (this.#outputBytes > (this.#options.maxPendingBytes ?? 16 * 2 ** 20)) this.#cutOff();
  }

  end(): void {
    this.#ending = true;
    this.flush();
  }

  onClose(work: () => void): void {
    if (this.#closed) work();
    else this.#onClose.push(work);
  }

  takeDescriptor(): Fd | undefined {
    return this.#descriptors.shift();
  }

  /** start reads the first bytes before the runtime does. */
  start(): void {
    this.#guarded(() => this.#begin(monotonicMs(), 0));
  }

  /** Reads the first bytes with what is attached to them. */
  #begin(sinceMs: number, delayMs: number): void {
    if (this.#closed) return;
    const buffer = stable(65536);
    // Nearly always the client has sent by now or does within microseconds: a millisecond of patience saves a timer.
    if (delayMs === 0) pollReadable(this.#socket.fd, 1);
    const received = receiveWithDescriptors(this.#socket.fd, buffer);
    if (received === undefined) {
      if (monotonicMs() - sinceMs > FIRST_BYTES_MS) return this.#cutOff();
      this.#socket.pause();
      const nextMs = Math.min(64, Math.max(1, delayMs * 2));
      after(nextMs, () => this.#guarded(() => this.#begin(sinceMs, nextMs)));
      return;
    }
    this.#descriptors.push(...received.descriptors);
    if (delayMs > 0) this.#socket.resume();
    if (received.length === 0) this.end();
    else this.receive(buffer.subarray(0, received.length));
  }

  receive(chunk: Uint8Array): void {
    for (let rest = chunk; rest.length > 0 && !this.#closed;) {
      const end = rest.indexOf(10);
      const part = rest.slice(0, end < 0 ? rest.length : end); // a copy: the runtime uses its buffer again
      this.#input.push(part);
      this.#inputBytes += part.length;
      if (this.#inputBytes > (this.#options.maxLineBytes ?? 4 * 2 ** 20)) return this.#cutOff();
      if (end < 0) return;
      rest = rest.subarray(end + 1);
      const line = Buffer.concat(this.#input).toString("utf8");
      this.#input = [];
      this.#inputBytes = 0;
      this.#options.onRequest(line, this);
    }
  }

  flush(): void {
    while (!this.#closed && this.#output.length > 0) {
      const first = this.#output[0] as Uint8Array;
      const written = this.#socket.write(first);
      if (written < 0) return this.#cutOff();
      this.#outputBytes -= written;
      if (written < first.length) {
        this.#output[0] = first.subarray(written);
        return; // `drain` goes on
      }
      this.#output.shift();
    }
    if (this.#ending && !this.#closed) this.#socket.end();
  }

  /** closing gives back all that belongs to the connection. */
  closing(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#output = [];
    this.#input = [];
    for (const descriptor of this.#descriptors.splice(0)) descriptor.close();
    for (const work of this.#onClose.splice(0)) work();
  }

  #cutOff(): void {
    this.#socket.terminate();
    this.closing();
  }

  /** What a client or the kernel does wrong ends this connection, and nothing else. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#cutOff();
      const weather = error instanceof SystemError || error instanceof DescriptorError;
      if (!weather && !isErrno(error, "ECONNRESET", "EPIPE", "ENOTCONN", "EBADF")) throw error;
    }
  }
}

/** LineServer listens on a unix socket until it is closed. */
export class LineServer implements Disposable {
  readonly path: string;
  readonly #listener: Bun.UnixSocketListener<Connection>;
  readonly #connections = new Set<Connection>();
  readonly #inode: number;

  private constructor(path: string, options: LineServerOptions) {
    this.path = path;
    // The file never exists with more permissions than asked for, not even between bind and chmod.
    const umask = process.umask(0o777 & ~(options.mode & 0o700));
    try {
      this.#listener = Bun.listen<Connection>({ unix: path, socket: this.#handlers(options) });
    } finally {
      process.umask(umask);
    }
    const group = options.group === undefined ? undefined : groupId(options.group);
    if (group !== undefined) chownSync(path, -1, group);
    chmodSync(path, options.mode);
    this.#inode = lstatSync(path).ino;
  }

  /**
   * listen makes the socket file and serves. A socket that an ended process left is replaced; one that is answered, or a file that is
   * no socket, is an error.
   */
  static listen(path: string, options: LineServerOptions): LineServer {
    unixAddress(path);
    removeStale(path);
    return new LineServer(path, options);
  }

  /** connections is how many clients are connected now. */
  get connections(): number {
    return this.#connections.size;
  }

  #handlers(options: LineServerOptions): Bun.SocketHandler<Connection> {
    const connections = this.#connections;
    return {
      open(socket) {
        if (connections.size >= (options.maxConnections ?? 1024)) return void socket.terminate();
        let connection: Connection;
        try {
          connection = new Connection(socket as RuntimeSocket, options);
        } catch {
          return void socket.terminate(); // gone already
        }
        socket.data = connection;
        connections.add(connection);
        if (options.descriptors === true) connection.start();
      },
      data: (socket, chunk) => socket.data?.receive(chunk),
      drain: (socket) => socket.data?.flush(),
      close(socket) {
        if (socket.data === undefined) return;
        connections.delete(socket.data);
        socket.data.closing();
      },
    };
  }

  /** close stops listening, cuts off all clients and removes the socket file if it is still ours. */
  close(): void {
    this.#listener.stop(true);
    try {
      if (lstatSync(this.path).ino === this.#inode) unlinkSync(this.path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function removeStale(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`Cannot listen on ${path}: it is not a socket; remove it`);
  try {
    connectUnix(path).close();
  } catch (error) {
    if (!isErrno(error, "ECONNREFUSED")) throw error;
    unlinkSync(path);
    return;
  }
  throw new Error(`Cannot listen on ${path}: another process answers there; stop it first`);
}

/** groupId looks a group up in /etc/group, which small images lack; undefined when there is none of that name. */
function groupId(name: string): number | undefined {
  const line = readText("/etc/group")
    ?.split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  const id = line?.split(":")[2];
  return id === undefined ? undefined : Number(id);
}
