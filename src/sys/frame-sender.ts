/** Whole Ethernet frames out of a link, as packet(7) takes them. Needs CAP_NET_RAW. */
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
/** struct sockaddr_ll: family, protocol, interface. */
const LINK_ADDRESS_BYTES = 20;

/** sendFrames sends frames out of a link, by index; throws what the kernel says: ENETDOWN, ENXIO, ENODEV when it cannot now. */
export function sendFrames(
  linkIndex: number,
  frames: readonly Uint8Array[],
  { netns }: { readonly netns?: Netns } = {},
): void {
  // Of no protocol: nothing is received.
  const open = () => new Fd(libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "frames to send");
  using socket = netns === undefined ? open() : netns.run(open);
  const address = stable(LINK_ADDRESS_BYTES);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, linkIndex, true);
  libc.bind(socket.number, address);
  for (const frame of frames) {
    const copy = stable(frame.length);
    copy.set(frame);
    libc.send(socket.number, copy);
  }
}
