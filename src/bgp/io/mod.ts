/**
 * bgp/io: sessions on real sockets: listening and connecting in any namespace, with MD5 keys, TTL security, by a source address or an interface,
 * unnumbered and dynamic neighbours; recordings of what they were told, and running them again.
 *
 * The machine is `bgp/session`'s, and what UPDATEs say is for whoever gives the hooks.
 *
 * @example
 * ```ts
 * using io = new BgpIo({ netns, hooks });
 * io.add({ name: "spine1", remote: { kind: "interface", device: "eth1" }, session });
 * ```
 */
export * from "./bgp-io.ts";
export * from "./bgp-session.ts";
export * from "./connection.ts";
export * from "./neighbor.ts";
export * from "./recorder.ts";
export * from "./recording.ts";
export * from "./replay.ts";
export * from "./router-advertisement.ts";
export * from "./router-discovery.ts";
