/**
 * What a network card lets in: frames to a link address that is not the interface's own, and to all groups (packet(7), PACKET_ADD_MEMBERSHIP).
 *
 * The kernel joins groups for its own addresses only. Neighbor Discovery asks for an address by a group (RFC 4861 section 7.2), so who has one past
 * the kernel would not be found otherwise. A membership ends with the process that has it.
 */
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
/** PACKET_MR_ALLMULTI and PACKET_MR_UNICAST. */
const TYPE = { allGroups: 2, unicast: 3 } as const;
/** struct packet_mreq: interface, type, length, address of up to 8 bytes. */
const REQUEST_BYTES = 16;

/** LinkMembership owns it; needs CAP_NET_RAW. */
export class LinkMembership implements Disposable {
  readonly #fd: Fd;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  /** open lets in frames to a link address of six bytes, and to all groups; ENODEV if there is no such interface. */
  static open(ifindex: number, mac: Uint8Array, { netns }: { readonly netns?: Netns } = {}): LinkMembership {
    // Of no protocol: nothing is received.
    const make = () => new Fd(libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "link membership");
    const fd = netns === undefined ? make() : netns.run(make);
    const join = (type: number, address: Uint8Array) => {
      const request = stable(REQUEST_BYTES);
      const view = new DataView(request.buffer);
      view.setInt32(0, ifindex, true);
      view.setUint16(4, type, true);
      view.setUint16(6, address.length, true);
      request.set(address, 8);
      libc.setsockopt(fd.number, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request);
    };
    try {
      join(TYPE.allGroups, new Uint8Array(0));
      join(TYPE.unicast, mac.subarray(0, 6));
      return new LinkMembership(fd);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
