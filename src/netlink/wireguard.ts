/** The kernel's WireGuard by generic netlink. It makes no links: `addLink` with type `wireguard` does. */
import type { DeviceChange, DeviceState, WireguardDevice } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { NetlinkError } from "./error.ts";
import { familyId, openGeneric } from "./generic.ts";
import { message } from "./request.ts";
import type { NetlinkSocket } from "./socket.ts";
import {
  type AnswerPart,
  type DevicePart,
  mergeDevice,
  type PeerMemory,
  splitChange,
} from "./wireguard-codec.ts";
import { WG_CMD, wireguardAnswer, wireguardMessage } from "./wireguard-table.ts";

const FAMILY = "wireguard";
const VERSION = 1;
const EOPNOTSUPP = 95;

/** KernelWireguard is one WireGuard link. */
export class KernelWireguard implements WireguardDevice, Disposable {
  readonly #socket: NetlinkSocket;
  readonly #family: number;
  readonly #link: string;
  #memory: PeerMemory = new Map();

  private constructor(link: string, socket: NetlinkSocket, family: number) {
    this.#link = link;
    this.#socket = socket;
    this.#family = family;
  }

  /** open connects to a link by name; whether it exists shows when it is used. EOPNOTSUPP when the kernel has no WireGuard. */
  static open(link: string, options: { readonly netns?: Netns } = {}): KernelWireguard {
    const socket = openGeneric(options.netns);
    try {
      const family = familyId(socket, FAMILY);
      if (family === undefined)
        throw new NetlinkError(
          `use WireGuard link ${link}`,
          EOPNOTSUPP,
          "the kernel has no WireGuard; load the module wireguard, or use a user-space tunnel",
        );
      return new KernelWireguard(link, socket, family);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** read returns the device with all peers. */
  read(): DeviceState {
    let parts: AnswerPart[] = [];
    this.#socket.dump(
      `read WireGuard link ${this.#link}`,
      this.#message(WG_CMD.get, { name: this.#link }),
      () => (parts = []),
      (_type, reader) => parts.push(wireguardAnswer.decode(reader).body),
    );
    const { state, memory } = mergeDevice(parts, this.#memory);
    this.#memory = memory;
    return state;
  }

  /** change applies what is given; peers that are not named stay as they are. */
  change(change: DeviceChange): void {
    const action = `change WireGuard link ${this.#link}`;
    for (const part of splitChange(this.#link, change))
      this.#socket.request(action, this.#message(WG_CMD.set, part));
  }

  #message(command: number, body: DevicePart) {
    return message(this.#family, 0, wireguardMessage, { header: { command, version: VERSION }, body });
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** kernelHasWireguard tells whether the kernel has WireGuard, as a module or built in; asking loads the module. */
export function kernelHasWireguard(options: { readonly netns?: Netns } = {}): boolean {
  using socket = openGeneric(options.netns);
  return familyId(socket, FAMILY) !== undefined;
}
