/** Rates of data as people and tc(8) write them: `500Mbit`, `1Gbit`. A thousand bits are a kbit. */

const units = [
  ["Gbit", 1_000_000_000],
  ["Mbit", 1_000_000],
  ["kbit", 1000],
] as const;

/** LEAST_RATE_BITS a second; with less a session's handshakes and probes would have nothing left for anything else. */
export const LEAST_RATE_BITS = 64_000;

const LEAST = "64kbit";

/** parseRateBits returns bits a second; the error says how to write them. */
export function parseRateBits(text: string): number {
  const match = /^([1-9]\d{0,6})(kbit|mbit|gbit)$/i.exec(text);
  if (match === null) throw new Error(`"${text}" is not a rate; write it like 500Mbit, 1Gbit or 800kbit`);
  const [, bits] = units.find(
    ([unit]) => unit.toLowerCase() === match[2]?.toLowerCase(),
  ) as (typeof units)[number];
  const rate = Number(match[1]) * bits;
  if (rate < LEAST_RATE_BITS) throw new Error(`"${text}" is less than ${LEAST}; write ${LEAST} or more`);
  return rate;
}

/** formatRateBits undoes parseRateBits, in the largest unit that says it exactly. */
export function formatRateBits(bitsPerSecond: number): string {
  const [unit, bits] = units.find(([, size]) => bitsPerSecond % size === 0) ?? units[2];
  return `${Math.round(bitsPerSecond / bits)}${unit}`;
}
