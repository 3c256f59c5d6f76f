/**
 * The timestamp of an initiation (whitepaper, section 5.4.2): TAI64N, 8 bytes of seconds and 4 of nanoseconds, big-endian, so that
 * later is greater byte by byte. The responder believes an initiation only if it is later than all before, which makes
 * replays useless; so ours always grow, whatever the clock does.
 */
import type { Bytes } from "../../noise/mod.ts";

/** Label of 1970-01-01 TAI, and the ten seconds that TAI was ahead of UTC in 1972 (cr.yp.to/libtai/tai64.html). */
const EPOCH = 2n ** 62n + 10n;
/**
 * Timestamps are cut to this many nanoseconds, about 17 ms, so that they tell nobody how exact our clock is; two initiations of
 * one peer are 20 ms apart at least (drivers/net/wireguard/noise.c, tai64n_now).
 */
const GRAIN = 2 ** 24;
const SECOND = 1e9;

/** Moment is what a timestamp says: seconds since 1970 and nanoseconds. */
export interface Moment {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** nextMoment returns the present, or the moment after `last` if the clock was set back. */
export function nextMoment(wallMs: number, last?: Moment): Moment {
  const seconds = Math.max(0, Math.floor(wallMs / 1000));
  const nanoseconds = Math.floor((Math.max(0, wallMs - seconds * 1000) * 1e6) / GRAIN) * GRAIN;
  if (last === undefined || seconds > last.seconds) return { seconds, nanoseconds };
  if (seconds === last.seconds && nanoseconds > last.nanoseconds) return { seconds, nanoseconds };
  const after = last.nanoseconds + GRAIN;
  return after < SECOND ? { ...last, nanoseconds: after } : { seconds: last.seconds + 1, nanoseconds: 0 };
}

/** encodeMoment returns the 12 bytes of TAI64N. */
export function encodeMoment(moment: Moment): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(12));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, EPOCH + BigInt(moment.seconds));
  view.setUint32(8, moment.nanoseconds);
  return bytes;
}

/** isLater compares two timestamps as they came: by their bytes. Nothing is later than itself. */
export function isLater(timestamp: Uint8Array, than: Uint8Array): boolean {
  for (let i = 0; i < timestamp.length; i++) {
    const difference = (timestamp[i] as number) - (than[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
