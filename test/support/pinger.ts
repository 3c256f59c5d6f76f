/** A ping every 10 ms, by the real ping(8), and when each answer came: what a flow notices of an event. */

const EVERY_SECONDS = 0.01;

/** Gap is a time without an answer, and where it began, counted from the moment that was asked about. */
export interface Gap {
  readonly gapMs: number;
  readonly afterMs: number;
}

/** Pinger pings until it is disposed of. */
export class Pinger implements AsyncDisposable {
  readonly name: string;
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #atMs: number[] = [];
  readonly #seen = new Set<number>();
  #last = 0;
  readonly #read: Promise<void>;

  /** `command` puts a program where the flow begins, as `Lab.command` does. */
  constructor(
    name: string,
    address: string,
    options: {
      readonly command: (argv: readonly string[]) => readonly string[];
      readonly everySeconds?: number;
    },
  ) {
    const { command, everySeconds = EVERY_SECONDS } = options;
    this.name = name;
    const argv = ["ping", "-n", "-D", "-i", `${everySeconds}`, "-s", "24", address];
    this.#process = Bun.spawn([...command(argv)], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    this.#read = this.#listen();
  }

  async #listen(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.#process.stdout) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
  }

  #take(line: string): void {
    const [, at, number] = /^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) .*time=/.exec(line) ?? [];
    if (at === undefined) return;
    this.#atMs.push(Number(at) * 1000);
    this.#seen.add(Number(number));
    this.#last = Math.max(this.#last, Number(number));
  }

  /** since counts the answers that came after a moment of the wall's clock. */
  since(wallMs: number): number {
    return this.#atMs.filter((at) => at > wallMs).length;
  }

  /** lost counts the pings before the last answer that got none; numbers of ping(8) have 16 bits, so of the first ten minutes. */
  get lost(): number {
    return this.#last - this.#seen.size;
  }

  /** firstAfter returns how long after a moment the first answer came. */
  firstAfter(wallMs: number): number | undefined {
    const at = this.#atMs.find((one) => one > wallMs);
    return at === undefined ? undefined : at - wallMs;
  }

  /** longestGap returns the longest time without an answer since a moment. */
  longestGap(sinceMs: number): Gap {
    let found: Gap = { gapMs: 0, afterMs: 0 };
    for (let i = 1; i < this.#atMs.length; i++) {
      const [before, at] = [this.#atMs[i - 1] as number, this.#atMs[i] as number];
      if (at > sinceMs && at - before > found.gapMs)
        found = { gapMs: at - before, afterMs: before - sinceMs };
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    await this.#read;
  }
}
