/** Which node sends from an address and port: a hash table in one typed array, by the `sockaddr` that a message came with. */
import { type Arena, SOCKET_ADDRESS } from "../../sys/mod.ts";

const AF_INET = 2;
/**
 * An entry: family and port, then the address (one word or four), then the node (0: free). The flow label means nothing, and the scope of a link-local
 * address is no part of a peer's endpoint (wireguard/device-event.ts).
 */
const WORDS = 6;
const NODE = 5;
const FIRST_ENTRIES = 256;

/** PlaceTable knows each node's place, and each place's node. */
export class PlaceTable {
  readonly #seed: number;
  readonly #factor: number;
  /** Words of a node's place, so that it can leave. */
  readonly #places = new Map<number, Int32Array>();
  #entries = new Int32Array(FIRST_ENTRIES * WORDS);
  #mask = FIRST_ENTRIES - 1;

  /** `secret` is eight random bytes. */
  constructor(secret: Uint8Array) {
    const view = new DataView(secret.buffer, secret.byteOffset, secret.length);
    this.#seed = view.getInt32(0);
    this.#factor = view.getInt32(4) | 1;
  }

  get size(): number {
    return this.#places.size;
  }

  /** has tells whether a node is anywhere. */
  has(node: number): boolean {
    return this.#places.has(node);
  }

  /** find returns the node whose `sockaddr` is at an offset of the arena; 0 if it is nobody's. For every message. */
  find({ i32 }: Arena, at: number): number {
    const from = at >>> 2;
    const a = i32[from] as number;
    const four = (a & 0xffff) === AF_INET;
    return four
      ? this.#lookup(a, i32[from + 1] as number, 0, 0, 0)
      : this.#lookup(
          a,
          i32[from + 2] as number,
          i32[from + 3] as number,
          i32[from + 4] as number,
          i32[from + 5] as number,
        );
  }

  #lookup(a: number, b: number, c: number, d: number, e: number): number {
    const entries = this.#entries;
    for (let place = this.#home(a, b, c, d, e); ; place = (place + 1) & this.#mask) {
      const entry = place * WORDS;
      const node = entries[entry + NODE] as number;
      if (node === 0) return 0;
      if (
        entries[entry] === a &&
        entries[entry + 1] === b &&
        entries[entry + 2] === c &&
        entries[entry + 3] === d &&
        entries[entry + 4] === e
      )
        return node;
    }
  }

  /** set puts a node at an address (`sockaddr`), or nowhere. Who was there before is there no more. */
  set(node: number, address: Uint8Array | undefined): void {
    const before = this.#places.get(node);
    if (before !== undefined) this.#delete(before);
    this.#places.delete(node);
    if (address === undefined) return;
    const words = wordsOf(address);
    const [a, b, c, d, e] = words as unknown as [number, number, number, number, number];
    const other = this.#lookup(a, b, c, d, e);
    if (other !== 0) this.set(other, undefined);
    this.#places.set(node, words);
    // At most half full.
    if (this.#places.size * 2 > this.#mask + 1) this.#grow();
    else this.#insert(node, words);
  }

  #insert(node: number, words: Int32Array): void {
    let place = this.#homeOf(words, 0);
    while (this.#entries[place * WORDS + NODE] !== 0) place = (place + 1) & this.#mask;
    this.#entries.set(words, place * WORDS);
    this.#entries[place * WORDS + NODE] = node;
  }

  #grow(): void {
    this.#mask = this.#mask * 2 + 1;
    this.#entries = new Int32Array((this.#mask + 1) * WORDS);
    for (const [node, words] of this.#places) this.#insert(node, words);
  }

  #delete(words: Int32Array): void {
    const entries = this.#entries;
    let hole = this.#homeOf(words, 0);
    while (!words.every((word, i) => entries[hole * WORDS + i] === word)) hole = (hole + 1) & this.#mask;
    // As in circuit-table.ts.
    for (let at = (hole + 1) & this.#mask; entries[at * WORDS + NODE] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#homeOf(entries, at * WORDS);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      entries.copyWithin(hole * WORDS, at * WORDS, (at + 1) * WORDS);
      hole = at;
    }
    entries.fill(0, hole * WORDS, (hole + 1) * WORDS);
  }

  #homeOf(words: Int32Array, at: number): number {
    const word = (i: number) => words[at + i] as number;
    return this.#home(word(0), word(1), word(2), word(3), word(4));
  }

  #home(a: number, b: number, c: number, d: number, e: number): number {
    let hash = Math.imul(a ^ this.#seed, this.#factor) ^ Math.imul(b, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15) ^ c, this.#factor);
    hash = Math.imul(hash ^ (hash >>> 13) ^ d, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 14) ^ e, this.#factor);
    return (hash ^ (hash >>> 16)) & this.#mask;
  }
}

/** The words that entries are compared by. */
function wordsOf(address: Uint8Array): Int32Array {
  const whole = new Uint8Array(SOCKET_ADDRESS.bytes);
  whole.set(address);
  const words = new Int32Array(whole.buffer);
  const four = ((words[0] as number) & 0xffff) === AF_INET;
  const chosen = new Int32Array(NODE);
  chosen[0] = words[0] as number;
  if (four) chosen[1] = words[1] as number;
  else chosen.set(words.subarray(2, 6), 1);
  return chosen;
}
