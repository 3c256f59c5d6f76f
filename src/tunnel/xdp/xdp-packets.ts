/**
 * The plain side of a tunnel on an AF_XDP port: IP packets out of Ethernet frames, and into such.
 *
 * ```
 * frame:   | headroom …  | Ethernet 14 | IP packet |
 * source:        | virtio 10, zeros ───| IP packet |      over the Ethernet header, which has done its duty
 * ```
 */
import type { Arena } from "../../sys/mod.ts";
import type { PacketSink, PacketSource } from "../path/packet-sink.ts";
import { VIRTIO_HEADER } from "../path/virtio-header.ts";
import { ETHER_TYPE, ETHERNET, EthernetReader } from "./ethernet.ts";
import { MOST_IGNORED, MOST_RECEIVED, type XdpPort } from "./xdp-port.ts";

/** XdpSourceOptions say what is ours. */
export interface XdpSourceOptions {
  /** Address of the interface, six bytes. */
  readonly mac: Uint8Array;
  /** Takes frames that are not IP for us (ARP, if the filter takes it); they are gone when it returns. */
  readonly other?: (at: number, bytes: number) => void;
}

/** XdpPacketSource gives the IP packets of one port; each frame is released at the next `receive`, unless it was sent on. */
export class XdpPacketSource implements PacketSource {
  /** Frames that were neither sound IP for us nor taken by `other`. */
  ignored = 0;
  readonly #arena: Arena;
  readonly #port: XdpPort;
  readonly #reader: EthernetReader;
  readonly #other: ((at: number, bytes: number) => void) | undefined;
  readonly #at = new Int32Array(MOST_RECEIVED);
  readonly #bytes = new Int32Array(MOST_RECEIVED);

  constructor(port: XdpPort, options: XdpSourceOptions) {
    this.#arena = port.frames.arena;
    this.#port = port;
    this.#reader = new EthernetReader(this.#arena, options.mac);
    this.#other = options.other;
  }

  receive(): number {
    const port = this.#port;
    const reader = this.#reader;
    const { view } = this.#arena;
    // Frames of which none is a packet are not the end of what there is.
    for (let batch = 0; batch < MOST_IGNORED; batch++) {
      const frames = port.receive();
      let count = 0;
      for (let i = 0; i < frames; i++) {
        const at = port.at(i);
        const bytes = port.bytes(i);
        if (!reader.read(at, bytes) || !reader.isOurs(at)) {
          if (this.#other === undefined) this.ignored++;
          else this.#other(at, bytes);
          continue;
        }
        const header = at + ETHERNET.bytes - VIRTIO_HEADER;
        view.setInt32(header, 0);
        view.setInt32(header + 4, 0);
        view.setInt16(header + 8, 0);
        this.#at[count] = header;
        this.#bytes[count++] = VIRTIO_HEADER + reader.packetBytes;
      }
      if (count > 0 || frames === 0) return count;
    }
    return 0;
  }

  at(index: number): number {
    return this.#at[index] as number;
  }

  bytes(index: number): number {
    return this.#bytes[index] as number;
  }
}

/** NextHops tells where packets go on the link. */
export interface NextHops {
  /** find returns the offset of twelve bytes, the target's address and ours, for the IP packet at `at`; 0 if it is not known. */
  find(at: number): number;
}

/** XdpPacketSink puts IP packets on the wire. Those in a frame of the port's UMEM go as they lie, others are copied. */
export class XdpPacketSink implements PacketSink {
  /** Packets for which there was no room, that fit into no frame, and whose next hop is unknown. */
  dropped = 0;
  tooLong = 0;
  unresolved = 0;
  readonly #arena: Arena;
  readonly #port: XdpPort;
  readonly #hops: NextHops;

  constructor(port: XdpPort, hops: NextHops) {
    this.#arena = port.frames.arena;
    this.#port = port;
    this.#hops = hops;
  }

  add(at: number, length: number): void {
    const { u8, view } = this.#arena;
    const { frames } = this.#port;
    const hop = this.#hops.find(at);
    if (hop === 0) {
      this.unresolved++;
      return;
    }
    if (length > frames.roomBytes - ETHERNET.bytes) {
      this.tooLong++;
      return;
    }
    if (!this.#port.hasRoom) this.#port.flush();
    let packet = at;
    if (!frames.mayUse(at) || frames.headAt(at) < ETHERNET.bytes || !this.#port.hasRoom) {
      const room = this.#port.hasRoom ? this.#take() : 0;
      if (room === 0) {
        this.dropped++;
        return;
      }
      packet = room + ETHERNET.bytes;
      u8.copyWithin(packet, at, at + length);
    }
    const frame = packet - ETHERNET.bytes;
    u8.copyWithin(frame, hop, hop + 12);
    view.setUint16(
      frame + ETHERNET.type,
      (u8[packet] as number) >>> 4 === 4 ? ETHER_TYPE.ip4 : ETHER_TYPE.ip6,
    );
    this.#port.send(frame, ETHERNET.bytes + length);
  }

  #take(): number {
    const { frames } = this.#port;
    const at = frames.take();
    if (at !== 0) return at;
    this.#port.flush();
    return frames.take();
  }

  flush(): void {
    this.#port.flush();
  }
}
