/**
 * A node's side: one TLS connection to one hub, made again whenever it is lost, behind a loopback endpoint that stays.
 *
 * ```
 * WireGuard :51820 ── endpoint 127.0.0.1:p ──▶ uplink ══ TLS 1.3 ══▶ hub:443
 * ```
 */
import {
  after,
  connectTls,
  type HttpProxy,
  LoopbackDatagrams,
  monotonicMs,
  randomBytes,
  type TlsStream,
  type TlsTrust,
} from "../../sys/mod.ts";
import { FrameReader, FrameWriter, greeting, SESSION_BYTES } from "./frame.ts";

/** UplinkOptions say which hub, and whose datagrams. */
export interface UplinkOptions {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly trust: TlsTrust;
  readonly proxy?: HttpProxy;
  /** The UDP port of this node's tunnel. */
  readonly tunnelPort: number;
  /** From before a restart, so that endpoints stay right on both sides. */
  readonly localPort?: number;
  readonly session?: string;
}

/** UplinkStatus is what an uplink says of itself. */
export interface UplinkStatus {
  readonly name: string;
  /** The port of 127.0.0.1 that stands for the hub. */
  readonly localPort: number;
  /** Names the session at the hub; whoever knows it can take the place of this node's connection (not more). */
  readonly session: string;
  readonly state: "connecting" | "open" | "waiting";
  /** Why there is no connection. */
  readonly reason?: string;
  /** Connections that were opened. */
  readonly opened: number;
  readonly sent: number;
  readonly received: number;
  readonly dropped: number;
}

const CONNECT_MS = 10_000;
const FIRST_PAUSE_MS = 250;
/** A hub that starts again is found soon; hundreds of nodes that ask so often cost it little. */
const LONGEST_PAUSE_MS = 5000;
/** All nodes of a hub that starts again come back within this time. */
const SPREAD_MS = 200;
/** A connection that lived so long was well: its end begins a new series of pauses. */
const WELL_MS = 10_000;
/** What was said while there was no connection, and is worth being said late: handshakes and probes. */
const MOST_HELD = 16;
const HELD_BYTES = 256;
const HELD_MS = 3000;
const BUFFER_BYTES = 4 << 20;

/** pauseMs returns how long to wait before the next connection, after so many that failed or did not last; `chance` is in [0, 1). */
export function pauseMs(failures: number, chance: number): number {
  if (failures === 0) return SPREAD_MS * chance;
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return longest * (0.5 + chance / 2);
}

/** TlsUplink is the way to one hub. */
export class TlsUplink implements Disposable {
  readonly session: string;
  readonly #options: UplinkOptions;
  readonly #writer = new FrameWriter();
  #socket: LoopbackDatagrams | undefined;
  #stream: TlsStream | undefined;
  #held: { readonly datagram: Uint8Array; readonly atMs: number }[] = [];
  #state: UplinkStatus["state"] = "connecting";
  #reason: string | undefined;
  #retry: Disposable | undefined;
  #openedMs = 0;
  #failures = 0;
  #opened = 0;
  #received = 0;
  #closed = false;

  private constructor(options: UplinkOptions) {
    this.#options = options;
    this.session = options.session ?? Buffer.from(randomBytes(SESSION_BYTES)).toString("hex");
  }

  /** start makes the loopback socket and begins to connect; rejects if the socket cannot be made. */
  static async start(options: UplinkOptions): Promise<TlsUplink> {
    const uplink = new TlsUplink(options);
    const open = (port?: number) =>
      LoopbackDatagrams.open({
        address: "127.0.0.1",
        peerPort: options.tunnelPort,
        bufferBytes: BUFFER_BYTES,
        onDatagram: (bytes) => uplink.#fromTunnel(bytes),
        ...(port === undefined ? {} : { port }),
      });
    uplink.#socket = await open(options.localPort).catch((error) => {
      if (options.localPort === undefined) throw error;
      return open();
    });
    void uplink.#connect();
    return uplink;
  }

  get status(): UplinkStatus {
    return {
      name: this.#options.name,
      localPort: this.#socket?.port ?? 0,
      session: this.session,
      state: this.#state,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      opened: this.#opened,
      sent: this.#writer.written,
      received: this.#received,
      dropped: this.#writer.dropped,
    };
  }

  async #connect(): Promise<void> {
    this.#state = "connecting";
    const reader = new FrameReader({ datagram: (bytes) => this.#toTunnel(bytes) });
    const { host, port, trust, proxy } = this.#options;
    let ended = false;
    try {
      const stream = await connectTls({
        host,
        port,
        trust,
        ...(proxy === undefined ? {} : { proxy }),
        timeoutMs: CONNECT_MS,
        events: {
          data: (bytes) => {
            if (!reader.read(bytes)) this.#stream?.close("the hub speaks another protocol");
          },
          closed: (reason) => {
            ended = true;
            this.#lost(reason ?? "the hub ended the connection");
          },
        },
      });
      if (this.#closed) stream.close();
      else if (!ended) this.#begin(stream);
    } catch (error) {
      this.#lost(error instanceof Error ? error.message : String(error));
    }
  }

  #begin(stream: TlsStream): void {
    this.#stream = stream;
    this.#state = "open";
    this.#reason = undefined;
    this.#opened++;
    this.#openedMs = monotonicMs();
    stream.write(greeting(this.session), new Uint8Array(0));
    for (const { datagram, atMs } of this.#held.splice(0))
      if (this.#openedMs - atMs <= HELD_MS) this.#writer.write(stream, datagram);
  }

  #lost(reason: string): void {
    const lasted = this.#stream !== undefined && monotonicMs() - this.#openedMs > WELL_MS;
    this.#failures = lasted ? 0 : this.#failures + 1;
    this.#stream = undefined;
    if (this.#closed) return;
    this.#state = "waiting";
    this.#reason = reason;
    const [byte = 0] = randomBytes(1);
    this.#retry = after(pauseMs(this.#failures, byte / 256), () => void this.#connect());
  }

  #fromTunnel(datagram: Uint8Array): void {
    if (this.#stream !== undefined) return this.#writer.write(this.#stream, datagram);
    this.#writer.dropped++;
    if (datagram.length > HELD_BYTES) return;
    if (this.#held.length === MOST_HELD) this.#held.shift();
    this.#held.push({ datagram, atMs: monotonicMs() });
  }

  #toTunnel(datagram: Uint8Array): void {
    this.#received++;
    this.#socket?.send(datagram);
  }

  close(): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#stream?.close();
    this.#socket?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
