/**
 * path: moves packets between TUN and UDP sockets, sealed: hundreds of thousands a second by one thread, without making an object.
 *
 * ```
 * TunQueue ─▶ SealStep (Segmenter, Framing, AeadBatch) ─▶ DatagramSender      PathLoop waits for all of them
 * TunQueue ◀─ Coalescer ◀─ OpenStep (Framing, AeadBatch, replay window, allowed IPs) ◀─ DatagramReceiver
 * ```
 * All packets lie in one Arena (src/sys/arena.ts), and places are offsets in it. The protocol gives sessions, peers and allowed IPs
 * (PathTables) and hears by events what it needs; handshakes, timers and settings are its affair (../wireguard).
 *
 * Another framing (ESP: ../esp) implements Framing; another source or sink (AF_XDP) implements PacketSource and PacketSink.
 *
 * @example
 * ```ts
 * const arena = new Arena({ bytes: 16 << 20 });
 * const { provider } = chooseAead(arena);
 * const tun = new TunQueue(arena, attachTun("cw0", { vnetHeader: true }));
 * ```
 */
export * from "./aead.ts";
export * from "./checksum.ts";
export * from "./coalesce.ts";
export * from "./datagram-port.ts";
export * from "./datagram-receiver.ts";
export * from "./datagram-sender.ts";
export * from "./endpoint-memory.ts";
export * from "./framing.ts";
export * from "./open-step.ts";
export * from "./packet-sink.ts";
export * from "./path-loop.ts";
export * from "./path-peer.ts";
export * from "./seal-step.ts";
export * from "./segment.ts";
export * from "./tun-queue.ts";
export * from "./wireguard-framing.ts";
