/**
 * Plain UDP and TCP sockets in any network namespace, for probing: who answers, and from which address a packet seems to come.
 * Hosts are literal addresses; a name would be resolved in our own namespace.
 */
import { type LookupFunction, Socket } from "node:net";
import { after } from "./clock.ts";
import type { Netns } from "./netns.ts";

/** Datagram is a packet as it arrived. */
export interface Datagram {
  readonly data: Uint8Array;
  readonly host: string;
  readonly port: number;
}

/** UdpOptions say where a socket lives and who gets what arrives. */
export interface UdpOptions {
  readonly netns?: Netns;
  /** Default: any address. */
  readonly host?: string;
  /** Default: chosen by the system. */
  readonly port?: number;
  readonly onDatagram?: (datagram: Datagram) => void;
  /** Called for what ICMP reports, such as ECONNREFUSED. */
  readonly onError?: (error: Error) => void;
}

/** UdpSocket sends and receives datagrams until it is closed. */
export interface UdpSocket extends Disposable {
  readonly port: number;
  /** False when the system took nothing, as when there is no route. */
  send(data: string | Uint8Array<ArrayBuffer>, host: string, port: number): boolean;
  close(): void;
}

/** openUdp opens a socket. */
export async function openUdp(options: UdpOptions = {}): Promise<UdpSocket> {
  const open = () =>
    Bun.udpSocket({
      ...(options.host === undefined ? {} : { hostname: options.host }),
      ...(options.port === undefined ? {} : { port: options.port }),
      binaryType: "uint8array",
      socket: {
        data: (_, data, port, host) => options.onDatagram?.({ data: new Uint8Array(data), host, port }),
        error: (_, error) => options.onError?.(error),
      },
    });
  // The socket is made before the call returns; only its wrapper comes later.
  let pending: ReturnType<typeof open> | undefined;
  if (options.netns === undefined) pending = open();
  else
    options.netns.run(() => {
      pending = open();
    });
  const socket = await (pending as ReturnType<typeof open>);
  return {
    port: socket.port,
    send(data, host, port) {
      try {
        return socket.send(data, port, host);
      } catch {
        return false;
      }
    },
    close: () => socket.close(),
    [Symbol.dispose]: () => socket.close(),
  };
}

/** TcpAnswer is what a port said to a connection: `open`, `refused` (a reset or ICMP), or nothing. */
export type TcpAnswer = "open" | "refused" | "silent";

/** TcpTarget is where to connect, from where, and how long to wait for a word. */
export interface TcpTarget {
  readonly netns?: Netns;
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/** probeTcp tries one connection and ends it, also one that is still being made: the system would ask for it for two minutes more (tcp_syn_retries). */
export function probeTcp({ netns, host, port, timeoutMs }: TcpTarget): Promise<TcpAnswer> {
  return new Promise((resolve) => {
    // Of the runtime's sockets only these can be given up before they are open.
    const socket = new Socket();
    const done = (answer: TcpAnswer) => {
      timer[Symbol.dispose]();
      resolve(answer);
      socket.destroy();
    };
    const timer = after(timeoutMs, () => done("silent"));
    socket.on("connect", () => done("open"));
    socket.on("error", (error) =>
      done((error as { code?: string }).code === "ETIMEDOUT" ? "silent" : "refused"),
    );
    // Looked up within this call, so that the socket is made within it, in the namespace; without `lookup` both come later.
    const family = host.includes(":") ? 6 : 4;
    const lookup: LookupFunction = (_, { all }, found) =>
      all === true ? found(null, [{ address: host, family }]) : found(null, host, family);
    const connect = () => void socket.connect({ host: "literal.invalid", port, lookup });
    if (netns === undefined) connect();
    else netns.run(connect);
  });
}

/** UdpAnswer is what a port said to a datagram: something came back, ICMP refused it, or nothing. */
export type UdpAnswer = "answered" | "refused" | "silent";

/** probeUdp sends one datagram with 32 zero bytes and waits for a word. */
export async function probeUdp(target: TcpTarget): Promise<UdpAnswer> {
  let settle: (answer: UdpAnswer) => void = () => {};
  const answer = new Promise<UdpAnswer>((resolve) => {
    settle = resolve;
  });
  const open = () =>
    Bun.udpSocket({
      // Without one, the socket speaks IPv4 only.
      hostname: target.host.includes(":") ? "::" : "0.0.0.0",
      connect: { hostname: target.host, port: target.port },
      socket: { data: () => settle("answered"), error: () => settle("refused") },
    });
  let pending: ReturnType<typeof open> | undefined;
  if (target.netns === undefined) pending = open();
  else
    target.netns.run(() => {
      pending = open();
    });
  const socket = await (pending as ReturnType<typeof open>);
  using _ = after(target.timeoutMs, () => settle("silent"));
  try {
    socket.send(new Uint8Array(32));
    return await answer;
  } catch {
    return "refused";
  } finally {
    socket.close();
  }
}
