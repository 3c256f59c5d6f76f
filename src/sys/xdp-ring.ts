/**
 * Rings of an AF_XDP socket: memory of the kernel, of which this process writes one index and the kernel the other
 * (Documentation/networking/af_xdp.rst; net/xdp/xsk_queue.h).
 *
 * ```
 * producer:  … | taken by the other | ours, submitted | ours, put | room | …
 * consumer:  … | released | ours, taken | there to be taken | …
 * ```
 * Indices are 32-bit numbers that wrap; the place is what remains of them below the ring's size. Whatever is found in the memory is
 * checked here: a difference that cannot be is no entries, and counted. What an entry says is checked by whoever knows the frames.
 */

/** XDP_RING_NEED_WAKEUP of include/uapi/linux/if_xdp.h. */
const NEED_WAKEUP = 1;

/** RingPlace says where in the memory, in bytes, the parts of a ring are. */
export interface RingPlace {
  readonly entries: number;
  /** 16: descriptors with a length; 8: addresses only. */
  readonly entryBytes: 8 | 16;
  readonly producer: number;
  readonly consumer: number;
  readonly flags: number;
  readonly entry: number;
}

/** ringBytes returns how much memory a ring takes. */
export const ringBytes = (place: RingPlace): number => place.entry + place.entries * place.entryBytes;

/** What remains after closing: any index leads nowhere, and Atomics throw. */
const NOTHING = new Int32Array(0);

/** A ring, seen from this process; the two kinds differ in which index is ours. */
abstract class XdpRing {
  readonly entries: number;
  /** How often the indices were nonsense. */
  garbled = 0;
  protected words: Int32Array;
  protected readonly producer: number;
  protected readonly consumer: number;
  protected readonly entry: number;
  protected readonly mask: number;
  /** 1 or 2: doubles an index as often, for words. */
  protected readonly shift: number;
  readonly #flags: number;

  constructor(memory: ArrayBuffer, place: RingPlace) {
    const { entries } = place;
    if (entries <= 0 || (entries & (entries - 1)) !== 0)
      throw new RangeError(`A ring of ${entries} entries: the number must be a power of two`);
    const bytes = ringBytes(place);
    for (const at of [place.producer, place.consumer, place.flags, place.entry])
      if (at < 0 || at % 4 !== 0 || at + 4 > bytes) throw new RangeError(`A ring has a part at ${at}`);
    if (bytes > memory.byteLength)
      throw new RangeError(`A ring of ${bytes} bytes in ${memory.byteLength} bytes`);
    this.entries = entries;
    this.words = new Int32Array(memory, 0, memory.byteLength >>> 2);
    this.producer = place.producer >>> 2;
    this.consumer = place.consumer >>> 2;
    this.entry = place.entry >>> 2;
    this.#flags = place.flags >>> 2;
    this.mask = entries - 1;
    this.shift = place.entryBytes === 16 ? 2 : 1;
  }

  /** needsWakeup tells whether the kernel sleeps until it is called. */
  get needsWakeup(): boolean {
    return (Atomics.load(this.words, this.#flags) & NEED_WAKEUP) !== 0;
  }

  /** forget must come before the memory is unmapped: the ring is empty and full from then on. */
  forget(): void {
    this.words = NOTHING;
  }

  get forgotten(): boolean {
    return this.words === NOTHING;
  }
}

/** ProducerRing is one that this process fills: fill and transmit. */
export class ProducerRing extends XdpRing {
  /** Index behind what was put. */
  #next: number;

  constructor(memory: ArrayBuffer, place: RingPlace) {
    super(memory, place);
    this.#next = Atomics.load(this.words, this.producer);
  }

  /** waiting returns how many entries the kernel has not taken yet, those that were not submitted included. */
  waiting(): number {
    if (this.forgotten) return this.entries;
    const count = (this.#next - Atomics.load(this.words, this.consumer)) | 0;
    if (count >= 0 && count <= this.entries) return count;
    this.garbled++;
    return this.entries;
  }

  /** room returns how many entries may be put. */
  room(): number {
    return this.entries - this.waiting();
  }

  /** putAddress adds an entry of 8 bytes; there must be room. */
  putAddress(address: number): void {
    const at = this.entry + ((this.#next & this.mask) << this.shift);
    this.words[at] = address;
    this.words[at + 1] = 0;
    this.#next = (this.#next + 1) | 0;
  }

  /** putDescriptor adds an entry of 16 bytes; there must be room. */
  putDescriptor(address: number, length: number): void {
    const at = this.entry + ((this.#next & this.mask) << this.shift);
    this.words[at] = address;
    this.words[at + 1] = 0;
    this.words[at + 2] = length;
    this.words[at + 3] = 0;
    this.#next = (this.#next + 1) | 0;
  }

  /** submit shows the kernel all that was put. */
  submit(): void {
    if (!this.forgotten) Atomics.store(this.words, this.producer, this.#next);
  }
}

/** ConsumerRing is one that the kernel fills: receive and completion. */
export class ConsumerRing extends XdpRing {
  /** Index of the first entry that was not released. */
  #next: number;

  constructor(memory: ArrayBuffer, place: RingPlace) {
    super(memory, place);
    this.#next = Atomics.load(this.words, this.consumer);
  }

  /** available returns how many entries are there. */
  available(): number {
    if (this.forgotten) return 0;
    const count = (Atomics.load(this.words, this.producer) - this.#next) | 0;
    if (count >= 0 && count <= this.entries) return count;
    this.garbled++;
    return 0;
  }

  /** address returns the address in entry `index` of the available ones; -1 for one that needs more than 31 bits. */
  address(index: number): number {
    const at = this.entry + (((this.#next + index) & this.mask) << this.shift);
    const low = this.words[at] as number;
    return this.words[at + 1] === 0 && low >= 0 ? low : -1;
  }

  /** length returns the length in entry `index`, of a ring of descriptors; negative for nonsense. */
  length(index: number): number {
    return this.words[this.entry + (((this.#next + index) & this.mask) << this.shift) + 2] as number;
  }

  /** release gives the first `count` entries back. */
  release(count: number): void {
    this.#next = (this.#next + count) | 0;
    if (!this.forgotten) Atomics.store(this.words, this.consumer, this.#next);
  }
}
