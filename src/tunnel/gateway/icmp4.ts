/**
 * The gateway as an IPv4 host of its own: it answers echo requests, counts what others tell it, and says what it cannot forward (RFC 792,
 * RFC 1122 section 3.2.2, RFC 1812 section 4.3).
 *
 * An error is written into the headroom of the packet that it is about, so it needs neither memory nor a copy:
 *
 * ```
 *        | Ethernet | the packet … |
 *   | Ethernet | IPv4 20 | ICMP 8 | the packet, up to 548 bytes |
 * ```
 */
import type { Arena } from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { DONT_FRAGMENT, IP4, MORE_OR_OFFSET } from "../path/ip-header.ts";
import type { Icmp4Counters } from "./counters.ts";
import { isSound4, sign4, signHeader4 } from "./icmp-checksum.ts";
import type { OwnAddress } from "./own-address.ts";
import { type RateLimit, TokenBucket } from "./token-bucket.ts";

/** ICMP4 has the protocol's number, the length of its header, and the errors that a gateway sends. */
export const ICMP4 = { protocol: 1, bytes: 8, unreachable: 3, expired: 11, problem: 12 } as const;
export const UNREACHABLE4 = { protocol: 2, tooBig: 4 } as const;

/** ICMP_LIMIT is Vita's, for what is answered and for errors each. */
export const ICMP_LIMIT: RateLimit = { perSecond: 50, burst: 100, first: 50 };

const ECHO = { request: 8, reply: 0 } as const;
const REDIRECT = 5;
const HOP_LIMIT = 64;
/** What is quoted: the error is not longer than 576 bytes (RFC 1812 section 4.3.2.3). */
const MOST_QUOTED = 576 - IP4.bytes - ICMP4.bytes;
/** Internetwork control (RFC 1812 section 4.3.2.5). */
const CONTROL_SERVICE = 0xc0;
const FIRST_MULTICAST = 0xe0;
const LOOPBACK = 127;

/** Messages that are counted by code: by type, the name of all and those of the codes; without codes, any is known. */
const KNOWN: Readonly<Record<number, readonly [keyof Icmp4Counters, ...(readonly (keyof Icmp4Counters)[])]>> =
  {
    3: [
      "destinationUnreachable",
      "netUnreachable",
      "hostUnreachable",
      "protocolUnreachable",
      "portUnreachable",
      "fragmentationNeeded",
      "sourceRouteFailed",
    ],
    [REDIRECT]: ["redirect", "redirectNet", "redirectHost", "redirectTosNet", "redirectTosHost"],
    11: ["timeExceeded", "transitTtlExceeded", "fragmentReassemblyTimeExceeded"],
    12: ["parameterProblem"],
  };
/** Messages that are errors: nothing is said of them (RFC 1122 section 3.2.2). */
const ERRORS: readonly number[] = [3, 4, REDIRECT, 11, 12];

/** IcmpError is what is wrong with a packet. */
export interface IcmpError {
  readonly type: number;
  readonly code: number;
  /** The second word: the next hop's MTU, or a pointer. */
  readonly word: number;
}

/** Icmp4 is one such host. */
export class Icmp4 {
  /** Length of the last answer or error. */
  bytes = 0;
  readonly #arena: Arena;
  readonly #sum: Checksum;
  readonly #own: OwnAddress;
  readonly #counters: Icmp4Counters;
  readonly #received = new TokenBucket(ICMP_LIMIT);
  readonly #sent = new TokenBucket(ICMP_LIMIT);

  constructor(arena: Arena, parts: { sum: Checksum; own: OwnAddress; counters: Icmp4Counters }) {
    this.#arena = arena;
    this.#sum = parts.sum;
    this.#own = parts.own;
    this.#counters = parts.counters;
  }

  /** answer takes an ICMP packet to the gateway; true when it has become an answer, in its place, `bytes` long. */
  answer(ip: number, total: number, nowMs: number): boolean {
    const { u8, view } = this.#arena;
    const header = ((u8[ip] as number) & 15) * 4;
    const message = ip + header;
    const length = total - header;
    const isWhole = (view.getUint16(ip + IP4.fragment) & MORE_OR_OFFSET) === 0;
    if (!isWhole || length < ICMP4.bytes || !isSound4(this.#sum, message, length)) {
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
    // Options would have to be turned round.
    if (header !== IP4.bytes) {
      this.#counters.protocolErrors++;
      return false;
    }
    this.#counters.echoRequest++;
    u8[message] = ECHO.reply;
    sign4(this.#arena, this.#sum, message, length);
    this.#header(ip, view.getInt32(ip + IP4.source), total);
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

  /** error returns the offset of an error about the packet at `ip`, which has its original header; 0 where none may be sent. */
  error(ip: number, total: number, { type, code, word }: IcmpError, nowMs: number): number {
    if (!this.#maySend(ip, total)) return 0;
    if (!this.#sent.take(nowMs)) {
      this.#counters.limited++;
      return 0;
    }
    this.#counters.errorsSent++;
    const { u8, view } = this.#arena;
    const quoted = Math.min(total, MOST_QUOTED);
    const message = ip - ICMP4.bytes;
    u8[message] = type;
    u8[message + 1] = code;
    view.setInt32(message + 4, word);
    sign4(this.#arena, this.#sum, message, ICMP4.bytes + quoted);
    const at = message - IP4.bytes;
    this.#header(at, view.getInt32(ip + IP4.source), IP4.bytes + ICMP4.bytes + quoted);
    u8[at + IP4.service] = CONTROL_SERVICE;
    signHeader4(this.#arena, at);
    return at;
  }

  /** Writes the header of a packet to `target`. */
  #header(at: number, target: number, total: number): void {
    const { u8, view } = this.#arena;
    u8[at] = 0x45;
    u8[at + IP4.service] = 0;
    view.setUint16(at + IP4.total, total);
    view.setUint16(at + IP4.id, 0);
    view.setUint16(at + IP4.fragment, DONT_FRAGMENT);
    u8[at + IP4.ttl] = HOP_LIMIT;
    u8[at + IP4.protocol] = ICMP4.protocol;
    // Before the source, which may be what it was read from.
    view.setInt32(at + IP4.target, target);
    u8.set(this.#own.bytes, at + IP4.source);
    signHeader4(this.#arena, at);
    this.bytes = total;
  }

  /** Whether an error may be sent about a packet (RFC 1122 section 3.2.2). */
  #maySend(ip: number, total: number): boolean {
    const { u8, view } = this.#arena;
    const source = u8[ip + IP4.source] as number;
    if (source === 0 || source === LOOPBACK || source >= FIRST_MULTICAST) return false;
    if ((u8[ip + IP4.target] as number) >= FIRST_MULTICAST) return false;
    // Not the first fragment.
    if ((view.getUint16(ip + IP4.fragment) & 0x1fff) !== 0) return false;
    if (u8[ip + IP4.protocol] !== ICMP4.protocol) return true;
    const header = ((u8[ip] as number) & 15) * 4;
    return total > header && !ERRORS.includes(u8[ip + header] as number);
  }
}
