/**
 * Programs of Kubernetes for the tests: those of `KUBEBUILDER_ASSETS` where that is set, or built once from Debian's source package.
 *
 * `bun tools/kubernetes.ts [PROGRAM…]` builds into `.cache/kubernetes` and prints the folder; without a name, kube-apiserver. Nothing is
 * installed: source, compiler and libraries are Debian 12's, unpacked beside ours.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isAlive } from "../src/sys/mod.ts";
import { fetchPackages, fetchSource, SuiteError } from "./debian-suite.ts";

const CACHE = join(resolve(import.meta.dir, ".."), ".cache/kubernetes");
const SUITE = "bookworm";
const VERSION = "1.20.2";
const REFLECT = "github.com/modern-go/reflect2";
const PACKAGE = "k8s.io/kubernetes";
const OPENAPI = "pkg/generated/openapi";

/** kubernetesProgram returns the path of a program of Kubernetes, or the reason why there is none; it builds nothing. */
export function kubernetesProgram(
  name: string,
): { readonly path: string; readonly lacks?: undefined } | { readonly lacks: string; readonly path?: never } {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  const path = join(assets ?? join(CACHE, VERSION), name);
  if (existsSync(path)) return { path };
  if (assets !== undefined) return { lacks: `there is no ${name} in KUBEBUILDER_ASSETS (${assets})` };
  return {
    lacks: `${name} is not built; run: npm run kubernetes -- ${name} (10 minutes), or set KUBEBUILDER_ASSETS`,
  };
}

type Say = (text: string) => void;

/** Go is a compiler with its environment, in which the source lies as its makefiles want it (GOPATH mode). */
interface Go {
  readonly source: string;
  readonly env: Readonly<Record<string, string>>;
  readonly say: Say;
}

/** buildKubernetes builds programs into the cache, unless they are there, and returns their folder. */
export async function buildKubernetes(names: readonly string[], say: Say): Promise<string> {
  const folder = join(CACHE, VERSION);
  mkdirSync(folder, { recursive: true });
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  if (missing.length === 0) return folder;
  const work = workFolder();
  try {
    say("fetching Debian's source and compiler …");
    const packages = ["golang-1.19-go", "golang-1.19-src", "golang-github-modern-go-reflect2-dev"];
    const root = fetchPackages(SUITE, packages);
    const source = join(work, "go/src", PACKAGE);
    mkdirSync(join(source, ".."), { recursive: true });
    fetchSource(SUITE, "kubernetes", source);
    const go: Go = { source, env: environment(root, work), say };
    await generateOpenApi(go, work);
    const overlay = reflectOverlay(root, { source, work });
    for (const name of missing) {
      await build(go, [`-overlay=${overlay}`, `-ldflags=${versionFlags()}`], {
        name: `cmd/${name}`,
        to: `${work}/${name}`,
      });
      // A file under its name is whole.
      renameSync(join(work, name), join(folder, name));
    }
    return folder;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A folder for this build; those of builds that were killed are removed. */
function workFolder(): string {
  for (const name of readdirSync(CACHE)) {
    const pid = Number(/^work-(\d+)$/.exec(name)?.[1]);
    if (pid > 1 && !isAlive(pid)) rmSync(join(CACHE, name), { recursive: true, force: true });
  }
  return join(CACHE, `work-${process.pid}`);
}

function environment(root: string, work: string): Record<string, string> {
  const goroot = join(root, "usr/lib/go-1.19");
  return {
    PATH: `${join(goroot, "bin")}:${process.env["PATH"] ?? ""}`,
    HOME: work,
    GOROOT: goroot,
    GOPATH: join(work, "go"),
    GOCACHE: join(work, "cache"),
    GO111MODULE: "off",
    GOTOOLCHAIN: "local",
    CGO_ENABLED: "0",
    GOMAXPROCS: "2",
  };
}

/** Two at a time, and after everybody else's work. */
async function build(
  go: Go,
  flags: readonly string[],
  { name, to }: { readonly name: string; readonly to: string },
): Promise<void> {
  const begun = performance.now();
  const argv = ["nice", "-n", "19", "go", "build", "-v", "-p", "2", ...flags, "-o", to, `${PACKAGE}/${name}`];
  const child = Bun.spawn(argv, { cwd: go.source, env: go.env, stdout: "ignore", stderr: "pipe" });
  const seconds = () => Math.round((performance.now() - begun) / 1000);
  let [lines, rest] = [0, ""];
  for await (const part of child.stderr) {
    const text = `${rest}${Buffer.from(part).toString()}`.split("\n");
    rest = text.pop() ?? "";
    for (const line of text) {
      // What is no package's name is an error of the compiler.
      if (!/^[\w./~-]+$/.test(line)) go.say(line);
      else if (++lines % 100 === 0) go.say(`${name}: ${lines} packages, ${seconds()} s`);
    }
  }
  if ((await child.exited) !== 0)
    throw new SuiteError(`Cannot build ${name}: ${argv[3]} ended with an error`);
  go.say(`${name}: built in ${seconds()} s`);
}

/** The one generated file that the source package lacks, made by the generator that it has. */
async function generateOpenApi(go: Go, work: string): Promise<void> {
  const generator = join(work, "openapi-gen");
  await build(go, [], { name: "vendor/k8s.io/kube-openapi/cmd/openapi-gen", to: generator });
  const argv = [
    ...["nice", "-n", "19", generator, "--logtostderr", "-i", taggedPackages(go.source).join(",")],
    ...["-p", `${PACKAGE}/${OPENAPI}`, "-O", "zz_generated.openapi", "-r", join(work, "violations")],
    ...["-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt"],
  ];
  const done = Bun.spawnSync(argv, { cwd: go.source, env: go.env, stdout: "ignore", stderr: "pipe" });
  if (!done.success)
    throw new SuiteError(`Cannot generate ${OPENAPI}: ${done.stderr.toString().slice(-500)}`);
}

/** The packages that ask for it, as build/root/Makefile.generated_files finds them. */
function taggedPackages(source: string): string[] {
  const folders = new Set<string>();
  for (const base of ["pkg", "staging/src"])
    for (const name of readdirSync(join(source, base), { recursive: true, encoding: "utf8" })) {
      const path = `${base}/${name}`;
      if (!path.endsWith(".go") || path.endsWith("_test.go")) continue;
      if (path.includes("/code-generator/") || path.includes("/sample-apiserver/")) continue;
      if (!readFileSync(join(source, path), "utf8").includes("+k8s:openapi-gen=")) continue;
      folders.add(`${PACKAGE}/${path.slice(0, path.lastIndexOf("/")).replace(/^staging\/src\//, "vendor/")}`);
    }
  return [...folders].sort();
}

/** reflect2 1.0.1, which is vendored, reads memory of Go before 1.18 and crashes where a custom resource definition is made. */
function reflectOverlay(root: string, { source, work }: { source: string; work: string }): string {
  const [newer, vendored] = [
    join(root, "usr/share/gocode/src", REFLECT),
    join(source, "vendor", REFLECT),
  ] as const;
  const code = (folder: string) =>
    readdirSync(folder).filter((name) => /\.(go|s)$/.test(name) && !name.endsWith("_test.go"));
  const replace = Object.fromEntries([
    ...code(vendored).map((name) => [join(vendored, name), ""]),
    ...code(newer).map((name) => [join(vendored, name), join(newer, name)]),
  ]);
  const path = join(work, "overlay.json");
  writeFileSync(path, JSON.stringify({ Replace: replace }));
  return path;
}

function versionFlags(): string {
  const [major, minor] = VERSION.split(".");
  const values = { gitVersion: `v${VERSION}`, gitMajor: major, gitMinor: minor };
  return [
    "-s -w",
    ...Object.entries(values).map(
      ([key, value]) => `-X ${PACKAGE}/vendor/k8s.io/component-base/version.${key}=${value}`,
    ),
  ].join(" ");
}

if (import.meta.main) {
  const names = process.argv.slice(2);
  const say: Say = (text) => void process.stderr.write(`${text}\n`);
  process.stdout.write(`${await buildKubernetes(names.length > 0 ? names : ["kube-apiserver"], say)}\n`);
}
