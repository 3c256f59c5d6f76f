/**
 * One session at work: events go into the pure machine with their time, and what it asks for is done. UPDATEs go past the machine.
 *
 * Everything comes in by `#dispatch`, one event at a time: what an effect's receiver does in turn waits until the effects are done.
 */
import { after, monotonicMs, randomBytes } from "../../sys/mod.ts";
import {
  type Ended,
  NEW_PEER,
  type Negotiated,
  type PeerCause,
  type PeerConfig,
  peerDeadline,
  type PeerEffect,
  type PeerEvent,
  type PeerState,
  stepPeer,
  type TimerView,
} from "../session/mod.ts";
import { type BgpError, decodeRefresh, HEADER_BYTES, MESSAGE, type Refresh } from "../wire/mod.ts";
import { Connection, type MessageCounts, type Outbox } from "./connection.ts";

/** SessionDown says how an established session ended. */
export interface SessionDown {
  readonly ended: Ended;
  readonly negotiated: Negotiated;
  /** Its routes are to be kept as stale (RFC 4724, RFC 8538). */
  readonly graceful: boolean;
}

/** SessionHooks is who is told of a session: the speaker. */
export interface SessionHooks {
  /** Returns where messages to the peer come from; whoever fills it calls `wake`. */
  established(session: BgpSession, negotiated: Negotiated): Outbox | undefined;
  down(session: BgpSession, down: SessionDown): void;
  /** An UPDATE's body is `bytes[at, end)`, valid during the call; an error ends the session with it. */
  update(session: BgpSession, bytes: Uint8Array, at: number, end: number): BgpError | undefined;
  refresh(session: BgpSession, refresh: Refresh): void;
  /** The state has changed: for those who show it. */
  changed?(session: BgpSession): void;
}

/** SessionTap is told all that goes in and comes out: a recorder. */
export interface SessionTap {
  event(event: PeerEvent, effects: readonly PeerEffect[]): void;
  update(nowMs: number, connection: number, message: Uint8Array): void;
}

/** SessionPlace makes connections for a session. */
export interface SessionPlace {
  /** connect begins one; the reason is why that is not possible now. */
  connect(connection: Connection): string | undefined;
}

/** A timer that comes later than this says that the process stood still: what arrived meanwhile has not been read yet. */
const LATE_MS = 1_000;
/** How long reading may take before time is believed again. */
const GRACE_MS = 200;

/** BgpSession owns a session's connections and its timer. */
export class BgpSession implements Disposable {
  readonly name: string;
  /** The last end, of a session or of an attempt. */
  lastEnded: { readonly ended: Ended; readonly atMs: number } | undefined;
  /** How often it was established. */
  established = 0;
  #state: PeerState = NEW_PEER;
  #config: PeerConfig;
  readonly #hooks: SessionHooks;
  readonly #place: SessionPlace;
  readonly #connections = new Map<number, Connection>();
  /** The connection of the established session. */
  #current: Connection | undefined;
  readonly #waiting: PeerCause[] = [];
  #dispatching = false;
  #offered: Connection | undefined;
  #timer: Disposable | undefined;
  #timerAtMs = 0;
  #graceUntilMs = 0;
  #disposed = false;
  tap: SessionTap | undefined;

  constructor(
    name: string,
    options: { readonly config: PeerConfig; readonly hooks: SessionHooks; readonly place: SessionPlace },
  ) {
    this.name = name;
    this.#config = options.config;
    this.#hooks = options.hooks;
    this.#place = options.place;
  }

  /** The machine's state, which is all there is to know of a session. */
  get state(): PeerState {
    return this.#state;
  }

  get config(): PeerConfig {
    return this.#config;
  }

  /** What the session can do while it is established. */
  get negotiated(): Negotiated | undefined {
    const { fsm } = this.#state.main;
    return fsm.kind === "established" ? fsm.negotiated : undefined;
  }

  /** The connection that counts: addresses, counters. */
  get connection(): Connection | undefined {
    const { connection } = this.#state.main;
    return connection === undefined ? undefined : this.#connections.get(connection);
  }

  /** Messages by type, of the present connection. */
  get counts(): { readonly received: MessageCounts; readonly sent: MessageCounts } | undefined {
    const { connection } = this;
    return connection && { received: connection.received, sent: connection.sent };
  }

  /** configure takes effect with the next connection. */
  configure(config: PeerConfig): void {
    this.#config = config;
  }

  start(): void {
    this.#dispatch({ kind: "start" });
  }

  /** stop ends the session with a cease; with `automatic` it starts again. */
  stop(options: Omit<Extract<PeerCause, { kind: "stop" }>, "kind">): void {
    this.#dispatch({ kind: "stop", ...options });
  }

  /** offer gives the session a connection that its peer made; false when it does not want it. */
  offer(connection: Connection): boolean {
    this.#offered = connection;
    this.#dispatch({ kind: "accepted" });
    const taken = this.#offered === undefined;
    this.#offered = undefined;
    return taken;
  }

  /** newConnection is one whose events come here. It has no number until the machine gives it one. */
  newConnection(): Connection {
    const connection: Connection = new Connection({
      connected: () => this.#of(connection, (number) => ({ kind: "connected", connection: number })),
      message: (type, bytes, at, end) =>
        connection === this.#current && type !== MESSAGE.open && type !== MESSAGE.notification
          ? this.#routine(connection, { type, bytes, at, end })
          : this.#of(connection, (number) => ({
              kind: "message",
              connection: number,
              type,
              // It may wait, and the bytes are the connection's.
              body: bytes.slice(at + HEADER_BYTES, end),
            })),
      headerError: (error) =>
        this.#of(connection, (number) => ({ kind: "header-error", connection: number, error })),
      closed: (reason) => this.#of(connection, (number) => ({ kind: "failed", connection: number, reason })),
    });
    // Who says that it can must be able to (RFC 8654 section 4), whatever the other says.
    if (this.#config.session.extendedMessages === true) connection.extend();
    return connection;
  }

  /** wake says that the outbox has something. */
  wake(): void {
    this.#current?.flush();
    this.#arm();
  }

  /** send puts one message of our own before what the outbox has: ROUTE-REFRESH. Does nothing unless established. */
  send(message: Uint8Array): void {
    this.#current?.send(message);
  }

  /** hold stops reading, for those who cannot keep up; `release` goes on. The peer is not held to its hold time meanwhile. */
  hold(): void {
    this.#current?.hold();
  }

  release(): void {
    this.#current?.release();
  }

  #numberOf(connection: Connection): number | undefined {
    for (const [number, own] of this.#connections) if (own === connection) return number;
    return undefined;
  }

  #of(connection: Connection, cause: (number: number) => PeerCause): void {
    const number = this.#numberOf(connection);
    if (number !== undefined) this.#dispatch(cause(number));
  }

  /** What an established session is made of, and what the machine need not know: it looks at when it was heard. */
  #routine(connection: Connection, { type, bytes, at, end }: MessageAt): void {
    if (type === MESSAGE.keepalive) return;
    if (this.tap !== undefined) {
      const number = this.#numberOf(connection);
      if (number !== undefined) this.tap.update(monotonicMs(), number, bytes.subarray(at, end));
    }
    const body = at + HEADER_BYTES;
    const error =
      type === MESSAGE.update ? this.#hooks.update(this, bytes, body, end) : this.#refresh(bytes, body, end);
    if (error !== undefined)
      this.#of(connection, (number) => ({ kind: "update-error", connection: number, error }));
  }

  #refresh(bytes: Uint8Array, body: number, end: number): BgpError | undefined {
    const refresh = decodeRefresh(bytes, body, end);
    if ("code" in refresh) return refresh;
    // RFC 2918 section 4: of a family that was not agreed on, it is ignored.
    if (this.negotiated?.families.has(refresh.family) === true) this.#hooks.refresh(this, refresh);
    return undefined;
  }

  #dispatch(cause: PeerCause): void {
    if (this.#disposed) return;
    this.#waiting.push(cause);
    if (this.#dispatching) return;
    this.#dispatching = true;
    const before = this.#state.main.fsm.kind;
    const endedBefore = this.lastEnded;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
        this.#take({ ...next, nowMs: monotonicMs(), chance: chance() });
    } finally {
      this.#dispatching = false;
    }
    this.#arm();
    if (this.#state.main.fsm.kind !== before || this.lastEnded !== endedBefore) this.#hooks.changed?.(this);
  }

  #take(event: PeerEvent): void {
    // A connection's end is its last event.
    if (event.kind === "failed") this.#connections.delete(event.connection);
    const [state, effects] = stepPeer(this.#state, event, this.#config);
    this.#state = state;
    this.tap?.event(event, effects);
    for (const effect of effects) this.#do(effect, event.nowMs);
  }

  #do(effect: PeerEffect, nowMs: number): void {
    switch (effect.kind) {
      case "connect": {
        const connection = this.newConnection();
        this.#connections.set(effect.connection, connection);
        const reason = this.#place.connect(connection);
        if (reason !== undefined)
          this.#waiting.push({ kind: "failed", connection: effect.connection, reason });
        return;
      }
      case "adopt":
        if (this.#offered !== undefined) this.#connections.set(effect.connection, this.#offered);
        this.#offered = undefined;
        return;
      case "refuse":
        return;
      case "send":
        this.#connections.get(effect.connection)?.send(effect.bytes);
        return;
      case "close":
        this.#close(effect.connection);
        return;
      case "established":
        this.#establish(effect.connection, effect.negotiated);
        return;
      case "down": {
        this.#current = undefined;
        this.lastEnded = { ended: effect.ended, atMs: nowMs };
        this.#hooks.down(this, effect);
        return;
      }
      case "ended":
        this.lastEnded = { ended: effect.ended, atMs: nowMs };
    }
  }

  #close(number: number): void {
    const connection = this.#connections.get(number);
    this.#connections.delete(number);
    if (connection === undefined) return;
    if (connection === this.#current) this.#current = undefined;
    connection.close();
  }

  #establish(number: number, negotiated: Negotiated): void {
    const connection = this.#connections.get(number);
    if (connection === undefined) return;
    this.#current = connection;
    this.established++;
    const outbox = this.#hooks.established(this, negotiated);
    if (outbox !== undefined && this.#current === connection) connection.attach(outbox);
  }

  get #view(): TimerView {
    const current = this.#current;
    return {
      // What waits here has been said in time.
      heardMs: current?.behind === true ? monotonicMs() : current?.heardMs,
      stuckMs: current?.stuckMs,
      sendHoldMs: this.#config.sendHoldMs,
    };
  }

  #arm(): void {
    if (this.#disposed) return;
    const next = peerDeadline(this.#state, this.#view);
    const atMs = next === undefined ? undefined : Math.max(next.atMs, this.#graceUntilMs);
    // Earlier is found out when it fires: messages put it off all the time.
    if (this.#timer !== undefined && atMs !== undefined && this.#timerAtMs <= atMs) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    if (atMs === undefined) return;
    this.#timerAtMs = atMs;
    this.#timer = after(Math.max(0, atMs - monotonicMs()), () => this.#due());
  }

  #due(): void {
    this.#timer = undefined;
    const nowMs = monotonicMs();
    if (nowMs - this.#timerAtMs > LATE_MS && nowMs > this.#graceUntilMs) {
      this.#graceUntilMs = nowMs + GRACE_MS;
      return this.#arm();
    }
    const view = this.#view;
    const next = peerDeadline(this.#state, view);
    if (next === undefined || next.atMs > nowMs) return this.#arm();
    this.#dispatch({
      kind: "time",
      ...(view.heardMs === undefined ? {} : { heardMs: view.heardMs }),
      ...(view.stuckMs === undefined ? {} : { stuckMs: view.stuckMs }),
    });
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    for (const connection of this.#connections.values()) connection[Symbol.dispose]();
    this.#connections.clear();
    this.#current = undefined;
  }
}

interface MessageAt {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
}

/** A number in [0, 1). */
function chance(): number {
  const bytes = randomBytes(4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) / 2 ** 32;
}
