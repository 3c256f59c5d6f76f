/** A file that only grows, up to a bound, and that only its owner may read. */
import { closeSync, fstatSync, openSync, writeSync } from "node:fs";

/** AppendedFile opens with its first line. */
export class AppendedFile implements Disposable {
  readonly #path: string;
  readonly #mostBytes: number;
  #fd: number | undefined;
  #bytes = 0;

  constructor(path: string, mostBytes: number) {
    this.#path = path;
    this.#mostBytes = mostBytes;
  }

  /** append writes at the end; nothing once the file has its greatest size, or could not be written: the rest would have a gap. */
  append(text: string): void {
    if (this.#bytes >= this.#mostBytes) return;
    try {
      if (this.#fd === undefined) {
        this.#fd = openSync(this.#path, "a", 0o600);
        this.#bytes = fstatSync(this.#fd).size;
        if (this.#bytes >= this.#mostBytes) return;
      }
      this.#bytes += writeSync(this.#fd, text);
    } catch {
      this.#bytes = this.#mostBytes;
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
