/**
 * One question on a unix stream socket, and its answer, synchronously.
 *
 * For services that answer at once (a tunnel's configuration socket); whatever may take long belongs on a runtime socket.
 */
import { SystemError } from "./errno.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import { connectUnix, type PeerCredentials, peerCredentials, sendAll } from "./unix.ts";

const SILENCE_MS = 5000;
const ETIMEDOUT = 110;

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
  using socket = connectUnix(path, { timeoutMs: request.timeoutMs ?? SILENCE_MS });
  sendAll(socket, new TextEncoder().encode(request.text));
  const buffer = stable(65536);
  const decoder = new TextDecoder();
  let answer = "";
  while (!request.complete(answer)) {
    const count = libc.recv(socket.number, buffer);
    // A receive time-out is reported as "nothing there".
    if (count < 0) throw new SystemError("recv", ETIMEDOUT, path);
    if (count === 0) break;
    answer += decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  return answer;
}

/** unixPeer returns who listens on a socket; throws SystemError (ENOENT, ECONNREFUSED) when nobody does. */
export function unixPeer(path: string): PeerCredentials {
  using socket = connectUnix(path, { timeoutMs: SILENCE_MS });
  return peerCredentials(socket.number);
}
