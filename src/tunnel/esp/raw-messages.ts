/**
 * ESP packets from raw sockets: over IPv4 they come behind their IP header (raw(7)), over IPv6 without (RFC 3542, section 3).
 *
 * The header's checksum and lengths were checked by the kernel, and fragments put together.
 */
import type { Arena } from "../../sys/mod.ts";
import type { MessageSource } from "../path/datagram-port.ts";
import type { DatagramReceiver } from "../path/datagram-receiver.ts";
import { IP4 } from "../path/ip-header.ts";

const AF_INET = 2;

/** RawMessages shows what a receiver got from raw sockets of either family, from the ESP header on. */
export class RawMessages implements MessageSource {
  readonly #arena: Arena;
  readonly #receiver: Pick<DatagramReceiver, "at" | "bytes" | "sourceAt">;

  constructor(arena: Arena, receiver: Pick<DatagramReceiver, "at" | "bytes" | "sourceAt">) {
    this.#arena = arena;
    this.#receiver = receiver;
  }

  at(index: number): number {
    return this.#receiver.at(index) + this.#header(index);
  }

  bytes(index: number): number {
    return Math.max(0, this.#receiver.bytes(index) - this.#header(index));
  }

  segmentBytes(index: number): number {
    return Math.max(1, this.bytes(index));
  }

  /** Length of the IP header before the packet. */
  #header(index: number): number {
    const { u8, view } = this.#arena;
    if (view.getUint16(this.#receiver.sourceAt(index), true) !== AF_INET) return 0;
    return Math.max(IP4.bytes, ((u8[this.#receiver.at(index)] as number) & 15) * 4);
  }
}
