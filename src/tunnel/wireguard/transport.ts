/**
 * Transport data messages (whitepaper, section 5.4.6), one at a time: object in, bytes out. This is the slow path, for tests, for
 * keepalives and as the reference of the fast one, which works on whole batches in place (it has the session's memory).
 *
 * ```
 *   0 type 4, 0 0 0 | 4 receiver | 8 counter | 16 packet, padded with zeros to a multiple of 16, sealed, 16 of tag
 * ```
 *
 * The nonce is four zero bytes and the counter: the bytes 4 to 16 of the message with the receiver left out.
 */
import { messageType, MESSAGE } from "./message.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";
import { accept } from "./replay.ts";
import { claimCounters, isOver, type Session } from "./session.ts";
import { MOST_RECEIVED, PADDING_BYTES, TAG_BYTES, type Timing } from "./specification.ts";

/** DATA_HEADER_BYTES lie before the sealed packet. */
export const DATA_HEADER_BYTES = 16;

/** dataBytes returns how long the message of a packet is. Padding never makes a packet longer than the MTU of the link. */
export function dataBytes(packetBytes: number, mtuBytes: number): number {
  return DATA_HEADER_BYTES + paddedBytes(packetBytes, mtuBytes) + TAG_BYTES;
}

/** paddedBytes returns the length of the plaintext. */
export function paddedBytes(packetBytes: number, mtuBytes: number): number {
  const whole = Math.ceil(packetBytes / PADDING_BYTES) * PADDING_BYTES;
  return Math.max(packetBytes, Math.min(whole, mtuBytes));
}

/** dataReceiver returns the receiver's index of a data message; undefined for anything else. */
export function dataReceiver(datagram: Uint8Array): number | undefined {
  if (messageType(datagram) !== MESSAGE.data || datagram.length < DATA_HEADER_BYTES + TAG_BYTES)
    return undefined;
  return new DataView(datagram.buffer, datagram.byteOffset).getUint32(4, true);
}

/** sealPacket returns the data message of a packet (empty: a keepalive); undefined when the session has no counters left. */
export function sealPacket(
  session: Session,
  packet: Uint8Array,
  options: { readonly primitives: Primitives; readonly timing: Timing; readonly mtuBytes: number },
): Bytes | undefined {
  const counter = claimCounters(session, 1, options.timing);
  if (counter === undefined) return undefined;
  const message = new Uint8Array(new ArrayBuffer(dataBytes(packet.length, options.mtuBytes)));
  const view = new DataView(message.buffer);
  message[0] = MESSAGE.data;
  view.setUint32(4, session.remoteIndex, true);
  view.setUint32(8, counter >>> 0, true);
  view.setUint32(12, Math.floor(counter / 2 ** 32), true);
  const plaintext = new Uint8Array(paddedBytes(packet.length, options.mtuBytes));
  plaintext.set(packet);
  message.set(
    options.primitives.seal(plaintext, { key: session.sendKey, nonce: nonceOf(message) }),
    DATA_HEADER_BYTES,
  );
  return message;
}

/** openPacket returns the padded packet of a data message; undefined for what is forged, replayed, or too late. */
export function openPacket(
  session: Session,
  datagram: Uint8Array,
  options: { readonly primitives: Primitives; readonly timing: Timing; readonly nowMs: number },
): Bytes | undefined {
  const { primitives, timing, nowMs } = options;
  if (dataReceiver(datagram) !== session.localIndex || isOver(session, nowMs, timing)) return undefined;
  const view = new DataView(datagram.buffer, datagram.byteOffset);
  const counter = view.getUint32(12, true) * 2 ** 32 + view.getUint32(8, true);
  if (counter >= MOST_RECEIVED) return undefined;
  const sealed = datagram.subarray(DATA_HEADER_BYTES);
  const packet = primitives.open(sealed, { key: session.receiveKey, nonce: nonceOf(datagram) });
  return packet !== undefined && accept(session.window, counter) ? packet : undefined;
}

function nonceOf(message: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12);
  nonce.set(message.subarray(8, 16), 4);
  return nonce;
}
