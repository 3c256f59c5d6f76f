/**
 * Addresses that no packet is forwarded from or to: RFC 1812 sections 4.2.2.11 and 5.3.7 with RFC 6890 for IPv4, RFC 4291 section 2.5 and RFC 4007
 * for IPv6.
 *
 * ```
 * IPv4:  0/8  127/8  169.254/16  224/4  240/4        IPv6:  ::  ::1  fe80::/10  ff00::/8
 * ```
 * A route to all addresses does not mean these: they are of one host or one link, or of groups, and a gateway routes no groups.
 */

const LOOPBACK = 127;
const FIRST_GROUP = 224;
const LINK_LOCAL_4 = 0xa9fe;
const GROUP_6 = 0xff;
/** The first 10 bits, as the first half of a word has them. */
const LINK_LOCAL_6 = 0xfe80;
const LINK_LOCAL_BITS = 0xffc0;

/** isForwardable4 tells whether packets from and to an address, a word in network order, may be forwarded. */
export function isForwardable4(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== LOOPBACK && first < FIRST_GROUP && address >>> 16 !== LINK_LOCAL_4;
}

/** isForwardable6 tells the same of the address at a place. */
export function isForwardable6(view: DataView, at: number): boolean {
  const word = view.getInt32(at);
  if (word === 0)
    return (view.getInt32(at + 4) | view.getInt32(at + 8)) !== 0 || view.getInt32(at + 12) >>> 1 !== 0;
  return word >>> 24 !== GROUP_6 && ((word >>> 16) & LINK_LOCAL_BITS) !== LINK_LOCAL_6;
}
