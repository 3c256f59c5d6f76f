/**
 * Packet sockets of one queue of one interface, for batches (arena-calls.ts): whole Ethernet frames in and out (packet(7)), on any interface.
 * Needs CAP_NET_RAW.
 *
 * The kernel gets a copy of every frame that comes. So it must not forward what comes by that interface, and have no address there: `open`
 * refuses the first. Whether it begins to later, its owner looks (forwarding.ts).
 */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import { forwardingProblem } from "./forwarding.ts";
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { type BpfInstruction, filterPackets } from "./socket-filter.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_IGNORE_OUTGOING = 23;
const ETH_P_ALL = 3;
/** struct sockaddr_ll: family, protocol, interface at 4. */
const LINK_ADDRESS_BYTES = 20;
const BUFFER_BYTES = 8 << 20;

const SIOCGIFNAME = 0x8910;
const SIOCETHTOOL = 0x8946;
/** ETHTOOL_SGRO, and ETHTOOL_GFLAGS and SFLAGS with ETH_FLAG_LRO (include/uapi/linux/ethtool.h). */
const ETHTOOL = { setGro: 0x2c, getFlags: 0x25, setFlags: 0x26, lro: 1 << 15 } as const;
const NAME_BYTES = 16;

/** What a program asks of a packet besides its bytes: SKF_AD_… of include/uapi/linux/filter.h. */
const ABOUT = { queue: 0xffff_f000 + 24, vlan: 0xffff_f000 + 48 } as const;
const LOAD_WORD = 0x20;
const LOAD_HALF = 0x28;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const ETHER_TYPE = 12;
const ALL = 0xffff_ffff;

/** PacketSocketOptions say which frames of which interface. */
export interface PacketSocketOptions {
  readonly ifindex: number;
  readonly netns?: Netns;
  /** From 0; frames that the hardware gave to no queue are those of the first. */
  readonly queue: number;
  /** EtherTypes that are taken, 1 to 64; frames with a VLAN tag are not. */
  readonly etherTypes: readonly number[];
}

/** PacketSocket owns a socket. */
export class PacketSocket implements Disposable {
  readonly fd: Fd;
  #dropped = 0;

  private constructor(fd: Fd) {
    this.fd = fd;
  }

  /**
   * open makes and binds a socket, and has the interface give frames as they are on the wire: the kernel joins them otherwise (GRO). Throws where
   * the kernel forwards what comes by the interface.
   */
  static open(options: PacketSocketOptions): PacketSocket {
    const { netns } = options;
    const open = () => openHere(options);
    return new PacketSocket(netns === undefined ? open() : netns.run(open));
  }

  /** dropped returns how many frames the kernel had no room for. */
  dropped(): number {
    // struct tpacket_stats: packets, drops; since it was asked last.
    const bytes = libc.getsockopt(this.fd.number, SOL_PACKET, PACKET_STATISTICS, 8);
    this.#dropped += new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
    return this.#dropped;
  }

  /** isBound tells whether its interface is still there. */
  isBound(): boolean {
    const address = libc.getsockname(this.fd.number);
    return new DataView(address.buffer, address.byteOffset).getInt32(4, true) > 0;
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openHere({ ifindex, queue, etherTypes }: PacketSocketOptions): Fd {
  // Of no protocol until it is bound: nothing comes before the filter stands.
  const fd = new Fd(libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "packet socket");
  try {
    const { number } = fd;
    const name = nameOf(number, ifindex);
    refuseForwarding(name);
    filterPackets(number, programOf(queue, etherTypes));
    libc.setsockopt(number, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    for (const option of [SO_RCVBUFFORCE, SO_SNDBUFFORCE])
      try {
        libc.setsockopt(number, SOL_SOCKET, option, BUFFER_BYTES);
      } catch (error) {
        // Without CAP_NET_ADMIN in the first user namespace the system's default stays.
        if (!isErrno(error, "EPERM")) throw error;
      }
    keepFramesApart(number, name);
    const address = stable(LINK_ADDRESS_BYTES);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL);
    view.setInt32(4, ifindex, true);
    libc.bind(number, address);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

function nameOf(socket: number, ifindex: number): string {
  const request = stable(40);
  new DataView(request.buffer).setInt32(NAME_BYTES, ifindex, true);
  libc.ioctl(socket, SIOCGIFNAME, request);
  return Buffer.from(request.subarray(0, request.indexOf(0))).toString();
}

/** What comes would go to two gateways: this one, and past all keys the kernel itself. */
function refuseForwarding(name: string): void {
  const problem = forwardingProblem(name);
  if (problem !== undefined)
    throw new Error(`Cannot take the frames of ${name} by a packet socket: ${problem}`);
}

/** Frames of the queue without a VLAN tag, which the kernel has taken away, and with one of the EtherTypes. */
function programOf(queue: number, etherTypes: readonly number[]): readonly BpfInstruction[] {
  // As the driver has noted it, plus one; zero for none (skb_record_rx_queue).
  const queues = queue === 0 ? [0, 1] : [queue + 1];
  const types = etherTypes.length;
  const rest = queues.length + 1 + types;
  return [
    [LOAD_WORD, 0, 0, ABOUT.vlan],
    [JUMP_IF_EQUAL, 0, 1 + rest, 0],
    [LOAD_WORD, 0, 0, ABOUT.queue],
    ...queues.map((number, i): BpfInstruction => {
      const isLast = i === queues.length - 1;
      return [JUMP_IF_EQUAL, queues.length - 1 - i, isLast ? 1 + types : 0, number];
    }),
    [LOAD_HALF, 0, 0, ETHER_TYPE],
    ...etherTypes.map((type, i): BpfInstruction => [JUMP_IF_EQUAL, types - i, 0, type]),
    [RETURN, 0, 0, 0],
    [RETURN, 0, 0, ALL],
  ];
}

/** Turns off what joins frames; an interface that cannot join any refuses that. */
function keepFramesApart(socket: number, name: string): void {
  const ask = (command: number, value: number): number | undefined => {
    const data = stable(8);
    const view = new DataView(data.buffer);
    view.setUint32(0, command, true);
    view.setUint32(4, value, true);
    const request = stable(40);
    request.set(new TextEncoder().encode(name));
    new DataView(request.buffer).setBigUint64(NAME_BYTES, BigInt(addressOf(data)), true);
    try {
      libc.ioctl(socket, SIOCETHTOOL, request);
      return view.getUint32(4, true);
    } catch (error) {
      if (isErrno(error, "EOPNOTSUPP", "EINVAL")) return undefined;
      throw error;
    }
  };
  ask(ETHTOOL.setGro, 0);
  const flags = ask(ETHTOOL.getFlags, 0);
  if (flags !== undefined && (flags & ETHTOOL.lro) !== 0) ask(ETHTOOL.setFlags, flags & ~ETHTOOL.lro);
}
