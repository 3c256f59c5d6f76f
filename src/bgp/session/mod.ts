/**
 * bgp/session: sessions with peers as pure steps: RFC 4271's machine, collisions, what two OPENs agree on, graceful restart.
 *
 * No socket, no clock: events carry the time, effects say what to send. `bgp/io` does both; what UPDATEs mean is `bgp/rib`'s.
 *
 * @example
 * ```ts
 * const config = peerConfig({ localAs: 65001, remoteAs: 65002, routerId, holdMs: 90_000, families: [{ family: EVPN }] });
 * const [state, effects] = stepPeer(NEW_PEER, { kind: "start", nowMs: 0, chance: 0 }, config);
 * effects; // [{ kind: "connect", connection: 1 }]
 * ```
 */
export * from "./cease.ts";
export * from "./deferral.ts";
export * from "./fsm.ts";
export * from "./fsm-event.ts";
export * from "./fsm-state.ts";
export * from "./graceful.ts";
export * from "./negotiate.ts";
export * from "./negotiated.ts";
export * from "./peer.ts";
export * from "./peer-event.ts";
export * from "./timers.ts";
