/**
 * One link of a user-space WireGuard, and the process that serves it.
 *
 * The process outlives the agent: packets flow while the agent is upgraded, and the new agent takes the process over by its
 * socket. (A systemd unit of the agent needs `KillMode=process` for that.) If the process ends, it is started again with
 * growing pauses; its link is new then, and the engine sees that and makes it what it has to be.
 */
import type { WireguardDevice } from "../net/mod.ts";
import {
  after,
  ensureDirectory,
  every,
  exists,
  isAlive,
  isErrno,
  monotonicMs,
  Netns,
  programOf,
  readText,
  removeTree,
  shortenLog,
  sleep,
  spawnDetached,
  terminate,
  unixPeer,
} from "../sys/mod.ts";
import type { Tunnel, TunnelOptions, TunnelState } from "./backend.ts";
import { followAddresses } from "./sources.ts";
import { UapiDevice } from "./uapi-device.ts";

/** Where wireguard-go makes its sockets; built into it (ipc/uapi_unix.go). */
const SOCKETS = "/var/run/wireguard";
const START_LIMIT_MS = 10_000;
const CHECK_MS = 1000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** The program's log is emptied above this size: it has a line for every packet that the network refuses, and no end. */
const MOST_LOG_BYTES = 1024 * 1024;
/** A process that ran this long was well: its end begins a new series of pauses. */
const WELL_MS = 60_000;

/** restartPauseMs returns how long to wait before the next start, after so many failures in a row (at least one). */
export function restartPauseMs(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
}

/** UserOptions say what runs the link. */
export type UserOptions = TunnelOptions & { readonly path: string; readonly provider: string };

/** UserTunnel is one link with the process that serves it. */
export class UserTunnel implements Tunnel {
  readonly linkType = "external";
  readonly link: string;
  readonly provider: string;
  readonly device: WireguardDevice;
  state: TunnelState = { kind: "running" };
  readonly #options: UserOptions;
  readonly #socket: string;
  readonly #resources = new DisposableStack();
  #retry: Disposable | undefined;
  #starting: Promise<void> = Promise.resolve();
  #pid = 0;
  #startedMs = 0;
  #failures = 0;
  #closed = false;

  private constructor(link: string, options: UserOptions) {
    this.link = link;
    this.provider = options.provider;
    this.#options = options;
    this.#socket = `${SOCKETS}/${link}.sock`;
    this.device = new UapiDevice(this.#socket);
  }

  static async open(link: string, options: UserOptions): Promise<UserTunnel> {
    const tunnel = new UserTunnel(link, options);
    const running = await settled(tunnel.#socket);
    if (running === undefined) await tunnel.#start();
    else tunnel.#adopt(running);
    tunnel.#resources.use(followAddresses(tunnel.device, options));
    // A process that another agent started is not our child: nothing but looking tells that it ended.
    tunnel.#resources.use(every(CHECK_MS, () => tunnel.#check()));
    return tunnel;
  }

  #adopt(pid: number): void {
    const program = programOf(pid);
    const expected = this.#options.path.slice(this.#options.path.lastIndexOf("/") + 1).slice(0, 15);
    if (program !== expected)
      throw new Error(
        `Cannot open tunnel ${this.link}: ${this.#socket} belongs to ${program ?? "a process that cannot be seen"} ` +
          `(pid ${pid}), not to ${expected}; stop it or choose another link name`,
      );
    using theirs = Netns.open(`/proc/${pid}/ns/net`);
    using home = this.#options.netns === undefined ? Netns.current() : undefined;
    if (theirs.inode !== (this.#options.netns ?? home)?.inode)
      throw new Error(
        `Cannot open tunnel ${this.link}: ${program} (pid ${pid}) runs it in another network namespace; ` +
          "stop it or choose another link name",
      );
    this.#pid = pid;
    this.#startedMs = monotonicMs();
  }

  async #start(): Promise<void> {
    const { path, netns, logPath } = this.#options;
    if (!exists(SOCKETS)) ensureDirectory(SOCKETS, 0o700);
    removeTree(this.#socket);
    const logged = logPath === undefined ? 0 : (readText(logPath)?.length ?? 0);
    this.#startedMs = monotonicMs();
    const pid = spawnDetached([path, "-f", this.link], {
      env: { LOG_LEVEL: "error", WG_TUN_FD: undefined, WG_UAPI_FD: undefined },
      cwd: "/",
      onExit: () => {
        if (pid === this.#pid) this.#check();
      },
      ...(netns === undefined ? {} : { netns }),
      ...(logPath === undefined ? {} : { stdoutPath: logPath }),
    });
    while (listener(this.#socket) !== pid) {
      const late = monotonicMs() - this.#startedMs > START_LIMIT_MS;
      if (isAlive(pid) && !late) {
        await sleep(2);
        continue;
      }
      await terminate(pid);
      const said = logPath === undefined ? "" : (readText(logPath)?.slice(logged).trim() ?? "");
      const cause = late
        ? `no socket after ${START_LIMIT_MS / 1000} s`
        : said === ""
          ? "it ended at once"
          : said;
      throw new Error(
        `Cannot start ${this.provider} for ${this.link}: ${cause}; it needs /dev/net/tun and a free link name`,
      );
    }
    this.#pid = pid;
  }

  /** Starts the next attempt when the process is gone and none is under way. */
  #check(): void {
    if (this.#closed || this.#pid === 0) return;
    if (this.#options.logPath !== undefined) shortenLog(this.#options.logPath, MOST_LOG_BYTES);
    if (isAlive(this.#pid)) return;
    this.#pid = 0;
    if (monotonicMs() - this.#startedMs > WELL_MS) this.#failures = 0;
    this.#later("the process ended");
  }

  #later(reason: string): void {
    this.#failures++;
    const nextTryMs = restartPauseMs(this.#failures);
    this.#become({ kind: "waiting", reason, nextTryMs });
    this.#retry = after(nextTryMs, () => void this.#again());
  }

  async #again(): Promise<void> {
    if (this.#closed) return;
    try {
      this.#starting = this.#start();
      await this.#starting;
      if (!this.#closed) this.#become({ kind: "running" });
    } catch (error) {
      if (!this.#closed) this.#later(error instanceof Error ? error.message : String(error));
    }
  }

  #become(state: TunnelState): void {
    this.state = state;
    this.#options.onChange?.(state);
  }

  close(): void {
    this.#closed = true;
    this.#resources.dispose();
    this.#retry?.[Symbol.dispose]();
  }

  async destroy(): Promise<void> {
    this.close();
    await this.#starting.catch(() => {});
    // The link goes with the process that holds its descriptor.
    if (this.#pid !== 0) await terminate(this.#pid);
    removeTree(this.#socket);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The process that listens on a socket; undefined when none does. */
function listener(socket: string): number | undefined {
  try {
    const { pid } = unixPeer(socket);
    if (pid === 0)
      throw new Error(
        `${socket} is served from outside this process namespace; stop that or choose another link name`,
      );
    return pid;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ECONNREFUSED")) return undefined;
    throw error;
  }
}

/** The process that listens on a socket, after one that is just ending has ended. */
async function settled(socket: string): Promise<number | undefined> {
  for (;;) {
    const pid = listener(socket);
    if (pid === undefined) return undefined;
    if (!isAlive(pid)) await sleep(2);
    else return pid;
  }
}
