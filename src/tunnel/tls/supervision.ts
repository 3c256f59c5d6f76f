/**
 * The process that holds the TLS connections, as the agent has it. It outlives the agent, so that a restart or an upgrade of the agent does
 * not touch traffic; one of another build is succeeded by one of ours, with the same endpoints, in a fraction of a second.
 */
import { every, exists, KeptProcess, type KeptState, type Netns, unixRequest } from "../../sys/mod.ts";
import {
  type Keep,
  keepOf,
  type TlsAnswer,
  type TlsConfig,
  type TlsRequest,
  type TlsStatus,
} from "./config.ts";

const CHECK_MS = 500;
const ANSWER_MS = 5000;

/** TlsProcessOptions say where it answers, and where it lives. */
export interface TlsProcessOptions {
  /** Path of its socket; the folder is there. */
  readonly socket: string;
  readonly netns?: Netns;
  readonly logPath?: string;
  /** Told when an uplink opens or is lost, and when the process ends or runs again. */
  readonly onChange?: () => void;
  /** The program and what stands before `tunnel-tls`; default this executable. */
  readonly command?: readonly string[];
  /** The build that is to run; default ours. */
  readonly build?: string;
}

/** TlsProcess supervises the process. */
export class TlsProcess implements Disposable {
  readonly #options: TlsProcessOptions;
  #process: KeptProcess | undefined;
  #status: TlsStatus | undefined;
  #keep: Keep = {};
  #config: TlsConfig | undefined;
  #timer: Disposable | undefined;
  #closed = false;
  #shown = "";

  private constructor(options: TlsProcessOptions) {
    this.#options = options;
  }

  /** open takes over the process that runs, or starts one; it does nothing until it is configured. */
  static async open(options: TlsProcessOptions): Promise<TlsProcess> {
    const { socket, netns, logPath, command, build } = options;
    const held = new TlsProcess(options);
    // What a process of another build has is to go on under the one that succeeds it.
    const running = ask(socket, { op: "status" });
    if (running !== undefined) held.#learn(running);
    held.#process = await KeptProcess.open({
      command: ["tunnel-tls"],
      socket,
      netns,
      logPath,
      onState: (state) => held.#changed(state),
      ...(command === undefined ? {} : { program: command }),
      ...(build === undefined ? {} : { build }),
      // Its answers have the status in a field.
      describe: () => ask(socket, { op: "status" }),
    });
    held.#timer = every(CHECK_MS, () => held.#look());
    return held;
  }

  /** runningTls returns the process's status without starting one; undefined when none runs. */
  static running(socket: string): TlsStatus | undefined {
    return ask(socket, { op: "status" });
  }

  /** Whether the process runs, or when it is started again. */
  get state(): KeptState {
    return this.#process?.state ?? { kind: "running" };
  }

  /** What it said of itself last. */
  get status(): TlsStatus | undefined {
    return this.#status;
  }

  /** configure says what is wished; it is said again to a process that had to be started again. */
  configure(config: TlsConfig): TlsStatus | undefined {
    this.#config = config;
    this.#tell();
    return this.#status;
  }

  #changed(state: KeptState): void {
    if (state.kind === "running") this.#tell();
    this.#options.onChange?.();
  }

  /** Says the wish to the process. */
  #tell(): void {
    const config = this.#config;
    if (config === undefined || this.#closed) return;
    const status = ask(this.#options.socket, { op: "configure", config, keep: this.#keep });
    if (status !== undefined) this.#learn(status);
  }

  #learn(status: TlsStatus): void {
    this.#status = status;
    if (status.hubs.length > 0) this.#keep = keepOf(status);
    const shown = JSON.stringify([
      status.hubs.map(({ name, state, opened, localPort, reason }) => [
        name,
        state,
        opened,
        localPort,
        reason,
      ]),
      status.problems,
    ]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#options.onChange?.();
  }

  #look(): void {
    if (this.#closed || this.state.kind !== "running") return;
    const status = ask(this.#options.socket, { op: "status" });
    if (status !== undefined) this.#learn(status);
  }

  /** close lets go of the process; it goes on. */
  close(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    this.#process?.close();
  }

  /** destroy ends the process. */
  async destroy(): Promise<void> {
    this.close();
    await this.#process?.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function ask(socket: string, request: TlsRequest): TlsStatus | undefined {
  if (!exists(socket)) return undefined;
  let text: string;
  try {
    text = unixRequest(socket, {
      text: `${JSON.stringify(request)}\n`,
      complete: (answer) => answer.endsWith("\n"),
      timeoutMs: ANSWER_MS,
    });
  } catch {
    // It has ended, and is started again.
    return undefined;
  }
  if (text === "") return undefined;
  const answer = JSON.parse(text) as TlsAnswer;
  if ("error" in answer) throw new Error(`Cannot configure causeway tunnel-tls: ${answer.error}`);
  return answer.status;
}
