/**
 * The relay's process beside the kernel's WireGuard, as the agent has it. It outlives the agent; one of another build is replaced by one of ours, and then nodes
 * make their sessions through it anew, as after a restart of a hub.
 */
import {
  after,
  BUILD,
  COMPILED,
  ensureDirectory,
  environmentVariable,
  every,
  executablePath,
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
import { type DataplaneStatus, decodeDataplaneStatus, GET_DATAPLANE } from "../dataplane-status.ts";
import { RelayClient, type RelayConfig, type RelayControl, type RelayStatus } from "../relay/mod.ts";
import { isWhole } from "../uapi-field.ts";

const FOLDER = "/run/causeway";
const CHECK_MS = 1000;
const LOOK_MS = 5;
/** A start takes a tenth of a second; on an emulated processor, beside others, it was 30 s. */
const START_LIMIT_MS = 90_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
const WELL_MS = 60_000;
const MOST_LOG_BYTES = 1 << 20;

/** RelayProcessOptions say for which link. */
export interface RelayProcessOptions {
  readonly link: string;
  readonly netns?: Netns | undefined;
  readonly logPath?: string | undefined;
  readonly onChange?: ((state: TunnelState) => void) | undefined;
  /** The program and what stands before `hub-relay`; default this executable. */
  readonly command?: readonly string[];
  /** The build that is to run; default ours. */
  readonly build?: string;
}

/** RelayProcess supervises the process. */
export class RelayProcess implements RelayControl, Disposable {
  state: TunnelState = { kind: "running" };
  readonly #options: RelayProcessOptions;
  readonly #socket: string;
  readonly #client: RelayClient;
  #pid = 0;
  #startedMs = 0;
  #failures = 0;
  #timer: Disposable | undefined;
  #retry: Disposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: RelayProcessOptions) {
    this.#options = options;
    this.#socket = `${FOLDER}/${options.link}.relay.sock`;
    this.#client = new RelayClient(this.#socket);
  }

  /** open takes over the process that runs, or starts one. One that cannot be started is tried again, and `state` says so: the hub's own tunnel needs none. */
  static async open(options: RelayProcessOptions): Promise<RelayProcess> {
    const held = new RelayProcess(options);
    const running = held.#describe();
    const wanted = options.build ?? (COMPILED ? BUILD : undefined);
    if (running !== undefined && (wanted === undefined || running.build === wanted)) held.#adopt(running);
    else {
      if (running !== undefined) await terminate(running.pid);
      await held.#again();
    }
    held.#timer = every(CHECK_MS, () => held.#check());
    return held;
  }

  #adopt({ pid }: DataplaneStatus): void {
    this.#pid = pid;
    this.#startedMs = monotonicMs();
  }

  set(config: RelayConfig): void {
    this.#client.set(config);
  }

  status(): RelayStatus | undefined {
    return this.#client.status();
  }

  /** See DataplaneStatus. */
  get life(): number | undefined {
    return this.#describe()?.life;
  }

  #describe(): DataplaneStatus | undefined {
    try {
      return decodeDataplaneStatus(unixRequest(this.#socket, { text: GET_DATAPLANE, complete: isWhole }));
    } catch {
      // Nobody is there, or it has just ended.
      return undefined;
    }
  }

  async #start(): Promise<void> {
    const { link, netns, logPath, command } = this.#options;
    ensureDirectory(FOLDER);
    const said = logPath === undefined ? 0 : (readText(logPath)?.length ?? 0);
    this.#startedMs = monotonicMs();
    const pid = spawnDetached([...(command ?? ownCommand()), "hub-relay", link, this.#socket], {
      // With this one it would be a CNI plugin.
      env: { CNI_COMMAND: undefined },
      cwd: "/",
      onExit: () => {
        if (pid === this.#pid) this.#check();
      },
      ...(netns === undefined ? {} : { netns }),
      ...(logPath === undefined ? {} : { stdoutPath: logPath }),
    });
    while (listenerOf(this.#socket) !== pid) {
      const late = monotonicMs() - this.#startedMs > START_LIMIT_MS;
      if (isAlive(pid) && !late) {
        await sleep(LOOK_MS);
        continue;
      }
      await terminate(pid);
      const words = logPath === undefined ? "" : (readText(logPath)?.slice(said).trim() ?? "");
      throw new Error(words || (late ? "it does not answer" : "it ended at once"));
    }
    this.#pid = pid;
    try {
      this.#client.renew();
    } catch {
      // It has ended again; the next one is told.
    }
  }

  #check(): void {
    if (this.#closed || this.#pid === 0) return;
    if (this.#options.logPath !== undefined) shortenLog(this.#options.logPath, MOST_LOG_BYTES);
    if (isAlive(this.#pid)) return;
    this.#pid = 0;
    if (monotonicMs() - this.#startedMs > WELL_MS) this.#failures = 0;
    this.#ended("it ended");
  }

  #ended(why: string): void {
    const nextTryMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    this.#become({
      kind: "waiting",
      reason: `the hub relays nothing without causeway hub-relay: ${why}`,
      nextTryMs,
    });
    this.#retry = after(nextTryMs, () => {
      this.#work = this.#again();
    });
  }

  async #again(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#start();
      if (this.state.kind !== "running") this.#become({ kind: "running" });
    } catch (error) {
      if (!this.#closed) this.#ended(error instanceof Error ? error.message : String(error));
    }
  }

  #become(state: TunnelState): void {
    this.state = state;
    this.#options.onChange?.(state);
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
    const pid = this.#pid === 0 ? this.#describe()?.pid : this.#pid;
    if (pid !== undefined) await terminate(pid);
    removeTree(this.#socket);
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
