/**
 * The hub's side: TLS for nodes that UDP does not reach, in front of the hub's own tunnel port.
 *
 * ```
 * node ══ TLS 1.3, TCP 443 ══▶ listener ── 127.64.x.y:p ── loopback ──▶ 127.0.0.1:51820 (WireGuard, relay, probes)
 * ```
 * Nobody proves anything to TLS; what is inside does, to the tunnel. So datagrams go to that one port only, and whoever it does not answer
 * is a guest, who goes soon.
 */
import {
  every,
  keyHashOfCertificate,
  listenTls,
  monotonicMs,
  sha256,
  type TlsListening,
  type TlsStream,
} from "../../sys/mod.ts";
import { Admission, type AdmissionLimits, DEFAULT_LIMITS, type Place } from "./admission.ts";
import { FrameReader } from "./frame.ts";
import { HubSession, loopbackOf, type SessionCounters } from "./hub-session.ts";

/** ListenerTimes say how long things may take. */
export interface ListenerTimes {
  /** For the TLS handshake, and then for the first bytes. */
  readonly handshakeMs: number;
  /** For the tunnel to answer a guest. WireGuard begins a handshake again after 5 s (Rekey-Timeout). */
  readonly guestMs: number;
  /** Between two answers: WireGuard makes a new session after 2 minutes, wherever anything is sent (Rekey-After-Time). */
  readonly silenceMs: number;
  /** For a node that lost its connection to come back to its session. */
  readonly returnMs: number;
}

/** DEFAULT_TIMES are those of a hub. */
export const DEFAULT_TIMES: ListenerTimes = {
  handshakeMs: 5000,
  guestMs: 15_000,
  silenceMs: 300_000,
  returnMs: 120_000,
};

/** ListenerOptions say where to listen, as whom, and what for. */
export interface ListenerOptions {
  readonly port: number;
  /** Default: all of this machine. */
  readonly address?: string;
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** The tunnel's UDP port. */
  readonly tunnelPort: number;
  readonly limits?: AdmissionLimits;
  readonly times?: ListenerTimes;
}

/** ListenerStatus is what a listener says of itself. */
export interface ListenerStatus extends Readonly<SessionCounters> {
  readonly port: number;
  /** By which nodes know it: base64 of the SHA-256 of its public key. */
  readonly pin: string;
  readonly connections: number;
  /** Of them, whom the tunnel has not answered yet. */
  readonly guests: number;
  /** Nodes that are connected, or may come back. */
  readonly sessions: number;
  /** Connections that were turned away, and TLS handshakes that failed. */
  readonly refused: number;
  readonly failedHandshakes: number;
}

/** One connection with what it is admitted as. */
interface Connection {
  readonly stream: TlsStream;
  readonly place: Place;
  readonly openedMs: number;
  session?: HubSession;
}

const SWEEP_MS = 1000;

/** TlsListener serves until it is closed. */
export class TlsListener implements Disposable {
  readonly pin: string;
  readonly #options: ListenerOptions;
  readonly #times: ListenerTimes;
  readonly #salt: string;
  readonly #admission: Admission;
  readonly #listening: TlsListening;
  readonly #sweep: Disposable;
  readonly #connections = new Set<Connection>();
  readonly #sessions = new Map<string, HubSession>();
  readonly #counters: SessionCounters = { received: 0, sent: 0, dropped: 0, unwelcome: 0 };
  #failedHandshakes = 0;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#times = options.times ?? DEFAULT_TIMES;
    this.pin = keyHashOfCertificate(options.certificate);
    // Known to the hub only, and the same after a restart.
    this.#salt = Buffer.from(sha256("salt", options.key)).toString("hex");
    this.#admission = new Admission(options.limits ?? DEFAULT_LIMITS);
    this.#listening = this.#listen();
    this.#sweep = every(SWEEP_MS, () => this.#look());
  }

  /** start listens; throws if the port is taken or the certificate is none. */
  static start(options: ListenerOptions): TlsListener {
    return new TlsListener(options);
  }

  get status(): ListenerStatus {
    return {
      ...this.#counters,
      port: this.#listening.port,
      pin: this.pin,
      connections: this.#admission.connections,
      guests: this.#admission.guests,
      sessions: this.#sessions.size,
      refused: this.#admission.refused,
      failedHandshakes: this.#failedHandshakes,
    };
  }

  #listen(): TlsListening {
    const { port, address } = this.#options;
    const listen = (where: string) =>
      listenTls<Place>({
        address: where,
        port,
        certificate: this.#options.certificate,
        key: this.#options.key,
        handshakeMs: this.#times.handshakeMs,
        admit: (remote, hangUp) => this.#admission.admit(remote, { nowMs: monotonicMs(), evict: hangUp }),
        open: (stream, place) => this.#open(stream, place),
        failed: () => this.#failedHandshakes++,
      });
    try {
      return listen(address ?? "::");
    } catch (error) {
      // A kernel without IPv6.
      if (address === undefined && !inUse(error)) return listen("0.0.0.0");
      const cause = inUse(error)
        ? "another program has it; stop that, or choose another port (tlsPort)"
        : text(error);
      throw new Error(`Cannot listen on TCP port ${port}: ${cause}`, { cause: error });
    }
  }

  #open(stream: TlsStream, place: Place) {
    const connection: Connection = { stream, place, openedMs: monotonicMs() };
    this.#connections.add(connection);
    const reader = new FrameReader({
      greeted: (name) => this.#greet(connection, name),
      datagram: (bytes) => connection.session?.fromNode(bytes),
    });
    return {
      data: (bytes: Uint8Array) => {
        if (!reader.read(bytes)) stream.close("it speaks another protocol");
      },
      closed: () => this.#closed(connection),
    };
  }

  /** A node says which session is its own. Only it knows the name, which nobody can guess. */
  #greet(connection: Connection, name: string): void {
    const known = this.#sessions.get(name);
    const session = known ?? this.#begin(name, connection.place.source);
    const former = session.stream;
    session.stream = connection.stream;
    session.detachedMs = undefined;
    connection.session = session;
    // It came back before we noticed that it was gone.
    former?.close("the node has connected anew");
    const settle = () => connection.place.settle();
    session.onAnswer = settle;
    if (session.answeredMs !== undefined) settle();
  }

  #begin(name: string, source: string): HubSession {
    const session = new HubSession(name, this.#counters);
    this.#sessions.set(name, session);
    const place = { address: loopbackOf(source, this.#salt), tunnelPort: this.#options.tunnelPort };
    session.open(place).catch(() => this.#end(session));
    return session;
  }

  #closed(connection: Connection): void {
    this.#connections.delete(connection);
    const { session } = connection;
    if (session === undefined || session.stream !== connection.stream) return;
    session.stream = undefined;
    session.detachedMs = monotonicMs();
    if (session.answeredMs === undefined) this.#end(session);
  }

  #end(session: HubSession): void {
    if (this.#sessions.get(session.name) === session) this.#sessions.delete(session.name);
    session[Symbol.dispose]();
  }

  #look(): void {
    const nowMs = monotonicMs();
    const { handshakeMs, guestMs, silenceMs, returnMs } = this.#times;
    for (const { stream, openedMs, session } of this.#connections)
      if (session === undefined && nowMs - openedMs > handshakeMs) stream.close("it says nothing");
    for (const session of this.#sessions.values()) {
      const { answeredMs, bornMs, detachedMs } = session;
      const silent = answeredMs === undefined ? nowMs - bornMs > guestMs : nowMs - answeredMs > silenceMs;
      const gone = detachedMs !== undefined && nowMs - detachedMs > returnMs;
      if (silent || gone) this.#end(session);
    }
  }

  close(): void {
    this.#sweep[Symbol.dispose]();
    this.#listening[Symbol.dispose]();
    for (const session of this.#sessions.values()) this.#end(session);
    for (const { stream } of this.#connections) stream.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const inUse = (error: unknown) => (error as { readonly code?: string }).code === "EADDRINUSE";
const text = (error: unknown) => (error instanceof Error ? error.message : String(error));
