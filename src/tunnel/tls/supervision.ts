/**
 * The process that holds the TLS connections, as the agent has it. It outlives the agent, so that a restart or an upgrade of the agent does
 * not touch traffic; one of another build is succeeded by one of ours, with the same endpoints, in a fraction of a second.
 */
import {
  after,
  BUILD,
  COMPILED,
  environmentVariable,
  every,
  executablePath,
  exists,
  isAlive,
  monotonicMs,
  type Netns,
  readText,
  removeTree,
  shortenLog,
  sleep,
  spawnDetached,
  terminate,
  unixPeer,
  unixRequest,
} from "../../sys/mod.ts";
import type { TunnelState } from "../backend.ts";
import {
  type Keep,
  keepOf,
  type TlsAnswer,
  type TlsConfig,
  type TlsRequest,
  type TlsStatus,
} from "./config.ts";
import { pauseMs } from "./uplink.ts";

const CHECK_MS = 500;
const LOOK_MS = 5;
const START_LIMIT_MS = 30_000;
const ANSWER_MS = 5000;
const MOST_LOG_BYTES = 1 << 20;
const WELL_MS = 60_000;

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
  #state: TunnelState = { kind: "running" };
  #status: TlsStatus | undefined;
  #keep: Keep = {};
  #config: TlsConfig | undefined;
  #pid = 0;
  #startedMs = 0;
  #failures = 0;
  #timer: Disposable | undefined;
  #retry: Disposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  #shown = "";

  private constructor(options: TlsProcessOptions) {
    this.#options = options;
  }

  /** open takes over the process that runs, or starts one; it does nothing until it is configured. */
  static async open(options: TlsProcessOptions): Promise<TlsProcess> {
    const held = new TlsProcess(options);
    const running = held.#ask({ op: "status" });
    if (running === undefined) await held.#start();
    else await held.#adopt(running);
    held.#timer = every(CHECK_MS, () => held.#check());
    return held;
  }

  /** runningTls returns the process's status without starting one; undefined when none runs. */
  static running(socket: string): TlsStatus | undefined {
    return ask(socket, { op: "status" });
  }

  /** Whether the process runs, or when it is started again. */
  get state(): TunnelState {
    return this.#state;
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

  async #adopt(status: TlsStatus): Promise<void> {
    this.#learn(status);
    this.#pid = status.pid;
    this.#startedMs = monotonicMs();
    const wanted = this.#options.build ?? (COMPILED ? BUILD : undefined);
    if (wanted === undefined || status.build === wanted) return;
    await terminate(status.pid);
    await this.#start();
  }

  async #start(): Promise<void> {
    const { socket, netns, logPath } = this.#options;
    const said = logPath === undefined ? 0 : (readText(logPath)?.length ?? 0);
    this.#startedMs = monotonicMs();
    const pid = spawnDetached([...(this.#options.command ?? ownCommand()), "tunnel-tls", socket], {
      // With this one it would be a CNI plugin.
      env: { CNI_COMMAND: undefined },
      cwd: "/",
      onExit: () => {
        if (pid === this.#pid) this.#check();
      },
      ...(netns === undefined ? {} : { netns }),
      ...(logPath === undefined ? {} : { stdoutPath: logPath }),
    });
    while (listenerOf(socket) !== pid) {
      const late = monotonicMs() - this.#startedMs > START_LIMIT_MS;
      if (isAlive(pid) && !late) {
        await sleep(LOOK_MS);
        continue;
      }
      await terminate(pid);
      const words = logPath === undefined ? "" : (readText(logPath)?.slice(said).trim() ?? "");
      throw new Error(
        `Cannot start causeway tunnel-tls: ${words || (late ? "it does not answer" : "it ended at once")}`,
      );
    }
    this.#pid = pid;
    this.#tell();
  }

  /** Says the wish to the process. */
  #tell(): void {
    const config = this.#config;
    if (config === undefined || this.#closed) return;
    const status = this.#ask({ op: "configure", config, keep: this.#keep });
    if (status !== undefined) this.#learn(status);
  }

  #ask(request: TlsRequest): TlsStatus | undefined {
    return ask(this.#options.socket, request);
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

  #check(): void {
    if (this.#closed || this.#pid === 0) return;
    if (this.#options.logPath !== undefined) shortenLog(this.#options.logPath, MOST_LOG_BYTES);
    if (isAlive(this.#pid)) {
      const status = this.#ask({ op: "status" });
      if (status !== undefined) this.#learn(status);
      return;
    }
    this.#pid = 0;
    if (monotonicMs() - this.#startedMs > WELL_MS) this.#failures = 0;
    this.#ended("the process ended");
  }

  #ended(reason: string): void {
    const nextTryMs = pauseMs(++this.#failures, 0);
    this.#state = { kind: "waiting", reason, nextTryMs };
    this.#options.onChange?.();
    this.#retry = after(nextTryMs, () => {
      this.#work = this.#again();
    });
  }

  async #again(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#start();
      this.#state = { kind: "running" };
      this.#options.onChange?.();
    } catch (error) {
      if (!this.#closed) this.#ended(error instanceof Error ? error.message : String(error));
    }
  }

  /** close lets go of the process; it goes on. */
  close(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
  }

  /** destroy ends the process. */
  async destroy(): Promise<void> {
    this.close();
    await this.#work.catch(() => {});
    if (this.#pid !== 0) await terminate(this.#pid);
    removeTree(this.#options.socket);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** This executable; from sources the one that the environment names, or the sources. */
function ownCommand(): readonly string[] {
  if (COMPILED) return [executablePath()];
  const named = environmentVariable("CAUSEWAY_EXECUTABLE");
  return named === undefined
    ? [executablePath(), new URL("../../main.ts", import.meta.url).pathname]
    : [named];
}

function listenerOf(socket: string): number | undefined {
  try {
    return unixPeer(socket).pid;
  } catch {
    // Not there yet.
    return undefined;
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
  const answer = JSON.parse(text) as TlsAnswer;
  if ("error" in answer) throw new Error(`Cannot configure causeway tunnel-tls: ${answer.error}`);
  return answer.status;
}
