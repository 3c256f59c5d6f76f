/**
 * NAPI instances, by which the kernel polls the queues of interfaces (Documentation/networking/napi.rst; messages:
 * Documentation/netlink/specs/netdev.yaml, include/uapi/linux/netdev.h). Their settings are there since Linux 6.13.
 */
import type { Netns } from "../sys/mod.ts";
import { attributes, type Codec, i32, u32 } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { familyId, genericMessage, openGeneric } from "./generic.ts";
import { message } from "./request.ts";
import type { NetlinkSocket } from "./socket.ts";

const FAMILY = "netdev";
const VERSION = 1;
/** NETDEV_CMD_NAPI_… */
const NAPI_GET = 11;
const NAPI_SET = 14;

/** NLA_UINT: 4 bytes where they are enough, else 8. */
const uint: Codec<number> = {
  decode: (reader) => (reader.remaining === 4 ? reader.u32() : Number(reader.u64())),
  encode: (writer, value) => void writer.u32(value),
};

/** napiMessage is the generic header and a NAPI instance (NETDEV_A_NAPI_…). */
export const napiMessage = genericMessage(
  attributes({ ifindex: [1, u32], id: [2, u32], deferHardIrqs: [5, i32], groFlushTimeoutNs: [6, uint] }),
);

/** NapiSettings say when it polls; both 0: when the device interrupts. */
export interface NapiSettings {
  /** So many polls in a row that find nothing before the device may interrupt again. */
  readonly deferHardIrqs: number;
  /** From one poll to the next while it may not, in nanoseconds. */
  readonly groFlushTimeoutNs: number;
}

/** Napi is one instance. */
export interface Napi extends NapiSettings {
  readonly id: number;
}

/** NapiTable reads and changes them. */
export class NapiTable implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #family: number;

  private constructor(socket: NetlinkSocket, family: number) {
    this.#socket = socket;
    this.#family = family;
  }

  /** open is for the interfaces of a namespace; undefined where the kernel has no such family. */
  static open(options: { readonly netns?: Netns } = {}): NapiTable | undefined {
    const socket = openGeneric(options.netns);
    try {
      const family = familyId(socket, FAMILY);
      if (family !== undefined) return new NapiTable(socket, family);
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.close();
    return undefined;
  }

  /** of returns an interface's instances whose settings can be read: none of one that is down, and none before Linux 6.13. */
  of(ifindex: number): Napi[] {
    let found: Napi[] = [];
    const request = this.#message(NAPI_GET, { ifindex });
    try {
      this.#socket.dump(
        `read the NAPI instances of interface ${ifindex}`,
        request,
        () => (found = []),
        (_type, reader) => {
          const { id, deferHardIrqs, groFlushTimeoutNs } = napiMessage.decode(reader).body;
          if (id !== undefined && deferHardIrqs !== undefined && groFlushTimeoutNs !== undefined)
            found.push({ id, deferHardIrqs, groFlushTimeoutNs });
        },
      );
    } catch (error) {
      if (error instanceof NetlinkError && (error.code === "EOPNOTSUPP" || error.code === "ENODEV"))
        return [];
      throw error;
    }
    return found;
  }

  /** set changes one; ENOENT where it is gone. */
  set(id: number, { deferHardIrqs, groFlushTimeoutNs }: NapiSettings): void {
    this.#socket.request(
      `set NAPI instance ${id}`,
      this.#message(NAPI_SET, { id, deferHardIrqs, groFlushTimeoutNs }),
    );
  }

  #message(command: number, body: Partial<Napi> & { readonly ifindex?: number }) {
    return message(this.#family, 0, napiMessage, { header: { command, version: VERSION }, body });
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
