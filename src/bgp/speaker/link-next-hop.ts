/** The IPv6 next hop on a session of IPv4 addresses: the addresses of the link on which it runs. */
import { ipBytes, ipEqual, ipFromBytes, networkOf, prefixContains } from "../../net/mod.ts";
import { type AddressInfo, NetlinkError, Rtnetlink } from "../../netlink/mod.ts";
import { type Netns, SystemError } from "../../sys/mod.ts";

/** RT_SCOPE_UNIVERSE and RT_SCOPE_LINK (include/uapi/linux/rtnetlink.h). */
const SCOPE = { global: 0, link: 253 } as const;

/** SessionEnds are the addresses of a connection. */
export interface SessionEnds {
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
}

/**
 * linkNextHop returns the global address, and the link-local one behind it where the neighbor is on the link (RFC 2545 section 3); the link-local
 * one alone where there is no other, as on unnumbered sessions. Undefined where the link has none that the neighbor could use, or nothing can be
 * asked for.
 */
export function linkNextHop(netns: Netns | undefined, ends: SessionEnds): Uint8Array | undefined {
  try {
    using rtnetlink = Rtnetlink.open(netns === undefined ? {} : { netns });
    return nextHopOf(rtnetlink.addresses(), ends);
  } catch (error) {
    if (error instanceof NetlinkError || error instanceof SystemError) return undefined;
    throw error;
  }
}

/** nextHopOf does it with the addresses of all links. Of several global ones, those that come and go, or have no network, are the last. */
export function nextHopOf(
  addresses: readonly AddressInfo[],
  { local, remote }: SessionEnds,
): Uint8Array | undefined {
  const isLasting = ({ permanent, address }: AddressInfo) => permanent && address.length < 128;
  const all = [...addresses].sort((a, b) => Number(isLasting(b)) - Number(isLasting(a)));
  const own = all.find(({ address }) => ipEqual(address.ip, ipFromBytes(local)));
  if (own === undefined) return undefined;
  const six = (wanted: number) =>
    all.find(
      ({ linkIndex, address, scope, deprecated, dadFailed }) =>
        linkIndex === own.linkIndex &&
        address.ip.family === 6 &&
        scope === wanted &&
        !deprecated &&
        !dadFailed,
    );
  const isOnLink = prefixContains(
    networkOf({ ...own.address, ip: own.peer ?? own.address.ip }),
    ipFromBytes(remote),
  );
  const found = [six(SCOPE.global), isOnLink ? six(SCOPE.link) : undefined];
  const bytes = found.flatMap((one) => (one === undefined ? [] : [...ipBytes(one.address.ip)]));
  return bytes.length === 0 ? undefined : Uint8Array.from(bytes);
}
