/**
 * Two namespaces with a packet path in each (path-node.ts), and a cable between them or whatever a test puts there.
 *
 * ```
 * near: cwp0 10.9.0.1 fd09::1 ── eth0 198.51.100.1 2001:db8::1 ═══ eth0 198.51.100.2 2001:db8::2 ── cwp0 10.9.0.2 fd09::2 :far
 * ```
 */
import { createNetns, Netns, removeNetns, removeTree, run } from "../../src/sys/mod.ts";
import type { PathNodeOptions, PathNodeReport } from "./path-node.ts";
import { ip } from "./tunnel-pair.ts";

/** LINK is the name of the TUN device in both. */
export const LINK = "cwp0";
/** PORT is where both listen. */
export const PORT = 51820;

let serial = 0;

const COUNT = 3;

interface PingOptions {
  readonly count?: number;
  readonly bytes?: number;
  readonly fragment?: boolean;
}

interface PingAnswers {
  readonly received: number;
  readonly duplicates: number;
  readonly text: string;
}

/** PathNode is one side. */
export class PathNode {
  readonly netns: Netns;
  readonly number: 1 | 2;
  #child: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
  #lines: AsyncIterator<string> | undefined;

  constructor(path: string, number: 1 | 2) {
    createNetns(path);
    this.netns = Netns.open(path);
    this.number = number;
    ip(this.netns, "link set lo up");
  }

  get overlay4(): string {
    return `10.9.0.${this.number}`;
  }
  get overlay6(): string {
    return `fd09::${this.number}`;
  }
  get underlay4(): string {
    return `198.51.100.${this.number}`;
  }
  get underlay6(): string {
    return `2001:db8::${this.number}`;
  }

  /** start runs the node and gives its link addresses. */
  async start(options: Partial<PathNodeOptions>): Promise<void> {
    const all: PathNodeOptions = { link: LINK, port: PORT, side: this.number, ...options };
    const argv = [process.execPath, `${import.meta.dir}/path-node.ts`, JSON.stringify(all)];
    const child = this.netns.run(() => {
      // A window may not return a promise, which a child has inside.
      const started = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
      return { started };
    }).started;
    this.#child = child;
    this.#lines = lines(child.stdout);
    const { value } = await this.#lines.next();
    if (value !== "ready") throw new Error(`path-node: ${value ?? ""} ${await child.stderr.text()}`);
    ip(this.netns, `addr add ${this.overlay4}/24 dev ${LINK}`);
    ip(this.netns, `addr add ${this.overlay6}/64 dev ${LINK} nodad`);
    ip(this.netns, `link set ${LINK} mtu ${options.mtuBytes ?? 1420} up`);
  }

  get pid(): number {
    return this.#child?.pid as number;
  }

  /** report asks the node for its counters. */
  async report(): Promise<PathNodeReport> {
    process.kill(this.pid, "SIGUSR1");
    const { value } = (await this.#lines?.next()) as IteratorResult<string>;
    return JSON.parse(value as string) as PathNodeReport;
  }

  /** ended resolves with the node's exit status. */
  async ended(): Promise<number> {
    return (await this.#child?.exited) as number;
  }

  /** ping tells how many answers came to so many questions, and whether any came twice. */
  async ping(address: string, options: PingOptions = {}): Promise<PingAnswers> {
    // Once it has an answer, ping(8) waits for the last one for two round trips only, which on a busy machine may be too short.
    for (let tries = 1; ; tries++) {
      const answers = await this.#pingOnce(address, options);
      if (answers.received === 0 || answers.received === (options.count ?? COUNT) || tries === 3)
        return answers;
    }
  }

  async #pingOnce(address: string, options: PingOptions): Promise<PingAnswers> {
    const { count = COUNT, bytes = 56, fragment = true } = options;
    const argv = ["ping", "-n", "-c", `${count}`, "-i", "0.05", "-W", "2", "-s", `${bytes}`];
    const done = await run([...argv, ...(fragment ? [] : ["-M", "do"]), address], { netns: this.netns });
    const number = (pattern: RegExp) => Number(pattern.exec(done.stdout)?.[1] ?? 0);
    return {
      received: number(/(\d+) received/),
      duplicates: number(/\+(\d+) duplicates/),
      text: done.stdout + done.stderr,
    };
  }

  async close(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null) {
      this.#child.kill("SIGTERM");
      await this.#child.exited;
    }
    this.netns.close();
    removeNetns(this.netns.path);
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of stream) {
    text += decoder.decode(part, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** PathNodes is the pair; disposing removes all of it. */
export class PathNodes implements AsyncDisposable {
  readonly folder = `/run/causeway-test/${process.pid}-path-${++serial}`;
  readonly near: PathNode;
  readonly far: PathNode;

  constructor() {
    this.near = new PathNode(`${this.folder}/near`, 1);
    this.far = new PathNode(`${this.folder}/far`, 2);
  }

  /** open lays a cable and starts both, near with far's endpoint, and far without. */
  static async open(
    options: Partial<PathNodeOptions> & { readonly family?: 4 | 6; readonly cableMtuBytes?: number } = {},
  ): Promise<PathNodes> {
    const { family = 4, cableMtuBytes = 1500, ...node } = options;
    const pair = new PathNodes();
    try {
      pair.cable(cableMtuBytes);
      await pair.far.start(node);
      const { far } = pair;
      await pair.near.start({
        ...node,
        endpoint: `${family === 4 ? far.underlay4 : `[${far.underlay6}]`}:${PORT}`,
      });
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** cable joins the namespaces. */
  cable(mtuBytes: number): void {
    const { near, far } = this;
    ip(
      near.netns,
      `link add eth0 type veth peer name eth0 netns /proc/${process.pid}/fd/${far.netns.fd.number}`,
    );
    for (const { netns, underlay4, underlay6 } of [near, far]) {
      ip(netns, `addr add ${underlay4}/24 dev eth0`);
      ip(netns, `addr add ${underlay6}/64 dev eth0 nodad`);
      ip(netns, `link set eth0 mtu ${mtuBytes} up`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of [this.near, this.far]) await node.close();
    removeTree(this.folder);
  }
}
