/**
 * What kernel settings were before ours: in memory, and in a file for the engine that comes after a restart, which finds our values there and
 * could not know. The file has to go with the kernel's settings, when the machine starts: it belongs below /run.
 */
import { readText, removeTree, writeAtomic } from "../sys/mod.ts";

/** EarlierSettings has values by path, as `Sysctl` has them. Each change is on disk when it returns, where there is room. */
export class EarlierSettings extends Map<string, string> {
  readonly #file: string | undefined;

  /** Without a file it lasts as long as the engine. What is no list of settings is taken for none. */
  constructor(file?: string) {
    super();
    for (const [path, value] of stored(file)) super.set(path, value);
    this.#file = file;
  }

  override set(path: string, value: string): this {
    super.set(path, value);
    this.#store();
    return this;
  }

  override delete(path: string): boolean {
    const was = super.delete(path);
    if (was) this.#store();
    return was;
  }

  #store(): void {
    if (this.#file === undefined) return;
    try {
      if (this.size === 0) removeTree(this.#file);
      else writeAtomic(this.#file, `${JSON.stringify(Object.fromEntries(this), null, 2)}\n`, 0o600);
    } catch {
      // A full /run: this engine knows them, and a later one puts back what it can.
    }
  }
}

function stored(file: string | undefined): [path: string, value: string][] {
  try {
    const found: unknown = JSON.parse((file === undefined ? undefined : readText(file)) ?? "{}");
    return Object.entries(found ?? {}).filter(([, value]) => typeof value === "string");
  } catch {
    return [];
  }
}
