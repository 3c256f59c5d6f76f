/** One question over TCP and its answer, up to the end of the stream, with limits of time and length: for servers that nobody vouches for. */
import { after } from "./clock.ts";
import type { Netns } from "./netns.ts";

/** TcpExchange says whom to ask, and what. */
export interface TcpExchange {
  readonly netns?: Netns | undefined;
  /** A literal address. */
  readonly host: string;
  readonly port: number;
  readonly request: Uint8Array;
  /** Sees what has come; true ends the reading before the stream ends. */
  readonly complete: (answer: Uint8Array) => boolean;
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

/** exchangeTcp resolves with what came; undefined when there was no connection, or no complete answer within the limits. */
export function exchangeTcp(exchange: TcpExchange): Promise<Uint8Array | undefined> {
  const { host, port, request, netns } = exchange;
  return new Promise((resolve) => {
    let answer: Uint8Array = new Uint8Array(0);
    let opened: { terminate(): void } | undefined;
    let waiting = request;
    const done = (result: Uint8Array | undefined) => {
      timer[Symbol.dispose]();
      resolve(result);
      opened?.terminate();
    };
    const timer = after(exchange.timeoutMs, () => done(undefined));
    const flush = (socket: { write(bytes: Uint8Array): number }) => {
      if (waiting.length > 0) waiting = waiting.subarray(Math.max(0, socket.write(waiting)));
    };
    const connect = () =>
      Bun.connect({
        hostname: host,
        port,
        socket: {
          open(socket) {
            opened = socket;
            flush(socket);
          },
          drain: flush,
          data(_, bytes) {
            if (answer.length + bytes.length > exchange.maxBytes) return done(undefined);
            answer = new Uint8Array(Buffer.concat([answer, bytes]));
            if (exchange.complete(answer)) done(answer);
          },
          close: () => done(answer.length > 0 ? answer : undefined),
          error: () => done(undefined),
          connectError: () => done(undefined),
        },
      }).catch(() => done(undefined));
    if (netns === undefined) void connect();
    else
      netns.run(() => {
        void connect();
      });
  });
}
