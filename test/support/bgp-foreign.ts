/** BGP daemons of Debian's packages, unpacked and never installed, in a namespace of a test: started, asked with their own clients, ended. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BIRD_PACKAGES,
  fetchPackages,
  FRR_PACKAGES,
  GOBGP_PACKAGES,
  SuiteError,
} from "../../tools/debian-suite.ts";
import { isErrno, type Netns, runSync, unixRequest } from "../../src/sys/mod.ts";
import { until } from "./bgp-ends.ts";
import { type Json, notRoot } from "./scratch.ts";

const PACKAGES = {
  frr: FRR_PACKAGES,
  bird: BIRD_PACKAGES,
  gobgp: GOBGP_PACKAGES,
} as const;

/** ForeignKind is one of the three. */
export type ForeignKind = keyof typeof PACKAGES;

/** Guards against hanging only: a dozen daemons that begin at once in an emulated machine take a minute. */
const ANSWER_MS = 250_000;

/** foreignRoot returns where a daemon is unpacked, or why it cannot be had. */
export function foreignRoot(
  kind: ForeignKind,
):
  | { readonly root: string; readonly lacks?: undefined }
  | { readonly lacks: string; readonly root?: undefined } {
  if (notRoot !== undefined) return { lacks: notRoot };
  try {
    return { root: fetchPackages("bookworm", PACKAGES[kind]) };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

/** Foreign is a running speaker. */
export class Foreign implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "causeway-bgp-"));
  readonly kind: ForeignKind;
  readonly #root: string;
  readonly #netns: Netns;
  readonly #daemons = new Map<string, Bun.Subprocess>();

  private constructor(kind: ForeignKind, options: { readonly root: string; readonly netns: Netns }) {
    this.kind = kind;
    this.#root = options.root;
    this.#netns = options.netns;
  }

  /** start starts a speaker with its configuration, with `bfd` FRR's BFD beside it, and waits until it answers. */
  static async start(
    kind: ForeignKind,
    options: {
      readonly root: string;
      readonly netns: Netns;
      readonly config: string;
      readonly bfd?: boolean;
    },
  ): Promise<Foreign> {
    const foreign = new Foreign(kind, options);
    try {
      foreign.#start(options);
      await until(
        `${kind} answers`,
        () => {
          const { status, stdout } = foreign.#ask(GREETINGS[kind]);
          return status === 0 && stdout.trim() !== "";
        },
        ANSWER_MS,
      );
      return foreign;
    } catch (error) {
      process.stderr.write(foreign.logs);
      await foreign[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What the daemons wrote. */
  get logs(): string {
    return readdirSync(this.folder)
      .filter((name) => name.endsWith(".log"))
      .map((name) => `${name}:\n${readFileSync(join(this.folder, name), "utf8")}`)
      .join("\n");
  }

  #program(name: string): string[] {
    const path = ["usr/lib/frr", "usr/sbin", "usr/bin"].map((folder) => `${this.#root}/${folder}/${name}`);
    const found = path.find((file) => Bun.file(file).size > 0);
    if (found === undefined) throw new Error(`there is no ${name} in ${this.#root}`);
    const libraries = [`${this.#root}/usr/lib`, `${this.#root}/lib`].flatMap((folder) => {
      const archs = safely(folder).filter((entry) => entry.endsWith("-linux-gnu"));
      return archs.flatMap((arch) => [`${folder}/${arch}`, `${folder}/${arch}/frr`]);
    });
    return ["env", `LD_LIBRARY_PATH=${libraries.join(":")}`, found];
  }

  #start({ config, bfd = false }: { readonly config: string; readonly bfd?: boolean }): void {
    const { folder } = this;
    const file = join(folder, "daemon.conf");
    writeFileSync(file, config);
    // Without it vtysh asks PAM, of which nothing is installed.
    writeFileSync(join(folder, "vtysh.conf"), "username root nopassword\n");
    const apart = this.#withGroup();
    const frr = (name: string) => [
      ...apart,
      ...this.#program(name),
      ...["-u", "root", "-g", "root", "-f", file, "-i", `${folder}/${name}.pid`],
      ...["-z", `${folder}/zserv.api`, "--vty_socket", folder, "-P", "0", "--log", "stdout"],
    ];
    switch (this.kind) {
      case "frr":
        this.#spawn("zebra", frr("zebra"));
        if (bfd) this.#spawn("bfdd", [...frr("bfdd"), "--bfdctl", `${folder}/bfdd.sock`]);
        return this.#spawn("bgpd", frr("bgpd"));
      case "bird":
        return this.#spawn("bird", [...this.#program("bird"), "-f", "-c", file, "-s", `${folder}/bird.ctl`]);
      case "gobgp":
        return this.#spawn("gobgpd", [...this.#program("gobgpd"), "-t", "toml", "-f", file]);
    }
  }

  /** What comes before a program that looks for a group that only FRR's installation makes: a mount namespace shows it, which is nobody else's. */
  #withGroup(): string[] {
    const groups = readFileSync("/etc/group", "utf8");
    if (/^frrvty:/m.test(groups)) return [];
    writeFileSync(join(this.folder, "group"), `${groups}frrvty:x:64999:root\n`);
    const script = `mount --bind ${this.folder}/group /etc/group && exec "$@"`;
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
  }

  #spawn(name: string, argv: readonly string[]): void {
    const log = Bun.file(join(this.folder, `${name}.log`));
    this.#netns.run(() => {
      const daemon = Bun.spawn([...argv], { stdin: "ignore", stdout: log, stderr: log });
      this.#daemons.set(name, daemon);
    });
  }

  #ask(words: readonly string[]): {
    readonly status: number | null;
    readonly stdout: string;
    readonly stderr: string;
  } {
    const { folder } = this;
    const [only = "", ...more] = words;
    if (this.kind === "frr" && more.length === 0 && only.startsWith("show bgp")) return askBgpd(folder, only);
    const argv = {
      frr: () => [
        ...this.#program("vtysh"),
        ...["--vty_socket", folder, "--config_dir", folder],
        ...words.flatMap((word) => ["-c", word]),
      ],
      bird: () => [...this.#program("birdc"), "-s", `${folder}/bird.ctl`, ...words],
      gobgp: () => [...this.#program("gobgp"), ...words],
    }[this.kind]();
    // Guards against hanging only: an emulated processor takes seconds.
    return runSync(argv, { netns: this.#netns, timeoutMs: 60_000 });
  }

  /** ask returns what the daemon's own client prints. For FRR each word is a command. */
  ask(...words: string[]): string {
    const { status, stdout, stderr } = this.#ask(words);
    if (status !== 0) throw new Error(`${this.kind} ${words.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  }

  json(...words: string[]): Json {
    return JSON.parse(this.ask(...words));
  }

  /** signal sends a signal to one of the daemons. */
  signal(name: string, signal: NodeJS.Signals): void {
    this.#daemons.get(name)?.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of [...this.#daemons.values()].reverse()) {
      daemon.kill("SIGKILL");
      await daemon.exited;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What vtysh does, without a program for each question: a command ends in a zero, its answer in three and a status (FRR, lib/vty.c). */
function askBgpd(folder: string, command: string): { status: number; stdout: string; stderr: string } {
  const end = /\0\0\0([^])$/;
  const isWhole = (answer: string) => end.test(answer.slice(-4));
  try {
    const answer = unixRequest(`${folder}/bgpd.vty`, {
      ...{ text: `${command}\0`, complete: isWhole, timeoutMs: 60_000 },
    });
    const status = end.exec(answer)?.[1]?.charCodeAt(0) ?? 1;
    return { status, stdout: answer.replace(end, ""), stderr: "" };
  } catch (error) {
    // It does not listen yet.
    if (!isErrno(error, "ENOENT", "ECONNREFUSED")) throw error;
    return { status: 1, stdout: "", stderr: String(error) };
  }
}

const GREETINGS: Readonly<Record<ForeignKind, readonly string[]>> = {
  frr: ["show bgp summary json"],
  bird: ["show", "status"],
  gobgp: ["global", "-j"],
};

function safely(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not every package has it
  }
}
