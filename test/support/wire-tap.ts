/** WireTap: what of VXLAN over IPv4 passes a link, decoded: by which UDP port, of which VNI, and what is in it. */
import type { Netns } from "../../src/sys/mod.ts";
import { FrameSocket } from "./frames.ts";

const ETHERNET = 14;
/** Of IPv4 without options, UDP and VXLAN (RFC 7348, section 5). */
const OUTER = ETHERNET + 20 + 8 + 8;
const ARP = 0x0806;
const IPV6 = 0x86dd;
const ICMP6 = 58;

/** Wrapped is a frame inside VXLAN. */
export interface Wrapped {
  /** UDP port that it goes to. */
  readonly port: number;
  readonly vni: number;
  /** `arp`: a request or an answer; `nd`: a neighbour solicitation or advertisement (RFC 4861). */
  readonly what: "arp" | "nd" | "other";
  /** Bytes of the address that is asked for, as hexadecimal digits; of `arp` and `nd`. */
  readonly target: string;
}

/** WireTap listens from its beginning on. */
export class WireTap implements Disposable {
  readonly #socket: FrameSocket;

  constructor(netns: Netns, linkIndex: number) {
    this.#socket = new FrameSocket(netns, linkIndex);
  }

  /** take returns what passed since the last time. */
  take(): Wrapped[] {
    const found: Wrapped[] = [];
    for (;;) {
      const frame = this.#socket.receive(0);
      if (frame === undefined) return found;
      const wrapped = decode(Buffer.from(frame));
      if (wrapped !== undefined) found.push(wrapped);
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

function decode(frame: Buffer): Wrapped | undefined {
  if (frame.length < OUTER + ETHERNET || frame.readUInt16BE(12) !== 0x0800 || frame[ETHERNET + 9] !== 17)
    return undefined;
  const port = frame.readUInt16BE(ETHERNET + 20 + 2);
  const vni = frame.readUIntBE(OUTER - 4, 3);
  const inner = frame.subarray(OUTER);
  const type = inner.readUInt16BE(12);
  const packet = inner.subarray(ETHERNET);
  if (type === ARP) return { port, vni, what: "arp", target: packet.toString("hex", 24, 28) };
  const isNeighbour = type === IPV6 && packet[6] === ICMP6 && [135, 136].includes(packet[40] as number);
  if (!isNeighbour) return { port, vni, what: "other", target: "" };
  return { port, vni, what: "nd", target: packet.toString("hex", 48, 64) };
}
