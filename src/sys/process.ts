/**
 * Processes: run a program to its end, start one that outlives us, find, watch and stop one.
 *
 * Programs get our environment without what would turn a compiled Bun executable into something else
 * (`BUN_OPTIONS` preloads code, `BUN_BE_BUN` makes it the Bun command line).
 */
import { accessSync, closeSync, constants, openSync, readFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { monotonicMs, sleep } from "./clock.ts";
import { isErrno } from "./errno.ts";
import { inHostMounts, outliveContainer } from "./host-mounts.ts";
import type { Netns } from "./netns.ts";

/** ProcessResult is what a program left behind. */
export interface ProcessResult {
  /** Exit status; 128 plus the signal's number for a program that a signal ended, as shells have it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** StartOptions are common to every way of starting a program. */
export interface StartOptions {
  /** Variables to set, or with `undefined` to unset, in a copy of ours. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Network namespace that the program lives in; default ours. */
  readonly netns?: Netns;
  /** The program is the host's, and sees the host's mounts, also where we are in a pod. */
  readonly hostMounts?: boolean;
}

/** RunOptions adds what a program is given to read, and how long it may take. */
export interface RunOptions extends StartOptions {
  readonly input?: string;
  /** After this time the program is killed (SIGKILL, so status 137); default: no limit. */
  readonly timeoutMs?: number;
  /** Told the process id as soon as there is one. */
  readonly onStart?: (pid: number) => void;
}

function environment(changes: StartOptions["env"]): Record<string, string> {
  const merged = { ...process.env, BUN_OPTIONS: undefined, BUN_BE_BUN: undefined, ...changes };
  return Object.fromEntries(Object.entries(merged).filter((entry) => entry[1] !== undefined)) as Record<
    string,
    string
  >;
}

function command(argv: readonly string[], path?: string): string[] {
  const [program, ...rest] = argv;
  const found = program === undefined ? undefined : which(program, path);
  if (found === undefined) throw new Error(`Cannot run ${program}: it is not in PATH; install it`);
  return [found, ...rest];
}

function within<T>({ netns, hostMounts = false }: StartOptions, work: () => T): T {
  const inside = () => (netns === undefined ? work() : (netns.run(work as () => never) as T));
  return hostMounts ? (inHostMounts(inside as () => never) as T) : inside();
}

function statusOf(exitCode: number | null, signal: NodeJS.Signals | number | null | undefined): number {
  return exitCode ?? 128 + (typeof signal === "string" ? osConstants.signals[signal] : (signal ?? 0));
}

/** which returns the path of an executable: searched in PATH, or the name itself when it holds a slash; undefined if absent. */
export function which(name: string, path = process.env.PATH ?? ""): string | undefined {
  // Services start with a PATH without sbin on some systems; the tools we call live there.
  const folders = [...path.split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  for (const file of name.includes("/") ? [name] : folders.filter(Boolean).map((f) => `${f}/${name}`)) {
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

/** runSync runs a program to its end and returns what it wrote; throws only when it cannot be started. */
export function runSync(argv: readonly string[], options: RunOptions = {}): ProcessResult {
  const done = within(options, () =>
    Bun.spawnSync(command(argv, options.env?.PATH), {
      env: environment(options.env),
      stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
      stdout: "pipe",
      stderr: "pipe",
      killSignal: "SIGKILL",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    }),
  );
  return {
    status: statusOf(done.exitCode, done.signalCode),
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}

/** run does what runSync does, and lets other work go on. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<ProcessResult> {
  const child = within(options, () =>
    Bun.spawn(command(argv, options.env?.PATH), {
      env: environment(options.env),
      stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
      stdout: "pipe",
      stderr: "pipe",
      killSignal: "SIGKILL",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    }),
  );
  options.onStart?.(child.pid);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status: statusOf(child.exitCode, child.signalCode), stdout, stderr };
}

/** runInherited runs a program on our own terminal, input and output, and returns its status. */
export async function runInherited(argv: readonly string[]): Promise<number> {
  const child = Bun.spawn(command(argv), {
    env: environment(undefined),
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  });
  await child.exited;
  return statusOf(child.exitCode, child.signalCode);
}

/** DetachOptions say where the output of a program that outlives us goes. */
export interface DetachOptions extends StartOptions {
  /** File that both streams are appended to, made 0600; default: thrown away. */
  readonly stdoutPath?: string;
  /** Called once if the program ends while we still run. */
  readonly onExit?: (status: number) => void;
}

/**
 * spawnDetached starts a program in a session of its own, with no terminal and nothing of ours but its output file, so that
 * it goes on when we end. Returns its process id.
 */
export function spawnDetached(argv: readonly string[], options: DetachOptions = {}): number {
  const output = options.stdoutPath === undefined ? undefined : openSync(options.stdoutPath, "a", 0o600);
  try {
    const child = within(options, () =>
      Bun.spawn(command(argv, options.env?.PATH), {
        env: environment(options.env),
        stdin: "ignore",
        stdout: output ?? "ignore",
        stderr: output ?? "ignore",
        detached: true,
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        onExit: (child, exitCode) => options.onExit?.(statusOf(exitCode, child.signalCode)),
      }),
    );
    child.unref();
    outliveContainer(child.pid);
    return child.pid;
  } finally {
    if (output !== undefined) closeSync(output);
  }
}

/** isAlive tells whether a process runs; one that ended with all its threads and waits for its parent (a zombie) does not. */
export function isAlive(pid: number): boolean {
  checkPid(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Fields are counted after the program's name, which is in parentheses and may hold any byte (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // The first thread can be dead while others still hold files open: state (3) and num_threads (20).
    return !"ZXx".includes(fields[0] as string) || Number(fields[17]) > 1;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH")) return false;
    throw error;
  }
}

/** programOf returns the name of a process's program (the first 15 bytes), or undefined when it does not run. */
export function programOf(pid: number): string | undefined {
  checkPid(pid);
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd();
  } catch {
    return undefined;
  }
}

/** signal sends a signal; false when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  checkPid(Math.abs(pid));
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (isErrno(error, "ESRCH")) return false;
    throw error;
  }
}

/** terminate ends a process: the signal `by` (default SIGTERM), after `graceMs` (default 2000) SIGKILL; resolves when it is gone. */
export async function terminate(
  pid: number,
  { by = "SIGTERM", graceMs = 2000 }: { readonly by?: "SIGTERM" | "SIGINT"; readonly graceMs?: number } = {},
): Promise<void> {
  if (!signal(pid, by)) return;
  const killAt = monotonicMs() + graceMs;
  for (let killed = false; isAlive(pid); await sleep(5)) {
    if (killed || monotonicMs() < killAt) continue;
    signal(pid, "SIGKILL");
    killed = true;
  }
}

/** ownPid returns the id of this process. */
export function ownPid(): number {
  return process.pid;
}

/** isRoot tells whether this process acts as the superuser. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** exit ends this process now. */
export function exit(status: number): never {
  process.exit(status);
}

/** onSignal calls `work` for each signal of the given names until the returned disposable is disposed. */
export function onSignal(names: readonly NodeJS.Signals[], work: (name: NodeJS.Signals) => void): Disposable {
  const listeners = names.map((name) => [name, () => work(name)] as const);
  for (const [name, listener] of listeners) process.on(name, listener);
  return {
    [Symbol.dispose]: () => {
      for (const [name, listener] of listeners) process.off(name, listener);
    },
  };
}

/** onBug calls `work` once with an error that nobody caught; the process is expected to end. */
export function onBug(work: (error: unknown) => void): void {
  process.once("uncaughtException", work);
  process.once("unhandledRejection", work);
}

// kill(0) and kill(-1) reach whole groups: never by a number that is missing or wrong.
function checkPid(pid: number): void {
  if (!Number.isInteger(pid) || pid <= 1) throw new RangeError(`${pid} is not the id of a process of ours`);
}
