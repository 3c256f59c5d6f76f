/**
 * What comes to a UDP port for ESP, usually 4500 (RFC 3948): ESP packets behind the UDP header, and two things that OpenStep passes on as
 * "other".
 *
 * ```
 * keepalive:     | ff |                       keeps a NAT's mapping; no answer
 * IKE message:   | 00 00 00 00 | message |    the non-ESP marker, where ESP has its SPI
 * ```
 */
import type { Arena } from "../../sys/mod.ts";

/** NAT_KEEPALIVE is the datagram that keeps a mapping (section 2.3). */
export const NAT_KEEPALIVE = 0xff;
/** NON_ESP_MARKER_BYTES are the zeros before a message of a key exchange on the same port (section 2.2). */
export const NON_ESP_MARKER_BYTES = 4;

/** OtherKind is what a datagram is that is no ESP packet. */
export type OtherKind = "keepalive" | "ike" | "malformed";

/** otherKind tells what a datagram is that the framing has no receiver for. */
export function otherKind(arena: Arena, at: number, bytes: number): OtherKind {
  arena.check(at, bytes);
  if (bytes === 1 && arena.u8[at] === NAT_KEEPALIVE) return "keepalive";
  return bytes > NON_ESP_MARKER_BYTES && arena.view.getUint32(at) === 0 ? "ike" : "malformed";
}
