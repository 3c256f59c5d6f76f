/** Path attributes' codes and flags, as IANA lists them (those that this speaker looks into). */

/** ATTRIBUTE is the code of each path attribute. */
export const ATTRIBUTE = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPreference: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  pmsiTunnel: 22,
  tunnelEncapsulation: 23,
  trafficEngineering: 24,
  ipv6ExtendedCommunities: 25,
  aigp: 26,
  linkState: 29,
  largeCommunities: 32,
  onlyToCustomer: 35,
  prefixSid: 40,
  attributeSet: 128,
} as const;

/** FLAG are the upper four bits of an attribute's first octet; the lower four mean nothing (RFC 4271 section 4.3). */
export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const;

/** WELL_KNOWN, OPTIONAL_TRANSITIVE, OPTIONAL: the three categories that flags can express. */
export const WELL_KNOWN: number = FLAG.transitive;
export const OPTIONAL_TRANSITIVE: number = FLAG.optional | FLAG.transitive;
export const OPTIONAL: number = FLAG.optional;
