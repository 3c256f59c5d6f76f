/**
 * Builds the one executable, dist/causeway. The flags are rules, each with a reason:
 * - no autoloaded .env and bunfig.toml: a plugin runs as root in whatever folder the container runtime stands in;
 * - no code generation from strings: also refuses `BUN_OPTIONS=--preload`, so no foreign code runs in ours;
 * - splitting and bytecode: the CNI plugin starts in milliseconds because it loads only its own part;
 * - no `strip` afterwards, ever: it removes the program from the executable.
 */
import { readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { version } from "../package.json";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

/** Entry points: the program first, then each worker. */
const entries = ["src/main.ts", "src/tunnel/dataplane/worker-thread.ts", "src/gatewayd/queue-thread.ts"];

/** Two builds of one version differ by this: a data plane of another build is succeeded by one of this. */
function sourcesDigest(): string {
  const hash = new Bun.CryptoHasher("sha256");
  const files = [...new Bun.Glob("src/**/*.ts").scanSync()].filter((name) => !name.endsWith(".test.ts"));
  for (const name of [...files.sort(), "package-lock.json"])
    hash.update(`${name}\n`).update(readFileSync(name));
  return hash.digest("hex").slice(0, 12);
}

const build = Bun.spawnSync(
  [
    process.execPath,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    "--splitting",
    "--sourcemap",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    "--compile-exec-argv=--disallow-code-generation-from-strings=strict",
    `--define=CAUSEWAY_VERSION=${JSON.stringify(version)}`,
    `--define=CAUSEWAY_BUILD=${JSON.stringify(sourcesDigest())}`,
    "--outfile=dist/causeway.new",
    ...entries,
  ],
  { stdout: "pipe", stderr: "pipe" },
);
if (!build.success) {
  process.stderr.write(build.stdout.toString() + build.stderr.toString());
  process.exit(1);
}
// By rename, so that a running agent or plugin keeps its old file.
renameSync("dist/causeway.new", "dist/causeway");
// The maps are inside as well; stack traces name source lines without these files.
for (const name of readdirSync("dist")) if (name.endsWith(".map")) rmSync(`dist/${name}`);
process.stderr.write(`dist/causeway ${version}, ${Math.round(Bun.file("dist/causeway").size / 1e6)} MB\n`);
