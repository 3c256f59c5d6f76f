/** The data-plane process itself, without the supervision of a back-end: started with any arguments, and seen to end. */
import { readFileSync, rmSync } from "node:fs";
import { isAlive, isErrno, type Netns, unixPeer, unixRequest } from "../../src/sys/mod.ts";
import type { Tunnel, TunnelBackend } from "../../src/tunnel/backend.ts";
import {
  type DataplaneStatus,
  decodeDataplaneStatus,
  GET_DATAPLANE,
} from "../../src/tunnel/dataplane-status.ts";
import { openProbePort } from "../../src/tunnel/probe-port.ts";
import { OthersProbes } from "../../src/tunnel/probe-others.ts";
import { UapiDevice } from "../../src/tunnel/uapi-device.ts";
import { isWhole } from "../../src/tunnel/uapi-field.ts";
import { until } from "./tunnel-pair.ts";

/** The executable under test; without one, the sources. */
const command: readonly string[] =
  process.env.CAUSEWAY_EXECUTABLE === undefined
    ? [process.execPath, `${import.meta.dir}/../../src/main.ts`]
    : [process.env.CAUSEWAY_EXECUTABLE];

/** socketOf is where a link's process answers. */
export const socketOf = (link: string) => `/var/run/wireguard/${link}.sock`;

/** DataplaneOptions say how it is started. */
export interface DataplaneOptions {
  readonly netns: Netns;
  /** After the name of the link. */
  readonly args?: readonly string[];
  /** Before the program: what runs it. */
  readonly wrapper?: readonly string[];
}

/** DataplaneProcess is one that was started; disposing kills it. */
export class DataplaneProcess implements AsyncDisposable {
  readonly link: string;
  readonly device: UapiDevice;
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly #said: Promise<string>;

  private constructor(link: string, child: Bun.Subprocess<"ignore", "ignore", "pipe">) {
    this.link = link;
    this.device = new UapiDevice(socketOf(link), { tellsNews: true });
    this.#child = child;
    this.#said = child.stderr.text();
  }

  /** spawn starts one and waits for nothing. */
  static spawn(link: string, { netns, args = [], wrapper = [] }: DataplaneOptions): DataplaneProcess {
    const child = netns.run(() => ({
      child: Bun.spawn([...wrapper, ...command, "dataplane", link, ...args], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
        env: { ...process.env, CNI_COMMAND: undefined },
        cwd: "/",
      }),
    }));
    return new DataplaneProcess(link, child.child);
  }

  /** start starts one that serves; rejects with what it said if it does not. */
  static async start(link: string, options: DataplaneOptions): Promise<DataplaneProcess> {
    const started = DataplaneProcess.spawn(link, options);
    try {
      await until("the data plane serves", () => {
        if (!started.runs) throw new Error("the data plane ended");
        return started.serves;
      });
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw new Error(`${error instanceof Error ? error.message : error}: ${await started.#said}`);
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  get runs(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && isAlive(this.pid);
  }

  get serves(): boolean {
    try {
      return unixPeer(socketOf(this.link)).pid === this.pid;
    } catch (error) {
      if (isErrno(error, "ENOENT", "ECONNREFUSED")) return false;
      throw error;
    }
  }

  get status(): DataplaneStatus {
    return decodeDataplaneStatus(
      unixRequest(socketOf(this.link), { text: GET_DATAPLANE, complete: isWhole }),
    );
  }

  /** Resident memory that is its own. */
  get ownBytes(): number {
    const text = readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
    const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
    return 1024 * (of("Private_Dirty") + of("Shared_Dirty"));
  }

  /** ended resolves when it has, with its status and what it said. */
  async ended(): Promise<{
    readonly status: number | null;
    readonly signal: unknown;
    readonly said: string;
  }> {
    await this.#child.exited;
    return { status: this.#child.exitCode, signal: this.#child.signalCode, said: await this.#said };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    if (!isListening(this.link)) rmSync(socketOf(this.link), { force: true });
  }
}

function isListening(link: string): boolean {
  try {
    unixPeer(socketOf(link));
    return true;
  } catch {
    return false;
  }
}

/** DataplaneTunnel is a tunnel of the back-end below, with its process. */
export type DataplaneTunnel = Tunnel & { readonly process: DataplaneProcess };

/** dataplaneBackend makes tunnels of such processes. */
export function dataplaneBackend(...args: readonly string[]): TunnelBackend {
  return {
    name: "user",
    provider: "causeway",
    linkType: "external",
    open: async (link, { netns } = {}): Promise<DataplaneTunnel> => {
      if (netns === undefined) throw new Error("a test's tunnel has a namespace");
      const started = await DataplaneProcess.start(link, { netns, args });
      const close = () => {};
      return {
        link,
        provider: "causeway",
        linkType: "external",
        state: { kind: "running" },
        process: started,
        device: started.device,
        probes: (probing) =>
          openProbePort({ ...probing, netns }, (place) => new OthersProbes(socketOf(link), place)),
        close,
        destroy: () => started[Symbol.asyncDispose](),
        [Symbol.dispose]: close,
      };
    },
  };
}

/** processOf returns the process behind a side of a pair of such tunnels. */
export function processOf(side: { readonly tunnel: Tunnel }): DataplaneProcess {
  return (side.tunnel as DataplaneTunnel).process;
}
