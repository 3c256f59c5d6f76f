/** Starts the program of a user-space tunnel, and finds out who serves one. */
import {
  ensureDirectory,
  exists,
  isAlive,
  isErrno,
  monotonicMs,
  type Netns,
  readText,
  removeTree,
  sleep,
  spawnDetached,
  terminate,
  unixPeer,
} from "../sys/mod.ts";
import type { UserProgram } from "./user-program.ts";

/** Where programs make their sockets, and wg(8) looks for them; built into both (wireguard-go: ipc/uapi_unix.go). */
const SOCKETS = "/var/run/wireguard";

/** A start takes a tenth of a second; on an emulated processor, beside others, it was 40 s. */
const START_LIMIT_MS = 120_000;
const LOOK_MS = 2;
/** Looking is a connection to a process that has packets to move meanwhile. */
const LOOK_WHILE_BUSY_MS = 50;

/** socketOf returns the path of the socket that a link's program answers on. */
export function socketOf(link: string): string {
  return `${SOCKETS}/${link}.sock`;
}

/** listener returns the process that listens on a socket; undefined when none does. */
export function listener(socket: string): number | undefined {
  try {
    const { pid } = unixPeer(socket);
    if (pid === 0)
      throw new Error(
        `${socket} is served from outside this process namespace; stop that or choose another link name`,
      );
    return pid;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ECONNREFUSED")) return undefined;
    throw error;
  }
}

/** settledListener returns the process that listens on a socket, after one that is just ending has ended. */
export async function settledListener(socket: string): Promise<number | undefined> {
  for (const endMs = monotonicMs() + START_LIMIT_MS; monotonicMs() < endMs; await sleep(LOOK_MS)) {
    const pid = listener(socket);
    if (pid === undefined || isAlive(pid)) return pid;
  }
  throw new Error(`${socket} is open and the process that listened on it is gone; end the one that holds it`);
}

/** ProgramStart says what is started, and where. */
export interface ProgramStart {
  readonly program: UserProgram;
  readonly link: string;
  readonly netns?: Netns | undefined;
  readonly logPath?: string | undefined;
  /** As the successor of the process that serves the link. */
  readonly takeOver?: boolean;
  readonly onExit?: (pid: number) => void;
}

/** startProgram starts a program, and resolves with its process id when it serves the link; rejects with what the program said. */
export async function startProgram(start: ProgramStart): Promise<number> {
  const { program, link, netns, logPath, takeOver = false } = start;
  const socket = socketOf(link);
  if (!exists(SOCKETS)) ensureDirectory(SOCKETS, 0o700);
  const logged = logPath === undefined ? 0 : (readText(logPath)?.length ?? 0);
  const startedMs = monotonicMs();
  const pid = spawnDetached([...program.command(link), ...(takeOver ? ["--take-over"] : [])], {
    env: program.env,
    cwd: "/",
    onExit: () => start.onExit?.(pid),
    ...(netns === undefined ? {} : { netns }),
    ...(logPath === undefined ? {} : { stdoutPath: logPath }),
  });
  for (;;) {
    // Whoever called listen(2) last is who the kernel names (net/unix/af_unix.c, unix_listen): a successor calls it when it serves.
    if (servedBy(socket) === pid) return pid;
    const late = monotonicMs() - startedMs > START_LIMIT_MS;
    if (isAlive(pid) && !late) {
      await sleep(takeOver ? LOOK_WHILE_BUSY_MS : LOOK_MS);
      continue;
    }
    await terminate(pid);
    if (!takeOver) removeTree(socket);
    const said = logPath === undefined ? "" : (readText(logPath)?.slice(logged).trim() ?? "");
    const silent = `it ended at once; it needs ${program.needs}`;
    const cause = late ? `it does not serve the link after ${START_LIMIT_MS / 1000} s` : said || silent;
    throw new Error(
      takeOver
        ? `Cannot take over ${link} with ${program.provider}: ${cause}`
        : `Cannot start ${program.provider} for ${link}: ${cause}`,
    );
  }
}

/** One that is too busy to take a connection is not yet the new one. */
function servedBy(socket: string): number | undefined {
  try {
    return listener(socket);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return undefined;
    throw error;
  }
}
