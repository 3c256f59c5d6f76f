/**
 * xfrm: a site gateway's packets carried by the kernel's ESP (XFRM), by the same orders, news and reports as ../gateway.
 *
 * ```
 *   orders ─▶ XfrmGateway ─▶ XfrmRoute         policies (out, in, fwd) and routes of its prefixes
 *                        └─▶ XfrmAssociations  XfrmOutbound, XfrmInbound: their associations, limits, sequence numbers
 *                        │       └─ KernelEsp: netlink, and what the kernel tells
 *                        ├─▶ XfrmExchange      UDP: messages of the key exchange, and ESP in UDP for the kernel
 *                        └─▶ XfrmGuard         blocks prefixes that no route has now, also after the process has ended
 * ```
 * What differs from user space: the kernel fragments what is too long where that is allowed (IPv4 without DF); drops for want of an association
 * and refused sources are counted for the namespace, not by route; which of several queues has a flow is said by its ports, not by a card; a
 * route's prefix may not hold the gateway's own addresses. Addresses of links, routes to next hops and forwarding are the host's affair.
 *
 * It leaves to others: agreement on keys.
 *
 * @example
 * ```ts
 * using gateway = new XfrmGateway({ netns, tell, failed });
 * gateway.attach(0, { private: lan, public: wan, linkIndex, mtuBytes: 1440 });
 * gateway.obey({ kind: "route", route: { name: "tokyo", prefixes: [parsePrefix("172.32.0.0/16")] } });
 * ```
 */
export { isLeftBlocked, MOST_XFRM_ROUTES } from "./xfrm-marks.ts";
export type { XfrmQueue } from "./xfrm-book.ts";
export { XfrmGateway, type XfrmGatewayOptions } from "./xfrm-gateway.ts";
