/**
 * bgp/evpn: what a VTEP announces, as values: NLRI and attributes of types 2, 3 and 5, and the sequence numbers of addresses that move; and what it
 * reads of the routes of others.
 *
 * Which VNIs and addresses there are is the features' affair, and of a BgpRouter's `evpn`; tables are `bgp/rib`'s.
 */
export * from "./local.ts";
export * from "./mobility.ts";
export * from "./originate.ts";
export * from "./rd-indexes.ts";
export * from "./remote-route.ts";
export * from "./segments.ts";
