/**
 * esp: ESP as a framing of the packet path (../path), for the site gateway: tunnel mode, AES-GCM, extended sequence numbers, behind IP
 * protocol 50 or in UDP.
 *
 * ```
 * OutboundAssociation (key, salt, sequence) ─▶ SealStep ─┐               ┌─▶ OpenStep ◀─ SpiTable: InboundAssociation (key, salt, window)
 *                                                        └─ EspFraming ──┘
 * ```
 * It leaves the agreement on keys, the outer IP header and what may pass to others. Sequence numbers, window and inference of the upper half:
 * sequence.ts, replay.ts.
 *
 * @example
 * ```ts
 * const framing = new EspFraming(arena);
 * using out = new OutboundAssociation(provider, { spi, algorithm: "aes-128-gcm", keyMaterial, extended: true });
 * const peers = new Map([[0, { session: out, endpoint, sender }]]);
 * const seal = new SealStep(arena, { source, segmenter, framing, senders: [sender], tables: { ...tables, peers }, counters, events });
 * ```
 */
export * from "./association.ts";
export * from "./encapsulation.ts";
export * from "./esp-framing.ts";
export * from "./raw-messages.ts";
export * from "./replay.ts";
export * from "./sequence.ts";
export * from "./spi-table.ts";
