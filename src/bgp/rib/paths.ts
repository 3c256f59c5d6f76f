/**
 * Paths: each route of each peer, as columns. A path is a slot; the paths of a destination are a chain with the best one first. Nothing
 * is allocated for a path but 32 bytes in columns.
 */
import { wider, widened } from "./column.ts";

/** PATH_FLAG are the bits of a path's flags. */
export const PATH_FLAG = {
  /** The path was selected: it stands first in the chain. */
  best: 1,
  /** Equal to the best one as far as multipath goes (the best one has it too). */
  multipath: 2,
  /** Changed since the destination was decided last. */
  changed: 4,
  /** Withdrawn, and kept only until add-path groups have said so to their peers. */
  gone: 8,
  /** A route kept for long after its session ended (RFC 9494). */
  longLived: 16,
} as const;

/** MOST_PATHS bounds the slots of one table; a slot number is also the path identifier that is sent (RFC 7911). */
export const MOST_PATHS = 0x7ffffffe;

/** Paths owns the columns. Slot 0 means none. */
export class Paths {
  capacity = 64;
  /** Slots in use. */
  size = 0;
  /** One more than the largest slot ever used. */
  end = 1;
  next = new Uint32Array(64);
  /** The destination; 0 for a slot that is free. */
  destination = new Uint32Array(64);
  peer = new Uint16Array(64);
  /** Attributes as they were received. */
  received = new Uint32Array(64);
  /** Attributes after the import policy; 0 when the path may not be used. */
  accepted = new Uint32Array(64);
  extra = new Uint32Array(64);
  pathId = new Uint32Array(64);
  flags = new Uint8Array(64);
  /** The peer's epoch when it said the path last: another one than the peer's present epoch means stale. */
  epoch = new Uint8Array(64);
  sinceSeconds = new Uint32Array(64);
  #free = 0;

  /** take returns a free slot, its columns zero but for the destination. */
  take(destination: number): number {
    let slot = this.#free;
    if (slot !== 0) this.#free = this.next[slot] as number;
    else {
      slot = this.end++;
      if (slot >= this.capacity) this.#grow(slot);
    }
    this.destination[slot] = destination;
    this.next[slot] = 0;
    this.flags[slot] = 0;
    this.size++;
    return slot;
  }

  /** give makes a slot free. Whoever gives it has given up what the columns refer to. */
  give(slot: number): void {
    this.destination[slot] = 0;
    this.accepted[slot] = 0;
    this.received[slot] = 0;
    this.extra[slot] = 0;
    this.pathId[slot] = 0;
    this.flags[slot] = 0;
    this.next[slot] = this.#free;
    this.#free = slot;
    this.size--;
  }

  #grow(wanted: number): void {
    const capacity = widened(this.capacity, wanted);
    this.next = wider(this.next, capacity);
    this.destination = wider(this.destination, capacity);
    this.peer = wider(this.peer, capacity);
    this.received = wider(this.received, capacity);
    this.accepted = wider(this.accepted, capacity);
    this.extra = wider(this.extra, capacity);
    this.pathId = wider(this.pathId, capacity);
    this.flags = wider(this.flags, capacity);
    this.epoch = wider(this.epoch, capacity);
    this.sinceSeconds = wider(this.sinceSeconds, capacity);
    this.capacity = capacity;
  }
}
