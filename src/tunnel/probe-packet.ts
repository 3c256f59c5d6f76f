/**
 * Probes as IP packets: IPv4 (RFC 791) or IPv6 (RFC 8200), then UDP (RFC 768), with the tunnel's port as the source.
 *
 * ```
 * IPv4   45 tos len │ id=0 DF │ hops 17 sum │ source │ target ┐
 * IPv6   6 class    │ len 17 hops │ source │ target           ┴ UDP: source port, port, length, sum │ CWAY … zeros
 * ```
 * DF is always set. Where the receiver's kernel joins datagrams of one flow (UDP GRO), a raw socket sees them joined; it never joins such that
 * differ in class or hops (inet_gro_receive; for UDP since Linux 6.9, and 5.4 and later with that fix). So probes have another class than WireGuard's
 * data packets, whose DSCP is 0: the one of request and answer with low delay, AF21 (RFC 4594 section 4.7), as ssh has; and the hops of one are
 * different from those of the seven before, since those between two may be lost.
 */
import { stable } from "../sys/mod.ts";

const UDP = 17;
const UDP_HEADER = 8;
/** DSCP 18, ECN 0. */
const CLASS = 18 << 2;
const DONT_FRAGMENT = 0x4000;

/** IP_HEADER_BYTES is the length of a header without options. */
export const IP_HEADER_BYTES = { 4: 20, 6: 40 } as const;
/** MOST_PROBE is the longest datagram that UDP over IPv4 can carry. */
export const MOST_PROBE = 65_535 - IP_HEADER_BYTES[4] - UDP_HEADER;

/** ProbeHeaders has addresses of one family: 4 or 16 bytes. */
export interface ProbeHeaders {
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly hopLimit: number;
}

/** probePacket returns the packet of a datagram that begins with `parts` and is zeros then, `datagramBytes` in all. */
export function probePacket(
  headers: ProbeHeaders,
  parts: readonly Uint8Array[],
  datagramBytes: number,
): Uint8Array<ArrayBuffer> {
  const { source, target, sourcePort, targetPort, hopLimit } = headers;
  const four = source.length === 4;
  const header = IP_HEADER_BYTES[four ? 4 : 6];
  const udpBytes = UDP_HEADER + datagramBytes;
  const packet = stable(header + udpBytes);
  const view = new DataView(packet.buffer);
  if (four) {
    view.setUint16(0, 0x4500 | CLASS);
    view.setUint16(2, packet.length);
    view.setUint16(6, DONT_FRAGMENT);
    view.setUint16(8, (hopLimit << 8) | UDP);
    packet.set(source, 12);
    packet.set(target, 16);
    view.setUint16(10, ~sumOf(packet, 0, header) & 0xffff);
  } else {
    view.setUint32(0, (6 << 28) | (CLASS << 20));
    view.setUint16(4, udpBytes);
    view.setUint16(6, (UDP << 8) | hopLimit);
    packet.set(source, 8);
    packet.set(target, 24);
  }
  view.setUint16(header, sourcePort);
  view.setUint16(header + 2, targetPort);
  view.setUint16(header + 4, udpBytes);
  let at = header + UDP_HEADER;
  let end = at;
  for (const part of parts) {
    packet.set(part, end);
    end += part.length;
  }
  // The addresses lie right before the UDP header in both families; the rest of the pseudo-header is protocol and length. Zeros add nothing.
  at = header - 2 * source.length;
  const sum = ~sumOf(packet, at, end, UDP + udpBytes) & 0xffff;
  // 0 would say that there is none.
  view.setUint16(header + 6, sum === 0 ? 0xffff : sum);
  return packet;
}

/** sumOf returns the one's complement sum of [at, end) and a number (RFC 1071). */
function sumOf(packet: Uint8Array<ArrayBuffer>, at: number, end: number, more = 0): number {
  const view = new DataView(packet.buffer);
  let sum = more;
  let i = at;
  for (; i + 1 < end; i += 2) sum += view.getUint16(i);
  if (i < end) sum += view.getUint8(i) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
