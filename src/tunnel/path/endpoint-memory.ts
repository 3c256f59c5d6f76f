/**
 * Where a peer is, in the arena, as the kernel takes it: its address, and the address of ours that it speaks to.
 *
 * ```
 *  0             28              32                40
 *  | sockaddr    | its length    | control length  | control: IP_PKTINFO or IPV6_PKTINFO (up to 40)
 * ```
 * The second makes answers leave from where the question came to (RFC 1122 section 4.1.3.5), on a node with several addresses.
 */
import { type Arena, SOCKET_ADDRESS } from "../../sys/mod.ts";

/** ENDPOINT_BYTES is the length of this memory. */
export const ENDPOINT_BYTES = 80;
/** ENDPOINT has its places. */
export const ENDPOINT = { address: 0, addressBytes: 28, controlBytes: 32, control: 40 } as const;

const AF_INET = 2;
const SOCKADDR_IN = 16;

/** setEndpoint writes an address that was configured: a `sockaddr`. Which address of ours is used is then the system's choice. */
export function setEndpoint(arena: Arena, at: number, address: Uint8Array): void {
  if (address.length > SOCKET_ADDRESS.bytes)
    throw new RangeError(`A socket address of ${address.length} bytes`);
  arena.wipe(at, ENDPOINT_BYTES);
  arena.store(at, address);
  arena.view.setInt32(at + ENDPOINT.addressBytes, address.length, true);
}

/** EndpointLearner takes over where authentic datagrams came from. */
export class EndpointLearner {
  readonly #arena: Arena;
  /** Where the datagram came from: offset of a `sockaddr`. */
  source = 0;
  /** Offset and length of a control message with our address; length 0 if there is none. */
  local = 0;
  localBytes = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** learn writes to the memory at `at` if what is there is something else; true if so. */
  learn(at: number): boolean {
    const { view, u8 } = this.#arena;
    const addressBytes = this.#addressBytes();
    let same =
      view.getInt32(at + ENDPOINT.addressBytes, true) === addressBytes &&
      view.getInt32(at + ENDPOINT.controlBytes, true) === this.localBytes;
    for (let i = 0; same && i < addressBytes; i += 4)
      same = view.getInt32(at + i, true) === view.getInt32(this.source + i, true);
    for (let i = 0; same && i < this.localBytes; i += 4)
      same = view.getInt32(at + ENDPOINT.control + i, true) === view.getInt32(this.local + i, true);
    if (same) return false;
    u8.copyWithin(at, this.source, this.source + addressBytes);
    view.setInt32(at + ENDPOINT.addressBytes, addressBytes, true);
    view.setInt32(at + ENDPOINT.controlBytes, this.localBytes, true);
    u8.copyWithin(at + ENDPOINT.control, this.local, this.local + this.localBytes);
    return true;
  }

  #addressBytes(): number {
    const four = this.#arena.view.getUint16(this.source, true) === AF_INET;
    return four ? SOCKADDR_IN : SOCKET_ADDRESS.bytes;
  }
}
