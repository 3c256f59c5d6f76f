/**
 * One queue of a TUN device, as source and as writer of packets with virtio headers.
 *
 * One packet at a time is read, since a super-packet is 64 KiB and should be worked on while it is in the processor's cache; the kernel
 * has no call for more. With several queues (IFF_MULTI_QUEUE) the kernel keeps each flow on one.
 */
import {
  type Arena,
  type Fd,
  readPacket,
  setNonBlocking,
  setTunOffload,
  type TunOffload,
  writePacket,
  writeParts,
} from "../../sys/mod.ts";
import type { PacketWriter } from "./coalesce.ts";
import type { PacketSource } from "./packet-sink.ts";
import { VIRTIO_HEADER } from "./virtio-header.ts";

const MOST_PACKET = 65_535;
/** So that the IP header lies on a cache line. */
const LINE = 64;

/** What a device says that is being removed: EFAULT, EIO and EBADFD of drivers/net/tun.c. */
const GONE: ReadonlySet<number> = new Set([-14, -5, -77]);

/** TunQueue works on a descriptor that was attached with `vnetHeader`; the owner closes it. */
export class TunQueue implements PacketSource, PacketWriter {
  readonly offload: TunOffload;
  /** Packets and parts that the kernel refused, because the link is down or the packet is nonsense. */
  refused = 0;
  /** Whether the device was removed: nothing will ever be read again. */
  gone = false;
  readonly #arena: Arena;
  readonly fd: Fd;
  readonly #at: number;
  #bytes = 0;

  constructor(arena: Arena, fd: Fd) {
    this.#arena = arena;
    this.fd = fd;
    this.offload = setTunOffload(fd);
    setNonBlocking(fd);
    this.#at = arena.allocate(LINE + MOST_PACKET) + LINE - VIRTIO_HEADER;
  }

  receive(): number {
    const result = readPacket(this.fd.number, this.#arena, this.#at, VIRTIO_HEADER + MOST_PACKET);
    if (result > 0) {
      this.#bytes = result;
      return 1;
    }
    this.#bytes = 0;
    if (GONE.has(result)) this.gone = true;
    return 0;
  }

  at(_index: number): number {
    return this.#at;
  }

  bytes(_index: number): number {
    return this.#bytes;
  }

  write(at: number, length: number): void {
    if (writePacket(this.fd.number, this.#arena, at, length) < 0) this.refused++;
  }

  writeParts(vectors: number, count: number): void {
    if (writeParts(this.fd.number, this.#arena, vectors, count) < 0) this.refused += count;
  }
}
