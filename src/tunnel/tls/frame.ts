/**
 * Datagrams in a stream of bytes.
 *
 * ```
 * node ▶ hub:   | "CWAYTLS1" | session (16) | length (2) | datagram | length (2) | datagram | …
 * hub ▶ node:   | length (2) | datagram | length (2) | datagram | …
 * ```
 * Lengths are big-endian, 1 to 65507, which is the longest datagram of UDP over IPv4.
 */

/** PREAMBLE is what a node says first: that it speaks this, in this version. */
export const PREAMBLE = new TextEncoder().encode("CWAYTLS1");
/** SESSION_BYTES is the length of what names a node's session. */
export const SESSION_BYTES = 16;
/** LENGTH_BYTES stand before a datagram. */
export const LENGTH_BYTES = 2;
/** MOST_DATAGRAM_BYTES is the longest datagram. */
export const MOST_DATAGRAM_BYTES = 65_507;

/** FrameReader cuts a stream into datagrams. It keeps one unfinished datagram at most. */
export class FrameReader {
  readonly #datagram: (bytes: Uint8Array) => void;
  /** What the stream has to begin with; the session is told when it has come. */
  readonly #greeted: ((session: string) => void) | undefined;
  /** An unfinished head or datagram, from its first byte. */
  #part = new Uint8Array(0);
  #partBytes = 0;
  #greeting: boolean;

  constructor(events: {
    /** The memory is the stream's, and is used again after the call. */
    readonly datagram: (bytes: Uint8Array) => void;
    /** For the side that is greeted: the session, as hexadecimal digits. */
    readonly greeted?: (session: string) => void;
  }) {
    this.#datagram = events.datagram;
    this.#greeted = events.greeted;
    this.#greeting = events.greeted !== undefined;
  }

  /** read takes the next bytes of the stream; false when they are none of this protocol, and the stream is worth nothing any more. */
  read(bytes: Uint8Array): boolean {
    let at = 0;
    while (at < bytes.length || this.#partBytes > 0) {
      if (this.#partBytes === 0) {
        const whole = this.#whole(bytes, at);
        if (whole < 0) return false;
        if (whole > 0 && at + whole <= bytes.length) {
          this.#take(bytes, at, whole);
          at += whole;
          continue;
        }
      }
      const taken = this.#collect(bytes, at);
      if (taken < 0) return false;
      at += taken;
      if (at >= bytes.length) return true;
    }
    return true;
  }

  /** The length of what begins at `at`, with its head; 0 if not enough of it is there to say; less if it cannot be. */
  #whole(bytes: Uint8Array, at: number): number {
    if (this.#greeting) {
      const count = Math.min(bytes.length - at, PREAMBLE.length);
      for (let i = 0; i < count; i++) if (bytes[at + i] !== PREAMBLE[i]) return -1;
      return PREAMBLE.length + SESSION_BYTES;
    }
    if (bytes.length - at < LENGTH_BYTES) return 0;
    const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    return length === 0 || length > MOST_DATAGRAM_BYTES ? -1 : LENGTH_BYTES + length;
  }

  #take(bytes: Uint8Array, at: number, whole: number): void {
    const head = this.#greeting ? PREAMBLE.length : LENGTH_BYTES;
    const body = new Uint8Array(bytes.buffer, bytes.byteOffset + at + head, whole - head);
    if (!this.#greeting) return this.#datagram(body);
    this.#greeting = false;
    this.#greeted?.(hex(body));
  }

  /** Adds to the unfinished part, and takes it when it is whole; the number of bytes that were used. */
  #collect(bytes: Uint8Array, at: number): number {
    let used = 0;
    for (;;) {
      const part = this.#part.subarray(0, this.#partBytes);
      const whole = this.#whole(part, 0);
      if (whole < 0) return -1;
      if (whole > 0 && this.#partBytes === whole) {
        // The callback may close the stream; nothing of it is kept then.
        this.#part = new Uint8Array(0);
        this.#partBytes = 0;
        this.#take(part, 0, whole);
        return used;
      }
      const wanted = (whole > 0 ? whole : LENGTH_BYTES) - this.#partBytes;
      const count = Math.min(wanted, bytes.length - at - used);
      if (count === 0) return used;
      this.#grow(whole > 0 ? whole : LENGTH_BYTES);
      this.#part.set(bytes.subarray(at + used, at + used + count), this.#partBytes);
      this.#partBytes += count;
      used += count;
    }
  }

  #grow(bytes: number): void {
    if (this.#part.length >= bytes) return;
    const larger = new Uint8Array(bytes);
    larger.set(this.#part.subarray(0, this.#partBytes));
    this.#part = larger;
  }
}

/** greeting returns what a node says first. */
export function greeting(session: string): Uint8Array {
  const bytes = new Uint8Array(PREAMBLE.length + SESSION_BYTES);
  bytes.set(PREAMBLE);
  for (let i = 0; i < SESSION_BYTES; i++)
    bytes[PREAMBLE.length + i] = Number.parseInt(session.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** FrameWriter writes datagrams to a stream; one that does not fit into its queue is dropped and counted. */
export class FrameWriter {
  written = 0;
  dropped = 0;
  readonly #head = new Uint8Array(LENGTH_BYTES);

  /** write gives one datagram to a stream, whole or not at all. */
  write(
    stream: { write(head: Uint8Array, body: Uint8Array): boolean } | undefined,
    datagram: Uint8Array,
  ): void {
    this.#head[0] = datagram.length >>> 8;
    this.#head[1] = datagram.length & 255;
    const fits = datagram.length > 0 && datagram.length <= MOST_DATAGRAM_BYTES;
    if (fits && stream?.write(this.#head, datagram) === true) this.written++;
    else this.dropped++;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
