/** The raw socket of one family: what it gets, and what is sent by it. Packets lie in the arena until the next are received. */
import {
  type Arena,
  Fd,
  filterPacketsBy,
  IP_PROTOCOL_UDP,
  loadSocketFilter,
  RawSocket,
  SOCKET_ADDRESS,
} from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import type { DatagramReceiver } from "../path/datagram-receiver.ts";
import { RelaySender } from "../relay/relay-sender.ts";
import { type FilterWish, packetFilter } from "./packet-filter.ts";
import { RawOutlet } from "./raw-outlet.ts";

const UDP_BYTES = 8;
const IPV4_BYTES = 20;

/** RawPort owns a socket; it needs CAP_NET_RAW. */
export class RawPort implements Disposable {
  readonly socket: RawSocket;
  readonly sender: RelaySender;
  readonly outlet: RawOutlet;
  readonly #arena: Arena;
  /** Of the last message that was looked at: where its datagram lies, and how long it is. */
  at = 0;
  bytes = 0;

  constructor(arena: Arena, checksum: Checksum, family: 4 | 6) {
    this.#arena = arena;
    this.socket = RawSocket.open(family, { protocol: IP_PROTOCOL_UDP, localAddress: true });
    this.sender = new RelaySender(arena, this.socket);
    this.outlet = new RawOutlet(arena, { sender: this.sender, checksum, family });
  }

  /** listen makes the port this one. */
  listen(wish: FilterWish): void {
    this.outlet.port = wish.port;
    const { family, fd } = this.socket;
    using program: Fd = loadSocketFilter("causeway_relay", packetFilter(family, wish));
    filterPacketsBy(fd.number, program);
  }

  /** look finds the datagram in a message, and completes the address that it came from with its port; false if it is none to our port. */
  look(receiver: DatagramReceiver, message: number): boolean {
    const { view, u8 } = this.#arena;
    const start = receiver.at(message);
    const length = receiver.bytes(message);
    const header = this.socket.family === 6 ? 0 : ((u8[start] as number) & 0xf) * 4;
    if (this.socket.family === 4 && header < IPV4_BYTES) return false;
    const udp = start + header;
    if (length < header + UDP_BYTES + 4 || view.getUint16(udp + 2) !== this.outlet.port) return false;
    // Shorter or longer than it says: cut on its way, or joined with others.
    if (view.getUint16(udp + 4) !== length - header) return false;
    view.setUint16(receiver.sourceAt(message) + SOCKET_ADDRESS.port, view.getUint16(udp));
    this.at = udp + UDP_BYTES;
    this.bytes = length - header - UDP_BYTES;
    return true;
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}
