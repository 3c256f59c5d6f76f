/** Part: a process of its own of what is measured, so that its memory and CPU time are no one else's. It says what it has to say line by line. */
import { fileURLToPath } from "node:url";
import { linesOf } from "../lines.ts";
import { cpuSeconds, type MemoryUse, memoryUse } from "../tunnel/usage.ts";

/** Part owns the process. */
export class Part<T> implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  /** `file` is in this folder; it gets `input` as its argument. */
  constructor(file: string, input: unknown) {
    const program = fileURLToPath(new URL(file, import.meta.url));
    const argv = [process.execPath, program, JSON.stringify(input)];
    this.#process = Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    this.#lines = linesOf(this.#process.stdout);
  }

  get cpuSeconds(): number {
    return cpuSeconds([this.#process.pid]);
  }

  get memory(): MemoryUse {
    return memoryUse(this.#process.pid);
  }

  /** said returns the next thing that it says. */
  async said(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("a part of what is measured ended");
    return JSON.parse(value) as T;
  }

  /** ask says a line to it, and returns what it says then. */
  async ask(line: string): Promise<T> {
    this.#process.stdin.write(`${line}\n`);
    await this.#process.stdin.flush();
    return await this.said();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill();
    await this.#process.exited;
  }
}
