/** The plugin as eight callers at once run it: no shell and no nsenter in between, since the caller lives in the node already. */

/** Reply is how one call of the plugin ended. */
export interface Reply {
  readonly status: number;
  readonly stdout: string;
  /** CNI error code; undefined after success. */
  readonly code: number | undefined;
}

/** Target is one interface of one container. */
export interface Target {
  readonly containerId: string;
  /** Path of the pod's namespace. */
  readonly netns: string;
}

/** StormPlugin calls one executable. */
export class StormPlugin {
  readonly #executable: string;

  constructor(executable: string) {
    this.#executable = executable;
  }

  async call(
    command: "ADD" | "DEL" | "CHECK" | "STATUS",
    target?: Target,
    more: object = {},
  ): Promise<Reply> {
    const child = Bun.spawn([this.#executable], {
      env: {
        CNI_COMMAND: command,
        CNI_PATH: "/opt/cni/bin",
        ...(target !== undefined && {
          CNI_CONTAINERID: target.containerId,
          CNI_NETNS: target.netns,
          CNI_IFNAME: "eth0",
        }),
      },
      stdin: Buffer.from(JSON.stringify({ cniVersion: "1.1.0", name: "net", type: "causeway", ...more })),
      stdout: "pipe",
      stderr: "inherit",
    });
    const [stdout, status] = await Promise.all([child.stdout.text(), child.exited]);
    return { status, stdout, code: status === 0 ? undefined : codeOf(stdout) };
  }
}

function codeOf(stdout: string): number {
  try {
    return (JSON.parse(stdout) as { code: number }).code;
  } catch {
    return -1;
  }
}
