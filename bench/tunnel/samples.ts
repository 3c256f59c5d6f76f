/** What was measured, by case and contender; and the rows that are made of it. */
import { type Row, row } from "../measure.ts";
import type { Entry } from "./contender.ts";
import { type Case, cases, GOALS, LIBCRYPTO_CASES } from "./goals.ts";

/** TunnelRow is ours beside one other contender. */
export interface TunnelRow extends Row {
  /** Which of ours. */
  readonly contender: string;
  /** Whether the other is wireguard-go in the setting that is its best for the case. */
  readonly best?: true;
  /** How many times better ours is to be, and whether it is. */
  readonly goal?: number;
  readonly met?: boolean;
}

/** Samples are numbers by case and contender. */
export class Samples {
  readonly #all = new Map<string, number[]>();

  add(name: string, entry: Entry, value: number): void {
    const key = `${name} ${entry.name}`;
    this.#all.set(key, [...(this.#all.get(key) ?? []), value]);
  }

  of(name: string, entry: Entry): readonly number[] {
    return this.#all.get(`${name} ${entry.name}`) ?? [];
  }

  /** rows pairs each of ours with each of the others in every case that both have. */
  rows(entries: readonly Entry[], titles: (entry: Entry) => string): TunnelRow[] {
    const ours = entries.filter(({ side }) => side === "ours");
    const others = entries.filter(({ side }) => side !== "ours");
    return cases.flatMap((each) =>
      ours.flatMap((mine) => {
        const rows = others
          .filter((other) => this.of(each.name, mine).length > 0 && this.of(each.name, other).length > 0)
          .map((other) => ({ other, row: this.#row(each, { mine, other, peer: titles(other) }) }));
        const settings = rows.filter(({ other }) => other.side === "wireguard-go");
        // Ours is the same in all of them.
        const best = settings.toSorted((a, b) => a.row.ratio - b.row.ratio)[0];
        return rows.map((one): TunnelRow => {
          const goal = goalOf(each.name, { mine, other: one.other, isBest: one === best });
          return {
            ...one.row,
            contender: mine.title,
            ...(one === best ? { best: true } : {}),
            ...(goal === undefined ? {} : { goal, met: one.row.ratio >= goal }),
          };
        });
      }),
    );
  }

  #row(each: Case, { mine, other, peer }: { mine: Entry; other: Entry; peer: string }): Row {
    const { name, unit, moreIsBetter } = each;
    return row({ case: name, unit, peer, moreIsBetter }, this.of(name, mine), this.of(name, other));
  }
}

function goalOf(
  name: string,
  { mine, other, isBest }: { readonly mine: Entry; readonly other: Entry; readonly isBest: boolean },
): number | undefined {
  if (mine.name === "libcrypto") return other.name === "go" && LIBCRYPTO_CASES.includes(name) ? 1 : undefined;
  return isBest ? GOALS[name] : undefined;
}
