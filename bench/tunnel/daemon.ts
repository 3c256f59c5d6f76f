/** One WireGuard process that makes its own link and answers at a UAPI socket: ours or wireguard-go. */
import { mkdirSync } from "node:fs";
import { isAlive, isErrno, signal, spawnDetached, unixPeer } from "../../src/sys/mod.ts";
import { UapiDevice } from "../../src/tunnel/mod.ts";
import type { CableEnd } from "./cable.ts";

const SOCKETS = "/var/run/wireguard";
const START_LIMIT_MS = 10_000;

/** DaemonOptions say what runs. `argv` gets the link's name appended. */
export interface DaemonOptions {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cpu?: number;
}

/** Daemon is the process. */
export class Daemon implements Disposable {
  readonly pid: number;
  readonly link: string;
  readonly device: UapiDevice;

  private constructor(pid: number, link: string) {
    this.pid = pid;
    this.link = link;
    this.device = new UapiDevice(`${SOCKETS}/${link}.sock`);
  }

  /** start runs the program in an end's namespace; its errors go to a file in /run that is shown if it does not start. */
  static async start({ netns }: CableEnd, link: string, options: DaemonOptions): Promise<Daemon> {
    mkdirSync(SOCKETS, { recursive: true });
    const { cpu, argv, env = {} } = options;
    const log = `/run/${link}.log`;
    const pinned = cpu === undefined ? argv : ["taskset", "-c", `${cpu}`, ...argv];
    const pid = spawnDetached([...pinned, link], { netns, env, cwd: "/", stdoutPath: log });
    const end = performance.now() + START_LIMIT_MS;
    while (listener(`${SOCKETS}/${link}.sock`) !== pid) {
      if (!isAlive(pid) || performance.now() > end)
        throw new Error(`Cannot start ${argv.join(" ")} ${link}: ${await Bun.file(log).text()}`);
      await Bun.sleep(5);
    }
    return new Daemon(pid, link);
  }

  [Symbol.dispose](): void {
    signal(this.pid, "SIGKILL");
  }
}

function listener(path: string): number | undefined {
  try {
    return unixPeer(path).pid;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ECONNREFUSED")) return undefined;
    throw error;
  }
}
