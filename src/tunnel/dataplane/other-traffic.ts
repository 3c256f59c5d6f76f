/**
 * Datagrams of ours that share WireGuard's port: probes, and whatever else two nodes have to say outside of a session. They begin with MAGIC, which
 * is no type of WireGuard's; the packet path never sees them (steering.ts).
 *
 * One program at a time has them, by a connection to the UAPI socket on which it asked for them (`others=2`). The answer is `errno=0` and an
 * empty line; from then on the connection carries messages, both ways:
 *
 * ```
 *   0  length of the datagram (uint32) │ 4  place (ENDPOINT_BYTES) │ 84  datagram, with MAGIC
 * ```
 * Of a datagram longer than MOST_OTHER, as probes of the MTU are, the program gets the first PROBE_HEAD_BYTES, and the length; it sends no such.
 * What is not authentic is the program's affair. Nothing is kept: what the connection or the network takes no more is dropped, and counted, and so is
 * what is too much (probe-admission.ts).
 */
import {
  type Fd,
  monotonicMs,
  randomBytes,
  SOCKET_ADDRESS,
  stable,
  tryReceive,
  trySend,
} from "../../sys/mod.ts";
import { ENDPOINT, ENDPOINT_BYTES } from "../path/mod.ts";
import { keptBytes, ProbeAdmission, PROBE_WHOLE_BYTES } from "../probe-admission.ts";
import { familyOf, type Place } from "./place.ts";
import type { Watched } from "./poller.ts";

/** OTHERS is the request for them. */
export const OTHERS = "others=2\n\n";
/** ATTACHED is the answer. */
export const ATTACHED = "errno=0\n\n";
/** MAGIC begins each of them: "CWAY". */
export const MAGIC: Uint8Array<ArrayBuffer> = Uint8Array.of(0x43, 0x57, 0x41, 0x59);
/** MOST_OTHER is the longest datagram that goes through the connection whole. */
export const MOST_OTHER = PROBE_WHOLE_BYTES;

const HEADER = 4 + ENDPOINT_BYTES;
/** What a length can be. */
const MOST_DATAGRAM = 65_535;
/** Messages of one turn: so long handshakes wait. */
const MOST_AT_ONCE = 64;

/** isOther tells whether a datagram is one of these. */
export function isOther(datagram: Uint8Array): boolean {
  return MAGIC.every((byte, i) => datagram[i] === byte);
}

/** Other is one of them. */
export interface Other {
  readonly place: Place;
  /** The datagram, or what is kept of it. */
  readonly datagram: Uint8Array<ArrayBuffer>;
  /** Its length as it came. */
  readonly datagramBytes: number;
}

/** encodeOther returns the message of a datagram. */
export function encodeOther({ place, datagram, datagramBytes }: Other): Uint8Array<ArrayBuffer> {
  const kept = keptBytes(datagramBytes);
  const message = stable(HEADER + kept);
  new DataView(message.buffer).setUint32(0, datagramBytes, true);
  message.set(place, 4);
  message.set(datagram.subarray(0, kept), HEADER);
  return message;
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
      if (length > MOST_DATAGRAM)
        throw new RangeError(`A datagram of ${length} bytes; the most is ${MOST_DATAGRAM}`);
      const end = at + HEADER + keptBytes(length);
      if (end > all.length) break;
      const [place, datagram] = [all.slice(at + 4, at + HEADER), all.slice(at + HEADER, end)];
      others.push({ place, datagramBytes: length, datagram });
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
  readonly admission = new ProbeAdmission(new DataView(randomBytes(4).buffer).getInt32(0));
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
  deliver(other: Other): void {
    const { place, datagramBytes } = other;
    const family = familyOf(place);
    const at = ENDPOINT.address + (family === 4 ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6);
    if (!this.admission.admits(place, at, { family, datagramBytes, nowMs: monotonicMs() })) return;
    if (this.#connection === undefined || !this.#flush()) {
      this.dropped++;
      return;
    }
    this.#rest = encodeOther(other);
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
        for (const { place, datagram, datagramBytes } of this.#reader.read(this.#chunk.subarray(0, count)))
          if (isOther(datagram) && datagram.length === datagramBytes) this.#send(place, datagram);
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
