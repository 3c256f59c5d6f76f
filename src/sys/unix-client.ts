/**
 * A synchronous client of unix stream sockets: one question, one answer, in a few system calls.
 *
 * For services that answer at once (a tunnel's configuration socket); whatever may take long belongs on a runtime socket.
 */
import { SystemError } from "./errno.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import { connectUnix, type PeerCredentials, peerCredentials, sendAll } from "./unix.ts";

/** UnixRequest is a question, and how to tell that the answer is whole. */
export interface UnixRequest {
  readonly text: string;
  /** Sees the answer so far; true ends the reading. */
  readonly complete: (answer: string) => boolean;
  /** Longest silence that is waited for. Default 5000. */
  readonly timeoutMs?: number;
}

/** unixRequest connects, sends the question and returns the answer; throws SystemError for a refusal or a silence. */
export function unixRequest(path: string, request: UnixRequest): string {
  using fd = connectUnix(path, { timeoutMs: request.timeoutMs ?? 5000 });
  sendAll(fd, new TextEncoder().encode(request.text));
  const buffer = stable(65536);
  const decoder = new TextDecoder();
  let answer = "";
  while (!request.complete(answer)) {
    const count = libc.recv(fd.number, buffer);
    // A receive time-out is reported as "nothing there".
    if (count < 0) throw new SystemError("recv", 110, path);
    if (count === 0) break;
    answer += decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  return answer;
}

/** unixPeer returns who listens on a socket; throws SystemError (ENOENT, ECONNREFUSED) when nobody does. */
export function unixPeer(path: string): PeerCredentials {
  using fd = connectUnix(path, { timeoutMs: 5000 });
  return peerCredentials(fd.number);
}
