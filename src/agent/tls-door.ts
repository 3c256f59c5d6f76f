/**
 * A hub's door for nodes that UDP does not reach: its certificate, and the process that listens. The certificate is the operator's, where
 * there is one, else made when TLS is enabled for the first time, and then it goes when this machine leaves the mesh.
 */
import { every, exists, isSelfIssued, keyHashOfCertificate, readText, writeAtomic } from "../sys/mod.ts";
import {
  makeCertificate,
  type TlsConfig,
  type TlsProcessOptions,
  type TlsStatus,
} from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";
import { TlsHolder } from "./tls-holder.ts";

/** How often it is looked whether the operator has put files in place. */
const LOOK_MS = 5000;

/** TlsFiles are paths of a certificate, followed by those of its issuers, and of its key; PEM. */
export interface TlsFiles {
  readonly certificatePath: string;
  readonly keyPath: string;
}

/** TlsDoorOptions say where the files are, and where the process answers. */
export interface TlsDoorOptions {
  /** Used when both are there. */
  readonly given: TlsFiles;
  readonly made: TlsFiles;
  readonly place: TlsProcessOptions;
  /** The door is known by another hash. */
  readonly changed: () => void;
}

/** TlsDoor is open while it is told a port; what goes through outlives the agent. */
export class TlsDoor implements Disposable {
  readonly #options: TlsDoorOptions;
  readonly #held: TlsHolder;
  readonly #timer: Disposable;
  #wish: { readonly port: number | undefined; readonly tunnelPort: number } = {
    port: undefined,
    tunnelPort: 0,
  };
  #files: TlsFiles;
  #pin: string | undefined;

  constructor(options: TlsDoorOptions) {
    this.#options = options;
    this.#files = options.made;
    this.#held = new TlsHolder(options.place);
    this.#timer = every(LOOK_MS, () => {
      try {
        this.#look();
      } catch (error) {
        warn("cannot look at the files for TLS", { error });
      }
    });
  }

  /** update opens the door at a port, or without one closes it; the same again does nothing. */
  update(wish: { readonly port: number | undefined; readonly tunnelPort: number }): void {
    this.#wish = wish;
    this.#files = this.#choose();
    this.#held.set(() => this.#config(), { idle: wish.port === undefined });
    this.#look();
  }

  /** The files to use; those of our own are made when they are needed. */
  #choose(): TlsFiles {
    const { given, made } = this.#options;
    if (exists(given.keyPath) && exists(given.certificatePath)) return given;
    if (this.#wish.port !== undefined && !exists(made.keyPath)) {
      const { certificatePem, keyPem } = makeCertificate();
      writeAtomic(made.certificatePath, certificatePem, 0o600);
      writeAtomic(made.keyPath, keyPem, 0o600);
    }
    return made;
  }

  #config(): TlsConfig {
    const { port, tunnelPort } = this.#wish;
    return { tunnelPort, hubs: [], ...(port === undefined ? {} : { listener: { port, ...this.#files } }) };
  }

  /** Files may have been put in place, taken away or replaced. */
  #look(): void {
    if (this.#wish.port !== undefined && this.#choose() !== this.#files) return this.update(this.#wish);
    const pin = this.#wish.port === undefined ? undefined : this.#readPin();
    if (pin === this.#pin) return;
    this.#pin = pin;
    this.#options.changed();
  }

  #readPin(): string | undefined {
    try {
      const certificate = readText(this.#files.certificatePath);
      if (certificate === undefined || !isSelfIssued(certificate)) return undefined;
      return keyHashOfCertificate(certificate);
    } catch {
      // Half written: what is served is the one before.
      return this.#pin;
    }
  }

  /** The hash that nodes know the hub's key by; undefined without TLS, and for the certificate of an authority, which is known by its name. */
  get pin(): string | undefined {
    return this.#pin;
  }

  /** What the process says of itself, for people. */
  get status(): TlsStatus | undefined {
    return this.#held.status;
  }

  /** destroy ends the process: the node is no hub any more. */
  async destroy(): Promise<void> {
    this[Symbol.dispose]();
    await this.#held.destroy();
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#held[Symbol.dispose]();
  }
}
