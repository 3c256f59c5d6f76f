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
import { ensureDirectory, exists, fileMode, readText, writeAtomic } from "../sys/mod.ts";

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

/** What others than its owner may do with a file. */
const OF_OTHERS = 0o077;

/** Says nothing that stands in the file. */
function readSecret(path: string): SecretBytes | string {
  try {
    const text = readText(path);
    if (text === undefined)
      return "it is not there; write it (causeway gateway keygen), for root alone to read";
    if ((fileMode(path) & OF_OTHERS) !== 0)
      return `others than root can read it; run: chmod 600 ${path}, and make another key where they may have`;
    return parseSecretFile(text);
  } catch (error) {
    const { code } = error as { readonly code?: string };
    if (code !== undefined) return `${code}; mend that, or name another file`;
    return "there is no key in it; write 64 hexadecimal digits, or 44 characters of base64";
  }
}

/** readSecrets returns the pre-shared keys in files, by path; a string is why one cannot be used, which its route says. */
export function readSecrets(paths: readonly string[]): ReadonlyMap<string, SecretBytes | string> {
  return new Map(paths.map((path) => [path, readSecret(path)]));
}
