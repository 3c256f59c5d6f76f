/**
 * A process of this executable that outlives its starter: it is found again by its socket, succeeded when it is of another build, and started
 * again when it ends. It answers `{"op":"status"}` with at least `{"build":…,"pid":…}`.
 */
import { BUILD, COMPILED } from "./build.ts";
import { after, every, monotonicMs, sleep } from "./clock.ts";
import { environmentVariable, executablePath } from "./environment.ts";
import { exists, readText, removeTree, shortenLog } from "./file.ts";
import type { Netns } from "./netns.ts";
import { isAlive, spawnDetached, terminate } from "./process.ts";
import { unixPeer, unixRequest } from "./unix-client.ts";

const CHECK_MS = 500;
const LOOK_MS = 5;
/** A start takes a tenth of a second; on an emulated processor, beside others, it was 30 s. */
const START_LIMIT_MS = 90_000;
const ANSWER_MS = 5000;
const MOST_LOG_BYTES = 1 << 20;
const WELL_MS = 60_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 30_000;

/** KeptState says whether the process runs, or when it is started again. */
export type KeptState =
  | { readonly kind: "running" }
  | { readonly kind: "waiting"; readonly reason: string; readonly nextTryMs: number };

/** KeptProcessOptions say what runs, and where it answers. */
export interface KeptProcessOptions {
  /** The command of this executable, such as `bfd run`. */
  readonly command: readonly string[];
  /** Path of its socket; the folder is there. */
  readonly socket: string;
  /** Whether the path is its last argument; default true. */
  readonly tellsSocket?: boolean;
  readonly netns?: Netns | undefined;
  readonly logPath?: string | undefined;
  /** Told when the process ends, and when it runs again. */
  readonly onState?: (state: KeptState) => void;
  /** The program and what stands before the command; default this executable. */
  readonly program?: readonly string[];
  /** The build that is to run; default ours. */
  readonly build?: string;
  /** Asks a process that may run what it is; default keptStatus. */
  readonly describe?: () => { readonly build: string; readonly pid: number } | undefined;
}

/** KeptProcess supervises one. */
export class KeptProcess implements Disposable {
  readonly #options: KeptProcessOptions;
  #state: KeptState = { kind: "running" };
  #pid = 0;
  #startedMs = 0;
  #failures = 0;
  #timer: Disposable | undefined;
  #retry: Disposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: KeptProcessOptions) {
    this.#options = options;
  }

  /** open takes over the process that runs, or starts one; throws with its words if it does not start. */
  static async open(options: KeptProcessOptions): Promise<KeptProcess> {
    const kept = new KeptProcess(options);
    const running = options.describe === undefined ? keptStatus(options.socket) : options.describe();
    if (running === undefined) await kept.#start();
    else await kept.#adopt(running);
    kept.#timer = every(CHECK_MS, () => kept.#check());
    return kept;
  }

  get state(): KeptState {
    return this.#state;
  }

  get pid(): number {
    return this.#pid;
  }

  async #adopt(running: { readonly build: string; readonly pid: number }): Promise<void> {
    this.#pid = running.pid;
    this.#startedMs = monotonicMs();
    const wanted = this.#options.build ?? (COMPILED ? BUILD : undefined);
    if (wanted === undefined || running.build === wanted) return;
    await terminate(running.pid);
    await this.#start();
  }

  async #start(): Promise<void> {
    const { command, socket, netns, logPath, tellsSocket = true } = this.#options;
    const said = logPath === undefined ? 0 : (readText(logPath)?.length ?? 0);
    this.#startedMs = monotonicMs();
    const pid = spawnDetached(
      [...(this.#options.program ?? ownProgram()), ...command, ...(tellsSocket ? [socket] : [])],
      {
        // With this one it would be a CNI plugin.
        env: { CNI_COMMAND: undefined },
        cwd: "/",
        onExit: () => {
          if (pid === this.#pid) this.#check();
        },
        ...(netns === undefined ? {} : { netns }),
        ...(logPath === undefined ? {} : { stdoutPath: logPath }),
      },
    );
    while (listenerOf(socket) !== pid) {
      const late = monotonicMs() - this.#startedMs > START_LIMIT_MS;
      if (isAlive(pid) && !late) {
        await sleep(LOOK_MS);
        continue;
      }
      await terminate(pid);
      const words = logPath === undefined ? "" : (readText(logPath)?.slice(said).trim() ?? "");
      const reason = words || (late ? "it does not answer" : "it ended at once");
      throw new Error(`Cannot start causeway ${command.join(" ")}: ${reason}`);
    }
    this.#pid = pid;
  }

  #check(): void {
    if (this.#closed || this.#pid === 0) return;
    if (this.#options.logPath !== undefined) shortenLog(this.#options.logPath, MOST_LOG_BYTES);
    if (isAlive(this.#pid)) return;
    this.#pid = 0;
    if (monotonicMs() - this.#startedMs > WELL_MS) this.#failures = 0;
    this.#wait("the process ended");
  }

  #wait(reason: string): void {
    const nextTryMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures++, LONGEST_PAUSE_MS);
    this.#tell({ kind: "waiting", reason, nextTryMs });
    this.#retry = after(nextTryMs, () => {
      this.#work = this.#again();
    });
  }

  async #again(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#start();
      this.#tell({ kind: "running" });
    } catch (error) {
      if (!this.#closed) this.#wait(error instanceof Error ? error.message : String(error));
    }
  }

  #tell(state: KeptState): void {
    this.#state = state;
    this.#options.onState?.(state);
  }

  /** settled resolves when no start is under way. */
  settled(): Promise<void> {
    return this.#work;
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

/** keptStatus asks the process at a socket for its status, without starting one; undefined when none answers. */
export function keptStatus(
  socket: string,
): { readonly build: string; readonly pid: number; readonly [field: string]: unknown } | undefined {
  if (!exists(socket)) return undefined;
  try {
    const text = unixRequest(socket, {
      text: '{"op":"status"}\n',
      complete: (answer) => answer.endsWith("\n"),
      timeoutMs: ANSWER_MS,
    });
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    // It has ended, and is started again.
    return undefined;
  }
}

/** This executable; from sources the one that the environment names, or the sources. */
function ownProgram(): readonly string[] {
  if (COMPILED) return [executablePath()];
  const named = environmentVariable("CAUSEWAY_EXECUTABLE");
  return named === undefined ? [executablePath(), new URL("../main.ts", import.meta.url).pathname] : [named];
}

function listenerOf(socket: string): number | undefined {
  try {
    return unixPeer(socket).pid;
  } catch {
    // Not there yet.
    return undefined;
  }
}
