/**
 * dataplane: a process of its own that is one WireGuard link: the protocol (../wireguard) on one thread, the packet path (../path) on others.
 *
 * It leaves addresses, routes and what is configured to others: they use the link, and the UAPI socket as with any WireGuard in user space.
 *
 * @example
 * ```ts
 * runDataplane({ link: "cw0", workers: 2 }); // never returns
 * ```
 */
export { type DataplaneOptions, runDataplane, takeOver } from "./dataplane.ts";
export { MOST_OTHER } from "./other-traffic.ts";
export { type Heard, OthersClient } from "./others-client.ts";
