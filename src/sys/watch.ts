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

interface AdoptedSocket {
  terminate(): void;
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
export function watchSocket(fd: Fd, watch: SocketWatch): Disposable {
  let disposed = false;
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
    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      adopted?.terminate();
    },
  };
}
