/**
 * UDP for protocols that look at how far a datagram has come (RFC 5082): each one tells its source, its hop limit and the interface.
 *
 * The runtime's reads do not tell these, so sockets raise SIGIO (fcntl(2), F_SETOWN, O_ASYNC) and are read here with recvmsg; one signal may
 * stand for several sockets, so all are read. Layouts: include/uapi/linux/{in,in6}.h, `msghdr` of 64-bit Linux.
 */
import { soon } from "./clock.ts";
import { SOCKET_ADDRESS, socketAddress } from "./datagram-socket.ts";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { linkIndex } from "./link-mtu.ts";
import { addressOf, cString, stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { onSignal, ownPid } from "./process.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_PKTINFO = 8;
const IP_RECVTTL = 12;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
const IPV6_TCLASS = 67;
const SOL_UDP = 17;
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;
const F_SETOWN = 8;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const O_ASYNC = 0o20000;
const MSG_DONTWAIT = 0x40;
/** Network control (RFC 2474 section 4.2.2.1): DSCP CS6. */
const CLASS_SELECTOR_6 = 0xc0;
const CONTROL_HEADER = 16;
const CONTROL_BYTES = 128;
/** Datagrams that are read from one socket before the others have their turn. */
const BATCH = 64;

/** HopDatagram is what was received; `bytes` are valid until the callback returns. */
export interface HopDatagram {
  readonly bytes: Uint8Array;
  /** 4 or 16 bytes. */
  readonly source: Uint8Array;
  readonly sourcePort: number;
  /** Where it was sent to. */
  readonly destination: Uint8Array;
  readonly hopLimit: number;
  readonly interfaceIndex: number;
}

/** HopReceiverOptions say where a receiver listens. */
export interface HopReceiverOptions {
  readonly netns?: Netns | undefined;
  /** 4 or 16 bytes; default all addresses. */
  readonly address?: Uint8Array;
  readonly port: number;
  /** The kernel opens ESP in UDP that comes here (RFC 3948; over IPv6 since Linux 5.8); what has the non-ESP marker is received, with it. */
  readonly opensEsp?: boolean;
  readonly onDatagram: (datagram: HopDatagram) => void;
}

const receivers = new Set<HopReceiver>();
let signals: Disposable | undefined;
/** What a signal left unread. */
let pending: Disposable | undefined;

/** HopReceiver owns a bound socket of one family. */
export class HopReceiver implements Disposable {
  readonly #fd: Fd;
  readonly #family: 4 | 6;
  readonly #onDatagram: (datagram: HopDatagram) => void;
  readonly #data = stable(2048);
  readonly #name = stable(28);
  readonly #control = stable(CONTROL_BYTES);
  readonly #vector = stable(16);
  readonly #header = stable(56);

  private constructor(fd: Fd, family: 4 | 6, onDatagram: (datagram: HopDatagram) => void) {
    this.#fd = fd;
    this.#family = family;
    this.#onDatagram = onDatagram;
    const vector = new DataView(this.#vector.buffer);
    vector.setBigUint64(0, BigInt(addressOf(this.#data)), true);
    vector.setBigUint64(8, BigInt(this.#data.length), true);
    const header = new DataView(this.#header.buffer);
    header.setBigUint64(0, BigInt(addressOf(this.#name)), true);
    header.setBigUint64(16, BigInt(addressOf(this.#vector)), true);
    header.setBigUint64(24, 1n, true);
    header.setBigUint64(32, BigInt(addressOf(this.#control)), true);
  }

  /** open binds a port; EADDRINUSE if it is taken, EADDRNOTAVAIL without the address, EAFNOSUPPORT without that family. */
  static open(family: 4 | 6, options: HopReceiverOptions): HopReceiver {
    const fd = openUdp(family, options.netns);
    try {
      const { number } = fd;
      if (family === 4) {
        libc.setsockopt(number, SOL_IP, IP_RECVTTL, 1);
        libc.setsockopt(number, SOL_IP, IP_PKTINFO, 1);
      } else {
        libc.setsockopt(number, SOL_IPV6, IPV6_V6ONLY, 1);
        libc.setsockopt(number, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
        libc.setsockopt(number, SOL_IPV6, IPV6_RECVPKTINFO, 1);
      }
      if (options.opensEsp === true) libc.setsockopt(number, SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
      const address = options.address ?? new Uint8Array(family === 4 ? 4 : 16);
      libc.bind(number, socketAddress(address, options.port));
      libc.fcntl(number, F_SETOWN, ownPid());
      signals ??= onSignal(["SIGIO"], readAll);
      libc.fcntl(number, F_SETFL, O_NONBLOCK | O_ASYNC);
    } catch (error) {
      fd.close();
      throw error;
    }
    const receiver = new HopReceiver(fd, family, options.onDatagram);
    receivers.add(receiver);
    // What came between bind and O_ASYNC raised no signal.
    receiver.read();
    return receiver;
  }

  /** linkIndex returns the index of an interface in the receiver's namespace; undefined if there is none of that name. */
  linkIndex(name: string): number | undefined {
    return linkIndex(this.#fd.number, name);
  }

  /** send sends one datagram from here, to an address of 4 or 16 bytes; false when the system took nothing, as while the link is down. */
  send(bytes: Uint8Array, to: { readonly address: Uint8Array; readonly port: number }): boolean {
    const data = stable(bytes.length);
    data.set(bytes);
    const name = socketAddress(to.address, to.port);
    const vector = stable(16);
    const lengths = new DataView(vector.buffer);
    lengths.setBigUint64(0, BigInt(addressOf(data)), true);
    lengths.setBigUint64(8, BigInt(data.length), true);
    const header = stable(56);
    const view = new DataView(header.buffer);
    view.setBigUint64(0, BigInt(addressOf(name)), true);
    view.setUint32(8, name.length, true);
    view.setBigUint64(16, BigInt(addressOf(vector)), true);
    view.setBigUint64(24, 1n, true);
    try {
      libc.sendmsg(this.#fd.number, header);
      return true;
    } catch (error) {
      // What a router said of the one before, a route that is not there, a full queue: as lost on the way.
      if (error instanceof SystemError && !isErrno(error, "EBADF", "EFAULT", "ENOTSOCK")) return false;
      throw error;
    }
  }

  /** read takes what is there, at most one batch; true if there may be more. */
  read(): boolean {
    for (let i = 0; i < BATCH; i++) if (!receivers.has(this) || !this.#readOne()) return false;
    return true;
  }

  #readOne(): boolean {
    const header = new DataView(this.#header.buffer);
    header.setUint32(8, this.#name.length, true);
    header.setBigUint64(40, BigInt(CONTROL_BYTES), true);
    let length: number;
    try {
      length = libc.recvmsg(this.#fd.number, this.#header, MSG_DONTWAIT);
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return false;
      if (isErrno(error, "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH")) return true;
      throw error;
    }
    const at = this.#family === 4 ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6;
    const hops = this.#readControl(Number(header.getBigUint64(40, true)));
    this.#onDatagram({
      bytes: this.#data.subarray(0, length),
      source: this.#name.slice(at, at + (this.#family === 4 ? 4 : 16)),
      sourcePort: new DataView(this.#name.buffer).getUint16(SOCKET_ADDRESS.port),
      ...hops,
    });
    return true;
  }

  #readControl(length: number) {
    const view = new DataView(this.#control.buffer);
    let hopLimit = 0;
    let interfaceIndex = 0;
    let destination: Uint8Array = new Uint8Array(0);
    for (let at = 0; at + CONTROL_HEADER <= length;) {
      const bytes = Number(view.getBigUint64(at, true));
      if (bytes < CONTROL_HEADER || at + bytes > length) break;
      const level = view.getInt32(at + 8, true);
      const type = view.getInt32(at + 12, true);
      const data = at + CONTROL_HEADER;
      if ((level === SOL_IP && type === IP_TTL) || (level === SOL_IPV6 && type === IPV6_HOPLIMIT))
        hopLimit = view.getInt32(data, true);
      // struct in_pktinfo: index, local address, address in the header; struct in6_pktinfo: address, index.
      else if (level === SOL_IP && type === IP_PKTINFO) {
        interfaceIndex = view.getInt32(data, true);
        destination = this.#control.slice(data + 8, data + 12);
      } else if (level === SOL_IPV6 && type === IPV6_PKTINFO) {
        destination = this.#control.slice(data, data + 16);
        interfaceIndex = view.getInt32(data + 16, true);
      }
      at += (bytes + 7) & ~7;
    }
    return { hopLimit, interfaceIndex, destination };
  }

  [Symbol.dispose](): void {
    receivers.delete(this);
    this.#fd.close();
    if (receivers.size > 0) return;
    signals?.[Symbol.dispose]();
    signals = undefined;
    pending?.[Symbol.dispose]();
    pending = undefined;
  }
}

/** One batch of each; where there may be more, timers have their turn first, so that a flood does not stop them. */
function readAll(): void {
  let more = false;
  for (const receiver of receivers) if (receiver.read()) more = true;
  if (more) pending ??= soon(readRest);
}

function readRest(): void {
  pending = undefined;
  readAll();
}

function openUdp(family: 4 | 6, netns: Netns | undefined): Fd {
  const make = () =>
    new Fd(libc.socket(AF[family], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), `udp${family} hops`);
  return netns === undefined ? make() : netns.run(make);
}

/** HopSenderOptions say from where to where a sender sends. */
export interface HopSenderOptions {
  readonly netns?: Netns | undefined;
  /** 4 or 16 bytes. */
  readonly to: Uint8Array;
  readonly port: number;
  readonly from?: Uint8Array | undefined;
  /** First and last port to send from; one that is free is taken. */
  readonly ports: readonly [first: number, last: number];
  /** The interface that must be used, by name and index. */
  readonly link?: { readonly name: string; readonly index: number } | undefined;
  readonly hopLimit: number;
}

/** HopSender owns a connected socket that sends with a hop limit of its own, as network control (DSCP CS6). */
export class HopSender implements Disposable {
  readonly #fd: Fd;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** open throws as bind(2) and connect(2) do: EADDRNOTAVAIL without that address, ENETUNREACH without a route, EADDRINUSE without a free port. */
  static open(options: HopSenderOptions): HopSender {
    const { to, port, link, hopLimit } = options;
    const family = to.length === 4 ? 4 : 6;
    const fd = openUdp(family, options.netns);
    try {
      const { number } = fd;
      if (family === 4) {
        libc.setsockopt(number, SOL_IP, IP_TTL, hopLimit);
        libc.setsockopt(number, SOL_IP, IP_TOS, CLASS_SELECTOR_6);
      } else {
        libc.setsockopt(number, SOL_IPV6, IPV6_UNICAST_HOPS, hopLimit);
        libc.setsockopt(number, SOL_IPV6, IPV6_TCLASS, CLASS_SELECTOR_6);
      }
      if (link !== undefined) libc.setsockopt(number, SOL_SOCKET, SO_BINDTODEVICE, cString(link.name));
      bindInRange(number, options.from ?? new Uint8Array(to.length), options.ports, link?.index ?? 0);
      libc.connect(number, socketAddress(to, port, link?.index ?? 0));
      return new HopSender(fd);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** send sends one datagram; false when the system took nothing, as while the link is down. */
  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    try {
      libc.send(this.#fd.number, bytes);
      return true;
    } catch (error) {
      // A connected socket also reports what ICMP said of the one before (net/ipv4/icmp.c icmp_err_convert, net/ipv6/icmp.c tab_unreach);
      // this one was not sent then. Whatever a router says, or a route that forbids, is no reason to end.
      if (error instanceof SystemError && !isErrno(error, "EBADF", "EFAULT", "ENOTSOCK")) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

let nextPort = 0;

function bindInRange(
  socket: number,
  address: Uint8Array,
  [first, last]: readonly [number, number],
  scope: number,
): void {
  const count = last - first + 1;
  for (let tried = 0; ; tried++) {
    const port = first + (nextPort++ % count);
    try {
      libc.bind(socket, socketAddress(address, port, scope));
      return;
    } catch (error) {
      if (!isErrno(error, "EADDRINUSE") || tried === count) throw error;
    }
  }
}
