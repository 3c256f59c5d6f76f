/**
 * bfd: Bidirectional Forwarding Detection (RFC 5880), single hop (5881) and multihop (5883), asynchronous, in a process of its own that
 * outlives the control plane (RFC 5882 section 4.3).
 *
 * Not here: echo, demand mode of ours, authentication. What a session's end means is its user's affair (bgp).
 *
 * @example
 * ```ts
 * using bfd = await BfdClient.open({ socket: "/run/causeway/bfd.sock", onChange: ({ id, state }) => … });
 * bfd.set([{ peer: "192.0.2.1", transmitMs: 300, receiveMs: 300, multiplier: 3 }]);
 * ```
 */
export { BfdClient, type BfdClientOptions, bfdStatus } from "./client.ts";
export { bfdSessionId, type BfdSessionStatus, type BfdStatus, type BfdWish } from "./config.ts";
export { type BfdState, bfdStates } from "./packet.ts";
export { serveBfd } from "./service.ts";
