/** The program's side of other-traffic.ts: a socket for datagrams that leave from, and come to, the port of a link's tunnel. */
import type { Endpoint } from "../../net/mod.ts";
import { connectUnix, type Fd, libc, sendAll, stable, tryReceive } from "../../sys/mod.ts";
import { ATTACHED, encodeOther, MAGIC, MOST_OTHER, OtherReader, OTHERS } from "./other-traffic.ts";
import { endpointOf, type Place, placeOf } from "./place.ts";

const PATIENCE_MS = 5_000;

/** Heard is a datagram without its magic; `place` leads back to who sent it, from the address that it came to. */
export interface Heard {
  readonly from: Endpoint;
  readonly place: Place;
  /** Of a long one only the beginning. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How long it was when it came, with its magic. */
  readonly datagramBytes: number;
}

/** OthersClient owns the connection. */
export class OthersClient implements Disposable {
  /** Readable when a datagram came, and when the data plane ended. */
  readonly socket: Fd;
  readonly #reader = new OtherReader();
  readonly #chunk = stable(64 << 10);

  private constructor(socket: Fd) {
    this.socket = socket;
  }

  /** open asks the data plane that listens at `path`; ENOENT or ECONNREFUSED if none does. */
  static open(path: string): OthersClient {
    const socket = connectUnix(path, { timeoutMs: PATIENCE_MS });
    try {
      sendAll(socket, new Uint8Array(Buffer.from(OTHERS)));
      for (let read = 0; read < ATTACHED.length;) {
        const part = stable(ATTACHED.length - read);
        const count = libc.recv(socket.number, part);
        if (
          count <= 0 ||
          Buffer.from(part.subarray(0, count)).toString() !== ATTACHED.slice(read, read + count)
        )
          throw new Error(`Cannot share the port of ${path}: it is not served by a data plane of ours`);
        read += count;
      }
      return new OthersClient(socket);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** send sends up to MOST_OTHER - 4 bytes: to an endpoint, or back to where a datagram came from. */
  send(to: Endpoint | Place, bytes: Uint8Array): void {
    if (bytes.length + MAGIC.length > MOST_OTHER)
      throw new RangeError(`Cannot send ${bytes.length} bytes: ${MOST_OTHER - MAGIC.length} are the most`);
    const datagram = stable(MAGIC.length + bytes.length);
    datagram.set(MAGIC);
    datagram.set(bytes, MAGIC.length);
    const place = "ip" in to ? placeOf(to) : to;
    sendAll(this.socket, encodeOther({ place, datagram, datagramBytes: datagram.length }));
  }

  /** receive waits up to `timeoutMs` and returns what came; undefined when the data plane ended. */
  receive(timeoutMs: number): Heard[] | undefined {
    if (!libc.pollReadable(this.socket.number, timeoutMs)) return [];
    const count = tryReceive(this.socket.number, this.#chunk);
    if (count === undefined) return [];
    if (count === 0) return undefined;
    return this.#reader.read(this.#chunk.subarray(0, count)).map(({ place, datagram, datagramBytes }) => ({
      from: endpointOf(place),
      place,
      bytes: datagram.slice(MAGIC.length),
      datagramBytes,
    }));
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}
