/**
 * Runs the tests, rung by rung, and ends with one line: `N passed, N failed, N skipped`.
 *
 * Rungs: `unit` (no rights needed), `kernel` (namespaces, root), `vm` (Debian's kernel in QEMU), `interop` (Debian's programs as peers).
 * `ok` is what every change must pass in under a minute: format, types, lint, layers, unit tests.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

/** Count of one program's tests. */
interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const bun = process.execPath;
const total: Count = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];

function add(count: Count): void {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
}

function title(text: string): void {
  process.stdout.write(process.stdout.isTTY ? `\n\x1b[1m${text}\x1b[0m\n` : `\n=== ${text}\n`);
}

/** One check that is a program: passed when it exits with 0. */
function check(name: string, argv: string[]): void {
  const done = Bun.spawnSync(argv, { stdout: "pipe", stderr: "pipe" });
  if (done.success) {
    process.stdout.write(`(pass) ${name}\n`);
    total.passed++;
  } else {
    process.stdout.write(`${done.stdout}${done.stderr}(fail) ${name}\n`);
    total.failed++;
    failures.push(name);
  }
}

/** Reads what a test file's run reported; a run that reported nothing counts as one failure. */
function readJunit(path: string): Count | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const head = /<testsuites\b[^>]*>/.exec(text)?.[0];
  if (head === undefined) return undefined;
  const number = (name: string) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skipped = number("skipped");
  return { passed: number("tests") - failed - skipped, failed, skipped };
}

function runFiles(name: string, files: string[]): void {
  const folder = mkdtempSync(join(tmpdir(), "causeway-junit-"));
  const report = join(folder, "report.xml");
  try {
    const done = Bun.spawnSync(
      [
        bun,
        "test",
        "--timeout=300000",
        "--reporter=junit",
        `--reporter-outfile=${report}`,
        ...files.map((file) => `./${file}`),
      ],
      {
        stdout: "inherit",
        stderr: "inherit",
        env: {
          ...process.env,
          CAUSEWAY_EXECUTABLE: join(process.cwd(), "dist/causeway"),
          [RUN_VARIABLE]: String(process.pid),
        },
      },
    );
    const count = readJunit(report);
    if (count !== undefined) add(count);
    if (!done.success && (count === undefined || count.failed === 0)) total.failed++;
    if (!done.success) failures.push(name);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function testFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name))
    .sort();
}

/** Every process that a test starts inherits this variable, by which the runner finds what is left. */
const RUN_VARIABLE = "CAUSEWAY_TEST_RUN";
const RUN = `${RUN_VARIABLE}=${process.pid}`;

/** What a test must not leave behind: namespaces, processes, and tables and links of the machine's own namespace. */
function machineState(): string[] {
  const lines: string[] = [];
  const links = Bun.spawnSync(["ip", "-br", "link"]).stdout.toString().trim().split("\n");
  lines.push(...links.map((line) => `link ${line.split(/\s+/)[0]}`));
  lines.push(
    ...Bun.spawnSync(["nft", "list", "tables"]).stdout.toString().trim().split("\n").filter(Boolean),
  );
  lines.push(
    ...readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .flatMap((line) => (line.includes(" /run/causeway-test/") ? [`mount ${line.split(" ")[4]}`] : [])),
  );
  for (const pid of readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid,
  )) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(RUN))
        lines.push(`process ${pid} ${readFileSync(`/proc/${pid}/comm`, "utf8").trim()}`);
    } catch {
      // ended meanwhile, or a kernel thread
    }
  }
  return lines;
}

function namespaceRung(folder: string): void {
  if (process.getuid?.() !== 0) {
    const files = testFiles(folder);
    process.stdout.write(
      `(skip) ${files.length} files of ${folder}: they make network namespaces and need root\n`,
    );
    total.skipped += files.length;
    return;
  }
  for (const file of testFiles(folder)) {
    const before = new Set(machineState());
    runFiles(file, [file]);
    const left = machineState().filter((line) => !before.has(line));
    if (left.length > 0) {
      process.stdout.write(`(fail) ${file} left behind:\n  ${left.join("\n  ")}\n`);
      total.failed++;
      failures.push(`${file} (left something behind)`);
    }
  }
}

const rungs: Record<string, () => void | Promise<void>> = {
  unit() {
    check("format", [bun, "fmt", "--no-script", "--check", "src", "test", "bench", "tools"]);
    check("types", ["node_modules/.bin/tsc", "-p", "."]);
    runFiles("unit", [...testFiles("src"), ...testFiles("test/sim"), "test/tidy.test.ts"]);
  },
  kernel: () => namespaceRung("test/kernel"),
  async vm() {
    const { runVm, vmFiles } = await import("./vm.ts");
    const count = await runVm(vmFiles());
    add(count);
    if (count.failed > 0) failures.push("vm");
  },
  interop: () => namespaceRung("test/interop"),
};

const asked = process.argv.slice(2);
const chosen =
  asked.length === 0 ? Object.keys(rungs) : asked.flatMap((name) => (name === "ok" ? ["unit"] : [name]));
for (const name of chosen) {
  if (!Object.hasOwn(rungs, name)) {
    process.stderr.write(`There is no rung "${name}". The rungs are: ${Object.keys(rungs).join(", ")}.\n`);
    process.exit(2);
  }
}
const started = performance.now();
for (const name of chosen) {
  title(`${name}`);
  await rungs[name]?.();
}
if (failures.length > 0) process.stdout.write(`\nfailed: ${failures.join(", ")}\n`);
process.stdout.write(`\n${Math.round((performance.now() - started) / 1000)} s\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
