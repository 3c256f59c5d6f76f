/** TUN devices through /dev/net/tun, which rtnetlink cannot make (Documentation/networking/tuntap.rst). */
import { openSync } from "node:fs";
import { SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TUN = 0x1;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_MULTI_QUEUE = 0x100;
const IFF_TUN_EXCL = 0x8000;
const O_RDWR_CLOEXEC = 0o2000002;

/** TunOptions say where and how a device is made. A queue is attached with the same values. */
export interface TunOptions {
  readonly netns?: Netns;
  /** Packets carry a virtio header, for segmentation and checksum offload. */
  readonly vnetHeader?: boolean;
  /** Several processes or threads may each attach a queue. */
  readonly multiQueue?: boolean;
  /** For the first queue: a device of that name must not be there yet (EBUSY). */
  readonly exclusive?: boolean;
}

/** createTun makes a device that stays until it is deleted; EBUSY if the name is taken. */
export function createTun(name: string, options: TunOptions = {}): void {
  using tun = attach(name, IFF_TUN_EXCL, options);
  libc.ioctlValue(tun.number, TUNSETPERSIST, 1);
}

/** attachTun opens a queue of a device: reading and writing it is sending and receiving packets. Makes the device if it is not there. */
export function attachTun(name: string, options: TunOptions = {}): Fd {
  return attach(name, options.exclusive === true ? IFF_TUN_EXCL : 0, options);
}

/** deleteTun removes a device; the options must be those that it was made with. EBUSY while somebody has it attached. */
export function deleteTun(name: string, options: TunOptions = {}): void {
  using tun = attach(name, 0, options);
  libc.ioctlValue(tun.number, TUNSETPERSIST, 0);
}

function attach(name: string, flags: number, options: TunOptions): Fd {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0 || bytes.length > 15)
    throw new RangeError(`Cannot attach TUN device "${name}": a name has 1 to 15 bytes`);
  // struct ifreq: name (16), flags (2).
  const request = stable(40);
  request.set(bytes);
  const all =
    IFF_TUN |
    IFF_NO_PI |
    flags |
    (options.vnetHeader === true ? IFF_VNET_HDR : 0) |
    (options.multiQueue === true ? IFF_MULTI_QUEUE : 0);
  new DataView(request.buffer).setUint16(16, all, true);
  // The device is made in the namespace in which /dev/net/tun was opened.
  const open = () => new Fd(openSync("/dev/net/tun", O_RDWR_CLOEXEC), `tun ${name}`);
  const fd = options.netns === undefined ? open() : options.netns.run(open);
  try {
    libc.ioctl(fd.number, TUNSETIFF, request);
    return fd;
  } catch (error) {
    fd.close();
    if (error instanceof SystemError) throw new SystemError("attach TUN device", error.errno, name);
    throw error;
  }
}
