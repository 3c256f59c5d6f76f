/** TLS 1.3 for whoever connects: the listening side, with what a stranger may cost. */
import type { Socket } from "bun";
import { after } from "./clock.ts";
import type { SendQueues } from "./send-queues.ts";
import { plainAddress, type TlsEvents, TlsStream, tuneTcp } from "./tls-stream.ts";

/** The number of TLS 1.3 (RFC 8446 section 4.1.2). */
export const TLS_1_3 = 0x0304;

/** Admitted is what the caller keeps of a connection. */
export interface Admitted extends Disposable {
  /** Whose it is, for the queues that connections send from; default its address. */
  readonly source?: string;
}

/** TlsListenOptions say where to listen, as whom, and whom to let in. */
export interface TlsListenOptions<Admission extends Admitted = Admitted> {
  /** `::` is all addresses of both families. */
  readonly address: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** PEM; the certificate may be followed by those of its issuers. */
  readonly certificate: string;
  readonly key: string;
  readonly handshakeMs: number;
  /** Called before anything is read; the result is disposed when the connection has ended. Undefined turns it away. */
  readonly admit: (remoteAddress: string, hangUp: () => void) => Admission | undefined;
  /** Called after the handshake. */
  readonly open: (stream: TlsStream, admission: Admission) => TlsEvents;
  /** Default: those of this process. */
  readonly queues?: SendQueues;
  /** Told of a handshake that failed. */
  readonly failed?: (reason: string) => void;
}

/** What belongs to one socket. */
interface Guest<Admission> {
  readonly admission: Admission;
  readonly timer: Disposable;
  /** The handshake failed, and the runtime may say so once more. */
  failed?: boolean;
  stream?: TlsStream;
}

/** TlsListening is an open listener. */
export interface TlsListening extends Disposable {
  readonly port: number;
}

/** listenTls accepts connections until it is disposed; those that are open then go on. */
export function listenTls<Admission extends Admitted>(options: TlsListenOptions<Admission>): TlsListening {
  const listener = Bun.listen<Guest<Admission> | undefined>({
    hostname: options.address,
    port: options.port,
    tls: tlsOptions({ cert: options.certificate, key: options.key }),
    socket: {
      binaryType: "buffer",
      open: (socket) => welcome(socket, options),
      handshake(socket, done, error) {
        const guest = socket.data;
        if (guest === undefined || guest.failed === true) return;
        guest.timer[Symbol.dispose]();
        if (!done) {
          guest.failed = true;
          options.failed?.(error?.message ?? "the handshake failed");
          socket.terminate();
          return;
        }
        let events: TlsEvents | undefined;
        const later: TlsEvents = {
          data: (bytes) => events?.data(bytes),
          closed: (reason) => events?.closed(reason),
        };
        const stream = new TlsStream(socket, later, {
          queues: options.queues,
          source: guest.admission.source,
        });
        events = options.open(stream, guest.admission);
        guest.stream = stream;
      },
      data: (socket, bytes) => socket.data?.stream?.received(bytes),
      drain: (socket) => socket.data?.stream?.drained(),
      end: (socket) => socket.data?.stream?.close(),
      error: (socket, error) => socket.data?.stream?.close(error.message),
      close(socket, error) {
        const guest = socket.data;
        if (guest === undefined) return;
        socket.data = undefined;
        guest.timer[Symbol.dispose]();
        guest.stream?.ended(error?.message);
        guest.admission[Symbol.dispose]();
      },
    },
  });
  return { port: listener.port, [Symbol.dispose]: () => listener.stop(false) };
}

function welcome<Admission extends Admitted>(
  socket: Socket<Guest<Admission> | undefined>,
  options: TlsListenOptions<Admission>,
): void {
  const admission = options.admit(plainAddress(socket.remoteAddress), () => socket.terminate());
  if (admission === undefined) {
    socket.terminate();
    return;
  }
  tuneTcp(socket);
  const late = () => {
    guest.failed = true;
    options.failed?.(`no handshake within ${options.handshakeMs} ms`);
    socket.terminate();
  };
  const guest: Guest<Admission> = { admission, timer: after(options.handshakeMs, late) };
  socket.data = guest;
}

/** tlsOptions adds the version to what the runtime is told of TLS; its types know numbers of versions for servers of HTTP only. */
export function tlsOptions(options: Bun.TLSOptions): Bun.TLSOptions {
  return { ...options, minVersion: TLS_1_3 } as Bun.TLSOptions;
}
