/** The executable with another number in it: what takes minutes by the clock is tried in seconds, and all else is what users run. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const REPOSITORY = resolve(import.meta.dir, "../..");
/** What tools/build.ts reads. */
const SOURCES = ["src", "tools", "package.json", "package-lock.json", "tsconfig.json"];

/** Change is one text of one source, which must be there once. */
export interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** ChangedBuild owns a folder with the executable. */
export class ChangedBuild implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "causeway-build-"));

  constructor(changes: readonly Change[]) {
    try {
      for (const name of SOURCES)
        cpSync(join(REPOSITORY, name), join(this.#folder, name), { recursive: true });
      symlinkSync(join(REPOSITORY, "node_modules"), join(this.#folder, "node_modules"));
      for (const { file, from, to } of changes) {
        const path = join(this.#folder, file);
        const parts = readFileSync(path, "utf8").split(from);
        if (parts.length !== 2) throw new Error(`${file} has "${from}" ${parts.length - 1} times, not once`);
        writeFileSync(path, parts.join(to));
      }
      const done = Bun.spawnSync([process.execPath, "tools/build.ts"], { cwd: this.#folder, stderr: "pipe" });
      if (!done.success) throw new Error(`Cannot build: ${done.stderr}`);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get executable(): string {
    return join(this.#folder, "dist/causeway");
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
