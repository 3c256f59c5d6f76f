/**
 * XFRMA_REPLAY_ESN_VAL: sequence numbers and the window of an association (struct xfrm_replay_state_esn; RFC 4303, section 3.4.3).
 *
 * ```
 * | words of bitmap | sent (low) | received (low) | sent (high) | received (high) | window | bitmap … |
 * ```
 * The bitmap is a ring: the bit of sequence number n is (n - 1) mod window (xfrm_replay_advance_esn of net/xfrm/xfrm_replay.c).
 */
import { type Codec, DecodeError, EncodeError } from "../wire/mod.ts";

/** MOST_WINDOW is what the kernel allows (XFRMA_REPLAY_ESN_MAX), in packets. */
export const MOST_WINDOW = 4096;

/** ReplayState is how far an association has come. */
export interface ReplayState {
  /** The highest sequence number that was sent, 0 before the first: 64 bits with extended numbers, else 32. */
  readonly sent: bigint;
  /** The highest sequence number that came. */
  readonly received: bigint;
  /** Packets that may come late, 0 to MOST_WINDOW; 0 is no protection. */
  readonly window: number;
  /** Which of the window came: a word for each 32 packets, or none at all for an association that only sends. */
  readonly bitmap: readonly number[];
}

/** newReplayState returns the state before any packet. */
export function newReplayState(window: number): ReplayState {
  if (!Number.isInteger(window) || window < 0 || window > MOST_WINDOW)
    throw new EncodeError(`A replay window is 0 to ${MOST_WINDOW} packets, not ${window}`);
  return { sent: 0n, received: 0n, window, bitmap: new Array<number>(Math.ceil(window / 32)).fill(0) };
}

/** replayEsn is the codec of the attribute. */
export const replayEsn: Codec<ReplayState> = {
  decode(reader) {
    const words = reader.u32();
    const [sentLow, receivedLow] = [reader.u32(), reader.u32()];
    const [sentHigh, receivedHigh] = [reader.u32(), reader.u32()];
    const window = reader.u32();
    if (words * 4 !== reader.remaining || window > words * 32)
      throw new DecodeError(`a window of ${window} in ${words} words, with ${reader.remaining} bytes`);
    const bitmap = Array.from({ length: words }, () => reader.u32());
    return { sent: joined(sentHigh, sentLow), received: joined(receivedHigh, receivedLow), window, bitmap };
  },
  encode(writer, { sent, received, window, bitmap }) {
    writer.u32(bitmap.length).u32(low(sent)).u32(low(received)).u32(high(sent)).u32(high(received));
    writer.u32(window);
    for (const word of bitmap) writer.u32(word);
  },
};

const joined = (upper: number, lower: number) => (BigInt(upper) << 32n) | BigInt(lower);
const low = (value: bigint) => Number(value & 0xffff_ffffn);
/** A number that is too large shows as one that does not fit. */
const high = (value: bigint) => Number(value >> 32n);
