/**
 * A launcher in a node of namespaces: the file that `launcherFor` makes, beside it what stands for the full executable, and a socket
 * where the agent's would be, on which the test itself answers.
 */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { SpawnOptions, Subprocess } from "bun";
import { launcherFor } from "../../src/cni/mod.ts";
import { CniNode, type Outcome } from "./cni-node.ts";

const root = new URL("../..", import.meta.url).pathname;

/** Says how it was called, gives back its standard input, and ends with 7. */
const WITNESS = `#!/bin/sh
echo "full $0 $# $1"
env | grep -c '^PAD' >&2
cat
exit 7
`;

/** runnerOf says how this machine runs a program of an architecture: as it is, by QEMU, or (undefined) not at all. */
export function runnerOf(architecture: "x64" | "arm64"): readonly string[] | undefined {
  if (process.arch === architecture) return [];
  const name = `qemu-${architecture === "arm64" ? "aarch64" : "x86_64"}`;
  const path = Bun.which(name) ?? Bun.which(`${name}-static`);
  return path === null ? undefined : [path];
}

/** Given is what a call gets; standard input is empty when it is not said. */
export interface Given {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  readonly args?: readonly string[];
}

/** LauncherScene owns the node and the files. */
export class LauncherScene implements AsyncDisposable {
  readonly node: CniNode;
  /** Of the node's own /run, so that nothing stays. */
  readonly folder = "/run/launcher";
  readonly launcher = `${this.folder}/causeway`;
  readonly #runner: readonly string[];

  private constructor(node: CniNode, architecture: string, runner: readonly string[]) {
    this.node = node;
    this.#runner = runner;
    mkdirSync(this.outside(this.folder));
    writeFileSync(this.outside(this.launcher), launcherFor(architecture) as Uint8Array, { mode: 0o755 });
    this.placeFull("witness");
  }

  static async create(architecture: string, runner: readonly string[] = []): Promise<LauncherScene> {
    return new LauncherScene(await CniNode.create(), architecture, runner);
  }

  /** placeFull puts the real executable, a witness, or nothing beside the launcher. */
  placeFull(what: "real" | "witness" | "nothing"): void {
    const path = this.outside(`${this.launcher}-full`);
    rmSync(path, { force: true });
    const executable = process.env["CAUSEWAY_EXECUTABLE"];
    if (what === "real" && executable !== undefined) symlinkSync(executable, path);
    else if (what !== "nothing") {
      const source = `#!/bin/sh\nexec ${process.execPath} ${root}src/main.ts "$@"\n`;
      writeFileSync(path, what === "real" ? source : WITNESS, { mode: 0o755 });
    }
  }

  /** outside returns how a path of the node is reached by the test. */
  outside(path: string): string {
    return this.node.netnsPath(`../../${path.slice(1)}`);
  }

  /** The agent's socket, for the test to listen on. */
  get socketPath(): string {
    return this.outside("/run/causeway/cni.sock");
  }

  /** inside returns a command line that runs another one in the node. */
  inside(argv: readonly string[]): string[] {
    const keeper = /^\/proc\/(\d+)\//.exec(this.socketPath)?.[1] as string;
    return ["nsenter", "-t", keeper, "-n", "-m", "--", ...argv];
  }

  /** start starts the launcher with nothing in its environment but what is given. */
  start<I extends SpawnOptions.Writable, O extends SpawnOptions.Readable>(
    given: Given,
    streams: { stdin: I; stdout: O },
  ): Subprocess<I, O, "pipe"> {
    return Bun.spawn(this.inside([...this.#runner, this.launcher, ...(given.args ?? [])]), {
      ...streams,
      stderr: "pipe",
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...given.env },
    });
  }

  /** call runs the launcher to its end. */
  async call(given: Given): Promise<Outcome> {
    const child = this.start(given, { stdin: Buffer.from(given.stdin ?? ""), stdout: "pipe" });
    const [stdout, stderr, status] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]();
  }
}
