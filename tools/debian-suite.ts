/**
 * Packages of another Debian suite, unpacked beside ours and never installed.
 *
 * The ordinary client does the work (apt-get update, apt-get download, dpkg -x) on a state of its own, so that the machine's lists and
 * pins stay as they are. Its one source is the machine's own, with the name of the suite exchanged: whoever serves this machine serves that too.
 *
 * `bun tools/debian-suite.ts trixie libipsec-mb2` prints the folder.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const REPOSITORY = resolve(import.meta.dir, "..");
const CACHE = join(REPOSITORY, ".cache/debian");
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** FRR, with the libraries that a small installation lacks. */
export const FRR_PACKAGES: readonly string[] =
  "frr libc-ares2 libcap2 libelf1 libjson-c5 libpam0g libpcre2-8-0 libprotobuf-c1 librtr0 libsystemd0 libyang2 libzmq5".split(
    " ",
  );

/** BIRD_PACKAGES are BIRD, with the library that a small installation lacks. */
export const BIRD_PACKAGES: readonly string[] = ["bird2", "libssh-gcrypt-4"];

/** GOBGP_PACKAGES are GoBGP. */
export const GOBGP_PACKAGES: readonly string[] = ["gobgpd"];

/** SuiteError says why packages of another suite cannot be had here; tests are skipped with its message. */
export class SuiteError extends Error {
  override readonly name = "SuiteError";
}

/** unpackedFolder returns where packages of a suite are unpacked: their root folder, with `usr` in it. */
export function unpackedFolder(suite: string, packages: readonly string[]): string {
  return join(CACHE, suite, [...packages].sort().join("+"));
}

/** fetchPackages unpacks packages of a suite into the cache, unless they are there, and returns their root folder. */
export function fetchPackages(suite: string, packages: readonly string[]): string {
  const folder = unpackedFolder(suite, packages);
  if (existsSync(folder)) return folder;
  // Two runs at once work in folders of their own; the first to finish gives the result its name.
  const work = `${folder}.${process.pid}`;
  rmSync(work, { recursive: true, force: true });
  try {
    for (const name of ["lists/partial", "archives/partial", "root"])
      mkdirSync(join(work, name), { recursive: true });
    writeFileSync(join(work, "sources.list"), sourceOf(suite));
    const apt = aptArguments(work);
    run(["apt-get", ...apt, "update"], work);
    run(["apt-get", ...apt, "download", ...packages], join(work, "archives"));
    for (const name of readdirSync(join(work, "archives")))
      if (name.endsWith(".deb")) run(["dpkg", "-x", join(work, "archives", name), join(work, "root")], work);
    if (!existsSync(folder)) renameSync(join(work, "root"), folder);
    return folder;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** fetchSource unpacks a source package of a suite, its patches applied, into `folder`, which must not be there. Needs dpkg-dev. */
export function fetchSource(suite: string, name: string, folder: string): void {
  const work = `${folder}.apt`;
  rmSync(work, { recursive: true, force: true });
  try {
    for (const part of ["lists/partial", "archives/partial", "source"])
      mkdirSync(join(work, part), { recursive: true });
    writeFileSync(join(work, "sources.list"), sourceOf(suite, "deb-src"));
    const apt = aptArguments(work);
    const source = join(work, "source");
    run(["apt-get", ...apt, "update"], work);
    run(["apt-get", ...apt, "source", "--download-only", name], source);
    const description = readdirSync(source).find((file) => file.endsWith(".dsc"));
    if (description === undefined) throw new SuiteError(`Cannot fetch ${name}: there is no .dsc file of it`);
    // apt has checked the files' hashes against the signed index.
    run(["dpkg-source", "--no-check", "-x", description, "unpacked"], source);
    renameSync(join(source, "unpacked"), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The machine's source of Debian, for another suite, as a line of sources.list(5). */
function sourceOf(suite: string, type = "deb"): string {
  const own = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const listed = run(
    ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
    "/",
  );
  const found = listed
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, release, component]) => release === own && component === "main");
  if (own === undefined || found === undefined)
    throw new SuiteError(
      `Cannot find packages of ${suite}: apt has no source of Debian ${own ?? "on this system"}`,
    );
  const signed = existsSync(KEYRING) ? ` [signed-by=${KEYRING}]` : "";
  return `${type}${signed} ${found[0]} ${suite} main\n`;
}

function aptArguments(work: string): string[] {
  const options = {
    "Dir::State::lists": join(work, "lists"),
    "Dir::Cache": work,
    "Dir::Cache::archives": "archives",
    "Dir::Etc::sourcelist": join(work, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "APT::Get::List-Cleanup": "false",
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
    // A mirror of a suite in work may lag behind the days that its index is meant for; signatures are checked all the same.
    "Acquire::Check-Valid-Until": "false",
    "APT::Update::Error-Mode": "any",
  };
  return ["-qq", ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`])];
}

function run(argv: readonly string[], cwd: string): string {
  if (Bun.which(argv[0] as string) === null)
    throw new SuiteError(
      `Cannot run ${argv[0]}: it is not installed; packages can be fetched on Debian only`,
    );
  const done = Bun.spawnSync([...argv], { cwd, stdout: "pipe", stderr: "pipe" });
  if (done.success) return done.stdout.toString();
  const said = /^(?:E|dpkg[^:]*): .*/m.exec(done.stderr.toString())?.[0] ?? "";
  throw new SuiteError(`Cannot fetch packages: ${argv[0]} ended with ${done.exitCode}: ${said}`);
}

if (import.meta.main) {
  const [suite, ...packages] = process.argv.slice(2);
  if (suite === undefined || packages.length === 0) {
    process.stderr.write("usage: bun tools/debian-suite.ts SUITE PACKAGE…\n");
    process.exit(2);
  }
  process.stdout.write(`${fetchPackages(suite, packages)}\n`);
}
