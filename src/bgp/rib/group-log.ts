/**
 * GroupLog: the messages of one update group, encoded once and read by each of its peers at their own position. Bytes lie in chunks
 * of 64 KiB; a message never lies across two, so what a peer is given always ends with a whole message. Chunks that all have read are used again.
 *
 * A message may be meant for all but one peer (the one the routes came from) or for one only (what it must no longer believe); such
 * conditions stand beside the bytes as ranges, so that a peer that skips nothing gets whole chunks.
 */

/** CHUNK_BYTES is the size of a chunk: the longest message of RFC 8654 fits. */
export const CHUNK_BYTES = 65_536;

/** ALL is the condition of a message for every peer of the group. */
export const ALL = 0;
const ONLY = 0x10000;
/** A chunk that no log reaches. */
const NEVER = 0x7fffffff;

/** allBut is the condition of a message that one peer does not get. */
export function allBut(peer: number): number {
  return peer;
}

/** only is the condition of a message for one peer. */
export function only(peer: number): number {
  return ONLY | peer;
}

/** isFor tells whether a message with a condition is for a peer. */
export function isFor(condition: number, peer: number): boolean {
  return condition < ONLY ? condition !== peer : (condition ^ ONLY) === peer;
}

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the next message goes. */
  end: number;
  /** Where each range begins, and for whom it is. */
  readonly starts: number[];
  readonly conditions: number[];
  /** Logs that hold it: a peer that leaves takes what it has not read along. */
  logs: number;
}

/** ChunkPool keeps chunks for the next log that needs one. */
export class ChunkPool {
  /** Bytes in chunks that logs hold. */
  heldBytes = 0;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];
  readonly #most: number;

  constructor(options: { readonly most?: number } = {}) {
    this.#most = options.most ?? 64;
  }

  /** take returns a chunk's memory, with whatever is in it. */
  take(): Uint8Array<ArrayBuffer> {
    this.heldBytes += CHUNK_BYTES;
    return this.#free.pop() ?? new Uint8Array(new ArrayBuffer(CHUNK_BYTES));
  }

  /** give takes it back. */
  give(bytes: Uint8Array<ArrayBuffer>): void {
    this.heldBytes -= CHUNK_BYTES;
    if (this.#free.length < this.#most) this.#free.push(bytes);
  }
}

/** Reader is a place in a log, which holds the chunks from there on, and where its reading ends: nowhere, until it leaves the group. */
export interface Reader {
  chunk: number;
  offset: number;
  lastChunk: number;
  lastOffset: number;
}

/** GroupLog owns the chunks from the slowest reader's on. */
export class GroupLog {
  readonly #pool: ChunkPool;
  readonly #chunks: Chunk[] = [];
  /** Readers that stand in each chunk. */
  readonly #readers: number[] = [];
  /** Number of the first chunk in `#chunks`, counted from the log's beginning. */
  #first = 0;
  #held = 0;
  /** Readers that came before the first chunk. */
  #early = 0;
  /** Only to be read to its end, by one reader. */
  #isRest = false;

  constructor(pool: ChunkPool) {
    this.#pool = pool;
  }

  /** How many bytes the log holds, those already read by some included. */
  get heldBytes(): number {
    return this.#held;
  }

  /** room returns memory for a message of up to `bytes`; `roomAt` is where in it, and `commit` makes it part of the log. */
  room(bytes: number): Uint8Array<ArrayBuffer> {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.end + bytes <= CHUNK_BYTES) return last.bytes;
    const chunk: Chunk = { bytes: this.#pool.take(), end: 0, starts: [], conditions: [], logs: 1 };
    this.#chunks.push(chunk);
    this.#readers.push(this.#early);
    this.#early = 0;
    return chunk.bytes;
  }

  /** roomAt is where in the memory of `room` the message begins. */
  roomAt(): number {
    return this.#chunks.at(-1)?.end ?? 0;
  }

  /** commit ends the message that was written into `room`, and says for whom it is. */
  commit(bytes: number, condition: number): void {
    const chunk = this.#chunks.at(-1) as Chunk;
    if (chunk.conditions.at(-1) !== condition) {
      chunk.starts.push(chunk.end);
      chunk.conditions.push(condition);
    }
    chunk.end += bytes;
    this.#held += bytes;
  }

  /** tail is a reader at the end: it gets what comes from now on. */
  tail(): Reader {
    const last = this.#chunks.at(-1);
    if (last === undefined) {
      this.#early++;
      return { chunk: 0, offset: 0, lastChunk: NEVER, lastOffset: 0 };
    }
    const chunk = this.#first + this.#chunks.length - 1;
    this.#stand(chunk, 1);
    return { chunk, offset: last.end, lastChunk: NEVER, lastOffset: 0 };
  }

  /** rest takes a reader out, with a log of its own that ends where this one ends now: its peer goes on in another group. */
  rest(reader: Reader): GroupLog {
    const rest = new GroupLog(this.#pool);
    rest.#isRest = true;
    rest.#first = reader.chunk;
    const from = reader.chunk - this.#first;
    for (let i = from; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i] as Chunk;
      chunk.logs++;
      rest.#chunks.push(chunk);
      rest.#readers.push(i === from ? 1 : 0);
    }
    // A reader of a rest that leaves again ends where it did.
    if (reader.lastChunk === NEVER) {
      reader.lastChunk = this.#first + Math.max(0, this.#chunks.length - 1);
      reader.lastOffset = this.#chunks.at(-1)?.end ?? 0;
    }
    this.leave(reader);
    return rest;
  }

  /**
   * peek returns the next bytes for a peer, up to the end of its chunk or to what is not for it; undefined when it has read all. Bytes that
   * are not for it are passed over.
   */
  peek(reader: Reader, peer: number): Uint8Array<ArrayBuffer> | undefined {
    for (;;) {
      const chunk = this.#chunks[reader.chunk - this.#first];
      if (chunk === undefined) return undefined;
      const limit = this.#limit(reader, chunk);
      let range = rangeAt(chunk, reader.offset);
      while (reader.offset < limit && !isFor(chunk.conditions[range] as number, peer)) {
        range++;
        reader.offset = Math.min(limit, chunk.starts[range] ?? limit);
      }
      if (reader.offset < limit) {
        let end = range;
        while (end < chunk.starts.length && isFor(chunk.conditions[end] as number, peer)) end++;
        return chunk.bytes.subarray(reader.offset, Math.min(limit, chunk.starts[end] ?? limit));
      }
      if (!this.#step(reader)) return undefined;
    }
  }

  /** advance tells that a reader has used some of what `peek` gave. */
  advance(reader: Reader, bytes: number): void {
    reader.offset += bytes;
    const chunk = this.#chunks[reader.chunk - this.#first] as Chunk;
    if (reader.offset >= chunk.end) this.#step(reader);
  }

  /** isAtEnd tells whether a reader has read all, what is not for its peer included. */
  isAtEnd(reader: Reader): boolean {
    return this.lag(reader) === 0;
  }

  /** lag is how many bytes a reader has before it, at most. */
  lag(reader: Reader): number {
    let bytes = -reader.offset;
    for (let i = reader.chunk; i < this.#first + this.#chunks.length && i <= reader.lastChunk; i++)
      bytes += this.#limit(reader, this.#chunks[i - this.#first] as Chunk, i);
    return Math.max(0, bytes);
  }

  /** messageRest is how many bytes are missing until the message in which a reader stands ends: 0 between two messages. */
  messageRest(reader: Reader): number {
    const chunk = this.#chunks[reader.chunk - this.#first];
    if (chunk === undefined || reader.offset >= chunk.end) return 0;
    let at = chunk.starts[rangeAt(chunk, reader.offset)] ?? 0;
    while (at < reader.offset)
      at += ((chunk.bytes[at + 16] as number) << 8) | (chunk.bytes[at + 17] as number);
    return at - reader.offset;
  }

  /** leave ends a reader. */
  leave(reader: Reader): void {
    if (this.#isRest) this[Symbol.dispose]();
    else if (this.#chunks.length === 0) this.#early--;
    else {
      this.#stand(reader.chunk, -1);
      this.#trim();
    }
  }

  /** dispose gives all chunks up. */
  [Symbol.dispose](): void {
    while (this.#chunks.length > 0) this.#shift();
  }

  #stand(chunk: number, step: 1 | -1): void {
    const index = chunk - this.#first;
    this.#readers[index] = (this.#readers[index] as number) + step;
  }

  /** Where reading ends in a chunk. */
  #limit(reader: Reader, chunk: Chunk, index = reader.chunk): number {
    return index === reader.lastChunk ? reader.lastOffset : chunk.end;
  }

  #step(reader: Reader): boolean {
    if (reader.chunk >= reader.lastChunk || reader.chunk - this.#first + 1 >= this.#chunks.length)
      return false;
    this.#stand(reader.chunk, -1);
    reader.chunk++;
    reader.offset = 0;
    this.#stand(reader.chunk, 1);
    this.#trim();
    return true;
  }

  #trim(): void {
    while (this.#chunks.length > 1 && this.#readers[0] === 0) this.#shift();
  }

  #shift(): void {
    const chunk = this.#chunks.shift() as Chunk;
    this.#readers.shift();
    this.#first++;
    this.#held -= chunk.end;
    if (--chunk.logs === 0) this.#pool.give(chunk.bytes);
  }
}

/** The range in which an offset lies. */
function rangeAt(chunk: Chunk, offset: number): number {
  let low = 0;
  let high = chunk.starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((chunk.starts[middle] as number) <= offset) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}
