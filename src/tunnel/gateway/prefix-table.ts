/**
 * Longest-prefix match at a flat cost: tables of 65,536 entries for the first two bytes of an address, and of 256 for each byte behind.
 *
 * ```
 * first 16 bits          next 8 bits          next 8 bits
 * [ … value … ]          [ … value … ]        [ value ]
 * [ … table ──]────────▶ [ … table ──]──────▶ [ value ]
 * ```
 * A prefix is written into all entries that it covers and no longer one does, so a search reads one entry for two bytes, and one for each byte
 * that some prefix around the address reaches into: how many prefixes there are does not matter. A change writes the entries of the prefix that
 * changes: at most 65,536 for a very short one, and tables below them.
 */
import { bitsOf, type Family, formatPrefix, type Prefix, prefixBytes } from "../../net/mod.ts";

/** Entries of the first table, and of every other. */
const FIRST = 65_536;
const OTHER = 256;
/** MOST_TABLES behind the first: 80 MiB. */
export const MOST_TABLES = 65_536;
/** A prefix of IPv6 needs no more new tables. */
const MOST_FOR_ONE = 14;

/** NOTHING is what a search gives where no prefix is. */
export const NOTHING = -1;

/** PrefixTable maps prefixes of one family to integers from 0. */
export class PrefixTable {
  readonly #family: Family;
  readonly #most: number;
  /** 0: nothing; more: value + 1; less: minus the first entry of a table. */
  #entries = new Int32Array(FIRST + 16 * OTHER);
  /** Length of the prefix that an entry's value is from. */
  #lengths = new Uint8Array(FIRST + 16 * OTHER);
  #unused = FIRST;
  readonly #free: number[] = [];
  /** By length, the values by network; a length that no prefix has, has no map. */
  readonly #prefixes: (Map<bigint, number> | undefined)[];
  #size = 0;

  constructor(family: Family, mostTables = MOST_TABLES) {
    this.#family = family;
    this.#most = mostTables;
    this.#prefixes = Array.from({ length: bitsOf(family) + 1 });
  }

  /** How many prefixes there are, and tables behind the first. */
  get size(): number {
    return this.#size;
  }

  get tables(): number {
    return (this.#unused - FIRST) / OTHER - this.#free.length;
  }

  /** find returns the value of the longest prefix that holds the address in `bytes` at `at`, which must be there; NOTHING if none does. */
  find(bytes: Uint8Array, at: number): number {
    const entries = this.#entries;
    let entry = entries[((bytes[at] as number) << 8) | (bytes[at + 1] as number)] as number;
    for (let i = at + 2; entry < 0; i++) entry = entries[(bytes[i] as number) - entry] as number;
    return entry - 1;
  }

  /** get returns the value of exactly this prefix. */
  get(prefix: Prefix): number | undefined {
    return this.#prefixes[prefix.length]?.get(prefix.value);
  }

  /** set gives a prefix a value; RangeError, with nothing changed, when there would be too many tables. */
  set(prefix: Prefix, value: number): void {
    this.#check(prefix);
    if (this.tables + MOST_FOR_ONE > this.#most)
      throw new RangeError(
        `Cannot route ${formatPrefix(prefix)}: its table is full (${this.#most} parts); remove long prefixes first`,
      );
    this.#note(prefix, value);
    const bytes = prefixBytes(prefix);
    const table = this.#descend(bytes, prefix.length);
    const { first, count } = range(bytes, prefix.length);
    this.#paint(table + first, count, { from: -1, to: prefix.length, entry: value + 1 });
  }

  /** remove takes a prefix out, and what a shorter one says holds again; false if it is not there. */
  remove(prefix: Prefix): boolean {
    this.#check(prefix);
    if (!this.#forget(prefix)) return false;
    const bytes = prefixBytes(prefix);
    const table = this.#descend(bytes, prefix.length);
    const { first, count } = range(bytes, prefix.length);
    const { entry, length } = this.#shorter(prefix);
    this.#paint(table + first, count, { from: prefix.length, to: length, entry });
    this.#collapse(bytes, prefix.length);
    return true;
  }

  #check(prefix: Prefix): void {
    if (prefix.family !== this.#family)
      throw new TypeError(`${formatPrefix(prefix)} is not of IPv${this.#family}`);
  }

  #note({ length, value: network }: Prefix, value: number): void {
    const same = (this.#prefixes[length] ??= new Map());
    this.#size -= same.size;
    same.set(network, value);
    this.#size += same.size;
  }

  #forget({ length, value: network }: Prefix): boolean {
    const same = this.#prefixes[length];
    if (same?.delete(network) !== true) return false;
    this.#size--;
    if (same.size === 0) this.#prefixes[length] = undefined;
    return true;
  }

  /** The longest prefix that holds another and is shorter, as an entry. */
  #shorter(prefix: Prefix): { readonly entry: number; readonly length: number } {
    const bits = bitsOf(prefix.family);
    for (let length = prefix.length - 1; length >= 0; length--) {
      const same = this.#prefixes[length];
      if (same === undefined) continue;
      const behind = BigInt(bits - length);
      const value = same.get((prefix.value >> behind) << behind);
      if (value !== undefined) return { entry: value + 1, length };
    }
    return { entry: 0, length: 0 };
  }

  /** The table that has the entries of a prefix; makes those on the way. */
  #descend(bytes: Uint8Array, length: number): number {
    let table = 0;
    for (let bits = 16; bits < length; bits += 8) {
      const at = table + indexIn(bytes, bits);
      if ((this.#entries[at] as number) >= 0) {
        // First: it may exchange the array.
        const made = this.#make(at);
        this.#entries[at] = -made;
      }
      table = -(this.#entries[at] as number);
    }
    return table;
  }

  /** A new table that says what the entry says in whose place it will be. */
  #make(at: number): number {
    const table = this.#free.pop() ?? this.#unused;
    if (table === this.#unused) this.#unused += OTHER;
    if (this.#unused > this.#entries.length) {
      const [entries, lengths] = [this.#entries, this.#lengths];
      // By much, since packets wait meanwhile: memory that nobody has written to costs nothing.
      const length = Math.min(entries.length * 4, FIRST + Math.max(this.#most, 16) * OTHER);
      this.#entries = new Int32Array(length);
      this.#entries.set(entries);
      this.#lengths = new Uint8Array(length);
      this.#lengths.set(lengths);
    }
    this.#entries.fill(this.#entries[at] as number, table, table + OTHER);
    this.#lengths.fill(this.#lengths[at] as number, table, table + OTHER);
    return table;
  }

  /** Writes `entry`, of a prefix of length `to`, over entries from a prefix of length `from`; with -1 over those from no longer one. */
  #paint(
    at: number,
    count: number,
    what: { readonly from: number; readonly to: number; readonly entry: number },
  ): void {
    const { from, to, entry } = what;
    const entries = this.#entries;
    const lengths = this.#lengths;
    for (let i = at; i < at + count; i++) {
      const old = entries[i] as number;
      if (old < 0) this.#paint(-old, OTHER, what);
      else if (from < 0 ? (lengths[i] as number) <= to : old > 0 && lengths[i] === from) {
        entries[i] = entry;
        lengths[i] = to;
      }
    }
  }

  /** Takes away the tables on the way to a prefix that say the same everywhere, the last first. */
  #collapse(bytes: Uint8Array, length: number): void {
    const way: number[] = [];
    let table = 0;
    for (let bits = 16; bits < length; bits += 8) {
      way.push(table + indexIn(bytes, bits));
      table = -(this.#entries[way.at(-1) as number] as number);
    }
    for (let at = way.pop(); at !== undefined; at = way.pop()) {
      const from = -(this.#entries[at] as number);
      const startBits = 16 + 8 * way.length;
      if (!this.#isUniform(from, startBits)) return;
      this.#entries[at] = this.#entries[from] as number;
      this.#lengths[at] = this.#lengths[from] as number;
      this.#free.push(from);
    }
  }

  /** Whether a table says what one prefix says that covers all of it. */
  #isUniform(table: number, startBits: number): boolean {
    const entry = this.#entries[table] as number;
    const length = this.#lengths[table] as number;
    if (entry < 0 || length > startBits) return false;
    for (let i = table + 1; i < table + OTHER; i++)
      if (this.#entries[i] !== entry || this.#lengths[i] !== length) return false;
    return true;
  }
}

/** The entry of an address in the table that ends at so many bits. */
function indexIn(bytes: Uint8Array, bits: number): number {
  return bits === 16 ? ((bytes[0] as number) << 8) | (bytes[1] as number) : (bytes[bits / 8 - 1] as number);
}

/** The entries of a prefix in its table. */
function range(bytes: Uint8Array, length: number): { readonly first: number; readonly count: number } {
  const bits = length <= 16 ? 16 : Math.ceil(length / 8) * 8;
  const count = 2 ** (bits - length);
  return { first: indexIn(bytes, bits) & -count, count };
}
