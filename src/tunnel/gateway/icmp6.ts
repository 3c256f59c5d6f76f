/** The gateway as an IPv6 host of its own: what icmp4.ts is for IPv4 (RFC 4443). An error quotes what fits into 1280 bytes. */
import type { Arena } from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { IP6, PROTOCOL } from "../path/ip-header.ts";
import type { Icmp6Counters } from "./counters.ts";
import { isSound6, sign6 } from "./icmp-checksum.ts";
import { ICMP_LIMIT, type IcmpError } from "./icmp4.ts";
import type { OwnAddress } from "./own-address.ts";
import { TokenBucket } from "./token-bucket.ts";

/** ICMP6 has the length of its header, and the errors that a gateway sends. */
export const ICMP6 = { bytes: 8, tooBig: 2, expired: 3, problem: 4, unknownNext: 1 } as const;

const ECHO = { request: 128, reply: 129 } as const;
/** Types below are errors (section 2.1). */
const FIRST_INFORMATION = 128;
const REDIRECT = 137;
const HOP_LIMIT = 64;
/** What is quoted: the error fits into the least MTU (section 3). */
const MOST_QUOTED = 1280 - IP6.bytes - ICMP6.bytes;
const MULTICAST = 0xff;

const KNOWN: Readonly<Record<number, readonly [keyof Icmp6Counters, ...(readonly (keyof Icmp6Counters)[])]>> =
  {
    1: [
      "destinationUnreachable",
      "netUnreachable",
      "destinationDenied",
      "scopeDenied",
      "hostUnreachable",
      "portUnreachable",
      "sourceDenied",
      "netDenied",
    ],
    2: ["packetTooBig"],
    3: ["timeExceeded", "transitHopLimitExceeded", "fragmentReassemblyTimeExceeded"],
    4: ["parameterProblem", "headerFieldProblem", "nextHeaderProblem", "optionProblem"],
  };

/** Icmp6 is one such host. */
export class Icmp6 {
  /** Length of the last answer or error. */
  bytes = 0;
  readonly #arena: Arena;
  readonly #sum: Checksum;
  readonly #own: OwnAddress;
  readonly #counters: Icmp6Counters;
  readonly #received = new TokenBucket(ICMP_LIMIT);
  readonly #sent = new TokenBucket(ICMP_LIMIT);

  constructor(arena: Arena, parts: { sum: Checksum; own: OwnAddress; counters: Icmp6Counters }) {
    this.#arena = arena;
    this.#sum = parts.sum;
    this.#own = parts.own;
    this.#counters = parts.counters;
  }

  /** answer takes an ICMPv6 packet to the gateway; true when it has become an answer, in its place, `bytes` long. */
  answer(ip: number, total: number, nowMs: number): boolean {
    const { u8 } = this.#arena;
    const message = ip + IP6.bytes;
    const length = total - IP6.bytes;
    if (length < ICMP6.bytes || !isSound6(this.#sum, ip, length)) {
      this.#counters.protocolErrors++;
      return false;
    }
    if (!this.#received.take(nowMs)) {
      this.#counters.limited++;
      return false;
    }
    const type = u8[message] as number;
    if (type !== ECHO.request) {
      this.#count(type, u8[message + 1] as number);
      return false;
    }
    this.#counters.echoRequest++;
    u8[message] = ECHO.reply;
    u8.copyWithin(ip + IP6.target, ip + IP6.source, ip + IP6.target);
    this.#header(ip, length);
    sign6(this.#arena, this.#sum, ip, length);
    return true;
  }

  #count(type: number, code: number): void {
    const counters = this.#counters;
    const known = KNOWN[type];
    if (known === undefined) {
      counters.typeNotImplementedErrors++;
      return;
    }
    const [name, ...codes] = known;
    counters[name]++;
    if (codes.length === 0) return;
    const which = codes[code];
    if (which === undefined) counters.codeNotImplementedErrors++;
    else counters[which]++;
  }

  /** error returns the offset of an error about the packet at `ip`; 0 where none may be sent. */
  error(ip: number, total: number, { type, code, word }: IcmpError, nowMs: number): number {
    if (!this.#maySend(ip, total, type)) return 0;
    if (!this.#sent.take(nowMs)) {
      this.#counters.limited++;
      return 0;
    }
    this.#counters.errorsSent++;
    const { u8, view } = this.#arena;
    const length = ICMP6.bytes + Math.min(total, MOST_QUOTED);
    const message = ip - ICMP6.bytes;
    u8[message] = type;
    u8[message + 1] = code;
    view.setInt32(message + 4, word);
    const at = message - IP6.bytes;
    u8.copyWithin(at + IP6.target, ip + IP6.source, ip + IP6.target);
    this.#header(at, length);
    sign6(this.#arena, this.#sum, at, length);
    return at;
  }

  /** Writes the header of a packet whose target is there. */
  #header(at: number, length: number): void {
    const { u8, view } = this.#arena;
    view.setInt32(at, 0x6000_0000);
    view.setUint16(at + IP6.payload, length);
    u8[at + IP6.next] = PROTOCOL.icmp6;
    u8[at + IP6.hops] = HOP_LIMIT;
    u8.set(this.#own.bytes, at + IP6.source);
    this.bytes = IP6.bytes + length;
  }

  /** Whether an error may be sent about a packet (section 2.4 (e)). */
  #maySend(ip: number, total: number, type: number): boolean {
    const { u8, view } = this.#arena;
    const source = ip + IP6.source;
    if (u8[source] === MULTICAST) return false;
    const isUnspecified =
      (view.getInt32(source) | view.getInt32(source + 4) | view.getInt32(source + 8)) === 0 &&
      view.getUint32(source + 12) <= 1;
    if (isUnspecified) return false;
    if (u8[ip + IP6.target] === MULTICAST && type !== ICMP6.tooBig) return false;
    if (u8[ip + IP6.next] !== PROTOCOL.icmp6) return true;
    if (total <= IP6.bytes) return false;
    const message = u8[ip + IP6.bytes] as number;
    return message >= FIRST_INFORMATION && message !== REDIRECT;
  }
}
