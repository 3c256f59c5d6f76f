/** Durations as people write them: `90s`, `30m`, `24h`, `7d`. */

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** parseDurationMs returns milliseconds; the error says how to write one. */
export function parseDurationMs(text: string): number {
  const match = /^([1-9]\d{0,6})(s|m|h|d)$/.exec(text);
  if (match === null) throw new Error(`"${text}" is not a duration; write it like 90s, 30m, 24h or 7d`);
  return Number(match[1]) * (units[match[2] as string] as number);
}
