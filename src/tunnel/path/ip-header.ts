/** Places of fields in IP, TCP and UDP headers (RFC 791, 8200, 9293, 768), counted from the header's beginning. */

export const PROTOCOL = { tcp: 6, udp: 17, icmp6: 58 } as const;

/** IPv4: 20 bytes and options. */
export const IP4 = {
  bytes: 20,
  service: 1,
  total: 2,
  id: 4,
  fragment: 6,
  ttl: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  target: 16,
} as const;

/** Bits of IP4.fragment. */
export const DONT_FRAGMENT = 0x4000;
/** MORE_OR_OFFSET: set in every fragment but in no whole packet. */
export const MORE_OR_OFFSET = 0x3fff;

/** IPv6: 40 bytes. */
export const IP6 = { bytes: 40, payload: 4, next: 6, hops: 7, source: 8, target: 24 } as const;

/** TCP: 20 bytes and options. */
export const TCP = {
  bytes: 20,
  sequence: 4,
  acknowledgement: 8,
  offset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  urgent: 18,
} as const;

/** Flags of TCP. */
export const FLAG = { fin: 0x01, psh: 0x08, ack: 0x10, cwr: 0x80 } as const;

/** UDP: 8 bytes. */
export const UDP = { bytes: 8, length: 4, checksum: 6 } as const;
