/**
 * What a gateway keeps on disk, in a folder of its own (0700): its configuration with all secrets, its private key, and which sequence numbers
 * of operators' keys were used. All are written durably, and whole or not at all.
 */
import {
  defaultConfig,
  type GatewayConfig,
  parseSecretFile,
  readConfig,
  saveConfig,
  type SecretBytes,
} from "../gateway/mod.ts";
import {
  formatSequenceBook,
  newSequenceBook,
  parseSequenceBook,
  type SequenceBook,
} from "../gateway/keys/mod.ts";
import { PrivateKey } from "../net/mod.ts";
import { ensureDirectory, exists, readText, writeAtomic } from "../sys/mod.ts";

const MODE = 0o600;

/** GatewayFiles is the folder. */
export class GatewayFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    ensureDirectory(folder, 0o700);
  }

  /** config reads the configuration as it was last; the default one where there is none. Throws where it cannot be read. */
  config(): GatewayConfig {
    const path = `${this.folder}/gateway.conf`;
    const text = readText(path);
    if (text === undefined) return defaultConfig;
    try {
      return readConfig(text).config;
    } catch (error) {
      throw new Error(
        `Cannot read ${path}: ${(error as Error).message}; mend it, or remove it and set the configuration again`,
        {
          cause: error,
        },
      );
    }
  }

  /** saveConfig keeps a configuration; it is durable on return. */
  saveConfig(config: GatewayConfig): void {
    writeAtomic(`${this.folder}/gateway.conf`, saveConfig(config), MODE);
  }

  /** privateKey returns this gateway's own, made at the first start. */
  privateKey(): PrivateKey {
    const path = `${this.folder}/private.key`;
    const text = readText(path);
    if (text !== undefined) return PrivateKey.fromBase64(text);
    const key = PrivateKey.random();
    writeAtomic(path, key.toFile(), MODE);
    return key;
  }

  /**
   * sequenceBook reads the numbers that were used; a string is why they are not known, and what to do. It is made once, and that it was made is
   * noted apart: one that is missing afterwards is not begun anew.
   */
  sequenceBook(): SequenceBook | string {
    const path = this.#bookPath;
    const made = `${this.folder}/sequence-numbers.made`;
    const remedy = `give new keys, then remove ${path} and ${made}, whichever is there; a copy of the first from before may not be put back, since it would have numbers used twice`;
    try {
      const text = readText(path);
      if (text === undefined && exists(made))
        return `${path} is missing, and ${made} says that it was there; ${remedy}`;
      const book = text === undefined ? newSequenceBook() : parseSequenceBook(text);
      if (text === undefined) this.saveSequenceBook(formatSequenceBook(book));
      if (!exists(made)) writeAtomic(made, "", MODE);
      return book;
    } catch (error) {
      return `${path}: ${(error as Error).message}; ${remedy}`;
    }
  }

  /** saveSequenceBook keeps the book's text; it is durable on return. Throws where the disk refuses. */
  saveSequenceBook(text: string): void {
    writeAtomic(this.#bookPath, text, MODE);
  }

  get #bookPath(): string {
    return `${this.folder}/sequence-numbers`;
  }
}

/** readSecrets returns the pre-shared keys in files, by path; those that cannot be read are missing, and their routes say so. */
export function readSecrets(paths: readonly string[]): ReadonlyMap<string, SecretBytes> {
  const secrets = new Map<string, SecretBytes>();
  for (const path of paths) {
    try {
      const text = readText(path);
      if (text !== undefined) secrets.set(path, parseSecretFile(text));
    } catch {
      // The route's status says that it cannot be read; an error's text might hold what is in the file.
    }
  }
  return secrets;
}
