/** Interned: short byte strings that many paths have in common (labels and gateways of EVPN), kept once and counted. */
import { ByteTable } from "./byte-table.ts";
import { wider } from "./column.ts";

/** Interned owns the table. Number 0 is the empty string. */
export class Interned {
  readonly #table = new ByteTable({ segmentBits: 4 });
  #references = new Uint32Array(64);

  /** How many strings there are. */
  get size(): number {
    return this.#table.size;
  }

  /** intern returns the number of these bytes, without a reference: `hold` it, or `sweep` it. -1 when the table is full. */
  intern(bytes: Uint8Array, at: number, length: number): number {
    if (length === 0) return 0;
    const id = this.#table.add(bytes, at, length);
    if (id === 0) return -1;
    if (this.#table.capacity > this.#references.length)
      this.#references = wider(this.#references, this.#table.capacity);
    return id;
  }

  /** hold counts a reference. */
  hold(id: number): void {
    if (id !== 0) this.#references[id] = (this.#references[id] as number) + 1;
  }

  /** release gives a reference up; the last one takes the bytes with it. */
  release(id: number): void {
    if (id === 0) return;
    const references = (this.#references[id] as number) - 1;
    this.#references[id] = references;
    if (references === 0) this.#table.remove(id);
  }

  /** sweep drops a string that was interned and that nobody held. */
  sweep(id: number): void {
    if (id > 0 && this.#references[id] === 0) this.#table.remove(id);
  }

  /** memoryOf returns the memory in which a string lies, at `offsetIn(id)`. */
  memoryOf(id: number): Uint8Array<ArrayBuffer> {
    return id === 0 ? NOTHING : this.#table.memoryOf(id);
  }

  /** offsetIn is where in its memory a string begins. */
  offsetIn(id: number): number {
    return id === 0 ? 0 : this.#table.offsetIn(id);
  }

  /** lengthOf is how many bytes a string has. */
  lengthOf(id: number): number {
    return id === 0 ? 0 : this.#table.lengthOf(id);
  }

  /** copyOf returns a string's bytes as a copy. */
  copyOf(id: number): Uint8Array<ArrayBuffer> {
    return id === 0 ? new Uint8Array(0) : this.#table.copyOf(id);
  }
}

const NOTHING = new Uint8Array(0);
