/** The command line's side of ctl.sock: asks the agent once, and passes on what it says while it works. */
import { CTL_SOCKET } from "../agent/asked/mod.ts";
import type { Answer, Request, Results } from "../agent/mod.ts";
import { connectUnix, type Fd, isErrno, libc, sendAll, stable } from "../sys/mod.ts";

function open(): Fd {
  try {
    return connectUnix(CTL_SOCKET);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ECONNREFUSED"))
      throw new Error(
        "The agent does not run on this node; start it: systemctl start causeway, or causeway agent",
      );
    if (isErrno(error, "EACCES"))
      throw new Error("You may not ask the agent; become root, or a member of the group causeway");
    throw error;
  }
}

/** lines yields each line that the agent sends, until it closes. */
function* lines(socket: Fd): Generator<string> {
  const chunk = stable(65536);
  let waiting = Buffer.alloc(0);
  for (;;) {
    const count = libc.recv(socket.number, chunk);
    if (count <= 0) return;
    waiting = Buffer.concat([waiting, chunk.subarray(0, count)]);
    for (let end = waiting.indexOf(10); end >= 0; end = waiting.indexOf(10)) {
      yield waiting.subarray(0, end).toString("utf8");
      waiting = waiting.subarray(end + 1);
    }
  }
}

/** ask sends one request and returns its result; the agent's refusal is thrown as an error with its words. */
export async function ask<R extends Request>(
  request: R,
  progress: (text: string) => void,
): Promise<Results[R["op"]]> {
  using socket = open();
  sendAll(socket, new TextEncoder().encode(`${JSON.stringify(request)}\n`));
  for (const line of lines(socket)) {
    const answer = JSON.parse(line) as Answer;
    if ("progress" in answer) progress(answer.progress);
    else if ("error" in answer) throw new Error(answer.error.message);
    else return answer.result as Results[R["op"]];
  }
  throw new Error("The agent ended before it answered; look at its log (journalctl -u causeway)");
}
