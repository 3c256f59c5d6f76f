/**
 * bgp/speaker: BgpRouters at work. What a resource says becomes sessions, tables and policies; what happens between them is here.
 *
 * @example
 * ```ts
 * const routers = new Routers({ folder: "/var/lib/causeway/bgp", log });
 * routers.set([router]);
 * using serving = serveBgp("/run/causeway/bgp.sock", { speakers: () => routers.speakers, monitor: routers.monitor });
 * ```
 */
export type { SpeakerEvpn } from "./evpn.ts";
export type { EvpnListener } from "./evpn-feed.ts";
export type { EvpnClaim, EvpnGuard } from "./evpn-guard.ts";
export { Monitor, type MonitorEvent } from "./monitor.ts";
export { printUpdate } from "./print-update.ts";
export { Routers, type RoutersOptions } from "./routers.ts";
export { type BgpRequest, serveBgp } from "./serve.ts";
export type { NeighborStatus, RouterStatus, RouteStatus } from "./show.ts";
export { Speaker } from "./speaker.ts";
export type { SpeakerLog } from "./speaker-options.ts";
export type { SpeakerNeighbor } from "./speaker-neighbor.ts";
export { type NeighborRoute, neighborRoutes } from "./neighbor-routes.ts";
