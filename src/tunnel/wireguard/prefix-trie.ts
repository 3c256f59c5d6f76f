/**
 * A trie of prefixes, in typed arrays: a search touches at most one node for each bit and allocates nothing.
 *
 * Each node has a prefix; its children's prefixes begin with it and differ in the next bit. Nodes without a value are forks, and
 * have both children (a trie without chains, as drivers/net/wireguard/allowedips.c):
 *
 * ```
 *                10.0.0.0/8 → 1
 *               /
 *        10.1.0.0/22 (fork)
 *        /             \
 *  10.1.0.0/24 → 2   10.1.2.0/23 → 3
 * ```
 */

/** There is no node 0. */
const NONE = 0;
const NO_VALUE = -1;

/** Bits are a prefix as it lies in memory: an address of which the first `length` bits count. */
export interface Bits {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** PrefixTrie maps prefixes of one length of address to integers from 0. */
export class PrefixTrie {
  readonly #words: number;
  readonly #most: number;
  /** Prefixes, as 32-bit words. */
  #bits: Uint32Array;
  #lengths: Uint8Array;
  #children: Int32Array;
  #values: Int32Array;
  /** Nodes that are not used, and the first number that never was. */
  readonly #free: number[] = [];
  /** How many prefixes have each value. */
  readonly #uses = new Map<number, number>();
  #unused = 1;
  #root = NONE;
  /** The address of the call that runs. */
  readonly #key: Uint32Array;

  constructor(addressBytes: 4 | 16, mostNodes: number) {
    this.#words = addressBytes / 4;
    this.#most = mostNodes;
    this.#key = new Uint32Array(this.#words);
    this.#bits = new Uint32Array(64 * this.#words);
    this.#lengths = new Uint8Array(64);
    this.#children = new Int32Array(128);
    this.#values = new Int32Array(64);
  }

  /** Nodes in use. */
  get size(): number {
    return this.#unused - 1 - this.#free.length;
  }

  /** find returns the value of the longest prefix that holds the address in `bytes` at `at`, which must be there. */
  find(bytes: Uint8Array, at: number): number | undefined {
    this.#read(bytes, at);
    const all = this.#words * 32;
    let found = NO_VALUE;
    let node = this.#root;
    while (node !== NONE && this.#matches(node)) {
      const value = this.#values[node] as number;
      if (value !== NO_VALUE) found = value;
      const length = this.#lengths[node] as number;
      if (length === all) break;
      node = this.#children[2 * node + this.#keyBit(length)] as number;
    }
    return found === NO_VALUE ? undefined : found;
  }

  /** get returns the value of exactly this prefix. */
  get({ bytes, length }: Bits): number | undefined {
    this.#read(bytes, 0);
    let node = this.#root;
    while (node !== NONE && (this.#lengths[node] as number) < length && this.#matches(node))
      node = this.#children[2 * node + this.#keyBit(this.#lengths[node] as number)] as number;
    if (node === NONE || this.#lengths[node] !== length || !this.#matches(node)) return undefined;
    const value = this.#values[node] as number;
    return value === NO_VALUE ? undefined : value;
  }

  /** insert sets the value of a prefix; false, with nothing changed, when the trie is full. */
  insert({ bytes, length }: Bits, value: number): boolean {
    if (this.size + 2 > this.#most) return false;
    this.#read(bytes, 0);
    let link = -1;
    let node = this.#root;
    while (node !== NONE && (this.#lengths[node] as number) <= length && this.#matches(node)) {
      if (this.#lengths[node] === length) {
        this.#count(this.#values[node] as number, -1);
        this.#count(value, 1);
        this.#values[node] = value;
        return true;
      }
      link = 2 * node + this.#keyBit(this.#lengths[node] as number);
      node = this.#children[link] as number;
    }
    const leaf = this.#make(length, value);
    this.#count(value, 1);
    if (node === NONE) {
      this.#setLink(link, leaf);
      return true;
    }
    const common = Math.min(length, this.#commonBits(node));
    if (common === length) {
      this.#children[2 * leaf + this.#bit(node, length)] = node;
      this.#setLink(link, leaf);
      return true;
    }
    const fork = this.#make(common, NO_VALUE);
    this.#children[2 * fork + this.#keyBit(common)] = leaf;
    this.#children[2 * fork + this.#bit(node, common)] = node;
    this.#setLink(link, fork);
    return true;
  }

  /** remove takes out a prefix that has this value; false if it does not. */
  remove({ bytes, length }: Bits, value: number): boolean {
    this.#read(bytes, 0);
    // The links that lead to the node, from the root: -1, then places in #children.
    const links = [-1];
    let node = this.#root;
    while (node !== NONE && (this.#lengths[node] as number) < length && this.#matches(node)) {
      links.push(2 * node + this.#keyBit(this.#lengths[node] as number));
      node = this.#children[links.at(-1) as number] as number;
    }
    if (node === NONE || this.#lengths[node] !== length || !this.#matches(node)) return false;
    if (this.#values[node] !== value) return false;
    this.#values[node] = NO_VALUE;
    this.#count(value, -1);
    // A node without value and without two children goes; that can leave its parent so.
    for (let link = links.pop(); link !== undefined; link = links.pop()) if (!this.#shorten(link)) break;
    return true;
  }

  /** uses returns how many prefixes have a value. */
  uses(value: number): number {
    return this.#uses.get(value) ?? 0;
  }

  #count(value: number, change: 1 | -1): void {
    if (value === NO_VALUE) return;
    const uses = this.uses(value) + change;
    if (uses === 0) this.#uses.delete(value);
    else this.#uses.set(value, uses);
  }

  /** each visits all prefixes that have a value, or only those with a certain one, ordered by address. The bytes are valid during the visit only. */
  each(visit: (prefix: Bits, value: number) => void, only?: number): void {
    const bytes = new Uint8Array(this.#words * 4);
    const view = new DataView(bytes.buffer);
    const waiting = [this.#root];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (node === NONE) continue;
      waiting.push(this.#children[2 * node + 1] as number, this.#children[2 * node] as number);
      const value = this.#values[node] as number;
      if (value === NO_VALUE || (only !== undefined && value !== only)) continue;
      for (let i = 0; i < this.#words; i++)
        view.setUint32(4 * i, this.#bits[node * this.#words + i] as number);
      visit({ bytes, length: this.#lengths[node] as number }, value);
    }
  }

  #read(bytes: Uint8Array, at: number): void {
    for (let i = 0; i < this.#words; i++) {
      const o = at + 4 * i;
      this.#key[i] =
        ((bytes[o] as number) << 24) |
        ((bytes[o + 1] as number) << 16) |
        ((bytes[o + 2] as number) << 8) |
        (bytes[o + 3] as number);
    }
  }

  #keyBit(position: number): number {
    return ((this.#key[position >> 5] as number) >>> (31 - (position & 31))) & 1;
  }

  #bit(node: number, position: number): number {
    return ((this.#bits[node * this.#words + (position >> 5)] as number) >>> (31 - (position & 31))) & 1;
  }

  /** Whether the key begins with the node's prefix. */
  #matches(node: number): boolean {
    return this.#commonBits(node) === (this.#lengths[node] as number);
  }

  /** How many bits the key and the node's prefix share; the prefix's length at most. */
  #commonBits(node: number): number {
    const length = this.#lengths[node] as number;
    for (let i = 0; i * 32 < length; i++) {
      const different = (this.#bits[node * this.#words + i] as number) ^ (this.#key[i] as number);
      if (different !== 0) return Math.min(length, i * 32 + Math.clz32(different));
    }
    return length;
  }

  #setLink(link: number, node: number): void {
    if (link < 0) this.#root = node;
    else this.#children[link] = node;
  }

  /** Takes out the node at a link if it is not needed, and its only child takes its place; false if it stays. */
  #shorten(link: number): boolean {
    const node = link < 0 ? this.#root : (this.#children[link] as number);
    const [left, right] = [this.#children[2 * node] as number, this.#children[2 * node + 1] as number];
    if (this.#values[node] !== NO_VALUE || (left !== NONE && right !== NONE)) return false;
    this.#setLink(link, left === NONE ? right : left);
    this.#free.push(node);
    return true;
  }

  /** A new node with the key's first bits as prefix. */
  #make(length: number, value: number): number {
    const node = this.#free.pop() ?? this.#unused++;
    if (node >= this.#lengths.length) this.#grow();
    for (let i = 0; i < this.#words; i++) {
      const kept = Math.max(0, Math.min(32, length - 32 * i));
      this.#bits[node * this.#words + i] = kept === 0 ? 0 : (this.#key[i] as number) & (-1 << (32 - kept));
    }
    this.#lengths[node] = length;
    this.#values[node] = value;
    this.#children.fill(NONE, 2 * node, 2 * node + 2);
    return node;
  }

  #grow(): void {
    const twice = <T extends Uint32Array | Uint8Array | Int32Array>(old: T, made: T): T => {
      made.set(old);
      return made;
    };
    this.#bits = twice(this.#bits, new Uint32Array(this.#bits.length * 2));
    this.#lengths = twice(this.#lengths, new Uint8Array(this.#lengths.length * 2));
    this.#children = twice(this.#children, new Int32Array(this.#children.length * 2));
    this.#values = twice(this.#values, new Int32Array(this.#values.length * 2));
  }
}
