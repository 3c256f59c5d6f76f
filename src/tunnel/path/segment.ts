/**
 * Segmentation: one packet from TUN, up to 64 KiB, becomes packets as they would be on a wire.
 *
 * ```
 * super-packet:  | virtio | IP TCP | payload 0 | payload 1 | payload 2 |
 * packets:                | IP TCP | payload 0 |   | IP TCP | payload 1 |   | IP TCP | payload 2 |
 * ```
 * What differs between the headers is what the kernel's own segmentation changes (net/ipv4/tcp_offload.c, udp_offload.c,
 * inet_gso_segment): lengths, the IPv4 identification (counts up), the sequence number, FIN and PSH (the last only), CWR (the first
 * only), checksums. The payload is copied to its place while it is summed, in one pass: summing alone would cost nearly as much.
 */
import type { Arena } from "../../sys/mod.ts";
import { type Checksum, fold32, swap16 } from "./checksum.ts";
import { FLAG, IP4, IP6, PROTOCOL, TCP, UDP } from "./ip-header.ts";
import { GSO, NEEDS_CHECKSUM, VIRTIO, VIRTIO_HEADER } from "./virtio-header.ts";

/** Segmenter works on one packet at a time; it makes no objects. */
export class Segmenter {
  readonly #arena: Arena;
  readonly #checksum: Checksum;
  /** The packet without its virtio header. */
  #at = 0;
  #length = 0;
  /** Headers of one segment, and where the transport header begins in them. */
  #header = 0;
  #transport = 0;
  #segment = 0;
  #family = 4;
  #protocol = 0;
  /** Where the checksum field of a single packet is, or -1 for one that is complete. */
  #field = -1;
  #sequence = 0;
  #flags = 0;
  #id = 0;
  /** Sums over those parts of the headers that all segments have in common. */
  #ipSum = 0;
  #transportSum = 0;

  constructor(arena: Arena, checksum: Checksum) {
    this.#arena = arena;
    this.#checksum = checksum;
  }

  /**
   * begin reads the headers of a packet with its virtio header, in `length` bytes at `at`, and returns how many packets it becomes; 0 for one
   * that makes no sense. The memory must not change until all are written; begin itself clears fields of the header.
   */
  begin(at: number, length: number): number {
    const { view, u8 } = this.#arena;
    this.#arena.check(at, length);
    this.#at = at + VIRTIO_HEADER;
    this.#length = length - VIRTIO_HEADER;
    if (this.#length < IP4.bytes) return 0;
    this.#family = (u8[this.#at] as number) >>> 4;
    if (this.#family !== 4 && (this.#family !== 6 || this.#length < IP6.bytes)) return 0;
    const type = (u8[at + VIRTIO.type] as number) & ~GSO.ecn;
    const start = view.getUint16(at + VIRTIO.checksumStart, true);
    const needsChecksum = ((u8[at + VIRTIO.flags] as number) & NEEDS_CHECKSUM) !== 0;
    this.#segment = 0;
    this.#transport = start;
    if (type === GSO.none) {
      this.#field = needsChecksum ? start + view.getUint16(at + VIRTIO.checksumOffset, true) : -1;
      return this.#field + 2 <= this.#length ? 1 : 0;
    }
    const segment = view.getUint16(at + VIRTIO.segmentBytes, true);
    if (!needsChecksum || segment === 0 || !this.#measure(type, start)) return 0;
    const payload = this.#length - this.#header;
    if (payload <= 0) return 0;
    this.#segment = segment;
    this.#prepare();
    return Math.ceil(payload / segment);
  }

  /** Finds the headers' length; false when they do not fit what the type says. */
  #measure(type: number, start: number): boolean {
    const { u8 } = this.#arena;
    const at = this.#at;
    const fits =
      this.#family === 4 ? start === ((u8[at] as number) & 15) * 4 && start >= IP4.bytes : start >= IP6.bytes;
    if (!fits || start + UDP.bytes > this.#length) return false;
    if (type === GSO.udp) {
      this.#protocol = PROTOCOL.udp;
      this.#header = start + UDP.bytes;
      return true;
    }
    if (type !== (this.#family === 4 ? GSO.tcp4 : GSO.tcp6) || start + TCP.bytes > this.#length) return false;
    this.#protocol = PROTOCOL.tcp;
    const bytes = ((u8[at + start + TCP.offset] as number) >>> 4) * 4;
    this.#header = start + bytes;
    return bytes >= TCP.bytes && this.#header <= this.#length;
  }

  /** Takes out of the headers what differs, and sums up the rest. */
  #prepare(): void {
    const { view, u8 } = this.#arena;
    const at = this.#at;
    const transport = at + this.#transport;
    let addresses: number;
    if (this.#family === 4) {
      this.#id = view.getUint16(at + IP4.id);
      view.setUint16(at + IP4.total, 0);
      view.setUint16(at + IP4.id, 0);
      view.setUint16(at + IP4.checksum, 0);
      this.#ipSum = this.#checksum.sum(at, this.#transport);
      addresses = this.#checksum.sum(at + IP4.source, 8);
    } else addresses = this.#checksum.sum(at + IP6.source, 32);
    if (this.#protocol === PROTOCOL.tcp) {
      this.#sequence = view.getUint32(transport + TCP.sequence);
      this.#flags = u8[transport + TCP.flags] as number;
      view.setUint32(transport + TCP.sequence, 0);
      u8[transport + TCP.flags] = 0;
      view.setUint16(transport + TCP.checksum, 0);
    } else {
      view.setUint16(transport + UDP.length, 0);
      view.setUint16(transport + UDP.checksum, 0);
    }
    const header = this.#checksum.sum(transport, this.#header - this.#transport);
    this.#transportSum = addresses + header + swap16(this.#protocol);
  }

  /** bytes returns the length of a packet. */
  bytes(index: number): number {
    if (this.#segment === 0) return this.#length;
    const first = index * this.#segment;
    return this.#header + Math.min(this.#segment, this.#length - this.#header - first);
  }

  /** write writes a packet to `to`. */
  write(index: number, to: number): void {
    if (this.#segment === 0) this.#writeOnly(to);
    else this.#writeSegment(index, to);
  }

  #writeOnly(to: number): void {
    const { view } = this.#arena;
    if (this.#field < 0) {
      this.#checksum.copySum(to, this.#at, this.#length);
      return;
    }
    const start = this.#transport;
    this.#checksum.copySum(to, this.#at, start);
    // The field has the pseudo header's sum, so that it adds itself.
    const sum = this.#checksum.copySum(to + start, this.#at + start, this.#length - start);
    view.setUint16(to + this.#field, complement(sum), true);
  }

  #writeSegment(index: number, to: number): void {
    const { view, u8 } = this.#arena;
    const first = index * this.#segment;
    const payload = this.#length - this.#header;
    const length = Math.min(this.#segment, payload - first);
    this.#checksum.copySum(to, this.#at, this.#header);
    let sum = this.#checksum.copySum(to + this.#header, this.#at + this.#header + first, length);
    const total = this.#header + length;
    if (this.#family === 4) {
      const id = (this.#id + index) & 0xffff;
      view.setUint16(to + IP4.total, total);
      view.setUint16(to + IP4.id, id);
      const ip = fold32(this.#ipSum + swap16(total) + swap16(id));
      view.setUint16(to + IP4.checksum, ~ip & 0xffff, true);
    } else view.setUint16(to + IP6.payload, total - IP6.bytes);
    const transport = to + this.#transport;
    const transportBytes = total - this.#transport;
    sum += this.#transportSum + swap16(transportBytes);
    if (this.#protocol === PROTOCOL.tcp) {
      const sequence = (this.#sequence + first) | 0;
      let flags = this.#flags;
      if (first + length < payload) flags &= ~(FLAG.fin | FLAG.psh);
      if (index > 0) flags &= ~FLAG.cwr;
      view.setInt32(transport + TCP.sequence, sequence);
      u8[transport + TCP.flags] = flags;
      // The flags are the second byte of their word.
      sum += swap16(sequence >>> 16) + swap16(sequence & 0xffff) + (flags << 8);
      view.setUint16(transport + TCP.checksum, complement(fold32(sum)), true);
    } else {
      view.setUint16(transport + UDP.length, transportBytes);
      view.setUint16(transport + UDP.checksum, complement(fold32(sum + swap16(transportBytes))), true);
    }
  }
}

/** The checksum of a sum; never 0, which in UDP says that there is none (RFC 768), and which ffff equals everywhere else. */
function complement(sum: number): number {
  const value = ~sum & 0xffff;
  return value === 0 ? 0xffff : value;
}
