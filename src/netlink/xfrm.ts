/** Xfrm: IPsec of the kernel, as questions and requests, synchronous, in any namespace. Events are in xfrm-monitor.ts. */
import type { Ip } from "../net/mod.ts";
import { NETLINK, type Netns } from "../sys/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { afOf } from "./family.ts";
import { type Message, message } from "./request.ts";
import { NetlinkSocket } from "./socket.ts";
import { decodePolicy, type PolicyId, policyIdParts, type PolicyInfo } from "./xfrm-policy.ts";
import {
  decodeSa,
  describeSa,
  modeNumber,
  type SaId,
  saIdParts,
  type SaInfo,
  type XfrmMark,
  type XfrmRequest,
} from "./xfrm-sa.ts";
import { addressBlock } from "./xfrm-selector.ts";
import { ESP, filterMessage, policyIdMessage, saIdMessage, spiMessage, XFRM } from "./xfrm-table.ts";

/** Those below are reserved (RFC 4303, section 2.1). */
const LEAST_SPI = 256;
const MOST_SPI = 0xffff_ffff;
const EPROTO = 71;

/** SpiWish is for what an SPI is wanted: packets from `source` to us, `destination`. */
export interface SpiWish {
  readonly source: Ip;
  readonly destination: Ip;
  readonly reqid: number;
  /** Default 256. */
  readonly least?: number;
  /** Default 2^32 - 1. */
  readonly most?: number;
  /** XfrmAcquire.sequence, to answer it. */
  readonly sequence?: number;
  readonly mark?: XfrmMark;
  readonly ifId?: number;
  readonly cpu?: number;
}

/** Xfrm is one socket of NETLINK_XFRM. */
export class Xfrm implements Disposable {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** open opens a socket in a namespace, by default the calling thread's. EPROTONOSUPPORT when the kernel has no XFRM. */
  static open(options: { readonly netns?: Netns | undefined } = {}): Xfrm {
    // Strict checking is a matter of rtnetlink.
    return new Xfrm(NetlinkSocket.open(NETLINK.xfrm, { netns: options.netns, strict: false }));
  }

  /** sas reads all associations of ESP, without their keys; with those that are only an SPI so far, and questions, whose SPI is 0. */
  sas(): SaInfo[] {
    const body = { protocol: ESP };
    return this.#dump("read associations", message(XFRM.getSa, 0, filterMessage, body), decodeSa);
  }

  /** sa returns undefined when there is none. */
  sa(id: SaId): SaInfo | undefined {
    const one = message(XFRM.getSa, 0, saIdMessage, saIdParts(id));
    return this.#find({ action: () => `read association ${describeSa(id)}`, message: one }, decodeSa);
  }

  /** policies reads all policies, but those of sockets. */
  policies(): PolicyInfo[] {
    return this.#dump("read policies", message(XFRM.getPolicy, 0, filterMessage, {}), decodePolicy);
  }

  /** policy returns undefined when there is none. */
  policy(id: PolicyId): PolicyInfo | undefined {
    const one = message(XFRM.getPolicy, 0, policyIdMessage, policyIdParts(id));
    return this.#find({ action: () => "read policy", message: one }, decodePolicy);
  }

  /**
   * allocateSpi reserves an SPI that no association to the same destination has (since Linux 6.17: none at all); `updateSa` completes it.
   * Left alone, the kernel forgets it after 30 s (net.core.xfrm_acq_expires) with a hard expiry. ENOENT when the kernel finds none: it tries
   * at random, as often as the range has numbers. A wish with the same addresses, `reqid`, mark, `ifId` and CPU gets the same SPI until it is
   * completed.
   */
  allocateSpi(wish: SpiWish): SaInfo {
    const { source, destination, reqid, least = LEAST_SPI, most = MOST_SPI, mark, ifId, cpu } = wish;
    const one = message(XFRM.allocateSpi, 0, spiMessage, {
      header: {
        sa: {
          id: { daddr: addressBlock(destination), protocol: ESP },
          saddr: addressBlock(source),
          sequence: wish.sequence,
          reqid,
          family: afOf(destination.family),
          mode: modeNumber("tunnel"),
        },
        least,
        most,
      },
      body: { mark, ifId, cpu },
    });
    const action = () => `allocate an SPI from ${least} to ${most}`;
    const found: SaInfo[] = [];
    this.#ask({ action, message: one }, (reader) => void found.push(decodeSa(reader)));
    const [allocated] = found;
    if (allocated === undefined) throw new NetlinkError(action(), EPROTO, "the kernel agreed without an SPI");
    return allocated;
  }

  /** execute sends all requests in few system calls; one result per request, in order: undefined for success. Keys in them are wiped. */
  execute(requests: readonly XfrmRequest[]): (NetlinkError | undefined)[] {
    try {
      return this.#socket.execute(requests);
    } finally {
      for (const request of requests) request.message.body.fill(0);
    }
  }

  /** request is execute of one request; throws its NetlinkError. */
  request(request: XfrmRequest): void {
    const [error] = this.execute([request]);
    if (error !== undefined) throw error;
  }

  #find<T>(request: XfrmRequest, decode: (reader: Reader) => T | undefined): T | undefined {
    let found: T | undefined;
    try {
      this.#ask(request, (reader) => (found = decode(reader)));
    } catch (error) {
      if (error instanceof NetlinkError && ["ESRCH", "ENOENT"].includes(error.code)) return undefined;
      throw error;
    }
    return found;
  }

  #ask(request: XfrmRequest, onData: (reader: Reader) => void): void {
    try {
      this.#socket.request(request.action, request.message, (_type, reader) => onData(reader));
    } finally {
      this.#socket.wipe();
    }
  }

  /** The kernel's answers have the keys in them. */
  #dump<T>(action: string, request: Message, decode: (reader: Reader) => T | undefined): T[] {
    let values: T[] = [];
    try {
      this.#socket.dump(
        action,
        request,
        () => (values = []),
        (_type, reader) => {
          const value = decode(reader);
          if (value !== undefined) values.push(value);
        },
      );
    } finally {
      this.#socket.wipe();
    }
    return values;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
