/**
 * Sending datagrams on by a raw socket from the tunnel's port, which is the kernel's WireGuard's: the UDP header that lies before a received datagram is
 * written anew in place. The kernel makes the IP header, and fragments where it must.
 *
 * A node's memory is its endpoint twice: as the tables know it, and as raw sockets take it, whose ports are protocols (raw(7), ipv6(7)).
 */
import { type Arena, SOCKET_ADDRESS } from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { ENDPOINT, ENDPOINT_BYTES } from "../path/endpoint-memory.ts";
import type { RelaySender } from "../relay/relay-sender.ts";

const UDP = 17;
const UDP_BYTES = 8;
const CONTROL_HEADER = 16;

/** NODE_BYTES is the length of a node's memory. */
export const NODE_BYTES = 2 * ENDPOINT_BYTES;

/** Where the address of ours lies in a control message: `ipi_spec_dst` of struct in_pktinfo, `ipi6_addr` of struct in6_pktinfo. */
const LOCAL = { 4: CONTROL_HEADER + 4, 6: CONTROL_HEADER } as const;

/** LOCAL_PART is the control message's place in a node's memory that tells the address of ours. */
export const LOCAL_PART = { 4: ENDPOINT.control + LOCAL[4], 6: ENDPOINT.control + LOCAL[6] } as const;

/** setNode writes where a node is: an endpoint's memory, with its address of ours. */
export function setNode(arena: Arena, at: number, place: Uint8Array): void {
  arena.store(at, place);
  arena.store(at + ENDPOINT_BYTES, place);
  arena.view.setUint16(at + ENDPOINT_BYTES + ENDPOINT.address + SOCKET_ADDRESS.port, 0);
}

/** RawOutlet sends by one socket. */
export class RawOutlet {
  port = 0;
  readonly #arena: Arena;
  readonly #sender: RelaySender;
  readonly #checksum: Checksum;
  readonly #family: 4 | 6;

  constructor(
    arena: Arena,
    {
      sender,
      checksum,
      family,
    }: {
      readonly sender: RelaySender;
      readonly checksum: Checksum;
      readonly family: 4 | 6;
    },
  ) {
    this.#arena = arena;
    this.#sender = sender;
    this.#checksum = checksum;
    this.#family = family;
  }

  /** add takes a datagram, before which there is room for its UDP header, for the node whose memory is at `node`. Both stay as they are until `flush`. */
  add(node: number, at: number, bytes: number): void {
    const { view } = this.#arena;
    const header = at - UDP_BYTES;
    const length = bytes + UDP_BYTES;
    view.setUint16(header, this.port);
    view.setUint16(header + 2, view.getUint16(node + ENDPOINT.address + SOCKET_ADDRESS.port));
    view.setUint16(header + 4, length);
    view.setUint16(header + 6, 0);
    view.setUint16(header + 6, this.#sum(node, header, length), true);
    this.#sender.add(node + ENDPOINT_BYTES, header, length);
  }

  /** The checksum over pseudo-header, header and datagram (RFC 768, RFC 8200 section 8.1), as the machine reads it. */
  #sum(node: number, header: number, length: number): number {
    const four = this.#family === 4;
    const bytes = four ? 4 : 16;
    const target = node + ENDPOINT.address + (four ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6);
    const sum =
      this.#checksum.sum(header, length) +
      this.#checksum.sum(target, bytes) +
      this.#checksum.sum(node + LOCAL_PART[this.#family], bytes) +
      swapped(UDP) +
      swapped(length);
    const folded = (sum & 0xffff) + (sum >>> 16);
    const twice = (folded & 0xffff) + (folded >>> 16);
    // 0 would say that there is none.
    return twice === 0xffff ? 0xffff : ~twice & 0xffff;
  }

  /** flush sends what was taken. */
  flush(): void {
    this.#sender.flush();
  }
}

const swapped = (value: number) => ((value & 0xff) << 8) | (value >>> 8);
