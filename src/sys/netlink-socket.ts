/** Netlink sockets: opened inside any namespace, where they stay whatever the thread does later. */
import { SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const F_DUPFD_CLOEXEC = 1030;

/** Options of level SOL_NETLINK (include/uapi/linux/netlink.h). */
const ADD_MEMBERSHIP = 1;
const CAP_ACK = 10;
const EXT_ACK = 11;
const GET_STRICT_CHK = 12;

/** Protocols of AF_NETLINK. */
export const NETLINK = { route: 0, xfrm: 6, netfilter: 12, generic: 16 } as const;

/** Flags of `libc.recv` that netlink uses. */
export const MSG = { dontWait: 0x40, truncated: 0x20 } as const;

/** NetlinkSocketOptions say where and how a socket is opened. */
export interface NetlinkSocketOptions {
  readonly netns?: Netns | undefined;
  /** Multicast groups to listen to, by number. */
  readonly groups?: readonly number[] | undefined;
  /** Default 8 MiB; less when the system refuses to go over its limit. */
  readonly receiveBufferBytes?: number | undefined;
  /** How long a receive waits for an answer that never comes; default 30000. */
  readonly receiveTimeoutMs?: number | undefined;
  /** Ask the kernel to refuse what it would otherwise ignore in dump requests. Default true. */
  readonly strict?: boolean | undefined;
}

/** openNetlinkSocket opens and binds a socket of a netlink protocol. */
export function openNetlinkSocket(protocol: number, options: NetlinkSocketOptions = {}): Fd {
  const open = () =>
    new Fd(libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), `netlink ${protocol}`);
  const fd = options.netns === undefined ? open() : options.netns.run(open);
  try {
    const number = fd.number;
    setReceiveBuffer(number, options.receiveBufferBytes ?? 8 << 20);
    const timeout = stable(16);
    new DataView(timeout.buffer).setBigInt64(
      0,
      BigInt(Math.ceil((options.receiveTimeoutMs ?? 30_000) / 1000)),
      true,
    );
    libc.setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, timeout);
    libc.setsockopt(number, SOL_NETLINK, EXT_ACK, 1);
    libc.setsockopt(number, SOL_NETLINK, CAP_ACK, 1);
    if (options.strict !== false) libc.setsockopt(number, SOL_NETLINK, GET_STRICT_CHK, 1);
    const address = stable(12);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, true);
    libc.bind(number, address);
    for (const group of options.groups ?? []) libc.setsockopt(number, SOL_NETLINK, ADD_MEMBERSHIP, group);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch (error) {
    // Without CAP_NET_ADMIN in the first user namespace only net.core.rmem_max is granted.
    if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}

/** duplicate returns a second descriptor of the same socket, with an owner of its own. */
export function duplicate(fd: Fd, what: string): Fd {
  return new Fd(libc.fcntl(fd.number, F_DUPFD_CLOEXEC, 0), what);
}
