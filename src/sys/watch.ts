/**
 * Waking up when a message socket has something to read: the runtime's event loop adopts a duplicate of the descriptor.
 *
 * `Bun.connect({ fd })` works for any socket, keeps message borders, and is not in Bun's types (tested with 1.4).
 */
import type { Fd } from "./fd.ts";
import { duplicate } from "./netlink-socket.ts";

/** SocketWatch says what to do with what arrives. */
export interface SocketWatch {
  /** A message; the bytes are the callback's. */
  readonly onMessage: (bytes: Uint8Array) => void;
  /** The socket failed: for netlink, it lost messages (ENOBUFS). Nothing arrives any more. */
  readonly onFailure: () => void;
}

/** SocketWatcher is a watch that runs. */
export interface SocketWatcher extends Disposable {
  /** pause leaves what arrives in the socket's buffer, and what does not fit there is lost, until `resume`. */
  pause(): void;
  resume(): void;
}

interface AdoptedSocket {
  terminate(): void;
  pause(): void;
  resume(): void;
}

type Adopt = (options: {
  fd: number;
  socket: {
    open(socket: AdoptedSocket): void;
    data(socket: AdoptedSocket, bytes: Uint8Array): void;
    close(): void;
    error(): void;
  };
}) => Promise<AdoptedSocket>;

/**
 * watchSocket hands over messages from the event loop until it is disposed. The owner of `fd` may read from it too, without
 * waiting: each message goes to whoever reads first.
 */
export function watchSocket(fd: Fd, watch: SocketWatch): SocketWatcher {
  let disposed = false;
  let paused = false;
  let adopted: AdoptedSocket | undefined;
  const own = duplicate(fd, "watched socket");
  const fail = () => {
    if (disposed) return;
    disposed = true;
    watch.onFailure();
  };
  const connected = (Bun.connect as unknown as Adopt)({
    fd: own.release(),
    socket: {
      open(socket) {
        adopted = socket;
        if (disposed) socket.terminate();
        else if (paused) socket.pause();
      },
      data(_socket, bytes) {
        if (!disposed) watch.onMessage(bytes);
      },
      close: fail,
      error: fail,
    },
  });
  connected.catch(fail);
  return {
    pause() {
      paused = true;
      if (!disposed) adopted?.pause();
    },
    resume() {
      paused = false;
      if (!disposed) adopted?.resume();
    },
    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      adopted?.terminate();
    },
  };
}
