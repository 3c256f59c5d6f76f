/** Checksums on a cable that is none: the kernel leaves them to a card (ETHTOOL_STXCSUM), and who reads frames by AF_XDP would see halves. */
import { addressOf, libc, type Netns, stable } from "../../src/sys/mod.ts";

/** sumInSoftware makes the kernel of a namespace write whole checksums for a link. */
export function sumInSoftware(netns: Netns, link: string): void {
  const value = stable(8);
  new DataView(value.buffer).setUint32(0, 0x17, true);
  const request = stable(40);
  request.set(new TextEncoder().encode(link));
  new DataView(request.buffer).setBigUint64(16, BigInt(addressOf(value)), true);
  netns.run(() => {
    const socket = libc.socket(2, 2 | 0o2000000, 0);
    libc.ioctl(socket, 0x8946, request);
    libc.close(socket);
  });
}
