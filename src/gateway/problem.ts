/** What is wrong with a configuration, a path or a request: path, value, rule, and the place in the text. */

/** ConfigProblem is one thing that was refused. */
export interface ConfigProblem {
  /** `/route4[id=tokyo]/spi`; `/` for the whole. */
  readonly path: string;
  /** The value found, as text; absent where there is none, and for secrets. */
  readonly value?: string;
  /** The rule that it breaks, and how to mend it. */
  readonly rule: string;
  /** From 1, in the text that was read; absent where no text was. */
  readonly line?: number;
  readonly column?: number;
}

const MAX_SHOWN = 80;

/** formatConfigProblem returns one line: `/mtu 9000: is not a whole number from 0 to 8923; write one in decimal (line 3, column 1)`. */
export function formatConfigProblem(problem: ConfigProblem): string {
  const { path, value, rule, line, column } = problem;
  const text =
    value === undefined ? "" : ` ${value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN - 3)}...` : value}`;
  const place = line === undefined ? "" : ` (line ${line}, column ${column})`;
  // Values come from anywhere and go to terminals and logs.
  return `${path}${text}: ${rule}${place}`.replaceAll(/\p{C}/gu, "?");
}

/** ConfigError holds all that was refused; nothing was changed. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(formatConfigProblem).join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** refuse throws one problem. */
export function refuse(path: string, rule: string, value?: string): never {
  throw new ConfigError([{ path, rule, ...(value === undefined ? {} : { value }) }]);
}
