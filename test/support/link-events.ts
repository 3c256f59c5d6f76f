/** What ip-monitor(8) prints of one namespace: a witness that nothing was touched. */

/** LinkEvents is a monitor that runs. */
export class LinkEvents implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly #lines: string[] = [];
  readonly #read: Promise<void>;
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
    // Neighbours that the kernel learns by itself come and go; ours are set.
    const argv = [
      "nsenter",
      `--net=${path}`,
      "ip",
      "-o",
      "monitor",
      "link",
      "address",
      "route",
      "neigh",
      "nexthop",
    ];
    this.#process = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    this.#read = this.#listen();
  }

  /** start resolves once the monitor hears. */
  static async start(path: string): Promise<LinkEvents> {
    const events = new LinkEvents(path);
    await events.#mark();
    events.#lines.length = 0;
    return events;
  }

  async #listen(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.#process.stdout) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      this.#lines.push(...lines);
    }
  }

  /** A route of our own is the last of what happened before. */
  async #mark(): Promise<void> {
    const ip = (...words: string[]) =>
      Bun.spawnSync(["nsenter", `--net=${this.#path}`, "ip", ...words], {
        stdio: ["ignore", "ignore", "ignore"],
      });
    const mark = "blackhole 203.0.113.77";
    for (let tries = 0; tries < 500; tries++) {
      ip("route", "replace", ...mark.split(" "));
      ip("route", "delete", ...mark.split(" "));
      await Bun.sleep(20);
      if (this.#lines.some((line) => line.startsWith(`Deleted ${mark}`))) return;
    }
    throw new Error("ip monitor says nothing");
  }

  /** stop returns what was set by somebody: lines of what the kernel finds out by itself are left out. */
  async stop(): Promise<string[]> {
    await this.#mark();
    await this[Symbol.asyncDispose]();
    return this.#lines.filter(
      (line) =>
        !line.includes("203.0.113.77") && !/ (REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED)/.test(line),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill();
    await this.#process.exited;
    await this.#read;
  }
}
