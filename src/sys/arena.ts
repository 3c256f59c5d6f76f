/**
 * Arena: the one region from which all memory comes that native code sees on the packet path.
 *
 * A place in it is an offset, never an address. TypeScript reads and writes it through typed arrays, which the runtime checks; native
 * code gets an address only from `address` and `storeAddress`, which check that the whole length lies inside. The region is a
 * WebAssembly.Memory, so that vector code in WebAssembly works on it too; pages that nobody touched cost nothing.
 *
 * Guarded, each allocation ends at a page that nobody may touch, and begins after one: a read or write outside ends the process
 * (SIGSEGV), whoever makes it. For tests: an allocation then takes at least three pages, and the region is never given back.
 *
 * @example
 * ```ts
 * const arena = new Arena({ bytes: 1 << 20 });
 * const at = arena.allocate(2048);
 * readInto(fd, arena, at, 2048);
 * ```
 */
import { dlopen, FFIType, type Pointer, ptr } from "bun:ffi";

const WASM_PAGE = 65536;
const PAGE = 4096;
const HIGH = 2 ** 32;
/** A cache line; what the libraries' vectors want is not more. */
const ALIGNMENT = 64;
/** One in tens of thousands lies across a 4 GiB boundary. */
const MOST_TRIES = 16;
const PROT_NONE = 0;

/** ArenaOptions say how large an arena is, and whether guard pages stand around its parts. */
export interface ArenaOptions {
  readonly bytes: number;
  readonly guarded?: boolean;
}

/** Arena owns the region; it lives as long as anything refers to it. Parts are never given back, see ArenaPool. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly bytes: number;
  readonly guarded: boolean;
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly #base: number;
  readonly #low: number;
  readonly #high: number;
  #next: number;

  constructor(options: ArenaOptions) {
    const pages = Math.ceil(options.bytes / WASM_PAGE);
    this.bytes = pages * WASM_PAGE;
    this.guarded = options.guarded === true;
    this.memory = region(pages);
    if (this.guarded) guardedMemories.push(this.memory);
    const buffer = this.memory.buffer as ArrayBuffer;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.#base = ptr(this.u8);
    this.#high = Math.floor(this.#base / HIGH);
    // As a signed word: sums of such stay integers, and an unsigned one would be a double to the runtime.
    this.#low = (this.#base % HIGH) | 0;
    // Offset 0 is nobody's, so that it can mean "no place".
    this.#next = ALIGNMENT;
  }

  /** The largest part that can still be allocated, where nothing is guarded. */
  get free(): number {
    return Math.max(0, this.bytes - aligned(this.#next));
  }

  /** allocate returns the offset of zeroed bytes, aligned to a cache line (or, guarded, as the length allows). */
  allocate(bytes: number): number {
    if (!Number.isInteger(bytes) || bytes <= 0)
      throw new RangeError(`Cannot allocate ${bytes} bytes of an arena`);
    if (this.guarded) return this.#allocateGuarded(bytes);
    const at = aligned(this.#next);
    this.#take(at, bytes);
    return at;
  }

  /** allocatePages returns the offset of zeroed bytes that begin where a page of the machine does: memory that the kernel pins (UMEM). */
  allocatePages(bytes: number): number {
    if (!Number.isInteger(bytes) || bytes <= 0)
      throw new RangeError(`Cannot allocate ${bytes} bytes of an arena`);
    // Guarded, the end is exact only for whole pages.
    if (this.guarded) return this.#allocateGuarded(Math.ceil(bytes / PAGE) * PAGE);
    const at = this.#next + ((PAGE - ((this.#base + this.#next) % PAGE)) % PAGE);
    this.#take(at, bytes);
    return at;
  }

  #take(at: number, bytes: number): void {
    if (at + bytes > this.bytes)
      throw new RangeError(
        `Cannot allocate ${bytes} bytes of an arena: ${this.free} of ${this.bytes} are left; make it larger`,
      );
    this.#next = at + bytes;
  }

  #allocateGuarded(bytes: number): number {
    // The buffer itself need not begin at a page of the machine.
    const before = this.#next + ((PAGE - ((this.#base + this.#next) % PAGE)) % PAGE);
    const body = Math.ceil(bytes / PAGE) * PAGE;
    this.#take(before, body + 2 * PAGE);
    protect(this.#base + before, PAGE);
    protect(this.#base + before + PAGE + body, PAGE);
    // The end is what is run over; the beginning is as aligned as the length is.
    const alignment = Math.min(ALIGNMENT, bytes & -bytes);
    return (before + PAGE + body - bytes) & -alignment;
  }

  /** check throws unless all of [at, at + length) lies inside the arena. */
  check(at: number, length: number): void {
    // Written so that NaN fails as well.
    if (!(at >= 0 && length >= 0 && at + length <= this.bytes) || (at | 0) !== at || (length | 0) !== length)
      throw new RangeError(`${length} bytes at ${at} are not inside an arena of ${this.bytes} bytes`);
  }

  /** address returns the address of [at, at + length) for one call; do not keep it. */
  address(at: number, length: number): Pointer {
    this.check(at, length);
    return (this.#base + at) as Pointer;
  }

  /** storeAddress writes the address of [at, at + length) as eight bytes, at an offset divisible by four. */
  storeAddress(into: number, at: number, length: number): void {
    this.check(at, length);
    this.i32[into >>> 2] = (this.#low + at) | 0;
    this.i32[(into >>> 2) + 1] = this.#high;
  }

  /** storeAddresses writes the addresses of two neighbours, [at, at + length) and the `behind` bytes after it: one check for both. */
  storeAddresses(into: number, next: number, at: number, length: number, behind: number): void {
    if (!(length >= 0 && behind >= 0)) throw new RangeError(`Neighbours of ${length} and ${behind} bytes`);
    this.check(at, length + behind);
    const low = (this.#low + at) | 0;
    this.i32[into >>> 2] = low;
    this.i32[(into >>> 2) + 1] = this.#high;
    this.i32[next >>> 2] = (low + length) | 0;
    this.i32[(next >>> 2) + 1] = this.#high;
  }

  /**
   * storeAddressList writes the addresses of `count` parts [at[i], at[i] + lengths[i] + behind) one after the other from `into` on, and, unless
   * `next` is 0, those of the `behind` bytes at their ends from `next` on. Each part is checked.
   */
  storeAddressList(
    into: number,
    next: number,
    parts: { readonly at: Int32Array; readonly lengths: Int32Array; readonly behind: number },
    count: number,
  ): void {
    const { at, lengths, behind } = parts;
    const { i32, bytes } = this;
    const low = this.#low;
    const high = this.#high;
    if (!(behind >= 0 && count >= 0 && count <= at.length && count <= lengths.length))
      throw new RangeError(`A list of ${count} parts with ${behind} bytes behind each`);
    let word = into >>> 2;
    let nextWord = next >>> 2;
    for (let i = 0; i < count; i++, word += 2) {
      const from = at[i] as number;
      const length = lengths[i] as number;
      if (from < 0 || length < 0 || from > bytes - length - behind)
        throw new RangeError(`${length} bytes at ${from} are not inside an arena of ${bytes} bytes`);
      i32[word] = (low + from) | 0;
      i32[word + 1] = high;
      if (next === 0) continue;
      i32[nextWord] = (low + from + length) | 0;
      i32[nextWord + 1] = high;
      nextWord += 2;
    }
  }

  /** offsetOf returns the offset of an address that native code wrote at `from`; throws if it leads outside. */
  offsetOf(from: number, length: number): number {
    // Made an integer again: the runtime would keep the difference as a double, and be slow with it ever after.
    const at = ((this.i32[from >>> 2] as number) - this.#low) | 0;
    if (this.u32[(from >>> 2) + 1] !== this.#high)
      throw new RangeError("An address leads outside of the arena");
    this.check(at, length);
    return at;
  }

  /** store copies bytes into the arena. */
  store(at: number, bytes: Uint8Array): void {
    this.check(at, bytes.length);
    this.u8.set(bytes, at);
  }

  /** copy returns bytes of the arena as a buffer of their own. */
  copy(at: number, length: number): Uint8Array<ArrayBuffer> {
    this.check(at, length);
    return this.u8.slice(at, at + length);
  }

  /** wipe fills bytes with zeros: keys, after use. */
  wipe(at: number, length: number): void {
    this.check(at, length);
    this.u8.fill(0, at, at + length);
  }
}

/** ArenaPool gives out parts of one size, takes them back and wipes them: memory of keys, which come and go. */
export class ArenaPool {
  readonly bytes: number;
  readonly #arena: Arena;
  readonly #most: number;
  readonly #free: number[] = [];
  readonly #taken = new Set<number>();

  constructor(arena: Arena, options: { readonly bytes: number; readonly most: number }) {
    this.#arena = arena;
    this.bytes = options.bytes;
    this.#most = options.most;
  }

  /** take returns the offset of a zeroed part. */
  take(): number {
    if (this.#taken.size >= this.#most)
      throw new RangeError(`Cannot take part ${this.#most + 1} of a pool: its limit is ${this.#most}`);
    const at = this.#free.pop() ?? this.#arena.allocate(this.bytes);
    this.#taken.add(at);
    return at;
  }

  /** give takes a part back and wipes it. */
  give(at: number): void {
    if (!this.#taken.delete(at)) throw new RangeError(`Offset ${at} is not a part of this pool`);
    this.#arena.wipe(at, this.bytes);
    this.#free.push(at);
  }
}

/** Never collected: the runtime would give the place to the next memory, guard pages and all. */
const guardedMemories: WebAssembly.Memory[] = [];

/** A memory that no 4 GiB boundary crosses: the high half of all its addresses is one number. */
function region(pages: number): WebAssembly.Memory {
  // Held until the loop ends, so that the next one lies elsewhere.
  const refused: WebAssembly.Memory[] = [];
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const base = ptr(new Uint8Array(memory.buffer));
    if (Math.floor(base / HIGH) === Math.floor((base + pages * WASM_PAGE - 1) / HIGH)) return memory;
    refused.push(memory);
  }
  throw new Error(
    `Cannot make an arena of ${pages * WASM_PAGE} bytes: no place between 4 GiB boundaries was found`,
  );
}

const aligned = (at: number) => (at + ALIGNMENT - 1) & -ALIGNMENT;

const load = () =>
  dlopen("libc.so.6", {
    mprotect: { args: [FFIType.ptr, FFIType.u64_fast, FFIType.i32], returns: FFIType.i32 },
  }).symbols;
let libc: ReturnType<typeof load> | undefined;

function protect(address: number, bytes: number): void {
  libc ??= load();
  if (libc.mprotect(address as Pointer, bytes, PROT_NONE) !== 0)
    throw new Error(
      "Cannot make a guard page: mprotect failed; the system may have reached vm.max_map_count",
    );
}
