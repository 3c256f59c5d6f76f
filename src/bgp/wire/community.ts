/** Communities (RFC 1997): 32 bits, of which some have names. */

/** COMMUNITY are the well-known ones that have a meaning to this speaker, or to its users. */
export const COMMUNITY = {
  /** RFC 8326. */
  gracefulShutdown: 0xffff0000,
  /** RFC 7611. */
  acceptOwn: 0xffff0001,
  /** RFC 9494. */
  llgrStale: 0xffff0006,
  noLlgr: 0xffff0007,
  /** RFC 7999. */
  blackhole: 0xffff029a,
  /** RFC 1997. */
  noExport: 0xffffff01,
  noAdvertise: 0xffffff02,
  noExportSubconfed: 0xffffff03,
  /** RFC 3765. */
  noPeer: 0xffffff04,
} as const;

/** The names that FRR prints and reads. */
const names: readonly (readonly [number, string])[] = [
  [COMMUNITY.gracefulShutdown, "graceful-shutdown"],
  [COMMUNITY.acceptOwn, "accept-own"],
  [0xffff0002, "route-filter-translated-v4"],
  [0xffff0003, "route-filter-v4"],
  [0xffff0004, "route-filter-translated-v6"],
  [0xffff0005, "route-filter-v6"],
  [COMMUNITY.llgrStale, "llgr-stale"],
  [COMMUNITY.noLlgr, "no-llgr"],
  [0xffff0008, "accept-own-nexthop"],
  [COMMUNITY.blackhole, "blackhole"],
  [COMMUNITY.noExport, "no-export"],
  [COMMUNITY.noAdvertise, "no-advertise"],
  [COMMUNITY.noExportSubconfed, "local-AS"],
  [COMMUNITY.noPeer, "no-peer"],
];

/** printCommunity returns `65001:100`, or a well-known name. */
export function printCommunity(community: number): string {
  return names.find(([known]) => known === community)?.[1] ?? `${community >>> 16}:${community & 0xffff}`;
}

/** parseCommunity reads a name or two numbers of 16 bits; undefined for anything else. */
export function parseCommunity(text: string): number | undefined {
  const known = names.find(([, name]) => name.toLowerCase() === text.toLowerCase());
  if (known !== undefined) return known[0];
  const match = /^(0|[1-9]\d{0,4}):(0|[1-9]\d{0,4})$/.exec(text);
  if (match === null) return undefined;
  const [high, low] = [Number(match[1]), Number(match[2])];
  return high > 0xffff || low > 0xffff ? undefined : ((high << 16) | low) >>> 0;
}
