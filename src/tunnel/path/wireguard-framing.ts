/**
 * WireGuard's transport data messages (whitepaper, section 5.4.6), in place.
 *
 * ```
 *   0 type 4, 0 0 0 | 4 receiver | 8 counter | 16 packet, padded with zeros to 16 bytes or the MTU | tag 16
 * ```
 * The nonce is four zero bytes and the counter. It is written to the batch, so that the head is complete at once.
 */
import { AEAD_TAG, type AeadBatch, type Arena } from "../../sys/mod.ts";
import { accept, type ReplayWindow } from "../wireguard/replay.ts";
import { DATA_HEADER_BYTES, paddedBytes } from "../wireguard/transport.ts";
import type { Framing, Outgoing } from "./framing.ts";

/** The type and the three bytes that are reserved, as one number. */
const TYPE_DATA = 4;
const HIGH = 2 ** 32;
/** From here on a counter is not an exact number any more; see SPECIFIED in wireguard/specification.ts. */
const HIGH_LIMIT = 2 ** 21;

/** WireguardFraming is the framing of one device. */
export class WireguardFraming implements Framing {
  readonly headBytes = DATA_HEADER_BYTES;
  readonly additionalBytes = 0;
  /** MTU of the link: padding makes no packet longer than that. */
  mtuBytes: number;
  readonly #arena: Arena;

  constructor(arena: Arena, options: { readonly mtuBytes: number }) {
    this.#arena = arena;
    this.mtuBytes = options.mtuBytes;
  }

  frameBytes(packetBytes: number): number {
    return DATA_HEADER_BYTES + paddedBytes(packetBytes, this.mtuBytes) + AEAD_TAG;
  }

  seal(batch: AeadBatch, frame: number, packetBytes: number, session: Outgoing, counter: number): void {
    const { view, u8 } = this.#arena;
    const low = counter >>> 0;
    const high = Math.floor(counter / HIGH);
    view.setUint32(frame, TYPE_DATA, true);
    view.setUint32(frame + 4, session.remoteIndex, true);
    view.setUint32(frame + 8, low, true);
    view.setUint32(frame + 12, high, true);
    const text = frame + DATA_HEADER_BYTES;
    const padded = paddedBytes(packetBytes, this.mtuBytes);
    for (let i = text + packetBytes; i < text + padded; i++) u8[i] = 0;
    batch.setNonce(batch.add(text, padded), 0, low, high);
  }

  receiver(frame: number, bytes: number): number {
    if (bytes < DATA_HEADER_BYTES + AEAD_TAG) return -1;
    const { view } = this.#arena;
    return view.getUint32(frame, true) === TYPE_DATA ? view.getUint32(frame + 4, true) : -1;
  }

  counter(frame: number): number {
    const { view } = this.#arena;
    const high = view.getUint32(frame + 12, true);
    return high < HIGH_LIMIT ? high * HIGH + view.getUint32(frame + 8, true) : -1;
  }

  open(batch: AeadBatch, frame: number, bytes: number): void {
    const { view } = this.#arena;
    const index = batch.add(frame + DATA_HEADER_BYTES, bytes - DATA_HEADER_BYTES - AEAD_TAG);
    batch.setNonce(index, 0, view.getUint32(frame + 8, true), view.getUint32(frame + 12, true));
  }

  accept(session: { readonly window: ReplayWindow }, counter: number): boolean {
    return accept(session.window, counter);
  }

  /** The padding is behind what the packet's own header says. */
  packetBytes(_text: number, textBytes: number): number {
    return textBytes;
  }
}
