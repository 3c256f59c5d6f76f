/** Colours, only on a terminal and only if wanted (no-color.org). */

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

const wanted = process.stdout.isTTY === true && process.stderr.isTTY === true && !process.env.NO_COLOR;

/** paint colours a text for a terminal. */
export function paint(colour: keyof typeof codes, text: string): string {
  return wanted ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
}
