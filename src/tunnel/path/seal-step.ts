/**
 * From TUN to the network: read, find the peer, segment, frame, seal, send.
 *
 * ```
 * source ──▶ Segmenter ──▶ frames in the sender's area ──▶ AeadBatch (64, one session) ──▶ sendmmsg
 * ```
 * A packet that the senders have no room for stays where it is, half done if need be, and nothing more is read: the source's own queue
 * fills up and tells its users. One step works on one source; with several queues there are several, each with its own senders.
 */
import { AEAD_BATCH, AeadBatch, type Arena } from "../../sys/mod.ts";
import type { FrameSink } from "./datagram-port.ts";
import type { Framing } from "./framing.ts";
import { IP4, IP6 } from "./ip-header.ts";
import type { PacketSource } from "./packet-sink.ts";
import type {
  OpenSession,
  PathCounters,
  PathPeer,
  PathSession,
  PathTables,
  SealSession,
} from "./path-peer.ts";
import type { Segmenter } from "./segment.ts";
import { VIRTIO_HEADER } from "./virtio-header.ts";

/** UDP over IPv4 carries no more. */
const MOST_DATAGRAM = 65_507;
/** What one step takes from the source, as packets and as bytes: so long the other direction waits. */
const MOST_PACKETS = 256;
const MOST_BYTES = 2 << 20;

/** SealEvents tell the protocol what it has to know, at most once for each packet of the source. */
export interface SealEvents<Session extends SealSession = PathSession> {
  /** A packet for a peer without session or endpoint, at `at` with its virtio header; it is gone when this returns. */
  unready(peer: number, at: number, bytes: number): void;
  /** Packets were sealed. */
  sealed(session: Session, packets: number, bytes: number): void;
}

/** SealOptions are the parts that a step works with. */
export interface SealOptions<Session extends SealSession = PathSession> {
  readonly source: PacketSource;
  readonly segmenter: Segmenter;
  readonly framing: Framing<NoInfer<Session>, never>;
  readonly senders: readonly FrameSink[];
  readonly tables: PathTables<Session, OpenSession>;
  readonly counters: PathCounters;
  readonly events: SealEvents<NoInfer<Session>>;
}

/** SealStep makes no objects while it runs; so there are no `for … of` and no lists in what follows. */
export class SealStep<Session extends SealSession = PathSession> {
  readonly #arena: Arena;
  readonly #options: SealOptions<Session>;
  readonly #batch: AeadBatch;
  #batchSession: Session | undefined;
  /** The packet that is worked on: which of the source's, and how far. */
  #packets = 0;
  #packet = 0;
  #segments = 0;
  #segment = 0;
  #counter = 0;
  #bytes = 0;
  #session: Session | undefined;
  #peer: PathPeer<Session> | undefined;

  constructor(arena: Arena, options: SealOptions<Session>) {
    this.#arena = arena;
    this.#options = options;
    this.#batch = new AeadBatch(arena, "seal");
    this.#batch.additionalBytes = options.framing.additionalBytes;
  }

  /** Whether a sender is full; then run again when its socket can be written to, and read nothing before. */
  get blocked(): boolean {
    const { senders } = this.#options;
    for (let i = 0; i < senders.length; i++) if ((senders[i] as FrameSink).blocked) return true;
    return false;
  }

  /** run works on what the source has, for a while. */
  run(): void {
    const { source } = this.#options;
    if (this.blocked && !this.#flush()) return;
    let packets = 0;
    for (let bytes = 0; packets < MOST_PACKETS && bytes < MOST_BYTES; bytes += source.bytes(0)) {
      if (!this.#finish()) return;
      this.#packet = 0;
      this.#packets = source.receive();
      if (this.#packets === 0) break;
      packets += this.#packets;
    }
    // What the last round brought.
    if (this.#finish()) this.#flush();
  }

  /** release forgets a session that ended: its key may be wiped afterwards. What was not sealed of its last packet is lost. */
  release(session: Session): void {
    if (this.#session !== session) return;
    this.#segments = 0;
    this.#session = undefined;
  }

  /** Works off the packets that were received; false when there is no room. */
  #finish(): boolean {
    for (;;) {
      if (!this.#finishPacket()) return false;
      if (this.#packet >= this.#packets) return true;
      this.#begin(this.#packet++);
    }
  }

  /** Reads one packet's headers and finds its way. */
  #begin(index: number): void {
    const { source, segmenter, tables, counters, events, framing } = this.#options;
    const at = source.at(index);
    const bytes = source.bytes(index);
    this.#segments = 0;
    // Before the segmenter changes the headers: somebody may want the packet whole.
    const number = this.#destination(at + VIRTIO_HEADER, bytes - VIRTIO_HEADER);
    const peer = number === undefined ? undefined : tables.peers.get(number);
    if (number === undefined || peer === undefined) {
      counters.unrouted++;
      return;
    }
    const { session } = peer;
    if (session === undefined || peer.sender === undefined || tables.nowMs >= session.endsMs) {
      counters.unready++;
      events.unready(number, at, bytes);
      return;
    }
    const segments = segmenter.begin(at, bytes);
    if (segments === 0 || framing.frameBytes(segmenter.bytes(0)) > MOST_DATAGRAM) {
      counters.unreadable++;
      return;
    }
    // All at once: the packet is one flow's, and its segments leave in order.
    const counter = session.claim(segments);
    if (counter < 0) {
      counters.exhausted++;
      return;
    }
    this.#counter = counter;
    this.#segments = segments;
    this.#segment = 0;
    this.#bytes = 0;
    this.#session = session;
    this.#peer = peer;
  }

  /** Number of the peer that a packet goes to. */
  #destination(at: number, bytes: number): number | undefined {
    const { allowed4, allowed6 } = this.#options.tables;
    const { u8 } = this.#arena;
    if (bytes < IP4.bytes) return undefined;
    if ((u8[at] as number) >>> 4 === 4) return allowed4.find(u8, at + IP4.target);
    return bytes < IP6.bytes ? undefined : allowed6.find(u8, at + IP6.target);
  }

  /** Makes the frames of the packet that was begun; false when there is no room. */
  #finishPacket(): boolean {
    if (this.#segment >= this.#segments) return true;
    const { segmenter, framing, events, counters } = this.#options;
    const session = this.#session as Session;
    const peer = this.#peer as PathPeer<Session>;
    const { sender } = peer;
    if (sender === undefined) {
      // The peer lost its endpoint while its packet waited for room.
      counters.unready++;
      this.#segments = 0;
      return true;
    }
    if (this.#batchSession !== session) this.#seal();
    this.#batchSession = session;
    while (this.#segment < this.#segments) {
      const packetBytes = segmenter.bytes(this.#segment);
      const frameBytes = framing.frameBytes(packetBytes);
      let frame = sender.frame(peer.endpoint, frameBytes);
      if (frame === 0) {
        if (!this.#flush()) return false;
        this.#batchSession = session;
        frame = sender.frame(peer.endpoint, frameBytes);
        if (frame === 0) return false;
      }
      segmenter.write(this.#segment, frame + framing.headBytes);
      framing.seal(this.#batch, frame, packetBytes, session, this.#counter + this.#segment);
      this.#segment++;
      this.#bytes += frameBytes;
      if (this.#batch.count === AEAD_BATCH) this.#seal();
    }
    events.sealed(session, this.#segments, this.#bytes);
    return true;
  }

  /** Seals the frames of the batch. */
  #seal(): void {
    if (this.#batch.count === 0) return;
    (this.#batchSession as Session).sealKey.run(this.#batch);
    this.#batch.clear();
  }

  /** Seals and sends all frames; false when a sender is full. */
  #flush(): boolean {
    this.#seal();
    let all = true;
    const { senders } = this.#options;
    for (let i = 0; i < senders.length; i++) if (!(senders[i] as FrameSink).flush()) all = false;
    return all;
  }
}
