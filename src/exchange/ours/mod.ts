/**
 * ours: the key exchange between gateways that are both Causeway, as pure steps: Noise IKpsk2 behind a cookie, and a session with probes.
 *
 * ```
 *  initiator                                      responder
 *     initiation, no cookie       ─────────▶
 *                                 ◀─────────      cookie of address and message     no DH, no state
 *     initiation, cookie          ─────────▶      keys; ready to receive
 *  keys; sends with them          ◀─────────      response
 *     probe                       ─────────▶      sends with them
 *                                 ◀─────────      answer                            … and so on, both ways
 * ```
 * It leaves UDP and its encapsulation, the life of associations, the choice of paths and repeating to others. docs/gateway-exchange.md
 * says why it is so.
 */
export { algorithmBits, MOST_QUEUES } from "./keys.ts";
export * from "./machine.ts";
export * from "./message.ts";
export * from "./party.ts";
export * from "./state.ts";
