/**
 * The gateway itself as a host on one side: it answers for its addresses there, and says what cannot be forwarded from there.
 *
 * What it answers goes back on the link to whoever the frame came from; what concerns the tunnel goes through the tunnel (inbound-step.ts).
 */
import type { Arena } from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { ETHERNET } from "../xdp/ethernet.ts";
import type { Icmp4Counters, Icmp6Counters, InterfaceCounters, NextHopCounters } from "./counters.ts";
import type { FramePort } from "./frame-port.ts";
import { Icmp4, ICMP4, type IcmpError, UNREACHABLE4 } from "./icmp4.ts";
import { Icmp6, ICMP6 } from "./icmp6.ts";
import { Neighbour } from "./neighbour.ts";
import { OwnFrames } from "./own-frames.ts";
import { ReturnHeader } from "./return-header.ts";
import { Side, type SideConfiguration } from "./side.ts";

/** Errors that both directions send, for each family. */
export const EXPIRED = {
  4: { type: ICMP4.expired, code: 0, word: 0 },
  6: { type: ICMP6.expired, code: 0, word: 0 },
} as const satisfies Record<4 | 6, IcmpError>;
/** Not ICMP, and for the gateway itself; for IPv6 the word points to the field (RFC 4443 section 3.4). */
export const UNKNOWN_PROTOCOL = {
  4: { type: ICMP4.unreachable, code: UNREACHABLE4.protocol, word: 0 },
  6: { type: ICMP6.problem, code: ICMP6.unknownNext, word: 6 },
} as const satisfies Record<4 | 6, IcmpError>;

/** Speakers are ICMP of both families, for the same addresses. */
export class Speakers {
  readonly four: Icmp4 | undefined;
  readonly six: Icmp6 | undefined;

  constructor(
    arena: Arena,
    side: Side,
    parts: { readonly sum: Checksum; readonly four: Icmp4Counters; readonly six: Icmp6Counters },
  ) {
    const { sum } = parts;
    if (side.four !== undefined)
      this.four = new Icmp4(arena, { sum, own: side.four.own, counters: parts.four });
    if (side.six !== undefined) this.six = new Icmp6(arena, { sum, own: side.six.own, counters: parts.six });
  }

  /** of returns one of the two. */
  of(family: 4 | 6): Icmp4 | Icmp6 | undefined {
    return family === 4 ? this.four : this.six;
  }
}

/** HostParts are what a side works with. */
export interface HostParts {
  readonly port: FramePort;
  readonly sum: Checksum;
  readonly sent: InterfaceCounters;
  readonly nextHop: NextHopCounters;
  readonly icmp4: Icmp4Counters;
  readonly icmp6: Icmp6Counters;
  readonly asks?: boolean;
  readonly learnt: (family: 4 | 6, isNew: boolean) => void;
}

/** Host is one side with its addresses. */
export class Host {
  readonly side: Side;
  readonly neighbour: Neighbour;
  readonly #speakers: Speakers;
  readonly #frames: OwnFrames;
  readonly #back: ReturnHeader;

  constructor(configuration: SideConfiguration, parts: HostParts) {
    const { port, sum, nextHop, learnt, asks = true } = parts;
    const { arena } = port.frames;
    this.#frames = new OwnFrames(port, parts.sent);
    this.side = new Side(configuration);
    this.neighbour = new Neighbour({
      side: this.side,
      frames: this.#frames,
      sum,
      counters: nextHop,
      learnt,
      asks,
    });
    this.#speakers = new Speakers(arena, this.side, { sum, four: parts.icmp4, six: parts.icmp6 });
    this.#back = new ReturnHeader(arena, this.side.mac);
  }

  /** answer takes a packet to the gateway itself: ICMP is answered or counted, and of all else it is said that nobody listens. */
  answer(frame: number, total: number, what: { family: 4 | 6; isIcmp: boolean; nowMs: number }): void {
    const { family, isIcmp, nowMs } = what;
    if (!isIcmp) {
      this.refuse(frame, total, { family, error: UNKNOWN_PROTOCOL[family], nowMs });
      return;
    }
    const speaker = this.#speakers.of(family);
    const ip = frame + ETHERNET.bytes;
    if (speaker === undefined || !speaker.answer(ip, total, nowMs)) return;
    this.#back.keep(frame);
    this.#send(ip, speaker.bytes);
  }

  /** refuse sends an error about the packet in a frame, which still has its original header. */
  refuse(frame: number, total: number, what: { family: 4 | 6; error: IcmpError; nowMs: number }): void {
    const speaker = this.#speakers.of(what.family);
    if (speaker === undefined) return;
    this.#back.keep(frame);
    const at = speaker.error(frame + ETHERNET.bytes, total, what.error, what.nowMs);
    if (at !== 0) this.#send(at, speaker.bytes);
  }

  #send(ip: number, bytes: number): void {
    const frame = ip - ETHERNET.bytes;
    this.#back.lay(frame);
    this.#frames.send(frame, ETHERNET.bytes + bytes);
  }
}
