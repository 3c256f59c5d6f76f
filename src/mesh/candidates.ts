/** Where a node may be reached directly, best first. */
import {
  type Endpoint,
  endpointEqual,
  type Ip,
  ipEqual,
  NOT_HOSTS,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixOf,
} from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** The most endpoints that are tried for one node. */
const MAX_CANDIDATES = 8;

const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].map(
  parsePrefix,
);

function isPrivate(address: Ip): boolean {
  return PRIVATE.some((prefix) => prefixContains(prefix, address));
}

/** Lengths of the usual networks at one place; what a node's own interface says does not reach us. */
function sameLan(a: Ip, b: Ip): boolean {
  return a.family === b.family && prefixContains(prefixOf(a, a.family === 4 ? 24 : 64), b);
}

/**
 * candidatesFor lists endpoints of `peer` that `self` should try: addresses of a common LAN, configured endpoints, addresses that
 * are public by themselves, and last what the hub sees, which works through most NATs when both sides call at once. Never one in
 * `inside`, the mesh's own networks: the tunnel would carry itself.
 */
export function candidatesFor(self: Node, peer: Node, inside: readonly Prefix[] = []): readonly Endpoint[] {
  const behindSameNat =
    self.observed !== undefined && peer.observed !== undefined && ipEqual(self.observed.ip, peer.observed.ip);
  const lan = peer.local.filter(
    ({ ip }) =>
      isPrivate(ip) &&
      // Both have an address like 172.17.0.1: each would reach itself.
      !self.local.some((own) => ipEqual(own.ip, ip)) &&
      self.local.some(
        (own) => sameLan(own.ip, ip) || (behindSameNat && own.ip.family === ip.family && isPrivate(own.ip)),
      ),
  );
  const open = peer.local.filter(
    ({ ip }) =>
      !isPrivate(ip) &&
      (ip.family === 4 || self.local.some((own) => own.ip.family === 6 && !isPrivate(own.ip))),
  );
  const seen = peer.observed === undefined ? [] : [peer.observed];
  const all = [...lan, ...peer.endpoints, ...open, ...seen].filter(
    ({ ip }) =>
      ![...NOT_HOSTS, ...inside].some((prefix) => prefixContains(prefix, ip)) &&
      !self.local.some((own) => ipEqual(own.ip, ip)),
  );
  return all.filter((a, i) => all.findIndex((b) => endpointEqual(a, b)) === i).slice(0, MAX_CANDIDATES);
}
