/**
 * Outbox: what is to be written to one peer, over all families. It copies nothing: `peek` shows bytes of a group's log, `advance` says how
 * many of them the socket took. Families take turns, chunk by chunk, at the ends of messages.
 */
import type { PeerTable, RibPeer, Segment } from "./peer.ts";

/** Outbox reads for one peer. */
export class Outbox {
  readonly #peer: RibPeer;

  constructor(peer: RibPeer) {
    this.#peer = peer;
  }

  /** peek returns the next bytes, whole messages at their end; undefined when there are none. They stay as they are until `advance`. */
  peek(): Uint8Array<ArrayBuffer> | undefined {
    const { tables } = this.#peer;
    for (let turn = 0; turn < tables.length; turn++) {
      const index = (this.#peer.reading + turn) % tables.length;
      const bytes = this.#peekTable(tables[index] as PeerTable);
      if (bytes === undefined) continue;
      this.#peer.reading = index;
      return bytes;
    }
    this.#peer.drained = true;
    return undefined;
  }

  /** advance says that so many of the bytes that `peek` gave have been written. */
  advance(bytes: number): void {
    const peer = this.#peer;
    const { log, reader } = (peer.tables[peer.reading] as PeerTable).segments[0] as Segment;
    log.advance(reader, bytes);
    if (log.messageRest(reader) === 0) peer.reading = (peer.reading + 1) % peer.tables.length;
  }

  /** messageRest is how many bytes are missing to the end of the message that was begun: what must be written before a message from elsewhere. */
  get messageRest(): number {
    const segment = this.#peer.tables[this.#peer.reading]?.segments[0];
    return segment === undefined ? 0 : segment.log.messageRest(segment.reader);
  }

  #peekTable(table: PeerTable): Uint8Array<ArrayBuffer> | undefined {
    for (;;) {
      const segment = table.segments[0];
      if (segment === undefined) return undefined;
      const bytes = segment.log.peek(segment.reader, this.#peer.number);
      if (bytes !== undefined || table.segments.length === 1) return bytes;
      segment.log.leave(segment.reader);
      table.segments.shift();
    }
  }
}
