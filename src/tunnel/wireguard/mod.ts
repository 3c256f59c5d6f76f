/**
 * wireguard: the WireGuard protocol as values and steps. Handshakes, cookies, sessions, timers, roaming, allowed IPs.
 *
 * It leaves sockets, the TUN device, the clock and the speed of the data path to others: device.ts says what the loop around it
 * does. Randomness and cryptography come from `sys`, and can be handed in.
 *
 * @example
 * ```ts
 * using device = new Device();
 * device.step({ kind: "configure", configuration: { privateKey, peers: [{ publicKey, endpoint, allowedIps }] } }, clock);
 * for (const { to, bytes } of sendPacket(device, packet, clock).datagrams) socket.send(bytes, to);
 * ```
 */
export { AllowedIps } from "./allowed-ips.ts";
export * from "./configuration.ts";
export { Deadlines } from "./deadlines.ts";
export * from "./device.ts";
export * from "./device-event.ts";
export type { DeviceImage, PeerImage, SessionImage } from "./image.ts";
export * from "./limits.ts";
export { MESSAGE, MESSAGE_BYTES, messageType } from "./message.ts";
export type { PeerEffect, PeerState } from "./peer-state.ts";
export { type Bytes, type DhKey, type Primitives, systemPrimitives } from "../../noise/mod.ts";
export { accept, type ReplayWindow, WINDOW_REACH } from "./replay.ts";
export { claim, MOST_SENT } from "./send-counter.ts";
export { rehearse } from "./rehearsal.ts";
export type { DeviceSecrets } from "./report.ts";
export * from "./session.ts";
export * from "./slow-path.ts";
export { MOST_RECEIVED, SPECIFIED, type Timing } from "./specification.ts";
export * from "./transport.ts";
export { decodeRequest, EINVAL, encodeErrno, encodeState, type UapiRequest } from "./uapi.ts";
