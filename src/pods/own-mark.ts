/**
 * A program at a pod's link that knows the pod's good packets at once, for the rules of spoofing.ts: it gives them a mark, and the first rule lets through what
 * has it. Everything else comes to the rules as if there were no program: it drops nothing, and where it is missing, or passed over, packets only cost more.
 *
 * ```
 * tag, or not the pod's Ethernet source ─▶ no mark
 * IPv4 with a source of its own, IPv6 of TCP or UDP with a source of its own ─▶ mark; all else ─▶ no mark
 * ```
 * Nobody else can give the mark: it is none that a pod has set, which ends where a packet changes its namespace (net/core/skbuff.c, skb_scrub_packet), and
 * what comes with one all the same (bpf_redirect_peer) loses it here. Frames that traffic control does not see (skb->tc_skip_classify, as ifb sends them) have
 * crossed that border, and come without.
 */
import type { Classifier } from "../engine/mod.ts";
import { type Ip, ipBytes, type Mac, macBytes } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import {
  add,
  assembleBpf,
  type BpfLine,
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
  R2,
  R3,
  R4,
  R5,
  store,
} from "../tunnel/xdp/mod.ts";

/** OWN_MARK is the mark of a pod's good packets, from the program to the rule that takes it off: no routing rule of the node sees it. */
export const OWN_MARK = 0x6377_6f6b;

/** Offsets in struct __sk_buff (include/uapi/linux/bpf.h). */
const SKB = { mark: 8, vlanPresent: 20, data: 76, end: 80 } as const;
/** Others have their say (include/uapi/linux/pkt_cls.h). */
const TC_ACT_UNSPEC = -1;
const [ETHERNET, IP4, IP6] = [14, 20, 40] as const;
const [IPV4, IPV6] = [0x0800, 0x86dd] as const;
const [TCP, UDP] = [6, 17] as const;
/** Where things are in a frame. */
const AT = { source: 6, type: 12, ip4Source: 26, ip6Next: 20, ip6Source: 22 } as const;

/** A number of 16 bits as the machine reads it from a packet. */
const swapped = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

/** ownMark returns the program for a pod, which has one address at least. */
export function ownMark(pod: { readonly mac: Mac; readonly addresses: readonly Ip[] }): Classifier {
  const own = (family: 4 | 6) => pod.addresses.filter((one) => one.family === family).map(ipBytes);
  const code = assembleBpf([
    move(R0, TC_ACT_UNSPEC),
    move(R2, 0),
    store(4, R1, SKB.mark, R2),
    load(R2, 4, R1, SKB.vlanPresent),
    jumpIf(R2, "≠", 0, "end"),
    load(R3, 4, R1, SKB.data),
    load(R4, 4, R1, SKB.end),
    ...unlessReached(ETHERNET + IP4),
    ...unlessEqual(AT.source, macBytes(pod.mac), "end"),
    load(R2, 2, R3, AT.type),
    jumpIf(R2, "=", swapped(IPV6), "ip6"),
    jumpIf(R2, "≠", swapped(IPV4), "end"),
    ...anyOf(AT.ip4Source, own(4)),
    jump("end"),
    label("ip6"),
    ...unlessReached(ETHERNET + IP6),
    load(R2, 1, R3, AT.ip6Next),
    jumpIf(R2, "=", TCP, "ip6 source"),
    jumpIf(R2, "≠", UDP, "end"),
    label("ip6 source"),
    ...anyOf(AT.ip6Source, own(6)),
    jump("end"),
    label("own"),
    move(R2, OWN_MARK),
    store(4, R1, SKB.mark, R2),
    label("end"),
    exit,
  ]);
  return { name: `own-${Buffer.from(sha256(code)).toString("hex").slice(0, 24)}`, code };
}

/** Ends unless so many bytes of the frame, which begins at R3, can be read. What lies in pages is not fetched. */
function unlessReached(bytes: number): BpfLine[] {
  return [copy(R5, R3), add(R5, bytes), jumpIfBehind(R5, R4, "end")];
}

/** Goes elsewhere unless the bytes, an even number, are there. */
function unlessEqual(at: number, bytes: Uint8Array, to: string): BpfLine[] {
  return Array.from({ length: bytes.length / 2 }, (_, i) => i * 2).flatMap((i) => [
    load(R2, 2, R3, at + i),
    jumpIf(R2, "≠", (bytes[i] as number) | ((bytes[i + 1] as number) << 8), to),
  ]);
}

/** It is the pod's own if one of the values is there. */
function anyOf(at: number, values: readonly Uint8Array[]): BpfLine[] {
  return values.flatMap((value, i) => {
    const other = `other than ${i} at ${at}`;
    return [...unlessEqual(at, value, other), jump("own"), label(other)];
  });
}
