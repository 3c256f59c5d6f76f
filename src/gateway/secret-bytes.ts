/** Secret values of a configuration: they can be compared and handed on, and no conversion to text shows them. */
import { equalBytes } from "../sys/mod.ts";

/** HIDDEN is what stands in text in the place of a secret. */
export const HIDDEN = "(hidden)";

/** SecretBytes holds a pre-shared key, a key or a salt; `reveal` is the only way to it. */
export class SecretBytes {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** reveal returns the bytes, for whoever encrypts with them. Never log or store what it returns. */
  reveal(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  equals(other: SecretBytes): boolean {
    return equalBytes(this.#bytes, other.#bytes);
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return HIDDEN;
  }
}

/** KEPT stands for `(hidden)` where text is read: the secret that the same place has already. */
export const KEPT = new SecretBytes(new Uint8Array());
