/**
 * exchange: how two gateways agree on the keys of ESP. Two protocols: Vita's (ske5) and our own (ours), both as pure steps: state and event
 * in, state and effects out.
 *
 * It leaves sockets, the life of what was agreed on (src/gateway/keys), and packets (src/tunnel/esp) to others.
 */
export * from "./agreed.ts";
export * from "./counter.ts";
