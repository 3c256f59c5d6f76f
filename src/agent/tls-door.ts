/**
 * A hub's door for nodes that UDP does not reach: its certificate, and the process that listens. The files are made when TLS is enabled for
 * the first time; an operator may put others in their place.
 */
import { after, exists, isSelfIssued, keyHashOfCertificate, readText, writeAtomic } from "../sys/mod.ts";
import { makeCertificate, TlsProcess, type TlsProcessOptions, type TlsStatus } from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";

/** A process that could not be started is started again after this time. */
const RETRY_MS = 5000;

/** TlsDoorOptions say where the files are, and where the process answers. */
export interface TlsDoorOptions {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly place: TlsProcessOptions;
}

/** TlsDoor is open while it is told a port; what goes through outlives the agent. */
export class TlsDoor implements Disposable {
  readonly #options: TlsDoorOptions;
  #wish: { readonly port: number | undefined; readonly tunnelPort: number } = {
    port: undefined,
    tunnelPort: 0,
  };
  #process: TlsProcess | undefined;
  #opening: Promise<void> | undefined;
  #retry: Disposable | undefined;
  #closed = false;

  constructor(options: TlsDoorOptions) {
    this.#options = options;
  }

  /** update opens the door at a port, or without one closes it; the same again does nothing. */
  update(wish: { readonly port: number | undefined; readonly tunnelPort: number }): void {
    this.#wish = wish;
    const { place, certificatePath, keyPath } = this.#options;
    if (wish.port === undefined && this.#process === undefined && !exists(place.socket)) return;
    if (wish.port !== undefined && !exists(keyPath)) {
      const made = makeCertificate();
      writeAtomic(certificatePath, made.certificatePem, 0o600);
      writeAtomic(keyPath, made.keyPem, 0o600);
    }
    this.#open();
  }

  /** The hash that nodes know the hub's key by; undefined without TLS, and for the certificate of an authority, which is known by its name. */
  get pin(): string | undefined {
    const certificate = this.#wish.port === undefined ? undefined : readText(this.#options.certificatePath);
    if (certificate === undefined) return undefined;
    return isSelfIssued(certificate) ? keyHashOfCertificate(certificate) : undefined;
  }

  /** What the process says of itself, for people. */
  get status(): TlsStatus | undefined {
    return this.#process?.status;
  }

  #open(): void {
    if (this.#process !== undefined) return this.#configure();
    this.#opening ??= TlsProcess.open(this.#options.place)
      .then((started) => {
        this.#process = started;
        if (this.#closed) started.close();
        else this.#configure();
      })
      .catch((error: unknown) => {
        warn("cannot start the process for TLS", { error });
        this.#retry = after(RETRY_MS, () => this.#open());
      })
      .finally(() => {
        this.#opening = undefined;
      });
  }

  #configure(): void {
    const { port, tunnelPort } = this.#wish;
    const { certificatePath, keyPath } = this.#options;
    const listener = port === undefined ? {} : { listener: { port, certificatePath, keyPath } };
    try {
      const problems = this.#process?.configure({ tunnelPort, hubs: [], ...listener })?.problems ?? [];
      for (const problem of problems) warn("TLS is not served", { reason: problem });
    } catch (error) {
      warn("cannot configure TLS", { error });
    }
  }

  /** destroy ends the process: the node is no hub any more. */
  async destroy(): Promise<void> {
    this[Symbol.dispose]();
    await this.#opening;
    await this.#process?.destroy();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#process?.close();
  }
}
