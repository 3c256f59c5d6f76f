/**
 * Columns: tables of the RIB are typed arrays side by side, one for each field.
 *
 * A long column lies in a WebAssembly.Memory, because that grows where it stands: no copy, no moment with twice the memory, no pause that
 * gets longer with the table. Pages that nobody wrote to take none.
 */

/** Column is a growable row of unsigned numbers. */
export type Column = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

const PAGE_BYTES = 65_536;
/** 256 MiB of addresses for each column: 64 million numbers of four bytes. What is longer is copied to grow. */
const MOST_PAGES = 4096;

/** The memory that a column's buffer shows; a buffer is another one each time that its memory grows. */
const memories = new WeakMap<ArrayBuffer, WebAssembly.Memory>();

/** wider returns the same column with room for at least `capacity` values; the one given must not be used any more. */
export function wider<C extends Column>(column: C, capacity: number): C {
  const bytes = capacity * column.BYTES_PER_ELEMENT;
  const make = column.constructor as new (buffer: ArrayBuffer, at?: number, length?: number) => C;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  const memory = memories.get(column.buffer);
  if (memory !== undefined && pages <= MOST_PAGES) {
    memory.grow(pages - memory.buffer.byteLength / PAGE_BYTES);
    return shown(memory, make, capacity);
  }
  const place = bytes < PAGE_BYTES || pages > MOST_PAGES ? undefined : placeFor(pages);
  if (place === undefined) return new make(column.buffer.transfer(bytes));
  const fresh = shown(place, make, capacity);
  fresh.set(column);
  return fresh;
}

function placeFor(pages: number): WebAssembly.Memory | undefined {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: MOST_PAGES });
  } catch {
    // The process may not have so many addresses (RLIMIT_AS): then columns are copied to grow.
    return undefined;
  }
}

/** widened is the capacity that follows: half as much again, at least one more than `wanted`. */
export function widened(capacity: number, wanted: number): number {
  return Math.max(wanted + 1, capacity + (capacity >>> 1), 64);
}

function shown<C>(
  memory: WebAssembly.Memory,
  make: new (buffer: ArrayBuffer, at?: number, length?: number) => C,
  length: number,
): C {
  const buffer = memory.buffer as ArrayBuffer;
  memories.set(buffer, memory);
  return new make(buffer, 0, length);
}
