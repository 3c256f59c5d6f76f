/**
 * One link of a user-space WireGuard, and the process that serves it.
 *
 * The process outlives the agent: packets flow while the agent is upgraded, and the new agent takes the process over by its
 * socket. (A systemd unit of the agent needs `KillMode=process` for that.) If the process ends, it is started again with
 * growing pauses; its link is new then, and the engine sees that and makes it what it has to be.
 *
 * Our own engine's process of another build is replaced without loss: a successor takes link, sockets and sessions from it, and the
 * process id changes while link and socket stay. If that fails, the old process goes on and it is tried again later.
 */
import type { WireguardDevice } from "../net/mod.ts";
import {
  after,
  every,
  isAlive,
  monotonicMs,
  Netns,
  programOf,
  removeTree,
  shortenLog,
  sleep,
  terminate,
} from "../sys/mod.ts";
import type { Tunnel, TunnelOptions, TunnelState } from "./backend.ts";
import { type DataplaneStatus, providerText } from "./dataplane-status.ts";
import { makeRoom, markedLink } from "./predecessor.ts";
import { openProbePort, type ProbeOptions, type ProbePort } from "./probe-port.ts";
import { RawProbes } from "./probe-raw.ts";
import { type RelayControl, RelayClient } from "./relay/mod.ts";
import { listener, settledListener, socketOf, startProgram } from "./program-start.ts";
import { UapiDevice } from "./uapi-device.ts";
import type { UserProgram } from "./user-program.ts";

const CHECK_MS = 1000;
/** Before the first start after an end: most processes that end are well when they are started again. */
const SHORT_PAUSE_MS = 20;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** Taking over is tried again less and less often: what goes on with the old process is not broken. */
const FIRST_TAKE_OVER_PAUSE_MS = 60_000;
const LONGEST_TAKE_OVER_PAUSE_MS = 3_600_000;
/** A process that handed everything over may take so long to end. */
const FAREWELL_MS = 10_000;
/** The program's log is emptied above this size: it has a line for every packet that the network refuses, and no end. */
const MOST_LOG_BYTES = 1024 * 1024;
/** A process that ran this long was well: its end begins a new series of pauses. */
const WELL_MS = 60_000;

/** restartPauseMs returns how long to wait before the next start, after so many failures in a row (at least one). */
export function restartPauseMs(failures: number): number {
  return failures <= 1 ? SHORT_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 2));
}

/** takeOverPauseMs returns how long to wait before the next attempt to take over, after so many failures in a row (at least one). */
export function takeOverPauseMs(failures: number): number {
  return Math.min(LONGEST_TAKE_OVER_PAUSE_MS, FIRST_TAKE_OVER_PAUSE_MS * 2 ** (failures - 1));
}

/** UserOptions say what runs the link. */
export type UserOptions = TunnelOptions & { readonly program: UserProgram };

/** UserTunnel is one link with the process that serves it. */
export class UserTunnel implements Tunnel {
  readonly linkType = "external";
  readonly link: string;
  readonly device: WireguardDevice;
  readonly relay: (RelayControl & { renew(): void }) | undefined;
  state: TunnelState = { kind: "running" };
  readonly #options: UserOptions;
  readonly #program: UserProgram;
  readonly #socket: string;
  readonly #resources = new DisposableStack();
  #retry: Disposable | undefined;
  /** A start or a take-over that is under way. */
  #work: Promise<void> = Promise.resolve();
  #takingOver = false;
  #pid = 0;
  #startedMs = 0;
  #failures = 0;
  #takeOverFailures = 0;
  #closed = false;
  #described: DataplaneStatus | undefined;

  private constructor(link: string, options: UserOptions) {
    this.link = link;
    this.#options = options;
    this.#program = options.program;
    this.#socket = socketOf(link);
    this.device = new UapiDevice(this.#socket, { tellsNews: options.program.tellsNews === true });
    this.relay = options.program.relays === true ? new RelayClient(this.#socket) : undefined;
  }

  static async open(link: string, options: UserOptions): Promise<UserTunnel> {
    const tunnel = new UserTunnel(link, options);
    const running = await settledListener(tunnel.#socket);
    if (running === undefined) {
      await makeRoom(link, { netns: options.netns, linkType: tunnel.linkType });
      await tunnel.#start();
    } else await tunnel.#adopt(running);
    const help = options.program.accompany?.(tunnel.device, options);
    if (help !== undefined) tunnel.#resources.use(help);
    // A process that another agent started is not our child: nothing but looking tells that it ended.
    tunnel.#resources.use(every(CHECK_MS, () => tunnel.#check()));
    return tunnel;
  }

  /** What the process says of itself now; of one that ended, what it said last. Other programs than ours say nothing. */
  get dataplane(): DataplaneStatus | undefined {
    try {
      this.#described = this.#program.describe?.(this.#socket) ?? this.#described;
    } catch {
      // It has ended, and is started again.
    }
    return this.#described;
  }

  get provider(): string {
    const status = this.dataplane;
    return status === undefined ? this.#program.provider : providerText(status);
  }

  async #adopt(pid: number): Promise<void> {
    const program = programOf(pid) ?? "a process that cannot be seen";
    if (!this.#isHere(pid))
      throw new Error(
        `Cannot open tunnel ${this.link}: ${program} (pid ${pid}) runs it in another network namespace; ` +
          "stop it or choose another link name",
      );
    if (this.#program.serves(this.#socket, pid)) {
      this.#pid = pid;
      this.#startedMs = monotonicMs();
      return this.#takeOverIfOther();
    }
    if (markedLink(this.link, this.#options) === undefined)
      throw new Error(
        `Cannot open tunnel ${this.link}: ${this.#socket} belongs to ${program} ` +
          `(pid ${pid}), not to ${this.#program.provider}; stop it or choose another link name`,
      );
    // Another back-end of ours ran it before the choice was changed.
    await terminate(pid);
    await this.#start();
  }

  #isHere(pid: number): boolean {
    using theirs = Netns.open(`/proc/${pid}/ns/net`);
    using home = this.#options.netns === undefined ? Netns.current() : undefined;
    return theirs.inode === (this.#options.netns ?? home)?.inode;
  }

  async #start(): Promise<void> {
    removeTree(this.#socket);
    this.#startedMs = monotonicMs();
    this.#pid = await startProgram(this.#whatToStart());
  }

  #whatToStart() {
    const { link } = this;
    const { program, netns, logPath } = this.#options;
    const onExit = (pid: number) => {
      if (pid === this.#pid) this.#check();
    };
    return { program, link, netns, logPath, onExit };
  }

  /** Starts a successor if the process that serves the link is of another build. */
  #takeOverIfOther(): void {
    const { build } = this.#program;
    if (build === undefined || this.#closed || this.#pid === 0) return;
    if (this.dataplane?.build === build) return this.#current();
    this.#takingOver = true;
    this.#work = this.#takeOver();
  }

  async #takeOver(): Promise<void> {
    const before = this.#pid;
    try {
      this.#pid = await startProgram({ ...this.#whatToStart(), takeOver: true });
      this.#startedMs = monotonicMs();
      this.#current();
      this.#renewRelay();
      void farewell(before);
    } catch (error) {
      if (this.#closed) return;
      const nextTryMs = takeOverPauseMs(++this.#takeOverFailures);
      this.#become({ kind: "outdated", reason: messageOf(error), nextTryMs });
      this.#later(nextTryMs, () => this.#takeOverIfOther());
    } finally {
      this.#takingOver = false;
      this.#check();
    }
  }

  #current(): void {
    this.#takeOverFailures = 0;
    if (!this.#closed && this.state.kind === "outdated") this.#become({ kind: "running" });
  }

  /** Starts the next attempt when the process is gone and none is under way. */
  #check(): void {
    if (this.#closed || this.#pid === 0 || this.#takingOver) return;
    if (this.#options.logPath !== undefined) shortenLog(this.#options.logPath, MOST_LOG_BYTES);
    if (isAlive(this.#pid)) return;
    this.#pid = this.#heir() ?? 0;
    if (this.#pid !== 0) {
      this.#renewRelay();
      if (this.state.kind === "outdated") this.#takeOverIfOther();
      return;
    }
    if (monotonicMs() - this.#startedMs > WELL_MS) this.#failures = 0;
    this.#ended("the process ended");
  }

  /** A process that took the link over without us: started by hand, or slower than we waited. */
  #heir(): number | undefined {
    try {
      const pid = listener(this.#socket);
      if (pid === undefined || !isAlive(pid)) return undefined;
      return this.#isHere(pid) && this.#program.serves(this.#socket, pid) ? pid : undefined;
    } catch {
      // Nobody who answers.
      return undefined;
    }
  }

  #ended(reason: string): void {
    const nextTryMs = restartPauseMs(++this.#failures);
    this.#become({ kind: "waiting", reason, nextTryMs });
    this.#later(nextTryMs, () => void this.#again());
  }

  async #again(): Promise<void> {
    if (this.#closed) return;
    try {
      this.#work = this.#start();
      await this.#work;
      this.#renewRelay();
      if (!this.#closed) this.#become({ kind: "running" });
    } catch (error) {
      if (!this.#closed) this.#ended(messageOf(error));
    }
  }

  /** Another process serves: it may be of a build that was told nothing. */
  #renewRelay(): void {
    try {
      this.relay?.renew();
    } catch {
      // It has ended again; the next one is told.
    }
  }

  #later(waitMs: number, work: () => void): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = after(waitMs, work);
  }

  #become(state: TunnelState): void {
    this.state = state;
    this.#options.onChange?.(state);
  }

  probes(options: ProbeOptions): ProbePort {
    return openProbePort(
      { ...options, netns: this.#options.netns },
      (place) => this.#program.hears?.(this.#socket, place) ?? new RawProbes(place),
    );
  }

  close(): void {
    this.#closed = true;
    this.#resources.dispose();
    this.#retry?.[Symbol.dispose]();
  }

  async destroy(): Promise<void> {
    this.close();
    await this.#work.catch(() => {});
    // The link goes with the process that holds its descriptor.
    if (this.#pid !== 0) await terminate(this.#pid);
    removeTree(this.#socket);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A process that handed over ends by itself; one that does not would read packets that are not its own any more. */
async function farewell(pid: number): Promise<void> {
  for (const endMs = monotonicMs() + FAREWELL_MS; isAlive(pid) && monotonicMs() < endMs;) await sleep(50);
  if (isAlive(pid)) await terminate(pid);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
