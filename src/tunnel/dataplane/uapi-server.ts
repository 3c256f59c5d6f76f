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

/** Client is a connection. */
interface Client {
  readonly socket: Fd;
  /** What has come of a request. */
  parts: Uint8Array[];
  bytes: number;
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
      wantsWrite: () => client.answer.length > 0,
      ready: () => this.#serve(client),
    }));
    if (clients.length >= MOST_CLIENTS) return clients;
    return [{ fd: this.socket.number, ready: () => this.#accept() }, ...clients];
  }

  #accept(): void {
    const socket = acceptUnix(this.socket.number);
    if (socket === undefined) return;
    const client: Client = { socket, parts: [], bytes: 0, answer: stable(0) };
    this.#clients.add(client);
    this.#serve(client);
  }

  #serve(client: Client): void {
    // One request at a time: while its answer waits, nothing more is read.
    while (this.#flush(client) && this.#read(client));
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
    client.parts.push(this.#chunk.slice(0, count));
    client.bytes += count;
    this.#chunk.fill(0, 0, count);
    return this.#answerAll(client);
  }

  /** Answers the requests that are whole. */
  #answerAll(client: Client): boolean {
    const last = client.parts.at(-1) as Uint8Array;
    // An empty line ends a request; it may lie across two parts.
    if (!last.includes(LINE_FEED)) return true;
    let text = Buffer.concat(client.parts);
    const answers: string[] = [];
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const answer = this.#answer(text.toString("utf8", 0, end + 2));
      if (typeof answer !== "string") {
        this.#clients.delete(client);
        answer(client.socket);
        return false;
      }
      answers.push(answer);
      text = text.subarray(end + 2);
    }
    if (answers.length === 0) return true;
    for (const part of client.parts) part.fill(0);
    client.parts = text.length === 0 ? [] : [new Uint8Array(text)];
    client.bytes = text.length;
    client.answer = new Uint8Array(Buffer.from(answers.join("")));
    return true;
  }

  #end(client: Client): void {
    this.#clients.delete(client);
    client.answer.fill(0);
    client.socket.close();
  }

  [Symbol.dispose](): void {
    for (const client of [...this.#clients]) this.#end(client);
    this.socket.close();
  }
}
