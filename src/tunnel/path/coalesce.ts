/**
 * Coalescing: received segments of one flow become one packet for TUN, up to 64 KiB, written from where they lie.
 *
 * ```
 * in the arena:  … | IP TCP | payload 0 |…| IP TCP | payload 1 |…| IP TCP | payload 2 |…
 * one writev:    | virtio | IP TCP' | payload 0 | payload 1 | payload 2 |        ' lengths and the pseudo header's sum
 * ```
 * Checksums of all that is joined are verified first, since the kernel will not see them any more. A packet that nothing follows is
 * written as it came. Packets leave in the order of the first of each join, so one flow stays in order.
 */
import { type Arena, MOST_PARTS, SIZE, storePart } from "../../sys/mod.ts";
import { type Checksum, fold32, swap16 } from "./checksum.ts";
import { FlowReader, KIND, sameHeaders } from "./flow.ts";
import { DONT_FRAGMENT, FLAG, IP4, IP6, PROTOCOL, TCP, UDP } from "./ip-header.ts";
import type { PacketSink } from "./packet-sink.ts";
import { GSO, NEEDS_CHECKSUM, VIRTIO, VIRTIO_HEADER } from "./virtio-header.ts";

/** PacketWriter writes packets with their virtio headers: a TUN queue. */
export interface PacketWriter {
  write(at: number, length: number): void;
  /** writeParts writes one packet from the parts that `count` iovecs at `vectors` name. */
  writeParts(vectors: number, count: number): void;
}

/** CoalesceOptions say what the writer can take. */
export interface CoalesceOptions {
  readonly checksum: Checksum;
  readonly writer: PacketWriter;
  /** Whether UDP may be joined (USO; Linux 6.2). */
  readonly udp: boolean;
}

/** Packets that are held until a flush; more flush by themselves. */
const MOST_PACKETS = 1024;
/** UDP_MAX_SEGMENTS of Linux before 6.9. */
const MOST_UDP = 64;
const MOST_BYTES = 65_535;
const BUCKETS = 256;
/** The upper bits of a multiplicative hash are the good ones. */
const BUCKET_SHIFT = 24;
const NONE = -1;

/** Coalescer makes no objects after it was made. */
export class Coalescer implements PacketSink {
  readonly #arena: Arena;
  readonly #checksum: Checksum;
  readonly #writer: PacketWriter;
  readonly #udp: boolean;
  readonly #reader: FlowReader;
  readonly #vectors: number;
  /** Joins: the first packet of each, and what was added. */
  #joins = 0;
  readonly #at = new Int32Array(MOST_PACKETS);
  readonly #length = new Int32Array(MOST_PACKETS);
  readonly #total = new Int32Array(MOST_PACKETS);
  readonly #packets = new Int32Array(MOST_PACKETS);
  readonly #header = new Int32Array(MOST_PACKETS);
  readonly #segment = new Int32Array(MOST_PACKETS);
  /** The sequence number that comes next. */
  readonly #sequence = new Int32Array(MOST_PACKETS);
  readonly #pushed = new Uint8Array(MOST_PACKETS);
  readonly #firstPart = new Int32Array(MOST_PACKETS);
  readonly #lastPart = new Int32Array(MOST_PACKETS);
  /** Payloads of the packets that were added, as a list for each join. */
  #parts = 0;
  readonly #partAt = new Int32Array(MOST_PACKETS);
  readonly #partLength = new Int32Array(MOST_PACKETS);
  readonly #nextPart = new Int32Array(MOST_PACKETS);
  /** The join that a flow's next packet may be added to, by hash. */
  readonly #open = new Int32Array(BUCKETS).fill(NONE);

  constructor(arena: Arena, options: CoalesceOptions) {
    this.#arena = arena;
    this.#checksum = options.checksum;
    this.#writer = options.writer;
    this.#udp = options.udp;
    this.#reader = new FlowReader(arena);
    this.#vectors = arena.allocate(MOST_PARTS * SIZE.iovec);
  }

  /** add takes a packet whose IP header was checked against its length, with PACKET_ROOM writable bytes before it. */
  add(at: number, length: number): void {
    if (this.#joins === MOST_PACKETS || this.#parts === MOST_PACKETS) this.flush();
    const reader = this.#reader;
    reader.read(at, length);
    const bucket = reader.hash >>> BUCKET_SHIFT;
    if (reader.kind === KIND.data) {
      const join = this.#open[bucket] as number;
      if (join !== NONE && this.#extends(join, at)) {
        this.#extend(join, at, bucket);
        return;
      }
    }
    const join = this.#joins++;
    this.#at[join] = at;
    this.#length[join] = length;
    this.#packets[join] = 1;
    switch (reader.kind) {
      case KIND.data:
        this.#begin(join, at, bucket);
        break;
      case KIND.barrier:
        this.#open[bucket] = NONE;
        break;
      case KIND.unknown:
        this.#open.fill(NONE);
    }
  }

  /** Opens a join that so far is one packet. */
  #begin(join: number, at: number, bucket: number): void {
    const reader = this.#reader;
    const tcp = reader.protocol === PROTOCOL.tcp;
    const pushed = tcp && this.#isPushed(at);
    this.#open[bucket] = pushed || (!tcp && !this.#udp) ? NONE : join;
    this.#total[join] = this.#length[join] as number;
    this.#header[join] = reader.header;
    this.#segment[join] = reader.payload;
    this.#pushed[join] = 0;
    this.#sequence[join] = this.#sequenceAt(at) + reader.payload;
    this.#firstPart[join] = NONE;
  }

  #isPushed(at: number): boolean {
    return ((this.#arena.u8[at + this.#reader.transport + TCP.flags] as number) & FLAG.psh) !== 0;
  }

  #sequenceAt(at: number): number {
    return this.#arena.view.getInt32(at + this.#reader.transport + TCP.sequence);
  }

  /** Whether the packet that was just read continues a join, with right checksums on both sides. */
  #extends(join: number, at: number): boolean {
    const reader = this.#reader;
    const first = this.#at[join] as number;
    const { u8, view } = this.#arena;
    const packets = this.#packets[join] as number;
    if (
      (u8[first] as number) >>> 4 !== reader.family ||
      this.#header[join] !== reader.header ||
      reader.payload > (this.#segment[join] as number) ||
      (this.#total[join] as number) + reader.payload > MOST_BYTES ||
      packets >= (reader.protocol === PROTOCOL.udp ? MOST_UDP : MOST_PARTS - 1) ||
      !sameHeaders(this.#arena, first, at, reader)
    )
      return false;
    if (reader.protocol === PROTOCOL.tcp && this.#sequence[join] !== this.#sequenceAt(at)) return false;
    if (reader.family === 4 && (view.getUint16(at + IP4.fragment) & DONT_FRAGMENT) === 0) {
      const next = (view.getUint16(first + IP4.id) + packets) & 0xffff;
      if (view.getUint16(at + IP4.id) !== next) return false;
    }
    // Of the first packet only now: most packets of small flows are never joined.
    return (
      (packets > 1 || this.#isRight(first, this.#length[join] as number)) &&
      this.#isRight(at, reader.header + reader.payload)
    );
  }

  /** Whether the checksums of a packet like the one just read are right. */
  #isRight(at: number, length: number): boolean {
    const { transport, family, protocol } = this.#reader;
    if (family === 4 && this.#checksum.sum(at, IP4.bytes) !== 0xffff) return false;
    // The addresses lie right before the transport header, so one sum has both.
    const addresses = family === 4 ? IP4.source : IP6.source;
    const sum = swap16(protocol) + swap16(length - transport);
    return fold32(sum + this.#checksum.sum(at + addresses, length - addresses)) === 0xffff;
  }

  /** The sum of the pseudo header. */
  #pseudo(at: number, body: number, protocol: number): number {
    const addresses =
      this.#reader.family === 4
        ? this.#checksum.sum(at + IP4.source, 8)
        : this.#checksum.sum(at + IP6.source, 32);
    return addresses + swap16(protocol) + swap16(body);
  }

  #extend(join: number, at: number, bucket: number): void {
    const reader = this.#reader;
    const part = this.#parts++;
    this.#partAt[part] = at + reader.header;
    this.#partLength[part] = reader.payload;
    this.#nextPart[part] = NONE;
    if ((this.#packets[join] as number) === 1) this.#firstPart[join] = part;
    else this.#nextPart[this.#lastPart[join] as number] = part;
    this.#lastPart[join] = part;
    this.#packets[join] = (this.#packets[join] as number) + 1;
    this.#total[join] = (this.#total[join] as number) + reader.payload;
    this.#sequence[join] = (this.#sequence[join] as number) + reader.payload;
    const pushed = reader.protocol === PROTOCOL.tcp && this.#isPushed(at);
    if (pushed) this.#pushed[join] = 1;
    // Only the last may be short, and only the last may push.
    if (pushed || reader.payload < (this.#segment[join] as number)) this.#open[bucket] = NONE;
  }

  flush(): void {
    for (let join = 0; join < this.#joins; join++) {
      if ((this.#packets[join] as number) > 1) this.#writeJoin(join);
      else this.#writeSingle(join);
    }
    this.#joins = 0;
    this.#parts = 0;
    this.#open.fill(NONE);
  }

  #writeSingle(join: number): void {
    const at = (this.#at[join] as number) - VIRTIO_HEADER;
    const { view } = this.#arena;
    view.setInt32(at, 0);
    view.setInt32(at + 4, 0);
    view.setInt16(at + 8, 0);
    this.#writer.write(at, (this.#length[join] as number) + VIRTIO_HEADER);
  }

  #writeJoin(join: number): void {
    this.#finishHeaders(join);
    const arena = this.#arena;
    const vectors = this.#vectors;
    storePart(
      arena,
      vectors,
      (this.#at[join] as number) - VIRTIO_HEADER,
      (this.#length[join] as number) + VIRTIO_HEADER,
    );
    let count = 1;
    for (let part = this.#firstPart[join] as number; part !== NONE; part = this.#nextPart[part] as number)
      storePart(
        arena,
        vectors + count++ * SIZE.iovec,
        this.#partAt[part] as number,
        this.#partLength[part] as number,
      );
    this.#writer.writeParts(vectors, count);
  }

  #finishHeaders(join: number): void {
    const { u8, view } = this.#arena;
    const at = this.#at[join] as number;
    const total = this.#total[join] as number;
    const header = this.#header[join] as number;
    this.#reader.read(at, this.#length[join] as number);
    const { transport, family, protocol } = this.#reader;
    if (family === 4) {
      view.setUint16(at + IP4.total, total);
      view.setUint16(at + IP4.checksum, 0);
      view.setUint16(at + IP4.checksum, ~this.#checksum.sum(at, IP4.bytes) & 0xffff, true);
    } else view.setUint16(at + IP6.payload, total - IP6.bytes);
    const tcp = protocol === PROTOCOL.tcp;
    if (this.#pushed[join] === 1) {
      const flags = at + transport + TCP.flags;
      u8[flags] = (u8[flags] as number) | FLAG.psh;
    }
    if (!tcp) view.setUint16(at + transport + UDP.length, total - transport);
    const field = tcp ? TCP.checksum : UDP.checksum;
    view.setUint16(at + transport + field, fold32(this.#pseudo(at, total - transport, protocol)), true);
    const virtio = at - VIRTIO_HEADER;
    u8[virtio + VIRTIO.flags] = NEEDS_CHECKSUM;
    u8[virtio + VIRTIO.type] = tcp ? (family === 4 ? GSO.tcp4 : GSO.tcp6) : GSO.udp;
    view.setUint16(virtio + VIRTIO.headerBytes, header, true);
    view.setUint16(virtio + VIRTIO.segmentBytes, this.#segment[join] as number, true);
    view.setUint16(virtio + VIRTIO.checksumStart, transport, true);
    view.setUint16(virtio + VIRTIO.checksumOffset, field, true);
  }
}
