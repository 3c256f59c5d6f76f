/**
 * ske5: vita-ske version 5, the key exchange of Vita, in both roles: Noise NNpsk0 in four datagrams, as pure steps.
 *
 * ```
 *  initiator                         responder
 *     knock         ─────────▶
 *                   ◀─────────       challenge (version, AEAD, nonce)
 *     proposal      ─────────▶       keys; ready to receive
 *  keys             ◀─────────       agreement
 * ```
 * It leaves UDP (source and destination port alike, a checksum always), the life of associations, and repeating to others. Its
 * weaknesses are those of the protocol: docs/gateway-exchange.md.
 */
export * from "./datagram.ts";
export * from "./keys.ts";
export { MOST_ATTEMPTS } from "./initiator.ts";
export * from "./machine.ts";
export * from "./state.ts";
