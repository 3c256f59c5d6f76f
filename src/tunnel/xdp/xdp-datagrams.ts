/**
 * The sealed side of a tunnel on an AF_XDP port: ESP, or UDP datagrams, with the headers around them made and read here.
 *
 * Endpoints are memory of xdp-endpoint.ts. Each frame is a message of its own; there is nothing for the kernel to split or join.
 */
import type { Arena } from "../../sys/mod.ts";
import type { FrameSink, MessageSource } from "../path/datagram-port.ts";
import { type Checksum, checksumOf } from "../path/checksum.ts";
import { PROTOCOL, UDP } from "../path/ip-header.ts";
import { ETHERNET, EthernetReader } from "./ethernet.ts";
import { signUdp6, UDP6_HEADERS } from "./udp6-sum.ts";
import { layXdpHeader, XDP_ENDPOINT } from "./xdp-endpoint.ts";
import { MOST_IGNORED, MOST_RECEIVED, type XdpPort } from "./xdp-port.ts";

/** Frames that wait for one flush. */
const MOST_FRAMES = 256;
/** Room for a frame that cannot be sent, so that its maker need not know. */
const DISCARD = 65_536;
const ESP = 50;

/** XdpFrameSink makes whole frames. One port has one sink of frames. */
export class XdpFrameSink implements FrameSink {
  /** Frames that are longer than what a frame of the UMEM holds, or that came while the interface was down. */
  refused = 0;
  readonly #arena: Arena;
  readonly #port: XdpPort;
  readonly #discard: number;
  readonly #at = new Int32Array(MOST_FRAMES);
  readonly #bytes = new Int32Array(MOST_FRAMES);
  /** Whether a frame needs a checksum when it is whole. */
  readonly #isSummed = new Uint8Array(MOST_FRAMES);
  readonly #sum: Checksum;
  #count = 0;
  #isStarved = false;

  constructor(port: XdpPort) {
    this.#arena = port.frames.arena;
    this.#port = port;
    this.#discard = this.#arena.allocate(DISCARD);
    this.#sum = checksumOf(this.#arena);
  }

  get blocked(): boolean {
    if (this.#isStarved) this.#isStarved = this.#port.frames.free === 0 && this.#port.collect() === 0;
    return this.#isStarved || this.#port.blocked;
  }

  frame(endpoint: number, bytes: number): number {
    if (!(bytes > 0 && bytes <= DISCARD)) throw new RangeError(`A frame of ${bytes} bytes cannot be sent`);
    const port = this.#port;
    const { frames } = port;
    const headers = this.#arena.view.getInt32(endpoint + XDP_ENDPOINT.headerBytes, true);
    if (headers + bytes > frames.roomBytes) return this.#refuse();
    if (port.blocked || this.#count === MOST_FRAMES || this.#count >= port.socket.transmit.room())
      return port.isDown ? this.#refuse() : 0;
    const at = frames.take();
    if (at === 0) {
      if (port.isDown) return this.#refuse();
      this.#isStarved = this.#count === 0;
      return 0;
    }
    layXdpHeader(this.#arena, endpoint, at, bytes);
    this.#at[this.#count] = at;
    this.#isSummed[this.#count] = headers === UDP6_HEADERS ? 1 : 0;
    this.#bytes[this.#count++] = headers + bytes;
    return at + headers;
  }

  #refuse(): number {
    this.refused++;
    return this.#discard;
  }

  flush(): boolean {
    // Only now are they whole.
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at[i] as number;
      if (this.#isSummed[i] === 1) signUdp6(this.#arena.view, this.#sum, at);
      // There was room, and nobody else has taken it: else the frame is dropped rather than lost.
      if (!this.#port.send(at, this.#bytes[i] as number)) {
        this.#port.frames.give(at);
        this.refused++;
      }
    }
    this.#count = 0;
    this.#port.flush();
    return !this.blocked;
  }
}

/** XdpMessagesOptions say which datagrams are ours. */
export interface XdpMessagesOptions {
  readonly mac: Uint8Array;
  /** Our UDP port; absent: raw ESP. */
  readonly udpPort?: number;
  /** Takes frames that are neither (ARP, if the filter takes it); they are gone when it returns. */
  readonly other?: (at: number, bytes: number) => void;
}

/** XdpMessages gives what is in the IP packets of one port. UDP checksums are not verified: what is in there is authenticated. */
export class XdpMessages implements MessageSource {
  /** Frames that were neither for us nor taken by `other`. */
  ignored = 0;
  readonly #port: XdpPort;
  readonly #reader: EthernetReader;
  readonly #options: XdpMessagesOptions;
  readonly #at = new Int32Array(MOST_RECEIVED);
  readonly #bytes = new Int32Array(MOST_RECEIVED);
  readonly #frames = new Int32Array(MOST_RECEIVED);

  constructor(port: XdpPort, options: XdpMessagesOptions) {
    this.#port = port;
    this.#options = options;
    this.#reader = new EthernetReader(port.frames.arena, options.mac);
  }

  /** receive brings what is there, without waiting, and returns how many messages; the ones before are gone, but for those sent on. */
  receive(): number {
    const port = this.#port;
    const { other } = this.#options;
    for (let batch = 0; batch < MOST_IGNORED; batch++) {
      const frames = port.receive();
      let count = 0;
      for (let i = 0; i < frames; i++) {
        const at = port.at(i);
        const head = this.#headBytes(at, port.bytes(i));
        if (head > 0) {
          this.#frames[count] = at;
          this.#at[count] = at + head;
          this.#bytes[count++] = this.#reader.packetBytes - (head - ETHERNET.bytes);
        } else if (other === undefined) this.ignored++;
        else other(at, port.bytes(i));
      }
      if (count > 0 || frames === 0) return count;
    }
    return 0;
  }

  /** Length of all headers before a message that is ours; 0 for anything else. Fragments are never ours. */
  #headBytes(at: number, bytes: number): number {
    const reader = this.#reader;
    const { udpPort } = this.#options;
    if (!reader.read(at, bytes) || !reader.isOurs(at) || reader.isFragment) return 0;
    const head = ETHERNET.bytes + reader.headerBytes;
    const room = reader.packetBytes - reader.headerBytes;
    if (udpPort === undefined) return reader.protocol === ESP && room > 0 ? head : 0;
    const { view } = this.#port.frames.arena;
    if (reader.protocol !== PROTOCOL.udp || room <= UDP.bytes) return 0;
    if (view.getUint16(at + head + 2) !== udpPort) return 0;
    // What is behind the datagram is nobody's.
    const length = view.getUint16(at + head + UDP.length);
    if (length <= UDP.bytes || length > room) return 0;
    reader.packetBytes = reader.headerBytes + length;
    return head + UDP.bytes;
  }

  at(index: number): number {
    return this.#at[index] as number;
  }

  bytes(index: number): number {
    return this.#bytes[index] as number;
  }

  segmentBytes(index: number): number {
    return this.#bytes[index] as number;
  }

  /** frameAt is the offset of the Ethernet header around a message: who sent it. */
  frameAt(index: number): number {
    return this.#frames[index] as number;
  }
}
