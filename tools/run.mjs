// Entry of every npm script: installs what the task needs (npm packages, Debian packages, the build), then runs it with Bun.
// Plain Node.js, because it runs before anything is installed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);

const run = ["libnftables1", "libssl3", "nftables", "iproute2", "iputils-ping", "wireguard-tools"];
const show = [...run, "iperf3", "tcpdump", "conntrack"];
const prove = [
  ...show,
  "wireguard-go",
  "ethtool",
  "miniupnpd-nftables",
  "jq",
  "qemu-system-x86",
  "cpio",
  "kmod",
  "busybox-static",
  "containernetworking-plugins",
  "qemu-user",
  "groff-base",
];

/** What each task needs from Debian, whether it needs the executable, and the program that it runs. */
const tasks = {
  demo: {
    debian: show,
    build: true,
    program: ["tools/demo.ts"],
    about: "bring up the demo network and prove that it works",
  },
  test: {
    debian: prove,
    build: true,
    program: ["tools/test.ts"],
    about: "run all tests, or the rungs named: unit kernel vm interop",
  },
  kubernetes: {
    debian: ["dpkg-dev"],
    build: false,
    program: ["tools/kubernetes.ts"],
    about: "build kube-apiserver for the tests into .cache (10 minutes, 3 GB while it runs)",
  },
  bench: {
    debian: prove,
    build: true,
    program: ["bench/bench.ts"],
    about: "run a benchmark; without a name, list them",
  },
  build: { debian: [], build: false, program: ["tools/build.ts"], about: "make dist/causeway" },
  package: {
    debian: [],
    build: true,
    program: ["tools/package.ts"],
    about: "make the Debian package in dist",
  },
  ok: {
    debian: [],
    build: false,
    program: ["tools/test.ts", "ok"],
    about: "format, lint, types, layers and unit tests",
  },
  fmt: {
    debian: [],
    build: false,
    program: ["fmt", "--no-script", "src", "test", "bench", "tools"],
    about: "format the source",
  },
};

const say = (text) => process.stderr.write(`${process.stderr.isTTY ? `\x1b[2m${text}\x1b[0m` : text}\n`);

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

function must(command, args, what) {
  const done = spawnSync(command, args, {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  if (done.status !== 0)
    fail(
      `Cannot ${what}: \`${[command, ...args].join(" ")}\` ended with ${done.status ?? done.error?.message}.`,
    );
}

/** npm packages: `npm ci` when the lock file is newer than the last installation. */
function ensureNpm() {
  const stamp = "node_modules/.causeway-installed";
  const lock = readFileSync("package-lock.json", "utf8");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
    say("installing npm packages …");
    must("npm", ["ci", "--no-audit", "--no-fund"], "install the npm packages");
    writeFileSync(stamp, lock);
  }
  // With install scripts blocked, `bun` is a stub until its own installer has run.
  if (spawnSync("node_modules/.bin/bun", ["--version"], { stdio: "ignore" }).status !== 0)
    must("node", ["node_modules/bun/install.js"], "set up the Bun runtime");
}

/** Debian packages: only what is missing, only as root. */
function ensureDebian(packages) {
  if (packages.length === 0) return;
  // Since Debian 13 some libraries have another name, and provide the old one: libssl3t64.
  const names = packages.flatMap((name) => [name, `${name}t64`]);
  const listed = spawnSync("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\n", ...names], {
    encoding: "utf8",
  });
  if (listed.error) fail("Causeway's demo and tests need Debian (dpkg was not found).");
  const present = new Set(
    listed.stdout
      .split("\n")
      .flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0].replace(/t64$/, "")] : [])),
  );
  const missing = packages.filter((name) => !present.has(name));
  if (missing.length === 0) return;
  if (process.getuid() !== 0)
    fail(
      `These Debian packages are missing: ${missing.join(" ")}\nInstall them, or run this command as root.`,
    );
  say(`installing Debian packages: ${missing.join(" ")} …`);
  must("apt-get", ["update", "-qq"], "read Debian's package lists");
  must(
    "apt-get",
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
    "install Debian's packages",
  );
}

function bun(args) {
  const done = spawnSync("node_modules/.bin/bun", args, { stdio: "inherit" });
  // A signal from the terminal reaches the program too; it cleans up and ends by itself.
  return done.status ?? 130;
}

function ensureBuild() {
  const newest = spawnSync(
    "find",
    [
      "src",
      "package-lock.json",
      "tools/build.ts",
      "-type",
      "f",
      "-newer",
      "dist/causeway",
      "-print",
      "-quit",
    ],
    { encoding: "utf8" },
  );
  if (existsSync("dist/causeway") && statSync("dist/causeway").size > 0 && newest.stdout === "") return;
  say("building dist/causeway …");
  mkdirSync("dist", { recursive: true });
  if (bun(["tools/build.ts"]) !== 0) fail("The build failed.");
}

const [name, ...rest] = process.argv.slice(2);
const task = tasks[name];
if (task === undefined) {
  const lines = Object.entries(tasks).map(([key, { about }]) => `  npm run ${key.padEnd(10)} ${about}`);
  fail(`What should run?\n${lines.join("\n")}`);
}
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
ensureNpm();
ensureDebian(task.debian);
if (task.build) ensureBuild();
process.exit(bun([...task.program, ...rest]));
