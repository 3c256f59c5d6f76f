/**
 * The vm rung: runs test files as root in a guest with Debian's kernel, which has what the machine's own may lack
 * (WireGuard, VRF, dummy, VLAN, netem, ESP).
 *
 * `bun tools/vm.ts run [--timeout SECONDS] [files…]` prints the guest's test output as it comes and ends with one line of
 * JSON; `bun tools/vm.ts shell` gives a shell in the guest.
 *
 * QEMU emulates the processor in software: it needs nothing of the machine, and runs 10 to 20 times slower.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { relative, resolve } from "node:path";
import { isAlive, signal, terminate, which } from "../src/sys/mod.ts";
import { EXECUTABLE, writeImage } from "./vm/image.ts";
import { guestKernel, Unavailable } from "./vm/kernel.ts";

/** VmResult counts tests; `reason` says why none ran, or what went wrong with the guest itself. */
export interface VmResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly reason?: string;
}

const REPOSITORY = resolve(import.meta.dir, "..");
const CACHE = `${REPOSITORY}/.cache/vm`;
const JUNIT_BEGIN = "=====causeway junit begin=====";
const JUNIT_END = "=====causeway junit end=====";
const STATUS = "=====causeway status=";

/** GUEST_EXECUTABLE is the executable's path in the guest. */
export const GUEST_EXECUTABLE = `/causeway/${EXECUTABLE}`;

const RESULT_BEGIN = "=====causeway result begin=====";
const RESULT_END = "=====causeway result end=====";

/** Kernel tests that mean more in the guest, because its kernel can do more. */
const ALSO = /^(netlink|engine)-.*\.test\.ts$/;

/** vmFiles names the test files that run in the guest by default. */
export function vmFiles(): string[] {
  const list = (folder: string, pattern: RegExp) =>
    readdirSync(`${REPOSITORY}/${folder}`)
      .filter((name) => pattern.test(name))
      .map((name) => `${folder}/${name}`)
      .sort();
  return [...list("test/vm", /\.test\.ts$/), ...list("test/kernel", ALSO)];
}

/** runVm runs test files in a guest. It never throws for what the guest does; that is a failed test. */
export async function runVm(
  files: readonly string[] = vmFiles(),
  options: { readonly timeoutMs?: number; readonly write?: (text: string) => void } = {},
): Promise<VmResult> {
  const write = options.write ?? ((text: string) => void process.stdout.write(text));
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0, reason: "no test files" };
  const paths = files.map((file) => relative(REPOSITORY, resolve(file)));
  const work = workFolder();
  try {
    const guest = start(work, testScript(paths));
    return await watch(guest, { work, timeoutMs: options.timeoutMs ?? 2_400_000, write });
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    write(`(skip) ${files.length} files of the vm rung: ${error.message}\n`);
    return { passed: 0, failed: 0, skipped: files.length, reason: error.message };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * guestResult runs a program as root in a guest, in the folder of the repository, and returns what it wrote into the file whose path is its last
 * argument, which is added. What it prints is printed here, to standard error. Throws where it fails, or there can be no guest.
 */
export async function guestResult(
  argv: readonly string[],
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<string> {
  const work = workFolder();
  try {
    const words = [...argv, "/tmp/result"].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const script = `exec </dev/null >/dev/ttyS1 2>&1
${words}
echo "${STATUS}$?"
echo "${RESULT_BEGIN}"
cat /tmp/result
echo
echo "${RESULT_END}"`;
    const write = (text: string) => void process.stderr.write(text);
    const { text, consoleText } = await follow(start(work, script), { work, timeoutMs, write });
    const result = text.split(RESULT_BEGIN)[1]?.split(RESULT_END)[0]?.trim();
    if (result !== undefined && text.includes(`${STATUS}0`)) return result;
    throw new Error(`The guest's program failed:\n${consoleText.split("\n").slice(-40).join("\n")}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A folder for this run; those of runs that were killed are removed. */
function workFolder(): string {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(`${CACHE}/run-${process.pid}-`);
  for (const name of readdirSync(CACHE)) {
    const pid = Number(/^run-(\d+)/.exec(name)?.[1]);
    if (pid > 1 && !isAlive(pid)) rmSync(`${CACHE}/${name}`, { recursive: true, force: true });
  }
  return work;
}

/** The guest's first process: file systems, loopback, then `work` with its output on the second serial line. */
function initScript(work: string): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LD_LIBRARY_PATH= LANG=C.UTF-8 NO_COLOR=1 CAUSEWAY_VM=1
export CAUSEWAY_EXECUTABLE=/causeway/${EXECUTABLE}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/net
ln -s /proc/self/fd /dev/fd
for n in 0,stdin 1,stdout 2,stderr; do ln -s /proc/self/fd/\${n%,*} /dev/\${n#*,}; done
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mknod /dev/net/tun c 10 200
mkdir -p /run/netns /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
stty -F /dev/ttyS1 raw -echo
cd /causeway
${work}
poweroff -f
`;
}

function testScript(paths: readonly string[]): string {
  // Bun stops a test that waits too long; one that blocks is stopped by our own time limit.
  const argv =
    "bun test --timeout 300000 --max-concurrency 6 --reporter=junit --reporter-outfile=/tmp/junit.xml";
  const files = paths.map((path) => `'./${path.replaceAll("'", "'\\''")}'`).join(" ");
  // Code that is made while it runs is translated anew by the emulator each time: it is made only of what runs very often.
  return `exec </dev/null >/dev/ttyS1 2>&1
export BUN_JSC_useDFGJIT=0 BUN_JSC_thresholdForJITAfterWarmUp=20000 BUN_JSC_thresholdForJITSoon=5000
${argv} ${files}
echo "${STATUS}$?"
echo "${JUNIT_BEGIN}"
cat /tmp/junit.xml
echo
echo "${JUNIT_END}"`;
}

type Guest = Bun.Subprocess<"ignore", "pipe", "inherit">;

function start(work: string, script: string): Guest {
  return Bun.spawn(command(work, script), { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
}

/** The command that runs the guest; its first serial line goes to a file, its second to our standard streams. */
function command(work: string, script: string): string[] {
  const qemu = which("qemu-system-x86_64");
  if (qemu === undefined) throw new Unavailable("qemu-system-x86_64 is not here; install qemu-system-x86");
  if (process.arch !== "x64") throw new Unavailable(`the guest is x86-64, this machine is ${process.arch}`);
  const kernel = guestKernel(CACHE);
  writeImage(`${work}/initrd`, { kernel, repository: REPOSITORY, init: initScript(script) });
  const parameters = [
    "console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr no_timer_check tsc=reliable",
    "random.trust_cpu=on cryptomgr.notests nowatchdog rcupdate.rcu_cpu_stall_suppress=1 8250.nr_uarts=2",
  ].join(" ");
  // The guest ends when we end, however that happens.
  const leash = which("setpriv");
  return [
    ...(leash === undefined ? [] : [leash, "--pdeathsig", "KILL"]),
    qemu,
    ..."-nodefaults -no-user-config -display none -no-reboot -machine pc,hpet=off,usb=off -smp 2 -m 2560".split(
      " ",
    ),
    ..."-accel tcg,thread=multi,tb-size=512 -cpu max,la57=off".split(" "),
    ...["-kernel", kernel.image, "-initrd", `${work}/initrd`, "-append", parameters],
    ...["-serial", `file:${work}/console`, "-serial", "stdio"],
  ];
}

interface FollowOptions {
  readonly work: string;
  readonly timeoutMs: number;
  readonly write: (text: string) => void;
}

interface Followed {
  readonly text: string;
  readonly consoleText: string;
  readonly timedOut: boolean;
}

async function watch(guest: Guest, options: FollowOptions): Promise<VmResult> {
  const { text, ...rest } = await follow(guest, options);
  return judge(text, { ...rest, ...options });
}

/** Waits for a guest's end, and returns what it said. */
async function follow(guest: Guest, options: FollowOptions): Promise<Followed> {
  const stop = () => void (isAlive(guest.pid) && signal(guest.pid, "SIGKILL"));
  process.once("exit", stop);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, options.timeoutMs);
  try {
    const text = await collect(guest.stdout, options.write);
    await guest.exited;
    return { text, consoleText: readFileSync(`${options.work}/console`, "utf8"), timedOut };
  } finally {
    clearTimeout(timer);
    process.off("exit", stop);
    await terminate(guest.pid);
  }
}

/** Passes on what the guest says, up to the machine-readable part, and returns all of it. */
async function collect(stream: ReadableStream<Uint8Array>, write: (text: string) => void): Promise<string> {
  let all = "";
  let shown = 0;
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    all += decoder.decode(chunk, { stream: true });
    const status = all.indexOf(STATUS);
    // Whole lines only: the mark may come in two pieces.
    const until = status >= 0 ? status : all.lastIndexOf("\n") + 1;
    if (until > shown) write(all.slice(shown, until));
    shown = Math.max(shown, until);
  }
  return all;
}

function judge(
  text: string,
  guest: {
    readonly consoleText: string;
    readonly timedOut: boolean;
    readonly timeoutMs: number;
    readonly write: (text: string) => void;
  },
): VmResult {
  const junit = text.split(JUNIT_BEGIN)[1]?.split(JUNIT_END)[0];
  const status = new RegExp(`${STATUS}(\\d+)`).exec(text)?.[1];
  const trouble = /(Kernel panic|BUG:|Oops:|general protection fault|KASAN|refcount_t:).*/.exec(
    guest.consoleText,
  )?.[0];
  if (junit === undefined || status === undefined || trouble !== undefined) {
    const tail = guest.consoleText.split("\n").slice(-40).join("\n");
    const cause = guest.timedOut
      ? `no end after ${guest.timeoutMs / 1000} s`
      : (trouble ?? "the guest ended early");
    guest.write(`\n${tail}\nguest: ${cause}\n`);
    return { ...countJunit(junit ?? ""), failed: countJunit(junit ?? "").failed + 1, reason: cause };
  }
  const counted = countJunit(junit);
  // A file that does not load fails without a test case of its own.
  return status !== "0" && counted.failed === 0
    ? { ...counted, failed: 1, reason: `bun test ended with status ${status}` }
    : counted;
}

/** countJunit reads the totals that stand in the first element of a JUnit report. */
export function countJunit(xml: string): { passed: number; failed: number; skipped: number } {
  const root = /<testsuites\b[^>]*>/.exec(xml)?.[0] ?? "";
  const number = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(root)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  return { passed: number("tests") - failed - number("skipped"), failed, skipped: number("skipped") };
}

async function main(argv: readonly string[]): Promise<number> {
  const [verb, ...rest] = argv;
  if (verb === "run") {
    const timeout = rest[0] === "--timeout" ? Number(rest.splice(0, 2)[1]) * 1000 : undefined;
    const files = rest.length > 0 ? rest : vmFiles();
    const result = await runVm(files, timeout === undefined ? {} : { timeoutMs: timeout });
    console.log(JSON.stringify(result));
    return result.failed > 0 ? 1 : 0;
  }
  if (verb === "shell") return await shell();
  console.error("usage: bun tools/vm.ts run [--timeout SECONDS] [files…] | shell");
  return 2;
}

async function shell(): Promise<number> {
  const work = workFolder();
  try {
    // The guest's terminal is made whole again: lines are edited there, not here.
    const script = "stty -F /dev/ttyS1 sane; setsid -c sh </dev/ttyS1 >/dev/ttyS1 2>&1";
    const argv = command(work, script);
    Bun.spawnSync(["stty", "raw", "-echo"], { stdin: "inherit" });
    return await Bun.spawn(argv, { stdin: "inherit", stdout: "inherit", stderr: "inherit" }).exited;
  } finally {
    Bun.spawnSync(["stty", "sane"], { stdin: "inherit" });
    rmSync(work, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
