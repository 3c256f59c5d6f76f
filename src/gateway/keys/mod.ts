/**
 * keys: the life of a gateway's associations: agreed on with the peers of all routes (KeyKeeper), or given by an operator (ManagedKeeper).
 *
 * It leaves sockets, the clock, files and packets to others: it asks for effects. What is said on the wire is in src/exchange.
 *
 * @example
 * ```ts
 * using keeper = new KeyKeeper();
 * for (const effect of keeper.step({ kind: "configure", routes }, { nowMs })) await perform(effect);
 * ```
 */
export { DEFAULT_USE, MOST_INBOUND } from "./associations.ts";
export { RATE } from "./channel-state.ts";
export * from "./keeper.ts";
export * from "./keeper-event.ts";
export * from "./key-route.ts";
export * from "./managed.ts";
export * from "./nat.ts";
export * from "./plan-keys.ts";
export type { AssociationStatus, ChannelStatus } from "./report.ts";
export * from "./sequence-book.ts";
export { SpiBook } from "./spi-book.ts";
