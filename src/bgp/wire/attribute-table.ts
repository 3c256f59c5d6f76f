/** One row for each path attribute that this speaker looks into: code, name, flags, what is wrong with it, and its codec (decode, encode, print). */
import {
  checkAggregator,
  checkAs4Aggregator,
  checkAtomicAggregate,
  checkClusterList,
  checkCommunities,
  checkExtendedCommunities,
  checkIpv6ExtendedCommunities,
  checkLargeCommunities,
  checkLinkState,
  checkLocalPreference,
  checkMed,
  checkNextHop,
  checkOnlyToCustomer,
  checkOrigin,
  checkOriginatorId,
  checkPmsiTunnel,
  checkTrafficEngineering,
} from "./attribute-check.ts";
import { ATTRIBUTE, OPTIONAL, OPTIONAL_TRANSITIVE, WELL_KNOWN } from "./attribute-code.ts";
import { type AttributeCodec, codecs } from "./attribute-codec.ts";
import type { AttributeField } from "./path-attributes.ts";
import { checkAs4Path, checkAsPath } from "./as-path-check.ts";
import type { AttributeCheck } from "./check-context.ts";
import { ACCEPT, DISCARD, type Reaction, RESET, WITHDRAW } from "./reaction.ts";
import { checkAigp, checkAttributeSet, checkPrefixSid, checkTunnelEncapsulation } from "./tlv-check.ts";

/** AttributeRow says how a path attribute is read. */
export interface AttributeRow {
  readonly code: number;
  /** The RFCs' name. */
  readonly name: string;
  /** Optional and Transitive bits as they have to be. */
  readonly flags: number;
  /** Reaction to other ones. */
  readonly wrongFlags: Reaction;
  /** Means nothing from an external peer. */
  readonly internalOnly: boolean;
  readonly check: AttributeCheck;
  /** Absent for attributes that stay octets, and for those that never are canonical. */
  readonly codec?: AttributeCodec;
}

function row(
  code: number,
  name: string,
  flags: number,
  check: AttributeCheck,
  more: Partial<Pick<AttributeRow, "wrongFlags" | "internalOnly" | "codec">> = {},
): AttributeRow {
  return { code, name, flags, check, wrongFlags: WITHDRAW, internalOnly: false, ...more };
}

/** What MP attributes consist of is looked at by update.ts, which has to find their NLRI. */
const inUpdate: AttributeCheck = () => ACCEPT;
/** A codec of any field: rows do not tell them apart. */
const field = (name: AttributeField) => ({ codec: codecs[name] as unknown as AttributeCodec });
const grave = { wrongFlags: RESET } as const;
const lenient = { wrongFlags: DISCARD } as const;
const internalOnly = { internalOnly: true } as const;

const A = ATTRIBUTE;

/** attributeRows are all rows, by code. */
export const attributeRows: readonly AttributeRow[] = [
  row(A.origin, "ORIGIN", WELL_KNOWN, checkOrigin, field("origin")),
  row(A.asPath, "AS_PATH", WELL_KNOWN, checkAsPath, field("asPath")),
  row(A.nextHop, "NEXT_HOP", WELL_KNOWN, checkNextHop),
  row(A.med, "MULTI_EXIT_DISC", OPTIONAL, checkMed, field("med")),
  row(A.localPreference, "LOCAL_PREF", WELL_KNOWN, checkLocalPreference, {
    ...internalOnly,
    ...field("localPreference"),
  }),
  row(A.atomicAggregate, "ATOMIC_AGGREGATE", WELL_KNOWN, checkAtomicAggregate, field("atomicAggregate")),
  row(A.aggregator, "AGGREGATOR", OPTIONAL_TRANSITIVE, checkAggregator, field("aggregator")),
  row(A.communities, "COMMUNITIES", OPTIONAL_TRANSITIVE, checkCommunities, field("communities")),
  row(A.originatorId, "ORIGINATOR_ID", OPTIONAL, checkOriginatorId, {
    ...internalOnly,
    ...field("originatorId"),
  }),
  row(A.clusterList, "CLUSTER_LIST", OPTIONAL, checkClusterList, {
    ...internalOnly,
    ...field("clusterList"),
  }),
  row(A.mpReach, "MP_REACH_NLRI", OPTIONAL, inUpdate, grave),
  row(A.mpUnreach, "MP_UNREACH_NLRI", OPTIONAL, inUpdate, grave),
  row(
    A.extendedCommunities,
    "EXTENDED COMMUNITIES",
    OPTIONAL_TRANSITIVE,
    checkExtendedCommunities,
    field("extendedCommunities"),
  ),
  row(A.as4Path, "AS4_PATH", OPTIONAL_TRANSITIVE, checkAs4Path),
  row(A.as4Aggregator, "AS4_AGGREGATOR", OPTIONAL_TRANSITIVE, checkAs4Aggregator),
  row(A.pmsiTunnel, "PMSI_TUNNEL", OPTIONAL_TRANSITIVE, checkPmsiTunnel, field("pmsiTunnel")),
  row(
    A.tunnelEncapsulation,
    "TUNNEL_ENCAPSULATION",
    OPTIONAL_TRANSITIVE,
    checkTunnelEncapsulation,
    field("tunnelEncapsulation"),
  ),
  row(A.trafficEngineering, "TRAFFIC_ENGINEERING", OPTIONAL, checkTrafficEngineering),
  row(
    A.ipv6ExtendedCommunities,
    "IPv6 EXTENDED COMMUNITIES",
    OPTIONAL_TRANSITIVE,
    checkIpv6ExtendedCommunities,
    field("ipv6ExtendedCommunities"),
  ),
  row(A.aigp, "AIGP", OPTIONAL, checkAigp, { ...lenient, ...field("aigp") }),
  row(A.linkState, "LINK_STATE", OPTIONAL, checkLinkState, lenient),
  row(
    A.largeCommunities,
    "LARGE_COMMUNITY",
    OPTIONAL_TRANSITIVE,
    checkLargeCommunities,
    field("largeCommunities"),
  ),
  row(
    A.onlyToCustomer,
    "ONLY_TO_CUSTOMER",
    OPTIONAL_TRANSITIVE,
    checkOnlyToCustomer,
    field("onlyToCustomer"),
  ),
  row(A.prefixSid, "PREFIX_SID", OPTIONAL_TRANSITIVE, checkPrefixSid, lenient),
  row(A.attributeSet, "ATTR_SET", OPTIONAL_TRANSITIVE, checkAttributeSet),
];

const byCode: readonly (AttributeRow | undefined)[] = Array.from({ length: 256 }, (_, code) =>
  attributeRows.find((candidate) => candidate.code === code),
);

/** attributeRow returns the row of a code; undefined for an attribute that is not known. */
export function attributeRow(code: number): AttributeRow | undefined {
  return byCode[code];
}
