/**
 * A UDP socket on loopback that speaks with one port of 127.0.0.1 only: it is connected, so the kernel shows it nothing from anybody else
 * (udp(7)).
 */
import { isErrno } from "./errno.ts";
import * as libc from "./libc.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

/** LoopbackOptions say where the socket is, and with whom it speaks. */
export interface LoopbackOptions {
  /** An address of 127.0.0.0/8, all of which are this machine (RFC 1122 section 3.2.1.3). */
  readonly address: string;
  /** Default: chosen by the system. */
  readonly port?: number;
  /** The port of 127.0.0.1 that it speaks with. */
  readonly peerPort: number;
  /** What may wait to be read; default the system's. */
  readonly bufferBytes?: number;
  /** A datagram; the bytes are the callback's. */
  readonly onDatagram: (bytes: Uint8Array) => void;
}

/** LoopbackDatagrams owns the socket. */
export class LoopbackDatagrams implements Disposable {
  /** Datagrams that the system did not take: too long, or nobody has the port now. */
  refused = 0;
  readonly #socket: Bun.udp.ConnectedSocket<"uint8array">;

  private constructor(socket: Bun.udp.ConnectedSocket<"uint8array">) {
    this.#socket = socket;
  }

  /** open makes the socket; rejects (EADDRINUSE) if somebody has the port. */
  static async open(options: LoopbackOptions): Promise<LoopbackDatagrams> {
    let opened: LoopbackDatagrams | undefined;
    const socket = (await Bun.udpSocket({
      hostname: options.address,
      ...(options.port === undefined ? {} : { port: options.port }),
      connect: { hostname: "127.0.0.1", port: options.peerPort },
      binaryType: "uint8array",
      socket: {
        data: (_, bytes) => options.onDatagram(bytes),
        // ICMP says that nobody has the port; a tunnel that starts again will.
        error: () => {
          if (opened !== undefined) opened.refused++;
        },
      },
    } as Bun.udp.ConnectSocketOptions<"uint8array">)) as Bun.udp.ConnectedSocket<"uint8array">;
    if (options.bufferBytes !== undefined) setReceiveBuffer(socket, options.bufferBytes);
    opened = new LoopbackDatagrams(socket);
    return opened;
  }

  get port(): number {
    return this.#socket.port;
  }

  /** send sends one datagram, if the system takes it. */
  send(bytes: Uint8Array): void {
    try {
      this.#socket.send(bytes);
    } catch {
      this.refused++;
    }
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function setReceiveBuffer(socket: object, bytes: number): void {
  const { fd } = socket as { readonly fd: number };
  try {
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch (error) {
    // Without CAP_NET_ADMIN in the first user namespace only the system's limit is granted.
    if (!isErrno(error, "EPERM")) throw error;
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}
