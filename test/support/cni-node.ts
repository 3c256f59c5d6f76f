/**
 * A throw-away node for CNI tests: a network and a mount namespace with its own /run and /var/lib, an agent in it, and pods. It lives as
 * long as one keeper process; nothing of it is visible outside, so nothing stays when that process ends.
 */
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import type { Subprocess } from "bun";
import { launcherFor } from "../../src/cni/mod.ts";

const bun = process.execPath;
const root = new URL("../..", import.meta.url).pathname;

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CallOptions {
  readonly containerId?: string;
  /** Default: the namespace of the pod named like the container; `undefined` sends none. */
  readonly netns?: string | undefined;
  readonly ifname?: string;
  readonly args?: string;
  /** Merged into the network configuration. */
  readonly configuration?: Record<string, unknown>;
  readonly environment?: Record<string, string>;
}

type Json = any;

/** ready resolves with the first line of a stream. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the process ended; it said: ${text}`);
    text += Buffer.from(value).toString();
  }
  reader.releaseLock();
  return text.slice(0, text.indexOf("\n"));
}

/** namespaceOf returns the network namespace of a process; undefined when it has ended. */
function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

export class CniNode implements AsyncDisposable {
  readonly #keeper: Subprocess;
  /** What acts as the plugin: what the executable that CAUSEWAY_EXECUTABLE names would install, or the source. */
  plugin: readonly string[] = [bun, `${root}src/main.ts`];
  #agent: Subprocess | undefined;
  ranges = ["10.244.1.0/24", "fd00:244:1::/64"];
  mtuBytes = 1420;
  /** What the agent of cni-agent.ts is told besides. */
  more: Record<string, unknown> = {};
  /** What the agent said when it was ready. */
  started: Json;

  private constructor(keeper: Subprocess) {
    this.#keeper = keeper;
  }

  static async create(): Promise<CniNode> {
    const script = `set -e
      mount -t tmpfs tmpfs /run; mkdir -p /run/netns /run/causeway
      mount -t tmpfs tmpfs /var/lib; mkdir -p /var/lib/causeway
      ip link set lo up; echo ready; exec sleep infinity`;
    const keeper = Bun.spawn(
      ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script],
      {
        stdout: "pipe",
        stderr: "inherit",
      },
    );
    await firstLine(keeper.stdout);
    const node = new CniNode(keeper);
    if (process.env.CAUSEWAY_EXECUTABLE) node.#install(process.env.CAUSEWAY_EXECUTABLE);
    return node;
  }

  /** Puts the plugin where runtimes would find it, as `causeway cni install` does, but for copying the executable. */
  #install(executable: string): void {
    const plugin = "/run/cni/causeway";
    const launcher = launcherFor(process.arch);
    mkdirSync(this.path("/run/cni"));
    if (launcher !== undefined) writeFileSync(this.path(plugin), launcher, { mode: 0o755 });
    symlinkSync(executable, this.path(launcher === undefined ? plugin : `${plugin}-full`));
    this.plugin = [plugin];
  }

  #inside(argv: readonly string[]): string[] {
    return ["nsenter", "-t", String(this.#keeper.pid), "-n", "-m", "--", ...argv];
  }

  /** run runs a program in the node and returns what came out. */
  async run(
    argv: readonly string[],
    options: { stdin?: string; env?: Record<string, string> } = {},
  ): Promise<Outcome> {
    const child = Bun.spawn(this.#inside(argv), {
      stdin: Buffer.from(options.stdin ?? ""),
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...options.env },
    });
    const [stdout, stderr, status] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  /** must runs a shell command that has to succeed. */
  async must(command: string): Promise<string> {
    const { status, stdout, stderr } = await this.run(["sh", "-c", command]);
    if (status !== 0) throw new Error(`${command}: ${stderr}${stdout}`);
    return stdout;
  }

  async startAgent(): Promise<void> {
    const argument = JSON.stringify({ ranges: this.ranges, mtuBytes: this.mtuBytes, ...this.more });
    this.#agent = Bun.spawn(this.#inside([bun, `${root}test/support/cni-agent.ts`, argument]), {
      stdout: "pipe",
      stderr: "inherit",
    });
    this.started = JSON.parse(await firstLine(this.#agent.stdout as ReadableStream<Uint8Array>));
  }

  /** startCauseway starts the whole agent instead, as the hub of a mesh of one, whose ranges and MTU hold then. */
  async startCauseway(executable: string): Promise<void> {
    await this.must(
      "ip link add wire up type veth peer name far && ip link set far up && ip address add 192.0.2.1/24 dev wire",
    );
    this.#agent = Bun.spawn(this.#inside([executable, "agent"]), { stdout: "ignore", stderr: "ignore" });
    while ((await this.run([executable, "status"])).status !== 0) await Bun.sleep(10);
    const init = `${executable} init --name node --endpoint 192.0.2.1:51820`;
    await this.must(init);
  }

  async stopAgent(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.#agent?.kill(signal);
    await this.#agent?.exited;
    this.#agent = undefined;
  }

  get agentPid(): number {
    return this.#agent?.pid ?? 0;
  }

  async addPod(name: string): Promise<void> {
    await this.must(`ip netns add ${name}`);
  }

  async removePod(name: string): Promise<void> {
    await this.must(`ip netns del ${name}`);
  }

  /** What libcni gives to the plugin. */
  #invocation(command: string, options: CallOptions): { stdin: string; env: Record<string, string> } {
    const { containerId = "c1", ifname = "eth0", args, configuration, environment } = options;
    const netns = "netns" in options ? options.netns : `/run/netns/${containerId}`;
    return {
      stdin: JSON.stringify({ cniVersion: "1.0.0", name: "net", type: "causeway", ...configuration }),
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId,
        CNI_IFNAME: ifname,
        CNI_PATH: "/opt/cni/bin",
        ...(netns !== undefined && { CNI_NETNS: netns }),
        ...(args !== undefined && { CNI_ARGS: args }),
        ...environment,
      },
    };
  }

  /** begin starts a call of the plugin, for tests that end it before its time. */
  begin(command: string, options: CallOptions = {}): Subprocess<Uint8Array, "pipe", "inherit"> {
    const { stdin, env } = this.#invocation(command, options);
    return Bun.spawn(this.#inside(this.plugin), {
      stdin: new TextEncoder().encode(stdin),
      stdout: "pipe",
      stderr: "inherit",
      env: { ...process.env, ...env },
    });
  }

  /** call calls the plugin as libcni does. */
  async call(command: string, options: CallOptions = {}): Promise<Outcome & { json: Json }> {
    const outcome = await this.run(this.plugin, this.#invocation(command, options));
    let json: Json;
    try {
      json = outcome.stdout === "" ? undefined : JSON.parse(outcome.stdout);
    } catch {
      json = undefined;
    }
    return { ...outcome, json };
  }

  /** add attaches a pod, whose namespace is made, and returns the result. */
  async add(containerId: string, options: CallOptions = {}): Promise<Json> {
    if (!("netns" in options)) await this.addPod(containerId);
    const { status, stdout, stderr, json } = await this.call("ADD", { containerId, ...options });
    if (status !== 0) throw new Error(`ADD failed: ${stdout}${stderr}`);
    return json;
  }

  /** sweep removes every pod of a network, so that a failed test does not make the next ones fail. */
  async sweep(network = "net"): Promise<void> {
    const configuration = { cniVersion: "1.1.0", name: network, "cni.dev/valid-attachments": [] };
    await this.call("GC", { netns: undefined, configuration });
  }

  /** ip runs ip(8) with JSON output in the node, or in a pod. */
  async ip(command: string, pod?: string): Promise<Json> {
    return JSON.parse((await this.must(`ip ${pod === undefined ? "" : `-n ${pod}`} -j ${command}`)) || "[]");
  }

  /** path returns a path of the node as seen from outside. */
  path(inside: string): string {
    return `/proc/${this.#keeper.pid}/root${inside}`;
  }

  /** netnsPath returns the path of a pod's namespace as seen from outside the node. */
  netnsPath(pod: string): string {
    return this.path(`/run/netns/${pod}`);
  }

  /** in runs a shell command in a pod and tells whether it succeeded. */
  async in(pod: string, command: string): Promise<boolean> {
    return (await this.run(["ip", "netns", "exec", pod, "sh", "-c", command])).status === 0;
  }

  /** sql runs a statement on the pods' database and returns the rows. */
  async sql(statement: string): Promise<Json[]> {
    const script = `const [file] = new Bun.Glob("pods.*.db").scanSync("/var/lib/causeway");
      const db = new (require("bun:sqlite").Database)("/var/lib/causeway/" + file);
      console.log(JSON.stringify(db.query(process.argv.at(-1)).all()))`;
    const { stdout, stderr } = await this.run([bun, "-e", script, statement]);
    if (stdout === "") throw new Error(`${statement}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** remains lists what the node has of pods: host links, elements of the sets, neighbours, addresses on disk. */
  async remains(): Promise<{ links: string[]; elements: string[]; neighbours: string[]; rows: string[] }> {
    const links = ((await this.ip("link")) as Json[]).map((link) => link.ifname as string);
    const sets = JSON.parse(await this.must("nft -j list table bridge causeway 2>/dev/null || echo '{}'"));
    const elements = ((sets.nftables ?? []) as Json[]).flatMap((entry) => entry.set?.elem ?? []);
    const neighbours = ((await this.ip("neigh show dev cw-pods nud permanent")) as Json[]).map(
      (entry) => entry.dst,
    );
    const rows = [
      ...(await this.sql("SELECT address FROM pod_address")),
      ...(await this.sql("SELECT container FROM attachment")),
    ];
    return {
      links: links.filter((name) => name.startsWith("cw") && name !== "cw-pods"),
      elements: elements.map((element) => JSON.stringify(element)),
      neighbours,
      rows: rows.map((row) => row.address ?? row.container),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent("SIGKILL");
    // What the agent started may outlive it: the namespace is ours alone, so whoever is in it is ours.
    const own = namespaceOf(this.#keeper.pid);
    for (const pid of readdirSync("/proc").map(Number))
      if (own !== undefined && namespaceOf(pid) === own) process.kill(pid, "SIGKILL");
    this.#keeper.kill("SIGKILL");
    await this.#keeper.exited;
  }
}
