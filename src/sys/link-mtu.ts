/** What a TUN device is called, how large its packets may be and how many may wait, for its holder and without netlink (netdevice(7)). */
import { isErrno } from "./errno.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const TUNGETIFF = 0x800454d2;
const SIOCGIFINDEX = 0x8933;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCSIFTXQLEN = 0x8943;
const NAME_BYTES = 16;
/** `ifr_mtu` and `ifr_qlen` in `struct ifreq`. */
const VALUE = 16;

/** tunName returns the name that a device has now; undefined when it was removed. */
export function tunName(tun: number): string | undefined {
  const request = stable(40);
  try {
    libc.ioctl(tun, TUNGETIFF, request);
  } catch (error) {
    if (isErrno(error, "EBADFD", "ENODEV")) return undefined;
    throw error;
  }
  return Buffer.from(request.subarray(0, request.indexOf(0))).toString();
}

/** linkMtu returns the MTU of a link in the namespace of a socket; undefined if there is no such link. */
export function linkMtu(socket: number, name: string): number | undefined {
  const request = requestFor(name);
  try {
    libc.ioctl(socket, SIOCGIFMTU, request);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return undefined;
    throw error;
  }
  return new DataView(request.buffer).getInt32(VALUE, true);
}

/** linkIndex returns the index of a link in the namespace of a socket; undefined if there is no such link. */
export function linkIndex(socket: number, name: string): number | undefined {
  const request = requestFor(name);
  try {
    libc.ioctl(socket, SIOCGIFINDEX, request);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return undefined;
    throw error;
  }
  return new DataView(request.buffer).getInt32(VALUE, true);
}

/** setLinkMtu sets the MTU of a link in the namespace of a socket. */
export function setLinkMtu(socket: number, name: string, mtuBytes: number): void {
  libc.ioctl(socket, SIOCSIFMTU, requestFor(name, mtuBytes));
}

/** setQueueLength sets how many packets may wait in each queue of a link; what waits stays. */
export function setQueueLength(socket: number, name: string, packets: number): void {
  libc.ioctl(socket, SIOCSIFTXQLEN, requestFor(name, packets));
}

function requestFor(name: string, value = 0): Uint8Array<ArrayBuffer> {
  const request = stable(40);
  request.set(new TextEncoder().encode(name).subarray(0, NAME_BYTES - 1));
  new DataView(request.buffer).setInt32(VALUE, value, true);
  return request;
}
