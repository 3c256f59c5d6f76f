/**
 * How old the present pre-shared keys are, by this hub's own clock. Each hub judges for itself: those that find them too old together begin the same next
 * generation, of which the first one counts (hub/apply-psk.ts).
 */
import { readText, writeAtomic } from "../sys/mod.ts";
import { warn } from "./log.ts";
import { STATE } from "./paths.ts";

const FILE = `${STATE}/register.psk.since`;
/** While nothing can be written into the register, it is asked for again after this time. */
const AGAIN_MS = 60_000;

/** PskSince is the generation, and when this hub saw it first; milliseconds since 1970. */
export interface PskSince {
  readonly generation: number;
  readonly sinceMs: number;
}

/** followGeneration returns since when there is a generation: the one known, unless the clock was ahead then. */
export function followGeneration(before: PskSince | undefined, generation: number, wallMs: number): PskSince {
  const same = before?.generation === generation && before.sinceMs <= wallMs;
  return same ? before : { generation, sinceMs: wallMs };
}

/** PskAge keeps it in a file; `save` is given the file's text. */
export class PskAge {
  readonly #save: (text: string) => void;
  #since: PskSince | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor({ text, save }: { readonly text: string | undefined; readonly save: (text: string) => void }) {
    this.#since = read(text);
    this.#save = save;
  }

  /** stored returns the one of this machine. */
  static stored(): PskAge {
    return new PskAge({ text: readText(FILE), save: store });
  }

  /** isDue tells whether the next generation is to begin now; look once a second. */
  isDue(now: {
    readonly generation: number | undefined;
    readonly maxAgeMs: number | undefined;
    readonly wallMs: number;
    readonly nowMs: number;
  }): boolean {
    const { generation, maxAgeMs, wallMs, nowMs } = now;
    if (generation === undefined || maxAgeMs === undefined) return false;
    const since = followGeneration(this.#since, generation, wallMs);
    if (since !== this.#since) this.#save(`${since.generation} ${since.sinceMs}\n`);
    this.#since = since;
    if (wallMs - since.sinceMs < maxAgeMs || nowMs - this.#askedMs < AGAIN_MS) return false;
    this.#askedMs = nowMs;
    return true;
  }
}

/** What cannot be stored begins anew with the next start. */
function store(text: string): void {
  try {
    writeAtomic(FILE, text, 0o600);
  } catch (error) {
    warn("cannot store how old the pre-shared keys are", { error });
  }
}

function read(text: string | undefined): PskSince | undefined {
  const [generation, sinceMs] = (text ?? "").trim().split(" ").map(Number);
  if (!Number.isInteger(generation) || !Number.isInteger(sinceMs)) return undefined;
  return { generation: generation as number, sinceMs: sinceMs as number };
}
