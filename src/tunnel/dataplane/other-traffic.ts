/**
 * Datagrams of ours that share WireGuard's port: probes, and whatever else two nodes have to say outside of a session. They begin with MAGIC, which
 * is no type of WireGuard's; the packet path never sees them (steering.ts).
 *
 * One program at a time has them, by a connection to the UAPI socket on which it asked for them (`others=1`). The answer is `errno=0` and an
 * empty line; from then on the connection carries messages, both ways:
 *
 * ```
 *   0  length of the datagram (uint32) │ 4  place (ENDPOINT_BYTES) │ 84  datagram, with MAGIC
 * ```
 * What is not authentic is the program's affair. Nothing is kept: what the connection or the network takes no more is dropped, and counted.
 */
import { type Fd, stable, tryReceive, trySend } from "../../sys/mod.ts";
import { ENDPOINT_BYTES } from "../path/mod.ts";
import type { Place } from "./place.ts";
import type { Watched } from "./poller.ts";

/** OTHERS is the request for them. */
export const OTHERS = "others=1\n\n";
/** ATTACHED is the answer. */
export const ATTACHED = "errno=0\n\n";
/** MAGIC begins each of them: "CWAY". */
export const MAGIC: Uint8Array<ArrayBuffer> = Uint8Array.of(0x43, 0x57, 0x41, 0x59);
/** MOST_OTHER is the longest datagram: what fits into one packet of IPv6's least MTU. */
export const MOST_OTHER = 1232;

const HEADER = 4 + ENDPOINT_BYTES;
/** Messages of one turn: so long handshakes wait. */
const MOST_AT_ONCE = 64;

/** isOther tells whether a datagram is one of these. */
export function isOther(datagram: Uint8Array): boolean {
  return datagram.length <= MOST_OTHER && MAGIC.every((byte, i) => datagram[i] === byte);
}

/** encodeOther returns the message of a datagram. */
export function encodeOther(place: Uint8Array, datagram: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = stable(HEADER + datagram.length);
  new DataView(message.buffer).setUint32(0, datagram.length, true);
  message.set(place, 4);
  message.set(datagram, HEADER);
  return message;
}

/** Other is one of them. */
export interface Other {
  readonly place: Place;
  readonly datagram: Uint8Array<ArrayBuffer>;
}

/** OtherReader makes messages of what a connection brings. */
export class OtherReader {
  #bytes: Uint8Array<ArrayBuffer> = stable(0);

  /** read takes bytes and returns the messages that are whole; throws for one that cannot be. */
  read(bytes: Uint8Array): Other[] {
    const all = stable(this.#bytes.length + bytes.length);
    all.set(this.#bytes);
    all.set(bytes, this.#bytes.length);
    const view = new DataView(all.buffer);
    const others: Other[] = [];
    let at = 0;
    while (at + HEADER <= all.length) {
      const length = view.getUint32(at, true);
      if (length > MOST_OTHER)
        throw new RangeError(`A datagram of ${length} bytes; the most is ${MOST_OTHER}`);
      const end = at + HEADER + length;
      if (end > all.length) break;
      others.push({ place: all.slice(at + 4, at + HEADER), datagram: all.slice(at + HEADER, end) });
      at = end;
    }
    this.#bytes = all.slice(at);
    return others;
  }
}

/** OtherTraffic is the connection of the program that has them. */
export class OtherTraffic {
  /** Datagrams that the program did not take in time, and those that nobody asked for. */
  dropped = 0;
  readonly #send: (place: Place, datagram: Uint8Array) => void;
  readonly #chunk = stable(64 << 10);
  #connection: Fd | undefined;
  #reader = new OtherReader();
  /** The rest of a message of which a part is sent. */
  #rest: Uint8Array<ArrayBuffer> = stable(0);

  constructor(send: (place: Place, datagram: Uint8Array) => void) {
    this.#send = send;
  }

  /** attach gives them to a connection; who had them before is told by its end. */
  attach(connection: Fd): void {
    this.#end();
    this.#connection = connection;
    this.#reader = new OtherReader();
    this.#rest = new Uint8Array(Buffer.from(ATTACHED));
    this.#flush();
  }

  /** deliver hands one to the program. */
  deliver(place: Place, datagram: Uint8Array): void {
    if (this.#connection === undefined || !this.#flush()) {
      this.dropped++;
      return;
    }
    this.#rest = encodeOther(place, datagram);
    this.#flush();
  }

  /** watched lists the connection. */
  watched(): Watched[] {
    const connection = this.#connection;
    if (connection === undefined) return [];
    return [
      {
        fd: connection.number,
        wantsWrite: () => this.#rest.length > 0,
        ready: () => this.#serve(connection),
      },
    ];
  }

  #serve(connection: Fd): void {
    this.#flush();
    for (let i = 0; i < MOST_AT_ONCE && this.#connection === connection; i++) {
      const count = tryReceive(connection.number, this.#chunk);
      if (count === undefined) return;
      if (count === 0) {
        this.#end();
        return;
      }
      try {
        for (const { place, datagram } of this.#reader.read(this.#chunk.subarray(0, count)))
          if (isOther(datagram)) this.#send(place, datagram);
      } catch {
        // A program that does not keep to the form has nothing to say.
        this.#end();
      }
    }
  }

  /** Sends the rest of a message; false while it has one. */
  #flush(): boolean {
    const connection = this.#connection;
    if (connection === undefined || this.#rest.length === 0) return true;
    const sent = trySend(connection.number, this.#rest);
    if (sent === undefined) this.#end();
    else this.#rest = this.#rest.subarray(sent);
    return this.#rest.length === 0;
  }

  #end(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#rest = stable(0);
  }
}
