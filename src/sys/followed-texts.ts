/**
 * Texts that people write while they are read: a file, or the files of a folder, looked at again and again.
 *
 * Half a file may be there while it is written, and none while it is replaced: what differs from the look before is used when it stays so for a
 * look. At the first look all is taken as it is. A file that cannot be read counts as it was; what it is now may be a disk that fails.
 */
import { every } from "./clock.ts";
import { isErrno } from "./errno.ts";
import { listDirectory, readText } from "./file.ts";

/** How often they are looked at. */
const LOOK_MS = 2000;

/** TextChange is what became of files since it was told last; all are named by their paths. */
export interface TextChange {
  readonly changed: ReadonlyMap<string, string>;
  readonly gone: readonly string[];
  /** All that cannot be read now, or could not and has not been told since, and why. */
  readonly unreadable: ReadonlyMap<string, Error>;
}

/** FollowedTextsOptions say which, and who is told. */
export interface FollowedTextsOptions {
  /** A file, or a folder. */
  readonly path: string;
  /** Which names of a folder are meant. */
  readonly names: RegExp;
  /** Called from the constructor first, also if there is nothing; then when something is another. */
  readonly onChange: (change: TextChange) => void;
}

/** FollowedTexts looks until it is disposed. */
export class FollowedTexts implements Disposable {
  readonly #options: FollowedTextsOptions;
  readonly #timer: Disposable;
  /** As they were told. */
  readonly #texts = new Map<string, string>();
  /** As they were at the last look. */
  #last: ReadonlyMap<string, string> | undefined;
  #unreadable = new Map<string, Error>();
  /** Those of them that were tried in vain at the last look. */
  #failed: ReadonlySet<string> = new Set();

  constructor(options: FollowedTextsOptions) {
    this.#options = options;
    this.look();
    this.#timer = every(LOOK_MS, () => this.look());
  }

  /** look tells what is another by now. */
  look(): void {
    const [former, unreadable, failed] = [this.#last, this.#unreadable, this.#failed];
    const before = [...unreadable.keys()];
    this.#unreadable = new Map();
    const now = this.#read();
    this.#last = now;
    this.#failed = new Set(this.#unreadable.keys());
    const stays = (path: string) => former === undefined || former.get(path) === now.get(path);
    // What could not be read and was never told is not known until it stays for a look, rather than gone.
    for (const [path, error] of unreadable)
      if (!this.#texts.has(path) && (now.has(path) ? !stays(path) : failed.has(path)))
        this.#unreadable.set(path, this.#unreadable.get(path) ?? error);
    const changed = new Map([...now].filter(([path, text]) => stays(path) && this.#texts.get(path) !== text));
    const gone = [...this.#texts.keys()].filter((path) => !now.has(path) && stays(path));
    const isSame = before.join("\n") === [...this.#unreadable.keys()].join("\n");
    if (former !== undefined && changed.size + gone.length === 0 && isSame) return;
    for (const path of gone) this.#texts.delete(path);
    for (const [path, text] of changed) this.#texts.set(path, text);
    this.#options.onChange({ changed, gone, unreadable: this.#unreadable });
  }

  #read(): Map<string, string> {
    let paths: readonly string[];
    try {
      paths = this.#paths();
    } catch (error) {
      this.#unreadable.set(this.#options.path, error as Error);
      return new Map(this.#texts);
    }
    const texts = new Map<string, string>();
    for (const path of paths) {
      const text = this.#textOf(path);
      if (text !== undefined) texts.set(path, text);
    }
    return texts;
  }

  #paths(): readonly string[] {
    const { path: folder, names } = this.#options;
    try {
      return listDirectory(folder)
        .filter((name) => names.test(name))
        .map((name) => `${folder}/${name}`);
    } catch (error) {
      if (isErrno(error, "ENOTDIR")) return [folder];
      throw error;
    }
  }

  #textOf(path: string): string | undefined {
    try {
      return readText(path);
    } catch (error) {
      this.#unreadable.set(path, error as Error);
      return this.#texts.get(path);
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}
