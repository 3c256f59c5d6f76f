/**
 * ICMPv6 on one interface, as neighbour discovery needs it (RFC 4861): what arrives with its source, and never from beyond the link.
 *
 * Received by a packet socket, because the runtime shows no source address of raw sockets: packets are whole, from the IPv6 header on, and their
 * checksum nobody has looked at. Sent by a raw socket, for which the kernel makes header and checksum (RFC 3542 section 3.1).
 */
import { socketAddress } from "./datagram-socket.ts";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { linkIndex } from "./link-mtu.ts";
import { cString, stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { BPF, type BpfInstruction, filterPackets } from "./socket-filter.ts";
import { watchSocket } from "./watch.ts";

const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const ETH_P_IPV6 = 0x86dd;
const IPPROTO_ICMPV6 = 58;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_JOIN_GROUP = 20;
const SOL_ICMPV6 = 58;
const ICMPV6_FILTER = 1;
/** Nothing that passed a router has it (RFC 4861 section 6.1). */
const MOST_HOPS = 255;
/** struct sockaddr_ll: family, protocol, interface. */
const LINK_ADDRESS_BYTES = 20;

/** Icmp6LinkOptions say what is received. */
export interface Icmp6LinkOptions {
  readonly netns?: Netns | undefined;
  /** Name of the interface. */
  readonly device: string;
  /** Types of ICMPv6. */
  readonly types: readonly number[];
  /** A multicast group that the interface joins, 16 bytes. */
  readonly group: Uint8Array;
  /** A packet from its IPv6 header on: hop limit 255 and one of the types; nothing else is certain. The bytes are the callback's. */
  readonly onPacket: (packet: Uint8Array) => void;
  /** The interface is gone or down; nothing comes any more. */
  readonly onFailure: () => void;
}

/** Icmp6Link owns the sockets; it needs CAP_NET_RAW. */
export class Icmp6Link implements Disposable {
  /** Index of the interface. */
  readonly index: number;
  readonly #sender: Fd;
  readonly #receiver: Fd;
  readonly #watch: Disposable;

  private constructor(
    sockets: { readonly sender: Fd; readonly receiver: Fd; readonly index: number },
    options: Icmp6LinkOptions,
  ) {
    this.index = sockets.index;
    this.#sender = sockets.sender;
    this.#receiver = sockets.receiver;
    this.#watch = watchSocket(sockets.receiver, {
      onMessage: options.onPacket,
      onFailure: options.onFailure,
    });
  }

  /** open makes the sockets; ENODEV if there is no such interface, EPERM without CAP_NET_RAW. */
  static open(options: Icmp6LinkOptions): Icmp6Link {
    const { netns, device } = options;
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const make = (domain: number, type: number, protocol: number) => {
      const open = () => new Fd(libc.socket(domain, type | flags, protocol), `ICMPv6 on ${device}`);
      return netns === undefined ? open() : netns.run(open);
    };
    using stack = new DisposableStack();
    const sender = stack.use(make(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
    const index = linkIndex(sender.number, device);
    if (index === undefined) throw new SystemError("socket", 19, device);
    prepareSender(sender.number, { ...options, index });
    // Of no protocol until it is filtered and bound, so that nothing else is in it.
    const receiver = stack.use(make(AF_PACKET, SOCK_DGRAM, 0));
    filterPackets(receiver.number, onlyTypes(options.types));
    const address = stable(LINK_ADDRESS_BYTES);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_IPV6);
    view.setInt32(4, index, true);
    libc.bind(receiver.number, address);
    stack.move();
    return new Icmp6Link({ sender, receiver, index }, options);
  }

  /** send sends a message, whose checksum the kernel fills in, to a group or address on the link; false when it cannot now: no link-local address yet, link down. */
  send(message: Uint8Array, to: Uint8Array): boolean {
    const copy = stable(message.length);
    copy.set(message);
    const { number } = this.#sender;
    try {
      // A socket that was connected keeps its first source address until it is disconnected (AF_UNSPEC, connect(2)).
      libc.connect(number, stable(16));
      libc.connect(number, socketAddress(to, 0, this.index));
      libc.send(number, copy);
      return true;
    } catch (error) {
      if (
        isErrno(error, "EADDRNOTAVAIL", "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "ENODEV", "ENXIO") ||
        isErrno(error, "EAGAIN", "ENOBUFS", "EPERM", "EINVAL")
      )
        return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#receiver.close();
    this.#sender.close();
  }
}

function prepareSender(socket: number, options: Icmp6LinkOptions & { readonly index: number }): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, cString(options.device));
  // It receives nothing: each bit of the filter blocks a type.
  libc.setsockopt(socket, SOL_ICMPV6, ICMPV6_FILTER, stable(32).fill(0xff));
  libc.setsockopt(socket, SOL_IPV6, IPV6_UNICAST_HOPS, MOST_HOPS);
  libc.setsockopt(socket, SOL_IPV6, IPV6_MULTICAST_HOPS, MOST_HOPS);
  libc.setsockopt(socket, SOL_IPV6, IPV6_MULTICAST_LOOP, 0);
  libc.setsockopt(socket, SOL_IPV6, IPV6_MULTICAST_IF, options.index);
  const request = stable(20);
  request.set(options.group);
  new DataView(request.buffer).setInt32(16, options.index, true);
  libc.setsockopt(socket, SOL_IPV6, IPV6_JOIN_GROUP, request);
}

/** IPv6, next header ICMPv6, hop limit 255, one of the types. */
function onlyTypes(types: readonly number[]): BpfInstruction[] {
  const drop = types.length + 5;
  return [
    [BPF.loadByte, 0, 0, 6],
    [BPF.jumpIfEqual, 0, drop - 2, IPPROTO_ICMPV6],
    [BPF.loadByte, 0, 0, 7],
    [BPF.jumpIfEqual, 0, drop - 4, MOST_HOPS],
    [BPF.loadByte, 0, 0, 40],
    ...types.map((type, i): BpfInstruction => [BPF.jumpIfEqual, types.length - i, 0, type]),
    [BPF.returnNumber, 0, 0, 0],
    [BPF.returnNumber, 0, 0, 0xffff],
  ];
}
