/**
 * Benchmarks: `bun bench/bench.ts NAME [--json] [ITS OPTIONS]` runs one and prints a table, or one JSON document; without a name it
 * lists them.
 */
import { type Bench, machine, type Row, type Spread } from "./measure.ts";
import { OptionError } from "./options.ts";

const benches: Record<string, () => Promise<{ readonly bench: Bench }>> = {
  bgp: () => import("./bgp.ts"),
  cni: () => import("./cni.ts"),
  edge: () => import("./edge.ts"),
  engine: () => import("./engine.ts"),
  gateway: () => import("./gateway.ts"),
  kube: () => import("./kube.ts"),
  mesh: () => import("./mesh.ts"),
  relay: () => import("./relay.ts"),
  tunnel: () => import("./tunnel.ts"),
  "tunnel-profile": () => import("./tunnel-profile.ts"),
  vpc: () => import("./vpc.ts"),
};

/** Four digits say all that a measurement can; where nothing was measured there is none. */
function short(value: number): string {
  return Number.isFinite(value) ? Number(value.toPrecision(4)).toString() : "–";
}

function range({ median, min, max, p99 }: Spread): string {
  if (!Number.isFinite(median)) return "–";
  return `${short(median)} (${short(min)}–${short(max)}, p99 ${short(p99)})`;
}

function table(rows: readonly Row[]): string {
  const cells = [
    ["case", "unit", "ours (min–max, p99)", "theirs (min–max, p99)", "times better", "runs", "theirs is"],
    ...rows.map((row) => [
      row.case,
      row.unit,
      range(row.oursSpread),
      range(row.theirsSpread),
      short(row.ratio),
      String(row.runs),
      row.peer,
    ]),
  ];
  const widths = cells[0]?.map((_cell, column) =>
    Math.max(...cells.map((line) => line[column]?.length ?? 0)),
  );
  return cells
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths?.[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function list(): Promise<void> {
  for (const [name, load] of Object.entries(benches)) {
    const { about, options } = (await load()).bench;
    console.log(`${name}  ${about}${options === undefined ? "" : `\n        ${options}`}`);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...words] = args.filter((word) => word !== "--json");
  if (name === undefined) {
    await list();
    return 0;
  }
  const load = Object.hasOwn(benches, name) ? benches[name] : undefined;
  if (load === undefined) {
    console.error(`There is no benchmark "${name}"; there are: ${Object.keys(benches).join(", ")}`);
    return 2;
  }
  const { bench } = await load();
  if (bench.options === undefined && words.length > 0) {
    console.error(`Cannot run "${args.join(" ")}": write NAME [--json]`);
    return 2;
  }
  const rows = await bench.run(words);
  if (args.includes("--json")) console.log(JSON.stringify({ bench: name, machine: machine(), rows }));
  else {
    const where = Object.entries(machine()).map(([key, value]) => `${key} ${value}`);
    console.log(`${name} on ${where.join(", ")}\n\n${bench.table?.(rows) ?? table(rows)}`);
  }
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof OptionError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
