/** A TCP connection that begins at an address of the caller's choice, as one of many nodes that live in one namespace. */
import { type Ip, ipBytes } from "../../src/net/mod.ts";
import { isErrno, libc, type Netns, socketAddress } from "../../src/sys/mod.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** LineEvents is told what comes. */
export interface LineEvents {
  /** A line without its end; the memory is used again. */
  line(bytes: Buffer): void;
  closed(): void;
}

/** LineConnection is open. */
export interface LineConnection {
  send(text: string): void;
  close(): void;
}

/** connectFrom connects over IPv4 and speaks in lines; what is sent before the other end answers waits. */
export async function connectFrom(
  from: Ip,
  options: { readonly netns: Netns; readonly to: Ip; readonly port: number; readonly events: LineEvents },
): Promise<LineConnection> {
  const { netns, to, port, events } = options;
  const fd = netns.run(() => libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  libc.bind(fd, socketAddress(ipBytes(from), 0));
  try {
    libc.connect(fd, socketAddress(ipBytes(to), port));
  } catch (error) {
    if (!isErrno(error, "EINPROGRESS")) throw error;
  }
  let over = false;
  const end = () => {
    if (!over) events.closed();
    over = true;
  };
  let rest: Buffer[] = [];
  let waiting: Buffer = Buffer.alloc(0);
  const flush = (socket: { write(data: Buffer): number }) => {
    if (waiting.length === 0) return;
    waiting = waiting.subarray(Math.max(0, socket.write(waiting)));
  };
  // The types do not know that a descriptor can be taken over.
  const connect = Bun.connect as unknown as (options: {
    readonly fd: number;
    readonly socket: Record<string, unknown>;
  }) => Promise<{ write(data: Buffer): number; end(): void }>;
  const socket = await connect({
    fd,
    socket: {
      binaryType: "buffer",
      data(_: unknown, data: Buffer) {
        let at = 0;
        for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, at)) {
          const piece = data.subarray(at, end);
          events.line(rest.length === 0 ? piece : Buffer.concat([...rest, piece]));
          rest = [];
          at = end + 1;
        }
        if (at < data.length) rest.push(Buffer.from(data.subarray(at)));
      },
      drain: flush,
      close: end,
      error: end,
      connectError: end,
    },
  });
  return {
    send(text) {
      waiting = Buffer.concat([waiting, Buffer.from(`${text}\n`)]);
      flush(socket);
    },
    close: () => socket.end(),
  };
}
