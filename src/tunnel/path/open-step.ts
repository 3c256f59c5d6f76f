/**
 * From the network to TUN: receive, tell kinds apart, open, refuse what was seen before, check who may send it, write.
 *
 * ```
 * recvmmsg ──▶ by receiver index ──▶ AeadBatch (64, one session) ──▶ replay window ──▶ allowed IPs ──▶ sink
 *         └──▶ anything else: the protocol's messages, and traffic of ours
 * ```
 * Only what is authentic changes anything: the window, the peer's endpoint, counters of the session.
 */
import { AEAD_BATCH, AeadBatch, type Arena } from "../../sys/mod.ts";
import type { MessageSource } from "./datagram-port.ts";
import type { Framing } from "./framing.ts";
import { IP4, IP6 } from "./ip-header.ts";
import type { PacketSink } from "./packet-sink.ts";
import type { OpenSession, PathCounters, PathSession, PathTables, SealSession } from "./path-peer.ts";

/** OpenEvents tell the protocol what it has to know. `message` is its number in the source, which knows where it came from. */
export interface OpenEvents<Session extends OpenSession = PathSession> {
  /** A datagram that is not a data frame. */
  other(at: number, bytes: number, message: number): void;
  /** A data frame of a session that is not in the tables: whether it was sent on as it is; `asked` if that was asked before. */
  relay?(index: number, at: number, bytes: number, message: number, asked: boolean): boolean;
  /** A data frame of a session that is not in the tables; returns it if it is there by now. */
  missing?(index: number, at: number, bytes: number, message: number): Session | undefined;
  /** Authentic and new packets of a session came, at most once for each batch; `packets` is 0 if all were empty (keepalives). */
  opened(session: Session, packets: number, bytes: number, message: number): void;
}

/** OpenOptions are the parts that a step works with. */
export interface OpenOptions<Session extends OpenSession = PathSession> {
  readonly messages: MessageSource;
  readonly framing: Framing<never, NoInfer<Session>>;
  readonly sink: PacketSink;
  readonly tables: PathTables<SealSession, Session>;
  readonly counters: PathCounters;
  readonly events: OpenEvents<NoInfer<Session>>;
}

/** OpenStep makes no objects while it runs. */
export class OpenStep<Session extends OpenSession = PathSession> {
  readonly #arena: Arena;
  readonly #options: OpenOptions<Session>;
  readonly #batch: AeadBatch;
  readonly #frameCounters = new Float64Array(AEAD_BATCH);
  readonly #messages = new Int32Array(AEAD_BATCH);
  readonly #frameBytes = new Int32Array(AEAD_BATCH);
  #session: Session | undefined;

  constructor(arena: Arena, options: OpenOptions<Session>) {
    this.#arena = arena;
    this.#options = options;
    this.#batch = new AeadBatch(arena, "open");
    this.#batch.additionalBytes = options.framing.additionalBytes;
  }

  /** run takes the messages that the source has received. */
  run(count: number): void {
    for (let i = 0; i < count; i++) this.#message(i);
    this.#open();
    this.#options.sink.flush();
  }

  /** Takes the datagrams of one message. */
  #message(message: number): void {
    const { messages } = this.#options;
    const at = messages.at(message);
    const bytes = messages.bytes(message);
    const segment = messages.segmentBytes(message);
    for (let first = 0; first < bytes; first += segment)
      this.#datagram(at + first, Math.min(segment, bytes - first), message);
  }

  #datagram(at: number, bytes: number, message: number): void {
    const { framing, tables, counters, events } = this.#options;
    const index = framing.receiver(at, bytes);
    if (index < 0) {
      events.other(at, bytes, message);
      return;
    }
    let session = tables.sessions.get(index);
    if (session === undefined && events.relay?.(index, at, bytes, message, false) === true) return;
    if (session === undefined && events.missing !== undefined) {
      // It may take sessions away that frames of the batch belong to.
      this.#open();
      session = events.missing(index, at, bytes, message);
      if (session === undefined && events.relay?.(index, at, bytes, message, true) === true) return;
    }
    if (session === undefined || tables.nowMs >= session.endsMs) {
      counters.unknown++;
      return;
    }
    const counter = framing.counter(at, session);
    if (counter < 0 || counter >= tables.mostMessages) {
      counters.unknown++;
      return;
    }
    const batch = this.#batch;
    if (session !== this.#session || batch.count === AEAD_BATCH) this.#open();
    this.#session = session;
    this.#frameCounters[batch.count] = counter;
    this.#messages[batch.count] = message;
    this.#frameBytes[batch.count] = bytes;
    framing.open(batch, at, bytes, session, counter);
  }

  /** Opens the batch and passes on what is in it. */
  #open(): void {
    const batch = this.#batch;
    const session = this.#session;
    if (session === undefined || batch.count === 0) return;
    const { framing, counters, events } = this.#options;
    session.openKey.run(batch);
    let packets = 0;
    let bytes = 0;
    let message = -1;
    for (let i = 0; i < batch.count; i++) {
      if (batch.verdicts[i] !== 1) counters.forged++;
      else if (!framing.accept(session, this.#frameCounters[i] as number)) counters.replayed++;
      else {
        const length = framing.packetBytes(batch.textAt(i), batch.lengthOf(i));
        bytes += this.#frameBytes[i] as number;
        message = this.#messages[i] as number;
        if (length > 0) {
          packets++;
          this.#packet(batch.textAt(i), length, session.peer);
        } else if (length < 0) counters.malformed++;
      }
    }
    batch.clear();
    if (message >= 0) events.opened(session, packets, bytes, message);
  }

  /** Passes on one packet, without its padding, if its peer may send it. */
  #packet(at: number, length: number, peer: number): void {
    const { sink, tables, counters } = this.#options;
    const { u8, view } = this.#arena;
    const version = (u8[at] as number) >>> 4;
    if (version === 4 && length >= IP4.bytes) {
      const total = view.getUint16(at + IP4.total);
      const header = ((u8[at] as number) & 15) * 4;
      if (header < IP4.bytes || total < header || total > length) counters.malformed++;
      else if (tables.allowed4.find(u8, at + IP4.source) !== peer) counters.refusedSource++;
      else sink.add(at, total);
    } else if (version === 6 && length >= IP6.bytes) {
      const total = IP6.bytes + view.getUint16(at + IP6.payload);
      if (total > length) counters.malformed++;
      else if (tables.allowed6.find(u8, at + IP6.source) !== peer) counters.refusedSource++;
      else sink.add(at, total);
    } else counters.malformed++;
  }
}
