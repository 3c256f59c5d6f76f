/** The sending half of every ProbePort (probe-port.ts): packets with headers of our own, of both families. */
import { type Endpoint, ipBytes } from "../net/mod.ts";
import { isErrno, type Netns, RawSender, SourceAddresses, SystemError } from "../sys/mod.ts";
import { MOST_PROBE, probePacket } from "./probe-packet.ts";
import type { ProbeOutcome, ProbeSending } from "./probe-port.ts";

/** PROBE_MAGIC begins each of our datagrams: "CWAY". */
export const PROBE_MAGIC: Uint8Array<ArrayBuffer> = Uint8Array.of(0x43, 0x57, 0x41, 0x59);

/** The hops of a probe: each other than those of the seven before, or the receiver's kernel might join them (probe-packet.ts). */
const MOST_HOPS = 64;
const LEAST_HOPS = 57;

/** SenderOptions say where packets leave from. */
export interface SenderOptions {
  readonly listenPort: number;
  readonly mark?: number | undefined;
  readonly netns?: Netns | undefined;
}

interface Way {
  readonly sender: RawSender;
  readonly sources: SourceAddresses;
}

/** ProbeSender owns the sockets; those of a family are opened when first used. */
export class ProbeSender implements Disposable {
  readonly #options: SenderOptions;
  readonly #ways = new Map<4 | 6, Way>();
  readonly #resources = new DisposableStack();
  #hopLimit: number = MOST_HOPS;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** send sends one datagram; throws only for what a bug causes, and EPERM without CAP_NET_RAW. */
  send(to: Endpoint, bytes: Uint8Array, sending: ProbeSending = {}): ProbeOutcome {
    const plain = PROBE_MAGIC.length + bytes.length;
    const datagramBytes = sending.datagramBytes ?? plain;
    if (datagramBytes < plain)
      throw new RangeError(`A datagram of ${datagramBytes} bytes has no room for ${plain}`);
    if (datagramBytes > MOST_PROBE) return "too-big";
    if (sending.from !== undefined && sending.from.family !== to.ip.family) return "refused";
    try {
      const { sender, sources } = this.#way(to.ip.family);
      const target = ipBytes(to.ip);
      // The kernel lets raw packets of IPv4 leave from any address (FLOWI_FLAG_ANYSRC).
      if (sending.from !== undefined && !sources.has(ipBytes(sending.from))) return "refused";
      const source = sending.from === undefined ? sources.towards(target, to.port) : ipBytes(sending.from);
      this.#hopLimit = this.#hopLimit === LEAST_HOPS ? MOST_HOPS : this.#hopLimit - 1;
      const ports = { sourcePort: this.#options.listenPort, targetPort: to.port };
      const packet = probePacket(
        { source, target, ...ports, hopLimit: this.#hopLimit },
        [PROBE_MAGIC, bytes],
        datagramBytes,
      );
      sender.send(packet, { source, to: target });
      return "sent";
    } catch (error) {
      if (isErrno(error, "EMSGSIZE")) return "too-big";
      if (error instanceof SystemError) return "refused";
      throw error;
    }
  }

  #way(family: 4 | 6): Way {
    const there = this.#ways.get(family);
    if (there !== undefined) return there;
    const { mark, netns } = this.#options;
    using opened = new DisposableStack();
    const way = {
      sender: opened.use(RawSender.open(family, { mark, netns })),
      sources: opened.use(SourceAddresses.open(family, { mark, netns })),
    };
    this.#resources.use(opened.move());
    this.#ways.set(family, way);
    return way;
  }

  [Symbol.dispose](): void {
    this.#ways.clear();
    this.#resources.dispose();
  }
}
