/**
 * The daemon of the plugin dhcp (containernetworking/plugins), which keeps leases: one of our own beside that of the container runtime, started
 * when a link needs it. It outlives the agent, and so do leases; started anew it knows none.
 */
import { PLUGIN_FOLDERS, pluginProgram } from "../cni/mod.ts";
import { ensureDirectory, KeptProcess, removeTree, unixPeer } from "../sys/mod.ts";

/** EdgeDhcpOptions say where. */
export interface EdgeDhcpOptions {
  readonly run: string;
  readonly folders?: readonly string[] | undefined;
  /** It runs again after it had ended. */
  readonly onRestart: () => void;
}

/** EdgeDhcp owns the daemon; closing it lets it go on. */
export class EdgeDhcp implements Disposable {
  readonly socket: string;
  readonly #options: EdgeDhcpOptions;
  #kept: Promise<KeptProcess> | undefined;

  constructor(options: EdgeDhcpOptions) {
    this.#options = options;
    this.socket = `${options.run}/edge-dhcp.sock`;
  }

  /** open takes the daemon over, or starts it. Throws where there is none, or it does not start. */
  async open(): Promise<void> {
    this.#kept ??= this.#start();
    try {
      await this.#kept;
    } catch (error) {
      this.#kept = undefined;
      throw error;
    }
  }

  async #start(): Promise<KeptProcess> {
    const { run, folders = PLUGIN_FOLDERS, onRestart } = this.#options;
    const program = pluginProgram("dhcp", folders);
    if (program === undefined)
      throw new Error(`there is no plugin "dhcp" in ${folders.join(", ")}; install it`);
    ensureDirectory(run);
    if (daemonAt(this.socket) === undefined) removeTree(this.socket);
    return await KeptProcess.open({
      program: [program],
      command: ["daemon", "-socketpath"],
      socket: this.socket,
      logPath: `${run}/edge-dhcp.log`,
      describe: () => daemonAt(this.socket),
      build: "",
      onState: ({ kind }) => {
        // It refuses to begin where one is that nobody listens on.
        if (kind === "waiting") removeTree(this.socket);
        else onRestart();
      },
    });
  }

  [Symbol.dispose](): void {
    void this.#kept?.then(
      (kept) => kept.close(),
      () => {},
    );
  }
}

/** It has no builds that we would tell apart. */
function daemonAt(socket: string): { readonly build: string; readonly pid: number } | undefined {
  try {
    return { build: "", pid: unixPeer(socket).pid };
  } catch {
    return undefined;
  }
}
