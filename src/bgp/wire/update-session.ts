/** What a session has settled that changes how an UPDATE is read. Plain data: the session makes it from both OPENs and its configuration. */
import type { BgpFamily } from "./family.ts";

/** UpdateSession is one peer's way of writing UPDATEs. */
export interface UpdateSession {
  /** The peer is in another AS (eBGP): LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are not for it to send. */
  readonly external: boolean;
  /** AS numbers have 4 octets (RFC 6793), because both sides said so. */
  readonly as4: boolean;
  /** Families that both sides announced; NLRI of others are passed over. */
  readonly families: ReadonlySet<BgpFamily>;
  /** Families in which the peer sends path identifiers (RFC 7911). */
  readonly addPathReceive: ReadonlySet<BgpFamily>;
  /** Families of IPv4 NLRI that may have an IPv6 next hop (RFC 8950). */
  readonly extendedNextHop: ReadonlySet<BgpFamily>;
  /** AIGP_SESSION of RFC 7311 section 3.3; without it the attribute is left out. */
  readonly aigp?: boolean;
  /** AS_SETs are taken instead of withdrawing the routes (RFC 9774 wants the latter). */
  readonly asSets?: boolean;
  /** The AS with which AS_PATHs of this external peer have to begin (RFC 4271 section 6.3); absent: not looked at. */
  readonly firstAs?: number;
}
