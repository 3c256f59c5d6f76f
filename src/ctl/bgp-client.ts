/** The command line's side of bgp.sock: asks once, and takes what comes until the end. */
import type { BgpRequest } from "../bgp/mod.ts";
import { connectUnix, type Fd, isErrno, libc, sendAll, stable } from "../sys/mod.ts";

/** BGP_SOCKET is where the agent's routers answer. */
export const BGP_SOCKET = "/run/causeway/bgp.sock";

function open(path: string): Fd {
  const socket = openIfThere(path);
  if (socket !== undefined) return socket;
  throw new Error(
    `No BGP router answers at ${path}; start the agent with a BgpRouter, or run: causeway bgp run FILE`,
  );
}

/** answersBgp tells whether there are BGP routers at a path. */
export function answersBgp(path: string): boolean {
  using socket = openIfThere(path);
  return socket !== undefined;
}

function openIfThere(path: string): Fd | undefined {
  try {
    return connectUnix(path);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ECONNREFUSED")) return undefined;
    if (isErrno(error, "EACCES")) throw new Error(`You may not ask at ${path}; become root`);
    throw error;
  }
}

/** askBgp yields each line of the answer, parsed; a refusal is thrown with its words. */
export function* askBgp(path: string, request: BgpRequest): Generator<Record<string, unknown>> {
  using socket = open(path);
  sendAll(socket, new TextEncoder().encode(`${JSON.stringify(request)}\n`));
  const chunk = stable(65536);
  let waiting = Buffer.alloc(0);
  for (;;) {
    const count = libc.recv(socket.number, chunk);
    if (count <= 0) throw new Error("The BGP router ended before it had answered");
    waiting = Buffer.concat([waiting, chunk.subarray(0, count)]);
    for (let end = waiting.indexOf(10); end >= 0; end = waiting.indexOf(10)) {
      const line = JSON.parse(waiting.subarray(0, end).toString("utf8")) as Record<string, unknown>;
      waiting = waiting.subarray(end + 1);
      if (line["end"] === true) return;
      if (typeof line["error"] === "string") throw new Error(line["error"]);
      yield line;
    }
  }
}
