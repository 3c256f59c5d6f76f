/** What is to be seen of a NAT from the addresses of a route, and why nobody gets through one. */
import { formatIp, type Ip, ipEqual, parsePrefix, prefixContains } from "../../net/mod.ts";
import type { PairModel, RouteModel } from "../model.ts";

/** Addresses that a NAT changes on their way to others (RFC 1918, RFC 6598, RFC 4193). */
const HIDDEN = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].map(
  parsePrefix,
);

/** isHidden tells whether an address is one that a NAT changes on its way to others. */
export function isHidden(ip: Ip): boolean {
  return HIDDEN.some((prefix) => prefixContains(prefix, ip));
}

/** isMapped tells whether others know an address by another one: that of a NAT which always shows the same (nat-ip). */
function isMapped({ local }: PairModel): boolean {
  return !ipEqual(local.ip, local.identity);
}

/**
 * natObstacle returns what a NAT may have to do with it that a route has no peer; undefined: nothing is to be seen of one. There is no relay
 * between gateways: of two that are behind a NAT, one has to be reachable.
 */
export function natObstacle({ pairs, exchange }: Pick<RouteModel, "pairs" | "exchange">): string | undefined {
  for (const pair of pairs) {
    const { local, gateways } = pair;
    const own = formatIp(local.ip);
    const isBehind = isHidden(local.ip) && !isMapped(pair);
    if (isBehind && gateways.length === 0)
      return `the other gateway calls, and ${own} is a private address without nat-ip: through a NAT nobody can call it; have the NAT forward UDP port 4500 here and write its address as nat-ip, or give the route a gateway`;
    // What Vita's exchange binds are the addresses that both ends know each other by.
    if (isBehind && exchange.protocol === "vita" && gateways.some((ip) => !isHidden(ip)))
      return `this gateway is behind a NAT (${own} is private, without nat-ip): Vita's exchange needs one that shows it 1:1; write the address that it shows as nat-ip`;
    if (isBehind && gateways.some((ip) => !isHidden(ip)))
      return `this gateway is behind a NAT (${own} is private, without nat-ip): if the other one is, too, none can be called, and no relay is between gateways; have one of the NATs forward UDP port 4500 to its gateway, and write its address as nat-ip there`;
    const hidden = gateways.find(isHidden);
    if (hidden !== undefined && !isHidden(local.identity))
      return `gateway ${formatIp(hidden)} is a private address, which ${formatIp(local.identity)} reaches through no NAT; write the address that its NAT shows`;
  }
  return undefined;
}
