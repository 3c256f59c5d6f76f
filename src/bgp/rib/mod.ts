/**
 * bgp/rib: routes of many peers in compact tables, the choice among them, and what each peer is to be sent, encoded once for all that get the
 * same.
 *
 * ```
 *  UPDATE → receive → table (adj-in, by peer) → decision → best paths → listeners
 *                                                        → update groups (adj-out) → log → outbox of each peer
 * ```
 *
 * No object exists for a route: destinations and paths are numbers, their fields columns of typed arrays, and attribute sets are kept once.
 * Sessions, sockets and clocks are `bgp/session`'s and `bgp/io`'s, rules `bgp/policy`'s; bytes are `bgp/wire`'s.
 *
 * @example
 * ```ts
 * const rib = new Rib({ own: { asn: 65000, routerId: 0x0a000001, clusterId: 0x0a000001 } });
 * const peer = rib.addPeer({ asn: 65000, address, external: false, client: true });
 * rib.up(peer, session);
 * rib.receive(peer, bytes, bodyAt, end, nowMs);
 * while (rib.work({ nowMs })) continue;
 * for (let bytes = rib.outbox(peer).peek(); bytes !== undefined; bytes = rib.outbox(peer).peek())
 *   rib.outbox(peer).advance(write(bytes));
 * ```
 */
export type { OwnIdentity } from "./attribute-rank.ts";
export type { DecisionOptions } from "./decision.ts";
export type { GroupLimits } from "./groups.ts";
export type { NextHopState } from "./next-hops.ts";
export type { Outbox } from "./outbox.ts";
export * from "./peer.ts";
export type { Policy, PolicyRoute } from "./policy.ts";
export type { LimitKind } from "./receive.ts";
export * from "./rib.ts";
export { matchesExtra, matchesKey, type RouteFilter } from "./route-filter.ts";
export * from "./routes.ts";
export type { BestListener, RibTable } from "./table.ts";
