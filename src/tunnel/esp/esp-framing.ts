/**
 * ESP packets in tunnel mode with AES-GCM or ChaCha20-Poly1305 (RFC 4303, RFC 4106, RFC 7634), in place.
 *
 * ```
 *   0 SPI | 4 sequence number, lower half | 8 IV | 16 packet, TFC padding, padding, pad length 1, next header 1 | ICV 16
 *                                                  └─────────────────────── text ───────────────────────────┘
 * additional data:  SPI | sequence number: 4 bytes, or 8 if it is extended        nonce:  salt | IV
 * ```
 * The IV is the whole sequence number, lower byte first, as Vita has it: any that is unique under the key will do. The receiver takes it from
 * the packet. An ESP packet follows an IP header (protocol 50) or a UDP header (RFC 3948, see encapsulation.ts), and looks the same behind both.
 */
import { AEAD_TAG, type AeadBatch, type Arena } from "../../sys/mod.ts";
import type { Framing } from "../path/framing.ts";
import type { OpenSession, SealSession } from "../path/path-peer.ts";
import { acceptSequence, inferSequence, type SequenceWindow } from "./replay.ts";

/** ESP_HEAD_BYTES lie before the sealed packet. */
export const ESP_HEAD_BYTES = 16;
/** Pad length and next header. */
const TRAILER_BYTES = 2;
/** The text ends at a multiple of four bytes (RFC 4303, section 2.4). */
const ALIGNMENT = 4;
const HIGH = 2 ** 32;

/** Additional data without and with extended sequence numbers (RFC 4106, section 5). */
const ADDITIONAL_PLAIN = 8;
const ADDITIONAL_EXTENDED = 12;

/** NEXT_HEADER are the kinds of what is inside (RFC 4303, section 2.6): IPv4, IPv6, and a dummy packet. */
const NEXT_HEADER = { ip4: 4, ip6: 41, none: 59 } as const;

/** Longest inner packet: the outer one is at most 64 KiB. */
const MOST_TFC = 65_000;

/** EspSealSession is an outbound association; the SPI is its `remoteIndex`. */
export interface EspSealSession extends SealSession {
  /** The four bytes of salt, as a word with the lower byte first. */
  readonly salt: number;
  /** Whether sequence numbers have 64 bits. */
  readonly extended: boolean;
}

/** EspOpenSession is an inbound association. */
export interface EspOpenSession extends OpenSession {
  readonly salt: number;
  readonly extended: boolean;
  readonly window: SequenceWindow;
}

/** EspFraming is the framing of one link. */
export class EspFraming implements Framing<EspSealSession, EspOpenSession> {
  readonly headBytes = ESP_HEAD_BYTES;
  /** Set anew for each batch. */
  readonly additionalBytes = ADDITIONAL_EXTENDED;
  readonly #arena: Arena;
  #tfcBytes = 0;

  /** `tfcBytes`: see the property. */
  constructor(arena: Arena, options: { readonly tfcBytes?: number } = {}) {
    this.#arena = arena;
    this.tfcBytes = options.tfcBytes ?? 0;
  }

  /**
   * Inner packets that are shorter are padded to so many bytes, for traffic flow confidentiality (RFC 4303, section 2.7); 0 for none. With the
   * MTU of the link all packets are equally long. It may be changed at any time.
   */
  get tfcBytes(): number {
    return this.#tfcBytes;
  }

  set tfcBytes(bytes: number) {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > MOST_TFC)
      throw new RangeError(`TFC padding to ${bytes} bytes is not 0 to ${MOST_TFC}`);
    this.#tfcBytes = bytes;
  }

  frameBytes(packetBytes: number): number {
    return ESP_HEAD_BYTES + this.#textBytes(packetBytes) + AEAD_TAG;
  }

  #textBytes(packetBytes: number): number {
    const least = Math.max(packetBytes, this.#tfcBytes) + TRAILER_BYTES;
    return (least + ALIGNMENT - 1) & -ALIGNMENT;
  }

  /** A packet of no bytes is a dummy packet (RFC 4303, section 2.6), which the peer drops. */
  seal(
    batch: AeadBatch,
    frame: number,
    packetBytes: number,
    session: EspSealSession,
    sequence: number,
  ): void {
    const { view, u8 } = this.#arena;
    // As signed words: an unsigned one would be a double to the runtime.
    const low = sequence | 0;
    const high = upperHalf(sequence);
    view.setUint32(frame, session.remoteIndex);
    view.setInt32(frame + 4, low);
    view.setInt32(frame + 8, low, true);
    view.setInt32(frame + 12, high, true);
    const text = frame + ESP_HEAD_BYTES;
    const textBytes = this.#textBytes(packetBytes);
    const trailer = text + textBytes - TRAILER_BYTES;
    const filled = text + Math.max(packetBytes, this.#tfcBytes);
    if (filled > text + packetBytes) u8.fill(0, text + packetBytes, filled);
    // The padding is 1, 2, 3 (RFC 4303, section 2.4).
    for (let i = filled; i < trailer; i++) u8[i] = i - filled + 1;
    u8[trailer] = trailer - filled;
    u8[trailer + 1] =
      packetBytes === 0
        ? NEXT_HEADER.none
        : (u8[text] as number) >>> 4 === 6
          ? NEXT_HEADER.ip6
          : NEXT_HEADER.ip4;
    const index = batch.add(text, textBytes);
    batch.setNonce(index, session.salt, low, high);
    this.#authenticate(batch, index, frame, session.extended, high);
  }

  /** The SPI; also less than what a packet has at least, a keepalive and a message of IKE (SPI 0) are none of ours. */
  receiver(frame: number, bytes: number): number {
    if (bytes < ESP_HEAD_BYTES + ALIGNMENT + AEAD_TAG) return -1;
    const spi = this.#arena.view.getUint32(frame);
    return spi === 0 ? -1 : spi;
  }

  counter(frame: number, session: EspOpenSession): number {
    const low = this.#arena.view.getUint32(frame + 4);
    if (session.extended) return inferSequence(session.window, low);
    // The first number is 1, and they do not begin again (RFC 4303, section 3.3.3).
    return low === 0 ? -1 : low;
  }

  open(batch: AeadBatch, frame: number, bytes: number, session: EspOpenSession, sequence: number): void {
    const { view } = this.#arena;
    const index = batch.add(frame + ESP_HEAD_BYTES, bytes - ESP_HEAD_BYTES - AEAD_TAG);
    batch.setNonce(index, session.salt, view.getInt32(frame + 8, true), view.getInt32(frame + 12, true));
    this.#authenticate(batch, index, frame, session.extended, upperHalf(sequence));
  }

  /** Writes the additional data: the upper half of the number stands between the words of the head (RFC 4106, section 5). */
  #authenticate(batch: AeadBatch, index: number, frame: number, extended: boolean, high: number): void {
    const { view, i32 } = this.#arena;
    // Aligned, unlike the frame; words are moved as the machine has them.
    const word = batch.additionalAt(index) >> 2;
    i32[word] = view.getInt32(frame, true);
    if (extended) {
      i32[word + 1] = high === 0 ? 0 : swap32(high);
      i32[word + 2] = view.getInt32(frame + 4, true);
      batch.additionalBytes = ADDITIONAL_EXTENDED;
    } else {
      i32[word + 1] = view.getInt32(frame + 4, true);
      batch.additionalBytes = ADDITIONAL_PLAIN;
    }
  }

  accept(session: EspOpenSession, sequence: number): boolean {
    return acceptSequence(session.window, sequence);
  }

  /**
   * The length without the padding that the trailer tells of; TFC padding is behind what the packet's own header says. The padding's bytes may
   * be anything: the text is authentic, and Vita sends zeros.
   */
  packetBytes(text: number, textBytes: number): number {
    const { u8 } = this.#arena;
    const trailer = text + textBytes - TRAILER_BYTES;
    const length = textBytes - TRAILER_BYTES - (u8[trailer] as number);
    const next = u8[trailer + 1] as number;
    if (next === NEXT_HEADER.none) return 0;
    if (length <= 0) return -1;
    const version = (u8[text] as number) >>> 4;
    return (version === 4 && next === NEXT_HEADER.ip4) || (version === 6 && next === NEXT_HEADER.ip6)
      ? length
      : -1;
  }
}

/** The upper word of a number of 64 bits; nearly always zero. */
function upperHalf(sequence: number): number {
  return sequence < HIGH ? 0 : Math.floor(sequence / HIGH);
}

/** A word with its bytes in the other order. */
function swap32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
