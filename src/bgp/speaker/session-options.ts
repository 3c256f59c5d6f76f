/** What the RIB has to know of a session that has come up: its families, and the next hops that are said on it. */
import type { BgpRouter, NeighborOptions } from "../../resources/mod.ts";
import type { Netns, TcpStream } from "../../sys/mod.ts";
import type { FamilyOptions, SessionOptions } from "../rib/mod.ts";
import { localOpen, type Negotiated, type PeerConfig } from "../session/mod.ts";
import { type BgpFamily, encodeOpen, EVPN, IPV4_UNICAST, IPV6_UNICAST, ROUTE_TARGET } from "../wire/mod.ts";
import { linkNextHop } from "./link-next-hop.ts";
import { familyWishes, isInternalTo } from "./neighbor-config.ts";

interface Session {
  readonly options: NeighborOptions;
  readonly negotiated: Negotiated;
  readonly stream: Pick<TcpStream, "local" | "remote"> | undefined;
  readonly netns: Netns | undefined;
}

/** sessionOptions joins what a neighbor is configured with and what was agreed on. */
export function sessionOptions(router: BgpRouter, session: Session): SessionOptions {
  const { options, negotiated } = session;
  const families = new Map<BgpFamily, FamilyOptions>();
  const internal = isInternalTo(router, { asn: negotiated.remoteAs });
  for (const [family, wish] of familyWishes(options)) {
    if (!negotiated.families.has(family)) continue;
    const own = ownNextHop(family, session);
    const self = wish.nextHop === "self" || (wish.nextHop === undefined && !internal && family !== EVPN);
    const limit = wish.maximumPrefixes;
    families.set(family, {
      ...(negotiated.addPathSend.has(family) ? { addPathSend: wish.addPathBest ?? "all" } : {}),
      ...(self && own !== undefined ? { nextHopSelf: own } : {}),
      ...(own === undefined ? {} : { ownNextHop: own }),
      ...(limit === undefined
        ? {}
        : wish.maximumPrefixesAction === "warn"
          ? { warnRoutes: limit }
          : { mostRoutes: limit }),
    });
  }
  return {
    update: negotiated,
    routerId: Number(negotiated.remoteId.value),
    families,
    extendedMessages: negotiated.extendedMessagesSend,
    enhancedRefresh: negotiated.enhancedRefresh,
    longLived: negotiated.longLived.size > 0,
  };
}

/**
 * restartOver returns a session's configuration for all OPENs but the first: they say of no restart (R bit), and that packets go on (F bits; RFC
 * 4724 section 3). Without these a peer would drop what it keeps of us at once, and have nothing until all is said again.
 */
export function restartOver(config: PeerConfig): PeerConfig {
  const forwarding = new Set(config.session.families.map(({ family }) => family));
  const open = encodeOpen(localOpen(config.session, { forwarding, over: true }));
  return { ...config, fsm: { ...config.fsm, open } };
}

/** The next hop of our own routes on a session: our end of it, where the family can have such a one. */
function ownNextHop(family: BgpFamily, { stream, netns, negotiated }: Session): Uint8Array | undefined {
  if (stream === undefined) return undefined;
  const local = stream.local.address;
  switch (family) {
    case IPV4_UNICAST:
      return local.length === 4 || negotiated.extendedNextHop.has(family) ? local : undefined;
    case IPV6_UNICAST:
      if (local.length === 16) return local;
      return linkNextHop(netns, { local, remote: stream.remote.address }) ?? mapped(local);
    case ROUTE_TARGET:
    case EVPN:
      return local;
    default:
      return undefined;
  }
}

/** RFC 4291 section 2.5.5.2: where the link has no IPv6 there is nothing better to be said; policy can set another one. */
function mapped(local: Uint8Array): Uint8Array {
  return Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...local);
}
