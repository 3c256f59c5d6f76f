/** Ends flows at once, in whichever namespace they are: translations are remembered with them, and would outlive what they came from. */
import { type Family, formatIp, type Ip, type Prefix, prefixContains } from "../net/mod.ts";
import { Conntrack, type ConntrackEntry, type ConntrackFilter } from "../netlink/mod.ts";
import { isErrno, type Netns } from "../sys/mod.ts";

/** endFlows forgets the flows that have one of the addresses at either end, before or after translation. It reads the namespace's whole table. */
export function endFlows(netns: Netns, addresses: readonly Ip[]): void {
  if (addresses.length === 0) return;
  const ended = new Set(addresses.map(formatIp));
  end(netns, {}, ({ original, reply }) =>
    [original, reply].some((way) => ended.has(formatIp(way.source)) || ended.has(formatIp(way.destination))),
  );
}

/**
 * endCrossing forgets the flows of a family that are translated, or those that are not and have an end outside all of the prefixes `inside`: what
 * the way that they go by no longer does, or does from now on.
 */
export function endCrossing(
  netns: Netns,
  family: Family,
  { inside, translated }: { readonly inside: readonly Prefix[]; readonly translated: boolean },
): void {
  const isInside = (ip: Ip) => inside.some((prefix) => prefixContains(prefix, ip));
  end(netns, { family }, ({ original, sourceNat, destinationNat }) =>
    sourceNat || destinationNat
      ? translated
      : !translated && !(isInside(original.source) && isInside(original.destination)),
  );
}

function end(netns: Netns, filter: ConntrackFilter, isMeant: (entry: ConntrackEntry) => boolean): void {
  try {
    using conntrack = Conntrack.open({ netns });
    if (conntrack.count() > 0) conntrack.flush(filter, isMeant);
  } catch (error) {
    // A kernel without connection tracking translates nothing and has nothing to forget.
    if (!isErrno(error, "EINVAL", "EOPNOTSUPP", "EPROTONOSUPPORT")) throw error;
  }
}
