/**
 * Writes a cpio archive in the "newc" form that the kernel unpacks into its first root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

const FOLDER = 0o040000;
const FILE = 0o100000;
const LINK = 0o120000;
const DEVICE = 0o020000;

/** CpioWriter writes entries one after the other; parents must come before what they hold. */
export class CpioWriter implements Disposable {
  readonly #fd: number;
  readonly #folders = new Set<string>();
  #inode = 1;
  bytes = 0;

  constructor(path: string) {
    this.#fd = openSync(path, "w", 0o600);
  }

  /** folder adds a folder and the parents it lacks; a second time does nothing. */
  folder(path: string): void {
    const clean = path.replace(/^\/+|\/+$/g, "");
    if (clean === "" || this.#folders.has(clean)) return;
    this.#parent(clean);
    this.#folders.add(clean);
    this.#entry(clean, { mode: FOLDER | 0o755 });
  }

  /** file adds a file with content read from another file, or given. */
  file(path: string, content: { readonly from: string } | Uint8Array | string, mode = 0o644): void {
    const data =
      typeof content === "string"
        ? Buffer.from(content)
        : content instanceof Uint8Array
          ? content
          : readFileSync(content.from);
    this.#parent(path);
    this.#entry(path, { mode: FILE | mode, data });
  }

  /** symlink adds a symbolic link. */
  symlink(path: string, target: string): void {
    this.#parent(path);
    this.#entry(path, { mode: LINK | 0o777, data: Buffer.from(target) });
  }

  /** device adds a character device. */
  device(path: string, major: number, minor: number): void {
    this.#parent(path);
    this.#entry(path, { mode: DEVICE | 0o600, device: [major, minor] });
  }

  #parent(path: string): void {
    this.folder(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
  }

  #entry(
    path: string,
    entry: { readonly mode: number; readonly data?: Uint8Array; readonly device?: readonly [number, number] },
  ): void {
    const name = path.replace(/^\/+/, "");
    const data = entry.data ?? new Uint8Array(0);
    const [major, minor] = entry.device ?? [0, 0];
    const inode = this.#inode++;
    const links = (entry.mode & 0o170000) === FOLDER ? 2 : 1;
    const nameBytes = Buffer.byteLength(name) + 1;
    const fields = [inode, entry.mode, 0, 0, links, 0, data.length, 0, 0, major, minor, nameBytes, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
    this.#write(Buffer.from(header));
    this.#pad();
    this.#write(data);
    this.#pad();
  }

  #write(data: Uint8Array): void {
    for (let done = 0; done < data.length;) done += writeSync(this.#fd, data, done);
    this.bytes += data.length;
  }

  #pad(): void {
    this.#write(new Uint8Array((4 - (this.bytes % 4)) % 4));
  }

  /** The trailer ends the archive; the file is complete when this returns. */
  [Symbol.dispose](): void {
    this.#entry("TRAILER!!!", { mode: 0 });
    closeSync(this.#fd);
  }
}
