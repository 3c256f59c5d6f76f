/**
 * Sending IP packets whose headers the sender makes itself (raw(7), IP_HDRINCL), whole or not at all: they are never fragmented here, and what the
 * kernel believes of the path's MTU does not count, only the MTU of the interface (ip(7), IP_PMTUDISC_PROBE).
 *
 * Of protocol 255 (IPPROTO_RAW), so that nothing is ever received: every raw socket of a protocol gets a copy of each of its packets.
 */
import { socketAddress } from "./datagram-socket.ts";
import { SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { markDatagrams } from "./reuseport.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_RAW = 255;
const SOL_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_PKTINFO = 8;
const SOL_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_PKTINFO = 50;
const PMTUDISC_PROBE = 3;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CONTROL_HEADER = 16;

/** RawSender owns a socket of one family; it needs CAP_NET_RAW. */
export class RawSender implements Disposable {
  readonly family: 4 | 6;
  readonly #fd: Fd;

  private constructor(fd: Fd, family: 4 | 6) {
    this.#fd = fd;
    this.family = family;
  }

  /** open makes the socket; EPERM without CAP_NET_RAW, EAFNOSUPPORT if the system has no IPv6. */
  static open(
    family: 4 | 6,
    options: { readonly netns?: Netns | undefined; readonly mark?: number | undefined } = {},
  ): RawSender {
    const make = () =>
      new Fd(
        libc.socket(AF[family], SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW),
        `raw${family} sender`,
      );
    const fd = options.netns === undefined ? make() : options.netns.run(make);
    try {
      if (family === 4) libc.setsockopt(fd.number, SOL_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
      else libc.setsockopt(fd.number, SOL_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
      if (options.mark !== undefined && options.mark !== 0) markDatagrams(fd.number, options.mark);
      return new RawSender(fd, family);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /**
   * send sends a packet to an address, by the way that routing has for its source. Throws what the system says: EMSGSIZE if it is longer than the
   * interface's MTU, ENETUNREACH, EPERM if a filter drops it. Over IPv4 nobody checks that the source is an address of ours.
   */
  send(packet: Uint8Array<ArrayBuffer>, way: { readonly source: Uint8Array; readonly to: Uint8Array }): void {
    // struct iovec, struct msghdr, struct cmsghdr with struct in_pktinfo or in6_pktinfo (64-bit Linux).
    const name = socketAddress(way.to, 0);
    const vector = stable(16);
    const vectorView = new DataView(vector.buffer);
    vectorView.setBigUint64(0, BigInt(addressOf(packet)), true);
    vectorView.setBigUint64(8, BigInt(packet.length), true);
    const control = this.#source(way.source);
    const header = stable(56);
    const view = new DataView(header.buffer);
    view.setBigUint64(0, BigInt(addressOf(name)), true);
    view.setUint32(8, name.length, true);
    view.setBigUint64(16, BigInt(addressOf(vector)), true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, BigInt(addressOf(control)), true);
    view.setBigUint64(40, BigInt(control.length), true);
    const sent = libc.sendmsg(this.#fd.number, header, MSG_DONTWAIT | MSG_NOSIGNAL);
    // All of it had to stay until here.
    if (sent !== packet.length || name.length === 0 || vector.length === 0 || control.length === 0)
      throw new SystemError("sendmsg", 5, "a part of a packet");
  }

  #source(source: Uint8Array): Uint8Array<ArrayBuffer> {
    const four = this.family === 4;
    const length = CONTROL_HEADER + (four ? 12 : 20);
    const control = stable((length + 7) & ~7);
    const view = new DataView(control.buffer);
    view.setBigUint64(0, BigInt(length), true);
    view.setInt32(8, four ? SOL_IP : SOL_IPV6, true);
    view.setInt32(12, four ? IP_PKTINFO : IPV6_PKTINFO, true);
    control.set(source, CONTROL_HEADER + (four ? 4 : 0));
    return control;
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
