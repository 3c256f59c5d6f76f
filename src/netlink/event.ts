/** Events of the kernel's routing: the same messages as in answers, by type. */
import type { Reader } from "../wire/mod.ts";
import { ADDRESS, type AddressInfo, decodeAddress } from "./address.ts";
import { AF } from "./family.ts";
import { type FdbInfo, fdbInfo } from "./fdb.ts";
import { decodeFilter, type FilterInfo } from "./filter.ts";
import type { LinkInfo, PortInfo } from "./link.ts";
import { decodeLink } from "./link-read.ts";
import { LINK } from "./link-table.ts";
import { type NeighbourInfo, neighbourInfo } from "./neighbour.ts";
import { NEIGH, neighbourMessage } from "./neighbour-table.ts";
import { decodeNexthop, NEXTHOP, type NexthopInfo } from "./nexthop.ts";
import { decodeQdisc, type QdiscInfo } from "./qdisc.ts";
import { decodeRoute, type RouteInfo } from "./route.ts";
import { ROUTE } from "./route-table.ts";
import { decodeRule, RULE, type RuleInfo } from "./rule.ts";
import { FILTER, QDISC } from "./tc-table.ts";

/** RouteEvent says that something was made or changed (`deleted` false), or removed. */
export type RouteEvent =
  | { readonly kind: "link"; readonly deleted: boolean; readonly info: LinkInfo }
  /** Settings of a bridge port changed, or (`deleted`) a link left its bridge. */
  | { readonly kind: "port"; readonly deleted: boolean; readonly info: PortInfo }
  | { readonly kind: "address"; readonly deleted: boolean; readonly info: AddressInfo }
  | { readonly kind: "route"; readonly deleted: boolean; readonly info: RouteInfo }
  | { readonly kind: "nexthop"; readonly deleted: boolean; readonly info: NexthopInfo }
  | { readonly kind: "neighbour"; readonly deleted: boolean; readonly info: NeighbourInfo }
  | { readonly kind: "fdb"; readonly deleted: boolean; readonly info: FdbInfo }
  | { readonly kind: "qdisc"; readonly deleted: boolean; readonly info: QdiscInfo }
  | { readonly kind: "filter"; readonly deleted: boolean; readonly info: FilterInfo }
  | { readonly kind: "rule"; readonly deleted: boolean; readonly info: RuleInfo };

/** decodeEvent returns undefined for messages that are not about the objects above. */
export function decodeEvent(type: number, reader: Reader): RouteEvent | undefined {
  switch (type) {
    case LINK.new:
    case LINK.delete: {
      const link = decodeLink(reader);
      return link && { ...link, deleted: type === LINK.delete };
    }
    case ADDRESS.new:
    case ADDRESS.delete:
      return event("address", type === ADDRESS.delete, decodeAddress(reader));
    case ROUTE.new:
    case ROUTE.delete:
      return event("route", type === ROUTE.delete, decodeRoute(reader));
    case NEXTHOP.new:
    case NEXTHOP.delete:
      return event("nexthop", type === NEXTHOP.delete, decodeNexthop(reader));
    case RULE.new:
    case RULE.delete:
      return event("rule", type === RULE.delete, decodeRule(reader));
    case QDISC.new:
    case QDISC.delete:
      return event("qdisc", type === QDISC.delete, decodeQdisc(reader));
    case FILTER.new:
    case FILTER.delete:
      return event("filter", type === FILTER.delete, decodeFilter(reader));
    case NEIGH.new:
    case NEIGH.delete: {
      const decoded = neighbourMessage.decode(reader);
      return decoded.header.family === AF.bridge
        ? event("fdb", type === NEIGH.delete, fdbInfo(decoded))
        : event("neighbour", type === NEIGH.delete, neighbourInfo(decoded));
    }
    default:
      return undefined;
  }
}

function event<K extends RouteEvent["kind"]>(
  kind: K,
  deleted: boolean,
  info: (RouteEvent & { kind: K })["info"] | undefined,
): RouteEvent | undefined {
  return info === undefined ? undefined : ({ kind, deleted, info } as RouteEvent);
}
