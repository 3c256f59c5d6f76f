/**
 * One interface of a namespace that this process enters for good, by the old ioctls (netdevice(7)): for processes of a few milliseconds,
 * whose time netlink would double. `Netns` is for those that come back, `netlink` for those that want to know more.
 */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** SIOC… (include/uapi/linux/sockios.h). */
const GET_FLAGS = 0x8913;
const SET_FLAGS = 0x8914;
const GET_ADDRESS = 0x8915;
const GET_MASK = 0x891b;

const IFF_UP = 1;

/** Where `ifr_flags`, and the address of `ifr_addr`, are in `struct ifreq`: the name has 16 bytes, `struct sockaddr_in` 4 before the address. */
const FLAGS = 16;
const ADDRESS = 20;

/**
 * enterNetns moves this thread into the network namespace at a path and leaves it there. Returns why not: `own` for the one it is in
 * already, `none` for what is no network namespace; SystemError if the path cannot be opened.
 */
export function enterNetns(path: string): "own" | "none" | undefined {
  const own = () => libc.readlink("/proc/thread-self/ns/net");
  const before = own();
  using target = new Fd(libc.open(path), `netns ${path}`);
  try {
    libc.setns(target.number, CLONE_NEWNET);
  } catch (error) {
    if (isErrno(error, "EINVAL")) return "none";
    throw error;
  }
  return own() === before ? "own" : undefined;
}

/** NetdeviceAddress is an address of an interface, in network order, and the length of its network. */
export interface NetdeviceAddress {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** Netdevice is one interface by name; ENODEV if there is none. */
export class Netdevice implements Disposable {
  readonly #socket: Fd;
  readonly #name: string;

  private constructor(socket: Fd, name: string) {
    this.#socket = socket;
    this.#name = name;
  }

  /** open takes an interface of the thread's namespace; a name of 1 to 15 bytes. */
  static open(name: string): Netdevice {
    return new Netdevice(
      new Fd(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), `netdevice ${name}`),
      name,
    );
  }

  /** up tells whether it is up. */
  get up(): boolean {
    return (this.#flags() & IFF_UP) !== 0;
  }

  /** setUp brings it up or down. */
  setUp(up: boolean): void {
    const flags = this.#flags();
    this.#ask(SET_FLAGS, up ? flags | IFF_UP : flags & ~IFF_UP);
  }

  /** addresses returns the first IPv4 address, and all of IPv6. */
  addresses(): NetdeviceAddress[] {
    return [...this.#addresses4(), ...this.#addresses6()];
  }

  #addresses4(): NetdeviceAddress[] {
    try {
      const bytes = this.#ask(GET_ADDRESS).slice(ADDRESS, ADDRESS + 4);
      const mask = new DataView(this.#ask(GET_MASK).buffer).getUint32(ADDRESS);
      return [{ bytes, length: Math.clz32(~mask) }];
    } catch (error) {
      if (isErrno(error, "EADDRNOTAVAIL")) return [];
      throw error;
    }
  }

  /** `00000000000000000000000000000001 01 80 10 80       lo`: address, index, length, scope, flags (net/ipv6/addrconf.c, if6_seq_show). */
  #addresses6(): NetdeviceAddress[] {
    return readSmall("/proc/thread-self/net/if_inet6")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[5] === this.#name)
      .map(([address = "", , length = ""]) => ({
        bytes: Uint8Array.fromHex(address),
        length: Number.parseInt(length, 16),
      }));
  }

  #flags(): number {
    return new DataView(this.#ask(GET_FLAGS).buffer).getUint16(FLAGS, true);
  }

  #ask(request: number, flags = 0): Uint8Array<ArrayBuffer> {
    const data = stable(40);
    data.set(new TextEncoder().encode(this.#name));
    new DataView(data.buffer).setUint16(FLAGS, flags, true);
    libc.ioctl(this.#socket.number, request, data);
    return data;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A file that the kernel writes as it is read; absent is empty: a kernel without IPv6 has none. */
function readSmall(path: string): string {
  let file: Fd;
  try {
    file = new Fd(libc.open(path), path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
  using _ = file;
  let text = "";
  for (const buffer = stable(4096); ;) {
    const count = libc.readInto(file.number, buffer);
    if (count === 0) return text;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
}
