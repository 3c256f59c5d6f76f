/**
 * The unix socket on which user-space WireGuard is configured (https://www.wireguard.com/xplatform/). It waits for no client.
 *
 * Who may connect may have the keys: the socket is its owner's alone. A client may send several requests, one after the other.
 */
import { acceptUnix, type Fd, serveUnix, stable, tryReceive, trySend } from "../../sys/mod.ts";
import type { Watched } from "./poller.ts";

/** MOST_CLIENTS are served at a time; more wait in the queue of the socket. */
export const MOST_CLIENTS = 32;
/** A request about as many peers as a device can have is shorter. */
const MOST_REQUEST = 64 << 20;
const CHUNK = 64 << 10;
const LINE_FEED = 10;
/** An empty line ends a request. */
const END = "\n\n";
/** Requests and chunks of one client in one turn: so long everybody else waits. */
const ROUNDS = 16;

/** Client is a connection. */
interface Client {
  readonly socket: Fd;
  /** What has come and is not answered; `whole` if a request is among it. */
  parts: Uint8Array[];
  bytes: number;
  whole: boolean;
  /** What is still to be sent. */
  answer: Uint8Array<ArrayBuffer>;
}

/** Answer is what is sent, or what takes the connection over. */
export type Answer = string | ((connection: Fd) => void);

/** UapiServer owns the listening socket and the connections. */
export class UapiServer implements Disposable {
  readonly socket: Fd;
  readonly #answer: (request: string) => Answer;
  readonly #clients = new Set<Client>();
  readonly #chunk = stable(CHUNK);

  /** `socket` is bound; `answer` takes a whole request, and returns what is to be said. */
  constructor(socket: Fd, answer: (request: string) => Answer) {
    this.socket = socket;
    this.#answer = answer;
  }

  /** serve begins to listen. */
  serve(): void {
    serveUnix(this.socket.number);
  }

  /** watched lists what there is to wait for. */
  watched(): Watched[] {
    const clients = [...this.#clients].map((client) => ({
      fd: client.socket.number,
      wantsRead: () => client.answer.length === 0 && !client.whole,
      wantsWrite: () => client.answer.length > 0 || client.whole,
      ready: () => this.#serve(client),
    }));
    if (clients.length >= MOST_CLIENTS) return clients;
    return [{ fd: this.socket.number, ready: () => this.#accept() }, ...clients];
  }

  #accept(): void {
    const socket = acceptUnix(this.socket.number);
    if (socket === undefined) return;
    const client: Client = { socket, parts: [], bytes: 0, whole: false, answer: stable(0) };
    this.#clients.add(client);
    this.#serve(client);
  }

  #serve(client: Client): void {
    // One request at a time: while its answer waits, no other is answered, and nothing more is read.
    for (let round = 0; round < ROUNDS; round++)
      if (!this.#flush(client) || !(client.whole ? this.#answerNext(client) : this.#read(client))) return;
  }

  /** Sends what waits; false when it still does, or the client is gone. */
  #flush(client: Client): boolean {
    while (client.answer.length > 0) {
      const sent = trySend(client.socket.number, client.answer);
      if (sent === undefined) this.#end(client);
      if (sent === undefined || sent === 0) return false;
      // Configuration of a device holds its keys.
      client.answer.fill(0, 0, sent);
      client.answer = client.answer.subarray(sent);
    }
    return true;
  }

  /** Reads a part of a request, and answers when it is whole; false when there is nothing to read. */
  #read(client: Client): boolean {
    const count = tryReceive(client.socket.number, this.#chunk);
    if (count === undefined) return false;
    if (count === 0 || client.bytes + count > MOST_REQUEST) {
      this.#end(client);
      return false;
    }
    const part = this.#chunk.slice(0, count);
    this.#chunk.fill(0, 0, count);
    // The empty line may lie across two parts.
    const across = part[0] === LINE_FEED && client.parts.at(-1)?.at(-1) === LINE_FEED;
    client.whole = across || Buffer.from(part.buffer).includes(END);
    client.parts.push(part);
    client.bytes += count;
    return true;
  }

  /** Answers the first of the requests that are whole; false if the connection is not ours any more. */
  #answerNext(client: Client): boolean {
    const all =
      client.parts.length === 1
        ? Buffer.from(client.parts[0]?.buffer as ArrayBuffer)
        : Buffer.concat(client.parts);
    if (client.parts.length > 1) for (const part of client.parts) part.fill(0);
    const end = all.indexOf(END) + END.length;
    const answer = this.#answer(all.toString("utf8", 0, end));
    const rest = new Uint8Array(all.subarray(end));
    all.fill(0);
    if (typeof answer !== "string") {
      rest.fill(0);
      this.#clients.delete(client);
      answer(client.socket);
      return false;
    }
    client.parts = rest.length === 0 ? [] : [rest];
    client.bytes = rest.length;
    client.whole = Buffer.from(rest.buffer).includes(END);
    client.answer = new Uint8Array(Buffer.from(answer));
    return true;
  }

  #end(client: Client): void {
    this.#clients.delete(client);
    client.answer.fill(0);
    for (const part of client.parts) part.fill(0);
    client.socket.close();
  }

  [Symbol.dispose](): void {
    for (const client of [...this.#clients]) this.#end(client);
    this.socket.close();
  }
}
