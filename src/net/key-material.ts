/**
 * Key material of an ESP association, as an object that cannot be printed, like `Secret`:
 *
 * ```
 * | key 16 or 32 | salt 4 |      RFC 4106 section 8.1 (AES-GCM), RFC 7634 section 2 (ChaCha20-Poly1305)
 * ```
 */

/** KeyMaterial holds key and salt; `reveal` is the only way to them. Disposing wipes them. */
export class KeyMaterial implements Disposable {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** The bytes are copied: the caller wipes his. */
  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes);
  }

  /** reveal returns the bytes, for the data path. Never log or store what it returns. */
  reveal(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  toString(): string {
    return "(hidden)";
  }

  toJSON(): string {
    return "(hidden)";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "(hidden)";
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }
}
