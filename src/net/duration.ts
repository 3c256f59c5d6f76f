/** Durations as people write them: `300ms`, `90s`, `30m`, `24h`, `7d`. */

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;

/** parseDurationMs returns milliseconds; the error says how to write one. */
export function parseDurationMs(text: string): number {
  const match = /^([1-9]\d{0,6})(ms|s|m|h|d)$/.exec(text);
  if (match === null) throw new Error(`"${text}" is not a duration; write it like 90s, 30m, 24h or 7d`);
  const [, unitMs] = units.find(([unit]) => unit === match[2]) as (typeof units)[number];
  return Number(match[1]) * unitMs;
}

/** formatDurationMs undoes parseDurationMs, in the largest unit that says it exactly. */
export function formatDurationMs(durationMs: number): string {
  const [unit, unitMs] = units.find(([, ms]) => durationMs % ms === 0) ?? units[4];
  return `${Math.round(durationMs / unitMs)}${unit}`;
}
