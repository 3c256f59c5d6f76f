/**
 * Up to 64 texts that are sealed or opened in place by one call, under one key: what every AEAD provider of the packet path works on.
 *
 * ```
 * arena:  … | text (length) | tag (16) | …      nonce, additional data: in the batch, written by the framing
 * ```
 * Sealing writes the tag behind the text. Opening checks it and notes a verdict for each text; a text whose verdict is 0 is rubbish.
 */
import type { Arena } from "./arena.ts";

/** AEAD_BATCH is how many texts one batch holds. */
export const AEAD_BATCH = 64;
/** AEAD_TAG is the length of a tag: 16 bytes for all algorithms. */
export const AEAD_TAG = 16;

/** NONCE_STRIDE is from one nonce of a batch to the next, as MOST_ADDITIONAL is for additional data. */
export const NONCE_STRIDE = 16;
/** Most additional data; ESP has 12 bytes at most, test vectors have 20. */
export const MOST_ADDITIONAL = 32;
const POINTER = 8;

/** AeadAlgorithm is one that all providers offer: RFC 8439, and NIST SP 800-38D with nonces of 12 bytes. */
export type AeadAlgorithm = "chacha20-poly1305" | "aes-128-gcm" | "aes-256-gcm";

/** AEAD_KEY_BYTES are the lengths of keys. */
export const AEAD_KEY_BYTES: Readonly<Record<AeadAlgorithm, number>> = {
  "chacha20-poly1305": 32,
  "aes-128-gcm": 16,
  "aes-256-gcm": 32,
};

/** AeadDirection says what a key or a batch is for. */
export type AeadDirection = "seal" | "open";

/** AeadKey is a key in a provider's form. Disposing wipes it. */
export interface AeadKey extends Disposable {
  readonly algorithm: AeadAlgorithm;
  readonly direction: AeadDirection;
  /** run seals or opens all texts of a batch, which must be for the key's direction. */
  run(batch: AeadBatch): void;
}

/** AeadProvider makes keys; they work on batches of the arena that it was opened for. */
export interface AeadProvider {
  /** What it is, for people: `ipsec-mb 2.0.0`. */
  readonly name: string;
  key(algorithm: AeadAlgorithm, bytes: Uint8Array, direction: AeadDirection): AeadKey;
}

/** AeadBatch keeps the list of texts in the arena, in the form that the libraries read. */
export class AeadBatch {
  readonly arena: Arena;
  readonly direction: AeadDirection;
  /** How many texts there are. */
  count = 0;
  /** After opening: 1 for each text whose tag was right, 0 for others. */
  readonly verdicts = new Uint8Array(AEAD_BATCH);
  /** Offsets and lengths of the texts, without tags: written by `add`, or by who calls `addAll` afterwards. */
  readonly textsAt = new Int32Array(AEAD_BATCH);
  readonly textBytes = new Int32Array(AEAD_BATCH);
  /** Offsets of the lists, for providers. */
  readonly texts: number;
  readonly lengths: number;
  readonly nonces: number;
  readonly additional: number;
  readonly tags: number;
  readonly #nonceAt: number;
  readonly #additionalAt: number;
  readonly #tagAt: number;
  readonly #seals: boolean;
  readonly #parts: { readonly at: Int32Array; readonly lengths: Int32Array; readonly behind: number };
  #additionalBytes = 0;

  constructor(arena: Arena, direction: AeadDirection) {
    this.arena = arena;
    this.direction = direction;
    this.#seals = direction === "seal";
    this.#parts = { at: this.textsAt, lengths: this.textBytes, behind: AEAD_TAG };
    const list = () => arena.allocate(AEAD_BATCH * POINTER);
    [this.texts, this.lengths, this.nonces] = [list(), list(), list()];
    [this.additional, this.tags] = [list(), list()];
    this.#nonceAt = arena.allocate(AEAD_BATCH * NONCE_STRIDE);
    this.#additionalAt = arena.allocate(AEAD_BATCH * MOST_ADDITIONAL);
    this.#tagAt = arena.allocate(AEAD_BATCH * AEAD_TAG);
    for (let i = 0; i < AEAD_BATCH; i++) {
      arena.storeAddress(this.nonces + i * POINTER, this.nonceAt(i), 12);
      arena.storeAddress(this.additional + i * POINTER, this.additionalAt(i), MOST_ADDITIONAL);
      // A tag that is to be checked is computed beside and compared.
      arena.storeAddress(this.tags + i * POINTER, this.computedTagAt(i), AEAD_TAG);
    }
  }

  get full(): boolean {
    return this.count === AEAD_BATCH;
  }

  /** Bytes of additional data of every text; 0 at first. */
  get additionalBytes(): number {
    return this.#additionalBytes;
  }

  set additionalBytes(bytes: number) {
    if (!(bytes >= 0 && bytes <= MOST_ADDITIONAL))
      throw new RangeError(`${bytes} bytes of additional data are not 0 to ${MOST_ADDITIONAL}`);
    this.#additionalBytes = bytes;
  }

  /** add appends [at, at + length), with the tag's 16 bytes behind it, and returns its number. Its nonce is the caller's to write. */
  add(at: number, length: number): number {
    const index = this.count;
    if (index >= AEAD_BATCH) throw new RangeError(`A batch holds ${AEAD_BATCH} texts`);
    const { arena } = this;
    if (this.#seals)
      arena.storeAddresses(this.texts + index * POINTER, this.tags + index * POINTER, at, length, AEAD_TAG);
    else {
      arena.check(at, length + AEAD_TAG);
      arena.storeAddress(this.texts + index * POINTER, at, length);
    }
    arena.i32[(this.lengths >>> 2) + index * 2] = length;
    this.textsAt[index] = at;
    this.textBytes[index] = length;
    this.count = index + 1;
    return index;
  }

  /**
   * addAll makes the first `count` of `textsAt` and `textBytes` the whole batch, with one check for each; nonces and additional data are the
   * caller's to write. For who fills a batch in one pass.
   */
  addAll(count: number): void {
    if (!(count >= 0 && count <= AEAD_BATCH)) throw new RangeError(`A batch holds ${AEAD_BATCH} texts`);
    const { arena, textBytes } = this;
    arena.storeAddressList(this.texts, this.#seals ? this.tags : 0, this.#parts, count);
    const { i32 } = arena;
    const lengths = this.lengths >>> 2;
    for (let i = 0; i < count; i++) i32[lengths + i * 2] = textBytes[i] as number;
    this.count = count;
  }

  /** nonceAt is the offset of a text's nonce: 12 bytes, aligned to words. */
  nonceAt(index: number): number {
    return this.#nonceAt + index * NONCE_STRIDE;
  }

  /** setNonce writes a nonce from three words as the machine has them (little-endian). */
  setNonce(index: number, first: number, second: number, third: number): void {
    const word = (this.#nonceAt + index * NONCE_STRIDE) >>> 2;
    const { i32 } = this.arena;
    i32[word] = first;
    i32[word + 1] = second;
    i32[word + 2] = third;
  }

  /** additionalAt is the offset of a text's additional data. */
  additionalAt(index: number): number {
    return this.#additionalAt + index * MOST_ADDITIONAL;
  }

  /** textAt is the offset of a text. */
  textAt(index: number): number {
    return this.textsAt[index] as number;
  }

  /** lengthOf is the length of a text, without its tag. */
  lengthOf(index: number): number {
    return this.textBytes[index] as number;
  }

  /** computedTagAt is the offset of the tag that a provider computes when it opens. */
  computedTagAt(index: number): number {
    return this.#tagAt + index * AEAD_TAG;
  }

  /** compareTags writes the verdicts from the computed tags: in constant time for each, whichever byte differs. */
  compareTags(): void {
    const { arena, verdicts } = this;
    const { view, i32 } = arena;
    for (let i = 0; i < this.count; i++) {
      const word = (this.#tagAt + i * AEAD_TAG) >>> 2;
      const at = this.textAt(i) + this.lengthOf(i);
      const difference =
        (view.getInt32(at, true) ^ (i32[word] as number)) |
        (view.getInt32(at + 4, true) ^ (i32[word + 1] as number)) |
        (view.getInt32(at + 8, true) ^ (i32[word + 2] as number)) |
        (view.getInt32(at + 12, true) ^ (i32[word + 3] as number));
      verdicts[i] = difference === 0 ? 1 : 0;
    }
  }

  /** clear makes the batch empty. */
  clear(): void {
    this.count = 0;
  }
}

/** checkKey throws for bytes that are not a key of the algorithm. */
export function checkKey(algorithm: AeadAlgorithm, bytes: Uint8Array): void {
  if (bytes.length !== AEAD_KEY_BYTES[algorithm])
    throw new RangeError(`A key of ${algorithm} has ${AEAD_KEY_BYTES[algorithm]} bytes, not ${bytes.length}`);
}

/** checkBatch throws for a batch that a key cannot work on. */
export function checkBatch(key: AeadKey, arena: Arena, batch: AeadBatch): void {
  if (batch.arena !== arena || batch.direction !== key.direction)
    throw new TypeError(`This batch is not one for a key to ${key.direction}`);
}
