/**
 * The process for TLS as the agent holds it: started when there is something to do, told what is wished, and left running when the agent
 * ends. One that cannot be started is tried again.
 */
import { after, removeTree, terminate } from "../sys/mod.ts";
import { type TlsConfig, TlsProcess, type TlsProcessOptions, type TlsStatus } from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";
import { RUN } from "./paths.ts";

/** A process that could not be started is started again after this time. */
const RETRY_MS = 5000;

/** TLS_PLACE is where the process of this node answers. */
export const TLS_PLACE: Pick<TlsProcessOptions, "socket" | "logPath"> = {
  socket: `${RUN}/tls.sock`,
  logPath: `${RUN}/tls.log`,
};

/** TlsHolder owns the way to the process; disposing lets go of it. */
export class TlsHolder implements Disposable {
  readonly #options: TlsProcessOptions;
  #wish: (() => TlsConfig) | undefined;
  #held: TlsProcess | undefined;
  /** What a process of an earlier agent said. */
  readonly #found: TlsStatus | undefined;
  #opening: Promise<void> | undefined;
  #retry: Disposable | undefined;
  #problems = "";
  #closed = false;

  constructor(options: TlsProcessOptions) {
    this.#options = options;
    this.#found = TlsProcess.running(options.socket);
  }

  /** end ends a process that was left, and that nobody wants any more. */
  static async end({ socket }: Pick<TlsProcessOptions, "socket">): Promise<void> {
    const left = TlsProcess.running(socket);
    if (left === undefined) return;
    await terminate(left.pid);
    removeTree(socket);
  }

  /** What the process says of itself; undefined when none runs. */
  get status(): TlsStatus | undefined {
    return this.#held?.status ?? this.#found;
  }

  /** set says what is wished, asked for anew whenever it is told; `idle` is true when that is nothing, for which no process is started. */
  set(wish: () => TlsConfig, { idle }: { readonly idle: boolean }): void {
    this.#wish = wish;
    if (this.#held !== undefined) return this.#tell();
    if (!idle || this.#found !== undefined) this.#open();
  }

  #open(): void {
    if (this.#closed) return;
    this.#opening ??= TlsProcess.open(this.#options)
      .then((started) => {
        this.#held = started;
        if (this.#closed) started.close();
        else this.#tell();
      })
      .catch((error: unknown) => {
        warn("cannot start the process for TLS", { error });
        this.#retry = after(RETRY_MS, () => this.#open());
      })
      .finally(() => {
        this.#opening = undefined;
      });
  }

  #tell(): void {
    let problems: readonly string[];
    try {
      const wish = this.#wish?.();
      problems = (wish && this.#held?.configure(wish)?.problems) ?? [];
    } catch (error) {
      problems = [error instanceof Error ? error.message : String(error)];
    }
    // Said again with each change of the mesh, and told once.
    const text = problems.join("; ");
    if (text !== "" && text !== this.#problems) warn("TLS is not as it should be", { reason: text });
    this.#problems = text;
    this.#options.onChange?.();
  }

  /** destroy ends the process, and so its connections. */
  async destroy(): Promise<void> {
    this[Symbol.dispose]();
    await this.#opening;
    await this.#held?.destroy();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#held?.close();
  }
}
