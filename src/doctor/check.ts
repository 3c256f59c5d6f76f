/** What the doctor says: a check each, in words, with the commands that mend it. */

/** Check is one thing that was looked at. */
export interface Check {
  readonly id: string;
  readonly ok: boolean;
  /** What was seen. */
  readonly found: string;
  /** Why it matters. */
  readonly why: string;
  /** What to do: commands, or a sentence. Absent where all is well. */
  readonly fix?: string;
  /** Commands that `--fix` runs, each with its words; absent where a person must decide. */
  readonly commands?: readonly (readonly string[])[];
}

/** Skipped is a check that could not be made here, and why. */
export interface Skipped {
  readonly id: string;
  readonly why: string;
}

/** Diagnosis is all of it. */
export interface Diagnosis {
  readonly checks: readonly Check[];
  readonly skipped: readonly Skipped[];
}

/** Finding is a check's outcome before it has its name: `fix` or `commands` where something is wrong. */
export type Finding =
  | { readonly found: string; readonly fix?: string; readonly commands?: readonly (readonly string[])[] }
  | { readonly skipped: string };

/** Examination is a row of the table of checks. */
export interface Examination<F> {
  readonly id: string;
  readonly why: string;
  readonly look: (facts: F) => Finding;
}

/** shellText returns commands as one would type them. */
export function shellText(commands: readonly (readonly string[])[]): string {
  const quoted = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  return commands.map((words) => words.map(quoted).join(" ")).join(" && ");
}

/** examine makes every check of a table. */
export function examine<F>(examinations: readonly Examination<F>[], facts: F): Diagnosis {
  const checks: Check[] = [];
  const skipped: Skipped[] = [];
  for (const { id, why, look } of examinations) {
    const finding = look(facts);
    if ("skipped" in finding) {
      skipped.push({ id, why: finding.skipped });
      continue;
    }
    const { found, commands } = finding;
    const fix = finding.fix ?? (commands && shellText(commands));
    const ok = fix === undefined;
    checks.push({ id, ok, found, why, ...(fix !== undefined && { fix }), ...(commands && { commands }) });
  }
  return { checks, skipped };
}
