/**
 * One node behind TLS, as the hub has it: a loopback socket that is the node's endpoint for the hub's tunnel, and the connection that
 * carries its datagrams now. The socket outlives a connection, so that to the tunnel, and to what is relayed, nothing changes when the node
 * connects anew.
 */
import { LoopbackDatagrams, monotonicMs, sha256, type TlsStream } from "../../sys/mod.ts";
import { FrameWriter } from "./frame.ts";

/** Queue of the loopback socket: what the tunnel sends in one go. */
const BUFFER_BYTES = 1 << 20;
/** What a guest may say before the tunnel answers: some handshakes and probes. */
const GUEST_DATAGRAMS = 64;
/** Datagrams that wait for the socket, which is there a moment after the first of them. */
const MOST_WAITING = 16;
/** Ports that are tried from the one that the session's name leads to. */
const MOST_TRIES = 8;
const FIRST_PORT = 16_384;
const PORTS = 65_536 - FIRST_PORT;
/** WireGuard's cookie reply, which it gives without knowing who asks. */
const COOKIE_REPLY = 3;

/** SessionCounters count datagrams of all sessions of a listener. */
export interface SessionCounters {
  received: number;
  sent: number;
  dropped: number;
  /** Of guests beyond what they may say. */
  unwelcome: number;
}

/** HubSession is one node's session. */
export class HubSession implements Disposable {
  readonly name: string;
  /** When it was made, when the tunnel last said something to the node, and when it lost its connection. */
  readonly bornMs = monotonicMs();
  answeredMs: number | undefined;
  detachedMs: number | undefined;
  stream: TlsStream | undefined;
  /** Told when the tunnel answers for the first time. */
  onAnswer: (() => void) | undefined;
  readonly #counters: SessionCounters;
  readonly #writer = new FrameWriter();
  readonly #waiting: Uint8Array[] = [];
  #socket: LoopbackDatagrams | undefined;
  #guestDatagrams = 0;
  #disposed = false;

  constructor(name: string, counters: SessionCounters) {
    this.name = name;
    this.#counters = counters;
  }

  /** open makes the loopback socket. */
  async open(options: { readonly address: string; readonly tunnelPort: number }): Promise<void> {
    const first = firstPort(this.name);
    for (let tries = 0; this.#socket === undefined; tries++) {
      const port = tries < MOST_TRIES ? FIRST_PORT + ((first + tries) % PORTS) : undefined;
      try {
        this.#socket = await LoopbackDatagrams.open({
          address: options.address,
          peerPort: options.tunnelPort,
          bufferBytes: BUFFER_BYTES,
          onDatagram: (bytes) => this.#fromTunnel(bytes),
          ...(port === undefined ? {} : { port }),
        });
      } catch (error) {
        if (port === undefined) throw error;
      }
    }
    // Disposed while it was made.
    if (this.#disposed) return this.#socket.close();
    for (const datagram of this.#waiting.splice(0)) this.#socket.send(datagram);
  }

  /** The port by which the tunnel knows the node. */
  get port(): number | undefined {
    return this.#socket?.port;
  }

  /** fromNode hands a datagram to the tunnel. */
  fromNode(datagram: Uint8Array): void {
    if (this.answeredMs === undefined && ++this.#guestDatagrams > GUEST_DATAGRAMS) {
      this.#counters.unwelcome++;
      return;
    }
    this.#counters.received++;
    if (this.#socket !== undefined) this.#socket.send(datagram);
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(datagram.slice());
  }

  #fromTunnel(datagram: Uint8Array): void {
    // Anything else is said only to those whose key the tunnel knows.
    if (datagram[0] !== COOKIE_REPLY) {
      const first = this.answeredMs === undefined;
      this.answeredMs = monotonicMs();
      if (first) this.onAnswer?.();
    }
    const before = this.#writer.dropped;
    this.#writer.write(this.stream, datagram);
    if (this.#writer.dropped > before) this.#counters.dropped++;
    else this.#counters.sent++;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#socket?.close();
    this.stream?.close();
  }
}

/** The same after a restart, so that the tunnel's endpoint stays right. */
function firstPort(session: string): number {
  const hash = sha256("port", session);
  return (((hash[0] as number) << 8) | (hash[1] as number)) % PORTS;
}

/**
 * loopbackOf returns the loopback address for a source: its own, so that what the tunnel bounds for each source address is bounded for each
 * source. 127.64.0.0/10 has four million.
 */
export function loopbackOf(source: string, salt: string): string {
  const hash = sha256("source", salt, "\0", source);
  return `127.${64 | ((hash[0] as number) & 63)}.${hash[1]}.${hash[2]}`;
}
