/**
 * A pod sends with its own addresses only: the rules of spoofing.ts as a program of one pod, with its addresses in it. Traffic control runs it on all that
 * comes in by the pod's link, at a fraction of what rules cost that look a port up; the two say the same of every frame.
 *
 * ```
 * tag ─▶ never      Ethernet source ≠ own ─▶ never
 * IPv4 ─▶ source            ARP ─▶ of Ethernet and IPv4, sender
 * IPv6 ─▶ extension headers, at most 4 ─▶ ICMPv6: type, an advertisement's target ─▶ source
 * ```
 * What is too short to be judged is dropped; so is what hides its protocol behind more extension headers.
 */
import type { Classifier } from "../engine/mod.ts";
import { type Ip, ipBytes, type Mac, macBytes } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import {
  add,
  addRegister,
  and,
  assembleBpf,
  type BpfLine,
  call,
  copy,
  exit,
  jump,
  jumpIf,
  jumpIfBehind,
  label,
  load,
  move,
  R0,
  R1,
  R10,
  R2,
  R3,
  R4,
  R6,
  R7,
  R8,
  R9,
  shiftLeft,
  storeNumber,
} from "../tunnel/xdp/mod.ts";

/** Offsets in struct __sk_buff, numbers of enum bpf_func_id (include/uapi/linux/bpf.h). */
const SKB = { vlanPresent: 20, data: 76, end: 80 } as const;
const CALL = { loadBytes: 26, pullData: 39 } as const;

/** FRAME_VERDICT are the verdicts: other filters have their say, or nobody has (TC_ACT_UNSPEC, TC_ACT_SHOT). */
export const FRAME_VERDICT = { pass: -1, drop: 2 } as const;

const ETHERNET = 14;
const [IPV4, ARP, IPV6] = [0x0800, 0x0806, 0x86dd] as const;
/** Where things are in a frame. */
const AT = { source: 6, type: 12, ip4Source: 26, arpSender: 22, arpAddress: 28, ip6Next: 20, ip6Source: 22 };
const [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, ICMP6, OPTIONS] = [0, 43, 44, 51, 58, 60] as const;
const MOST_EXTENSIONS = 4;
/** Types of ICMPv6: MLD's reports, and of neighbour discovery (RFC 4861). */
const MLD_REPORTS = [131, 143];
const [ROUTER_ADVERT, SOLICIT, ADVERT, REDIRECT] = [134, 135, 136, 137] as const;
/** On the stack: what was read last, and the type of ICMPv6, 0 for all else. */
const [READ, TYPE] = [-16, -24] as const;

/** A number of 16 bits as the machine reads it from a packet. */
const swapped = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

/** ownFrames returns the program for a pod. */
export function ownFrames(pod: { readonly mac: Mac; readonly addresses: readonly Ip[] }): Classifier {
  const mac = macBytes(pod.mac);
  const own = (family: 4 | 6) => pod.addresses.filter((one) => one.family === family).map(ipBytes);
  const code = assembleBpf([
    copy(R6, R1),
    load(R2, 4, R6, SKB.vlanPresent),
    jumpIf(R2, "≠", 0, "drop"),
    ...reach(ETHERNET + 20),
    ...unlessEqual(R7, AT.source, mac, "drop"),
    load(R2, 2, R7, AT.type),
    jumpIf(R2, "=", swapped(ARP), "arp"),
    jumpIf(R2, "=", swapped(IPV6), "ip6"),
    jumpIf(R2, "≠", swapped(IPV4), "drop"),
    ...anyOf(R7, AT.ip4Source, own(4), "pass"),
    jump("drop"),
    label("arp"),
    ...reach(ETHERNET + 28),
    ...unlessEqual(R7, ETHERNET, Uint8Array.of(0, 1, 8, 0, 6, 4), "drop"),
    ...unlessEqual(R7, AT.arpSender, mac, "drop"),
    ...anyOf(R7, AT.arpAddress, own(4), "pass"),
    jump("drop"),
    label("ip6"),
    ...ip6Lines(own(6)),
    label("drop"),
    move(R0, FRAME_VERDICT.drop),
    exit,
    label("pass"),
    move(R0, FRAME_VERDICT.pass),
    exit,
  ]);
  return { name: `own-${Buffer.from(sha256(code)).toString("hex").slice(0, 24)}`, code };
}

/** R7 is the frame from here on, of which so many bytes can be read. What lies in pages is fetched first. */
function reach(bytes: number): BpfLine[] {
  const look = [load(R7, 4, R6, SKB.data), load(R8, 4, R6, SKB.end), copy(R2, R7), add(R2, bytes)];
  return [
    ...look,
    jumpIfBehind(R2, R8, `pull ${bytes}`),
    jump(`there ${bytes}`),
    label(`pull ${bytes}`),
    copy(R1, R6),
    move(R2, bytes),
    call(CALL.pullData),
    ...look,
    jumpIfBehind(R2, R8, "drop"),
    label(`there ${bytes}`),
  ];
}

/** Goes elsewhere unless the bytes, an even number, are there. */
function unlessEqual(base: number, at: number, bytes: Uint8Array, to: string): BpfLine[] {
  return Array.from({ length: bytes.length / 2 }, (_, i) => i * 2).flatMap((i) => [
    load(R2, 2, base, at + i),
    jumpIf(R2, "≠", (bytes[i] as number) | ((bytes[i + 1] as number) << 8), to),
  ]);
}

/** Goes elsewhere if one of the values is there. */
function anyOf(base: number, at: number, values: readonly Uint8Array[], to: string): BpfLine[] {
  return values.flatMap((value, i) => {
    const other = `other than ${i} at ${base} ${at}`;
    return [...unlessEqual(base, at, value, other), jump(to), label(other)];
  });
}

/** Goes elsewhere if a link-local address is there. */
function ifLinkLocal(base: number, at: number, to: string): BpfLine[] {
  return [load(R2, 2, base, at), and(R2, swapped(0xffc0)), jumpIf(R2, "=", swapped(0xfe80), to)];
}

/** Reads bytes on the stack, from R9 and an offset on. */
function read(offset: number, bytes: number): BpfLine[] {
  return [
    copy(R1, R6),
    copy(R2, R9),
    add(R2, offset),
    copy(R3, R10),
    add(R3, READ),
    move(R4, bytes),
    call(CALL.loadBytes),
    jumpIf(R0, "≠", 0, "drop"),
  ];
}

function ip6Lines(own: readonly Uint8Array[]): BpfLine[] {
  return [
    ...reach(ETHERNET + 40),
    storeNumber(8, R10, TYPE, 0),
    // R8 is the protocol of what comes at R9.
    move(R9, ETHERNET + 40),
    load(R8, 1, R7, AT.ip6Next),
    ...Array.from({ length: MOST_EXTENSIONS }, (_, i) => extension(i)).flat(),
    ...[HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, OPTIONS].map((one) => jumpIf(R8, "=", one, "drop")),
    label("upper"),
    jumpIf(R8, "≠", ICMP6, "source"),
    ...read(0, 1),
    load(R2, 1, R10, READ),
    jumpIf(R2, "=", ROUTER_ADVERT, "drop"),
    jumpIf(R2, "=", REDIRECT, "drop"),
    ...[SOLICIT, ...MLD_REPORTS].map((one) => jumpIf(R2, "=", one, "may be unspecified")),
    jumpIf(R2, "≠", ADVERT, "source"),
    ...read(8, 16),
    ...anyOf(R10, READ, own, "source"),
    ...ifLinkLocal(R10, READ, "source"),
    jump("drop"),
    label("may be unspecified"),
    storeNumber(8, R10, TYPE, 1),
    label("source"),
    ...anyOf(R7, AT.ip6Source, own, "pass"),
    ...ifLinkLocal(R7, AT.ip6Source, "pass"),
    load(R2, 8, R10, TYPE),
    jumpIf(R2, "=", 0, "drop"),
    ...unlessEqual(R7, AT.ip6Source, new Uint8Array(16), "drop"),
    jump("pass"),
  ];
}

/** Steps over one extension header (RFC 8200, section 4). */
function extension(number: number): BpfLine[] {
  const name = (what: string) => `${what} ${number}`;
  return [
    jumpIf(R8, "=", FRAGMENT, name("fragment")),
    jumpIf(R8, "=", AUTHENTICATION, name("authentication")),
    jumpIf(R8, "=", HOP_BY_HOP, name("options")),
    jumpIf(R8, "=", ROUTING, name("options")),
    jumpIf(R8, "≠", OPTIONS, "upper"),
    label(name("options")),
    ...read(0, 2),
    load(R2, 1, R10, READ + 1),
    shiftLeft(R2, 3),
    add(R2, 8),
    jump(name("next")),
    label(name("authentication")),
    ...read(0, 2),
    // In words of four bytes, less two (RFC 4302).
    load(R2, 1, R10, READ + 1),
    shiftLeft(R2, 2),
    add(R2, 8),
    jump(name("next")),
    label(name("fragment")),
    ...read(0, 4),
    load(R2, 2, R10, READ + 2),
    and(R2, swapped(0xfff8)),
    // What comes behind the first fragment tells no protocol.
    jumpIf(R2, "≠", 0, "source"),
    move(R2, 8),
    label(name("next")),
    load(R8, 1, R10, READ),
    addRegister(R9, R2),
  ];
}
