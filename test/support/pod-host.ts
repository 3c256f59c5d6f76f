/**
 * A host and a pod on it, of namespaces only: the host's first process has mounts and process ids that nobody else has, and what runs as a pod has
 * mounts of its own, a read-only /proc/sys and the capabilities of the agent's DaemonSet.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { agentCapabilities, agentFolders } from "../../src/kube/agent-pod.ts";
import { until } from "../../src/lab/wait.ts";
import { type Netns, type ProcessResult, run, spawnDetached, terminate } from "../../src/sys/mod.ts";
import { lacksTool, notRoot } from "./scratch.ts";

/** podHostLacks says what is missing for one, or undefined. */
export const podHostLacks = notRoot ?? lacksTool("setpriv") ?? lacksTool("unshare") ?? lacksTool("nsenter");

/** Where control groups of version 2 are on this machine; undefined where there are none. */
export const unified = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
  existsSync(`${path}/cgroup.procs`),
);

/** Of the machine's own there are none on the host: agents of other tests have these too. */
const FOLDERS = agentFolders.filter((path) => path !== "/dev/net");

/** What a pod sees below them is only what its DaemonSet mounts. */
const HIDDEN = ["/run", "/var/lib"];

/** That of pods. */
const GROUP = `causeway-test-${process.pid}`;

const quoted = (words: readonly string[]) => words.map((word) => `'${word}'`).join(" ");

/** Who has ended is in it until nobody waits for it any more. */
async function removeGroup(): Promise<void> {
  if (unified === undefined) return;
  const remains = () => {
    try {
      rmdirSync(`${unified}/${GROUP}`);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
  await until(remains, { what: "the pods' group to be empty" });
}

/** PodHost is one host; disposing it ends all that runs on it. */
export class PodHost implements AsyncDisposable {
  readonly #outer: number;
  readonly #netns: Netns;
  /** The first process, as we number it. */
  readonly pid: number;

  private constructor(outer: number, pid: number, netns: Netns) {
    this.#outer = outer;
    this.pid = pid;
    this.#netns = netns;
  }

  /** start makes one whose folders of Causeway are empty, and its own. */
  static async start(netns: Netns): Promise<PodHost> {
    // Nothing is made on the machine itself, not even mount points.
    const layers = "lowerdir=/etc,upperdir=/run/upper,workdir=/run/work";
    const mounts = [
      ...HIDDEN.map((path) => `mount -t tmpfs tmpfs ${path}`),
      `mkdir /run/upper /run/work && mount -t overlay -o ${layers} overlay /etc`,
      ...FOLDERS.map((path) => `mkdir -p ${path}`),
    ];
    const groups = unified === undefined ? [] : [`mount --bind ${unified} /sys/fs/cgroup`];
    const setUp = ["mount --make-rshared /", ...groups, ...mounts, "exec sleep 3600"].join(" && ");
    const words = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", setUp];
    if (unified !== undefined) mkdirSync(`${unified}/${GROUP}`, { recursive: true });
    const outer = spawnDetached(["unshare", ...words], { netns });
    try {
      let pid = 0;
      const missing = () => {
        const [child] = readFileSync(`/proc/${outer}/task/${outer}/children`, "utf8").split(" ");
        pid = Number(child ?? 0);
        const program = pid > 0 ? readFileSync(`/proc/${pid}/comm`, "utf8").trim() : "none";
        return program === "sleep" ? undefined : `the first process is ${program}`;
      };
      await until(missing, { what: "the host" });
      return new PodHost(outer, pid, netns);
    } catch (error) {
      await terminate(outer, { graceMs: 0 });
      await removeGroup();
      throw error;
    }
  }

  #within(argv: readonly string[]): string[] {
    return ["nsenter", "--target", `${this.pid}`, "--mount", "--pid", "--", ...argv];
  }

  #inPod(argv: readonly string[]): string[] {
    const joins = unified === undefined ? [] : [`echo $$ > /sys/fs/cgroup/${GROUP}/cgroup.procs`];
    const capabilities = agentCapabilities.map((name) => `,+${name.toLowerCase()}`).join("");
    const setUp = [
      ...joins,
      "mount -t tmpfs tmpfs /mnt",
      ...FOLDERS.map((path) => `mkdir -p /mnt${path} && mount --bind ${path} /mnt${path}`),
      ...HIDDEN.map((path) => `mount -t tmpfs tmpfs ${path}`),
      ...FOLDERS.map((path) => `mkdir -p ${path} && mount --move /mnt${path} ${path}`),
      "mount --bind /proc/sys /proc/sys",
      "mount -o remount,bind,ro /proc/sys",
      `exec unshare --cgroup setpriv --bounding-set=-all${capabilities} -- ${quoted(argv)}`,
    ].join(" && ");
    return this.#within(["unshare", "--mount", "--propagation", "slave", "sh", "-c", setUp]);
  }

  /** run runs a program on the host, or as a pod, to its end. */
  run(argv: readonly string[], where: "host" | "pod" = "host"): Promise<ProcessResult> {
    return run(where === "host" ? this.#within(argv) : this.#inPod(argv), { netns: this.#netns });
  }

  /** serve starts a program that stays; what it says goes to a file. */
  serve(argv: readonly string[], where: "host" | "pod", log: string): void {
    const words = where === "host" ? this.#within(argv) : this.#inPod(argv);
    spawnDetached(words, { netns: this.#netns, stdoutPath: log });
  }

  /** mounts are the host's, as it sees them. */
  get mounts(): string {
    return readFileSync(`/proc/${this.pid}/mountinfo`, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await terminate(this.#outer, { graceMs: 0 });
    await removeGroup();
  }
}
