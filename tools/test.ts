/**
 * Runs the tests, rung by rung, and ends with one line: `N passed, N failed, N skipped`.
 *
 * Rungs: `unit` (no rights needed), `kernel` (namespaces, root), `vm` (Debian's kernel in QEMU), `interop` (Debian's programs as peers).
 * `ok` is what every change must pass in under a minute: format, types, lint, layers, unit tests.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
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
/** What failed and what was said before, told again at the end: whoever reads only the end of a long output finds it there. */
const told: string[] = [];
const TOLD_LINES = 25;

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
    const text = `${done.stdout}${done.stderr}(fail) ${name}`;
    process.stdout.write(`${text}\n`);
    told.push(text);
    total.failed++;
    failures.push(name);
  }
}

/** Remembers each failed test of a failed run's output, with the lines that stand between it and the result before it; without any, the end. */
function tell(name: string, output: string): void {
  const before = told.length;
  const lines = output.trimEnd().split("\n");
  let since: string[] = [];
  for (const line of lines) {
    if (/^\d+ tests? failed:$/.test(line)) break;
    if (line.startsWith("(fail)")) told.push(`--- ${name}`, ...since.slice(-TOLD_LINES), line);
    if (/^\((pass|fail|skip)\)/.test(line)) since = [];
    else since.push(line);
  }
  if (told.length === before) told.push(`--- ${name}`, ...lines.slice(-TOLD_LINES));
}

/** Keeps what comes from a stream, and passes it on where that is asked for. */
async function keep(stream: ReadableStream<Uint8Array>, kept: Uint8Array[], show: boolean): Promise<void> {
  for await (const chunk of stream) {
    if (show) process.stdout.write(chunk);
    kept.push(chunk);
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

/** What became of one program's tests. */
interface Outcome {
  readonly name: string;
  readonly success: boolean;
  readonly count: Count;
  readonly output: string;
}

function conclude({ name, success, count, output }: Outcome): void {
  add(count);
  if (success) return;
  tell(name, output);
  failures.push(name);
}

/** Runs test files in one process. What is not shown as it comes is shown at the end. */
async function runFiles(
  name: string,
  files: string[],
  options: { mark: string; show: boolean },
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-junit-"));
  const report = join(folder, "report.xml");
  try {
    const run = Bun.spawn(
      [
        bun,
        "test",
        "--timeout=300000",
        "--reporter=junit",
        `--reporter-outfile=${report}`,
        ...files.map((file) => `./${file}`),
      ],
      {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        env: {
          ...process.env,
          CAUSEWAY_EXECUTABLE: join(process.cwd(), "dist/causeway"),
          [RUN_VARIABLE]: options.mark,
        },
      },
    );
    const kept: Uint8Array[] = [];
    const keeping = [keep(run.stdout, kept, options.show), keep(run.stderr, kept, options.show)];
    const success = (await run.exited) === 0;
    // What a test left running may hold the pipes open: that is not waited for.
    await Promise.race([Promise.all(keeping), Bun.sleep(2000)]);
    const output = Buffer.concat(kept).toString();
    if (!options.show) process.stdout.write(output);
    const count = readJunit(report) ?? { passed: 0, failed: 0, skipped: 0 };
    if (!success && count.failed === 0) count.failed = 1;
    return { name, success, count, output };
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

/** The processes that carry a mark. */
function processesOf(mark: string): string[] {
  const wanted = `${RUN_VARIABLE}=${mark}`;
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const isOurs = readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(wanted);
      return isOurs ? [`process ${name} ${readFileSync(`/proc/${name}/comm`, "utf8").trim()}`] : [];
    } catch {
      return []; // ended meanwhile, or a kernel thread
    }
  });
}

/** The processes of a mark that do not end by themselves in a moment: on a busy machine one that was killed takes a while to go. */
async function stayingOf(mark: string): Promise<string[]> {
  for (let left = 30; ; left--) {
    const found = processesOf(mark);
    if (found.length === 0 || left === 0) return found;
    await Bun.sleep(100);
  }
}

/** Where tests with namespaces have their folders. */
const FOLDERS = "/run/causeway-test";

/** What tests must not leave on the machine: links and tables of its own namespace, mounts, folders. */
function machineState(): string[] {
  const lines = (argv: string[]) => Bun.spawnSync(argv).stdout.toString().trim().split("\n").filter(Boolean);
  return [
    ...lines(["ip", "-br", "link"]).map((line) => `link ${line.split(/\s+/)[0]}`),
    ...lines(["nft", "list", "tables"]),
    ...readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .flatMap((line) => (line.includes(` ${FOLDERS}/`) ? [`mount ${line.split(" ")[4]}`] : [])),
    ...(existsSync(FOLDERS) ? readdirSync(FOLDERS).map((name) => `folder ${FOLDERS}/${name}`) : []),
  ];
}

function leftBehind(name: string, left: string[]): void {
  if (left.length === 0) return;
  const text = `(fail) ${name} left behind:\n  ${left.join("\n  ")}`;
  process.stdout.write(`${text}\n`);
  told.push(text);
  total.failed++;
  failures.push(`${name} (left something behind)`);
}

/** Seconds that files of the present rung took. */
const took: { readonly file: string; readonly seconds: number }[] = [];

/** The files that took longest, of those noted since it was asked last. */
function longest(): string {
  const sorted = took.splice(0).sort((one, other) => other.seconds - one.seconds);
  const told = sorted.slice(0, 8).map(({ file, seconds }) => `${file} ${Math.round(seconds)} s`);
  return `longest: ${told.join(", ")}`;
}

/** Runs one file that makes namespaces, and says what it left. */
async function runAlone(file: string): Promise<Outcome> {
  const mark = `${process.pid} ${file}`;
  const begun = performance.now();
  const outcome = await runFiles(file, [file], { mark, show: false });
  const seconds = (performance.now() - begun) / 1000;
  process.stdout.write(`${file}: ${Math.round(seconds)} s\n`);
  took.push({ file, seconds });
  leftBehind(file, await stayingOf(mark));
  return outcome;
}

/**
 * So many failed files of a rung are run a second time, one by one, when the others are done: with real daemons on a busy machine a
 * deadline may pass that nobody had to miss. It is told, with what the first run said; more failures than these are no accident.
 */
const SECOND_TRIES = 4;
/** Files that passed at the second try only. */
const unsteady: string[] = [];

/** Tests with container runtimes look for their traces on the whole machine; those of hubs' keys count each packet of six flows at 10 ms. */
const ALONE = /\/(cni-containerd|cni-podman|hub-rotation|agent-hub-rotation)/;

/** These take minutes each: they begin first, so that no lane is left with one of them when the other has nothing to do. */
const LONG =
  /\/(cni-storm|agent-rotation|tunnel-user|lab-paths|dataplane-wg|lab-failures|relay-attack|dataplane|lab-hubs)\./;

/** These wait for the timers of protocols nearly all the time: they have a lane of their own. */
const WAITING = /\/(relay-life|tunnel-tls|tls-join|lab-topology|external-peer|bgp-sockets|bgp-session)\./;

/** Runs files that make namespaces: two at a time, since most of them wait now and then, and beside them those that wait all the time. */
async function namespaceRung(folder: string): Promise<void> {
  const files = testFiles(folder);
  const alone = files.filter((file) => ALONE.test(file));
  const waiting = files.filter((file) => WAITING.test(file));
  const together = files.filter((file) => !ALONE.test(file) && !WAITING.test(file));
  together.sort((one, other) => Number(LONG.test(other)) - Number(LONG.test(one)));
  if (process.getuid?.() !== 0) {
    process.stdout.write(
      `(skip) ${files.length} files of ${folder}: they make network namespaces and need root\n`,
    );
    total.skipped += files.length;
    return;
  }
  const before = new Set(machineState());
  const failed: Outcome[] = [];
  const lane = async (queue: string[]) => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const outcome = await runAlone(file);
      if (outcome.success) conclude(outcome);
      else failed.push(outcome);
    }
  };
  await Promise.all([lane(together), lane(together), lane(waiting)]);
  await lane(alone);
  for (const first of failed) {
    const again = failed.length <= SECOND_TRIES ? await runAlone(first.name) : first;
    if (again !== first && again.success) {
      unsteady.push(first.name);
      tell(`${first.name} (passed when run again)`, first.output);
    }
    conclude(again);
  }
  leftBehind(
    folder,
    machineState().filter((line) => !before.has(line)),
  );
}

/** These of the vm rung take as long in a guest of their own as the others do. */
const FIRST_GUEST = /^test\/vm\/(agents|edge|esp|gateway|kernel|probe|relay-kernel)/;

/** Runs files in a guest with Debian's kernel. What is not shown as it comes is shown at the end. */
async function runGuest(files: readonly string[], show = true): Promise<Outcome> {
  const { runVm } = await import("./vm.ts");
  let output = "";
  const { passed, failed, skipped } = await runVm(files, {
    write: (text) => {
      if (show) process.stdout.write(text);
      output += text;
    },
  });
  if (!show) process.stdout.write(output);
  return { name: "vm", success: failed === 0, count: { passed, failed, skipped }, output };
}

/** The files with a failed test, of the output of one program that ran many; none when it did not come to its end. */
function filesThatFailed(output: string): string[] {
  const failed = new Set<string>();
  if (!/^Ran \d+ tests/m.test(output)) return [];
  let file = "";
  for (const line of output.split("\n")) {
    // What follows tells all of them again, without their files.
    if (/^\d+ tests? failed:\r?$/.test(line)) break;
    file = /^(\S+\.test\.ts):\r?$/.exec(line)?.[1] ?? file;
    if (line.startsWith("(fail)") && file !== "") failed.add(file);
  }
  return [...failed];
}

/** Concludes what one program said of many files, after a second try of those that failed. */
async function concludeAgain(first: Outcome, run: (files: string[]) => Promise<Outcome>): Promise<void> {
  const failed = filesThatFailed(first.output);
  if (first.success || failed.length === 0 || failed.length > SECOND_TRIES) return conclude(first);
  const again = await run(failed);
  if (!again.success) return conclude({ ...again, count: { ...first.count, failed: again.count.failed } });
  unsteady.push(...failed);
  tell(`${first.name} (passed when run again)`, first.output);
  add({ ...first.count, passed: first.count.passed + first.count.failed, failed: 0 });
}

const rungs: Record<string, () => void | Promise<void>> = {
  async unit() {
    check("format", [bun, "fmt", "--no-script", "--check", "src", "test", "bench", "tools"]);
    check("types", ["node_modules/.bin/tsc", "-p", "."]);
    const files = [
      ...testFiles("src"),
      ...testFiles("test/sim"),
      ...testFiles("test/replay"),
      "test/tidy.test.ts",
    ];
    const run = (some: string[], show = true) => runFiles("unit", some, { mark: String(process.pid), show });
    // Two processes with about as much to do; what the second one says comes at its end.
    const [one, other] = [true, false].map((isTunnel) =>
      files.filter((file) => file.startsWith("src/tunnel/") === isTunnel),
    ) as [string[], string[]];
    const outcomes = await Promise.all([run(one), run(other, false)]);
    for (const outcome of outcomes) await concludeAgain(outcome, run);
  },
  kernel: () => namespaceRung("test/kernel"),
  async vm() {
    const { vmFiles } = await import("./vm.ts");
    // Two guests: one of them keeps a processor busy two thirds of the time.
    const [one, other] = [true, false].map((isFirst) =>
      vmFiles().filter((file) => FIRST_GUEST.test(file) === isFirst),
    ) as [string[], string[]];
    const outcomes = await Promise.all([runGuest(one), runGuest(other, false)]);
    for (const outcome of outcomes) await concludeAgain(outcome, runGuest);
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
  const begun = performance.now();
  await rungs[name]?.();
  process.stdout.write(`\n${name}: ${Math.round((performance.now() - begun) / 1000)} s\n`);
  if (took.length > 0) process.stdout.write(`${longest()}\n`);
}
if (told.length > 0) process.stdout.write(`\n=== what failed\n${told.join("\n")}\n`);
if (unsteady.length > 0)
  process.stdout.write(`\npassed only when run again, alone: ${unsteady.join(", ")}\n`);
if (failures.length > 0) process.stdout.write(`\nfailed: ${failures.join(", ")}\n`);
process.stdout.write(`\n${Math.round((performance.now() - started) / 1000)} s\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
