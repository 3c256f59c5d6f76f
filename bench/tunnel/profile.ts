/**
 * Where CPU time goes while packets move: perf(1) samples both processes of a pair by the clock (there is no counter of cycles in most
 * virtual machines), and each sample is the kernel's, the AEAD library's, the checksums' (WebAssembly), compiled TypeScript's, libc's or the
 * runtime's.
 */
import { mkdirSync } from "node:fs";
import { runSync } from "../../src/sys/mod.ts";
import { CompiledCode } from "./compiled-code.ts";

/** PARTS are what a sample can belong to; a foreign program is all `runtime`. */
export const PARTS = ["kernel", "AEAD", "checksum", "TypeScript", "libc", "runtime"] as const;
export type Part = (typeof PARTS)[number];

const RATE_HZ = 1999;
const DUMPS = "/run/compiled";

/** nameCompiledCode makes every process that is started from now on tell what it compiles. */
export function nameCompiledCode(): void {
  mkdirSync(DUMPS, { recursive: true });
  Object.assign(process.env, { BUN_JSC_useJITDump: "1", BUN_JSC_jitDumpDirectory: DUMPS });
}

/** ProcessProfile is one process's share of each part, and its most frequent symbols. */
export interface ProcessProfile {
  readonly samples: number;
  readonly shares: Readonly<Record<Part, number>>;
  /** Samples by thread, the most first. */
  readonly threads: readonly number[];
  readonly symbols: readonly { readonly name: string; readonly share: number }[];
}

function partOf(file: string): Part {
  if (/^\[(?!vdso|JIT|heap|stack|anon|unknown)/.test(file)) return "kernel";
  if (/IPSec_MB|libcrypto/.test(file)) return "AEAD";
  // Code that the runtime made lies in memory without a file.
  if (/anon|\[JIT|\[unknown|\[heap|memfd|perf-\d+\.map/.test(file)) return "TypeScript";
  return /\/libc[.-]|\[vdso\]|ld-linux/.test(file) ? "libc" : "runtime";
}

interface Tally {
  samples: number;
  readonly parts: Record<Part, number>;
  readonly threads: Map<string, number>;
  readonly symbols: Map<string, number>;
}

const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
const most = (map: ReadonlyMap<string, number>) => [...map].toSorted((a, b) => b[1] - a[1]);

/** profile samples processes while they work and returns one profile for each, in their order. */
export async function profile(pids: readonly number[], seconds: number): Promise<ProcessProfile[]> {
  const file = `/run/perf.data`;
  const recording = Bun.spawn(
    [
      ...["perf", "record", "-q", "-e", "cpu-clock", "-F", `${RATE_HZ}`, "-o", file],
      ...["-p", pids.join(","), "--", "sleep", `${seconds}`],
    ],
    { stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  const said = await recording.stderr.text();
  if ((await recording.exited) !== 0) throw new Error(`perf record: ${said}`);
  const script = runSync(["perf", "script", "-i", file, "-F", "pid,tid,ip,sym,dso"]);
  if (script.status !== 0) throw new Error(`perf script: ${script.stderr}`);
  const codes = new Map(pids.map((pid) => [pid, CompiledCode.of(pid, DUMPS)] as const));
  const tallies = new Map(
    pids.map((pid) => {
      const parts = { kernel: 0, AEAD: 0, checksum: 0, TypeScript: 0, libc: 0, runtime: 0 };
      return [pid, { samples: 0, parts, threads: new Map(), symbols: new Map() } satisfies Tally] as const;
    }),
  );
  for (const line of script.stdout.split("\n")) {
    const [, pid, tid, address = "", symbol = "", dso = ""] =
      /^\s*(\d+)\/(\d+)\s+([0-9a-f]+)\s+(.*?)\s*\(([^()]*)\)$/.exec(line) ?? [];
    const tally = tallies.get(Number(pid));
    if (tally === undefined) continue;
    const kind = partOf(dso);
    const wasm = kind === "TypeScript" && codes.get(Number(pid))?.isWasm(Number.parseInt(address, 16));
    const part = wasm ? "checksum" : kind;
    tally.samples++;
    tally.parts[part]++;
    count(tally.threads, tid as string);
    // Names inside the library are those of its nearest public function, so they mislead.
    count(tally.symbols, symbol === "[unknown]" || part === "AEAD" ? part : `${symbol} (${part})`);
  }
  return [...tallies.values()].map(({ samples, parts, threads, symbols }) => ({
    samples,
    shares: Object.fromEntries(PARTS.map((part) => [part, parts[part] / samples])) as Record<Part, number>,
    threads: most(threads).map(([, number]) => number / samples),
    symbols: most(symbols)
      .slice(0, 14)
      .map(([name, number]) => ({ name, share: number / samples })),
  }));
}
