/**
 * noise: handshakes of the Noise protocol framework (specification revision 34) as values: the symmetric state, the patterns IKpsk2
 * (WireGuard, and gateways of ours) and NNpsk0 (vita-ske), return-routability cookies, and the primitives they all compute with.
 *
 * It leaves messages, timers and sockets to the protocols that are built on it. Randomness and cryptography come from `sys`, and can be
 * handed in.
 *
 * @example
 * ```ts
 * const { message, sent } = writeFirst({ primitives: systemPrimitives, prologue, psk }, payload);
 * ```
 */
export * from "./cookie-secret.ts";
export * from "./ik-psk2.ts";
export * from "./nn-psk0.ts";
export * from "./primitives.ts";
export * from "./symmetric.ts";
