/** Names of what a node's edge consists of. All fit 15 characters. */

/** routerNamespace returns the namespace of a router: `cw-underlay`. */
export function routerNamespace(router: string): string {
  return `cw-${router}`;
}

/** hostLegLink returns the name of a domain's link on the host where its resource says none. */
export function hostLegLink(vni: number): string {
  return `cwh${vni}`;
}

/** EDGE_LINK is the other end of a host leg, in the router's or the domain's namespace. */
export const EDGE_LINK = "host0";

/** passthroughLink returns the name of a router's link on the host: `cwpunderlay`, at most 15 characters as a router's name has at most 12. */
export function passthroughLink(router: string): string {
  return `cwp${router}`;
}

/** segmentHostLink returns the name of a segment's link on the host where its resource says none. */
export function segmentHostLink(vni: number): string {
  return `cwl${vni}`;
}

/** segmentHostBridge returns the name of a segment's bridge on the host where its resource says none. */
export function segmentHostBridge(vni: number): string {
  return `cwb${vni}`;
}

/** segmentEdgeLink returns the name of the other end of a segment's link on the host, in the domain's namespace: a port of its bridge. */
export function segmentEdgeLink(vni: number): string {
  return `host${vni}`;
}
