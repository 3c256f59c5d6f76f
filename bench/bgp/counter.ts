/** Counts the routes in a stream of BGP messages, and calls with the numbers of EVPN routes that load.ts has put into their MACs. */

const HEADER = 19;
const UPDATE = 2;
const NOTIFICATION = 3;

/** Counter is fed one session's bytes. */
export class Counter {
  announced = 0;
  withdrawn = 0;
  /** What ended the session: code and subcode. */
  ended: string | undefined;
  #rest: Buffer = Buffer.alloc(0);
  readonly #onRoute: ((number: number) => void) | undefined;

  constructor(onRoute?: (number: number) => void) {
    this.#onRoute = onRoute;
  }

  feed(chunk: Uint8Array): void {
    const bytes =
      this.#rest.length === 0
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
        : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const end = at + bytes.readUInt16BE(at + 16);
      if (end > bytes.length) break;
      if (bytes[at + 18] === UPDATE) this.#update(bytes, at + HEADER, end);
      else if (bytes[at + 18] === NOTIFICATION) this.ended = `${bytes[at + 19]}/${bytes[at + 20]}`;
      at = end;
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  #update(bytes: Buffer, from: number, end: number): void {
    const withdrawnEnd = from + 2 + bytes.readUInt16BE(from);
    for (let at = from + 2; at < withdrawnEnd; at += 1 + (((bytes[at] as number) + 7) >> 3)) this.withdrawn++;
    const attributesEnd = withdrawnEnd + 2 + bytes.readUInt16BE(withdrawnEnd);
    for (let at = withdrawnEnd + 2; at < attributesEnd;) {
      const wide = ((bytes[at] as number) & 0x10) !== 0;
      const value = at + (wide ? 4 : 3);
      const next = value + (wide ? bytes.readUInt16BE(at + 2) : (bytes[at + 2] as number));
      if (bytes[at + 1] === 14) this.#evpn(bytes, value + 5 + (bytes[value + 3] as number), next, true);
      else if (bytes[at + 1] === 15) this.#evpn(bytes, value + 3, next, false);
      at = next;
    }
    for (let at = attributesEnd; at < end; at += 1 + (((bytes[at] as number) + 7) >> 3)) this.announced++;
  }

  #evpn(bytes: Buffer, from: number, end: number, announced: boolean): void {
    for (let at = from; at < end; at += 2 + (bytes[at + 1] as number)) {
      if (!announced) this.withdrawn++;
      else {
        this.announced++;
        // Type, length, RD 8, ESI 10, tag 4, MAC length, two octets of the MAC, and then the number.
        this.#onRoute?.(bytes.readUInt32BE(at + 27));
      }
    }
  }
}
