/**
 * relay: a hub sends WireGuard messages of two nodes on to each other, by its one UDP port and as they are. It reads nothing of what is inside.
 *
 * `Relay` decides on handshakes and learns circuits (relay.ts: the protocol, and who may); `RelayPath` sends data on in a worker, by what it is told. It
 * leaves sockets, threads and the hub's own sessions to ../dataplane, and which nodes may talk to the agent.
 *
 * @example
 * ```ts
 * const relay = new Relay({ primitives: systemPrimitives, isOwnIndex: (index) => device.owns(index) });
 * relay.configure({ enabled: true, classes: new Map([[alice, 1], [bob, 1]]) });
 * const verdict = relay.take({ datagram, from, nowMs }); // { to: 2 }: forward it to node 2, after workers heard of relay.drain()
 * ```
 */
export * from "./policy.ts";
export * from "./relay.ts";
export * from "./relay-client.ts";
export * from "./relay-image.ts";
export * from "./relay-order.ts";
export * from "./relay-path.ts";
export * from "./relay-sender.ts";
export * from "./relay-text.ts";
export * from "./xdp-relay.ts";
