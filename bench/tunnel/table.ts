/** The tables of bench tunnel: goals first, then everybody's figures. */
import type { Row, Spread } from "../measure.ts";
import type { TunnelRow } from "./samples.ts";

const short = (value: number) => Number(value.toPrecision(3)).toString();
const range = ({ median, min, max }: Spread) => `${short(median)} (${short(min)}–${short(max)})`;

/** aligned lays out cells in columns. */
export function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? "").length)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const plain = (rows: readonly TunnelRow[], contender: string) =>
  rows.filter((row) => row.contender === contender);

/** One line for each case of one of ours: against the best setting and against the default. */
function goals(rows: readonly TunnelRow[], contender: string): string {
  const mine = plain(rows, contender);
  const lines = [...new Set(mine.map((row) => row.case))].flatMap((name) => {
    const best = mine.find((row) => row.case === name && row.best);
    const standard = mine.find((row) => row.case === name && row.peer.endsWith("(default)"));
    const any = best ?? standard;
    if (any === undefined) return [];
    const demanding = [best, standard].find((row) => row?.goal !== undefined);
    const goal = demanding?.goal;
    return [
      [
        name,
        any.unit,
        range(any.oursSpread),
        best === undefined ? "" : `${range(best.theirsSpread)} ${/\((.*)\)$/.exec(best.peer)?.[1] ?? ""}`,
        best === undefined ? "" : short(best.ratio),
        standard === undefined ? "" : range(standard.theirsSpread),
        standard === undefined ? "" : short(standard.ratio),
        goal === undefined ? "" : `${short(goal)} of ${demanding === best ? "best" : "default"}`,
        demanding?.met === undefined ? "" : demanding.met ? "met" : "NOT MET",
      ],
    ];
  });
  const head = [
    "case",
    "unit",
    contender,
    "wireguard-go, best",
    "ratio",
    "wireguard-go, default",
    "ratio",
    "goal",
    "",
  ];
  return aligned([head, ...lines]);
}

/** Medians of everybody. */
function everybody(rows: readonly TunnelRow[]): string {
  const columns = [...new Set(rows.map((row) => row.contender)), ...new Set(rows.map((row) => row.peer))];
  const value = (name: string, column: string): string => {
    const own: Row | undefined = rows.find((row) => row.case === name && row.contender === column);
    const other = rows.find((row) => row.case === name && row.peer === column);
    return own !== undefined ? short(own.ours) : other !== undefined ? short(other.theirs) : "–";
  };
  const names = [...new Set(rows.map((row) => row.case))];
  return aligned([
    // Versions stand in the rows; here they would only make columns wide.
    ["case", "unit", ...columns.map((column) => column.replace(/ \S+ \(/, " ("))],
    ...names.map((name) => [
      name,
      rows.find((row) => row.case === name)?.unit ?? "",
      ...columns.map((column) => value(name, column)),
    ]),
  ]);
}

/** tunnelTable prints all rows: medians (least–most of the rounds); ratios say how many times better ours is. */
export function tunnelTable(rows: readonly TunnelRow[]): string {
  const contenders = [...new Set(rows.map((row) => row.contender))];
  return [...contenders.map((contender) => goals(rows, contender)), everybody(rows)].join("\n\n");
}
