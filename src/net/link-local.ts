/** The address that a link has in IPv6 of itself. */
import { type Ip, ip } from "./ip.ts";
import type { Mac } from "./mac.ts";

/** linkLocalIp returns the link-local address that the kernel makes of an Ethernet address (RFC 4291, appendix A). */
export function linkLocalIp(address: Mac): Ip {
  const value = BigInt(address);
  const [high, low] = [value >> 24n, value & 0xff_ffffn];
  const identifier = ((high ^ 0x02_0000n) << 40n) | (0xff_fen << 24n) | low;
  return ip(6, (0xfe80n << 112n) | identifier);
}
