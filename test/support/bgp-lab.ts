/** Laboratories of whole BGP speakers: ours, and daemons of Debian's packages, each asked with its own client. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { Lab, until as waitUntil } from "../../src/lab/mod.ts";
import { processesInNetns } from "../../src/sys/mod.ts";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { foreignRoot } from "./bgp-foreign.ts";
import { executable, labLacks } from "./lab-needs.ts";
import type { Json } from "./scratch.ts";

/** Guards against hanging only. */
const DEADLINE_MS = 90_000;

/** SpeakerSpec is one box; its networks by name with the last part of its addresses. */
export interface SpeakerSpec {
  readonly kind: "causeway" | "frr" | "gobgp" | "bird";
  /** Host part of its addresses: 192.0.2.HOST and 2001:db8::HOST on network `wire`; of others as listed. */
  readonly host: number;
  readonly config: string;
  readonly loopback?: readonly string[];
  readonly networks?: readonly string[];
  readonly root?: string;
}

/** daemonRoots returns where the daemons are, or why some cannot be had. */
export function daemonRoots(): { readonly roots: Readonly<Record<string, string>>; readonly lacks?: string } {
  const roots: Record<string, string> = {};
  if (labLacks !== undefined) return { roots, lacks: labLacks };
  for (const kind of ["frr", "bird", "gobgp"] as const) {
    const found = foreignRoot(kind);
    if (found.root === undefined) return { roots, lacks: found.lacks };
    roots[kind] = found.root;
  }
  return { roots };
}

/** newerBird returns a BIRD that speaks EVPN (2.20), or undefined where it cannot be had. */
export function newerBird(): string | undefined {
  const list =
    "bird2 libc6 libgcc-s1 libgcrypt20 libgpg-error0 libreadline8t64 libssh-4 libssl3t64 libtinfo6 libzstd1 zlib1g";
  return fetched("sid", list);
}

/** newerFrr returns FRR 10.3, or undefined where it cannot be had. */
export function newerFrr(): string | undefined {
  const list =
    "frr liblua5.3-0 libyang3 libc6 libc-ares2 libcrypt1 libjson-c5 liblzma5 libprotobuf-c1 libunwind8";
  return fetched("trixie", list);
}

function fetched(suite: string, list: string): string | undefined {
  if (labLacks !== undefined) return undefined;
  try {
    return fetchPackages(suite, list.split(" "));
  } catch (error) {
    if (error instanceof SuiteError) return undefined;
    throw error;
  }
}

/** routerOf returns the manifest of a BgpRouter of ours. */
export function routerOf(spec: object): string {
  const whole = { asn: 65001, routerId: "192.0.2.1", ...spec };
  return JSON.stringify({
    apiVersion: "causeway.network/v1alpha1",
    kind: "BgpRouter",
    metadata: { name: "us" },
    spec: whole,
  });
}

/** until waits for something that is asked for. */
export async function until(what: string, holds: () => Promise<unknown>): Promise<void> {
  let last = "";
  await waitUntil(
    async () => {
      try {
        if (await holds()) return undefined;
        last = "not yet";
      } catch (error) {
        last = String(error);
      }
      return last;
    },
    { what, deadlineMs: DEADLINE_MS },
  );
}

/** Networks by their number: wire is 192.0.2.0/24, the others 198.51.100.0/24 and so on. */
const PREFIXES: Readonly<Record<string, readonly [string, string]>> = {
  wire: ["192.0.2", "2001:db8:"],
  second: ["198.51.100", "2001:db8:100:"],
  third: ["203.0.113", "2001:db8:113:"],
  fourth: ["100.64.0", "2001:db8:64:"],
  fifth: ["192.168.5", "2001:db8:5:"],
};

/** SpeakerLab is a laboratory that is up, and is taken down when it is disposed. */
export class SpeakerLab implements AsyncDisposable {
  readonly lab: Lab;

  private constructor(lab: Lab) {
    this.lab = lab;
  }

  static async up(name: string, speakers: Readonly<Record<string, SpeakerSpec>>): Promise<SpeakerLab> {
    const { roots } = daemonRoots();
    const networks = [...new Set(Object.values(speakers).flatMap((one) => one.networks ?? ["wire"]))];
    const manifest = {
      apiVersion: "causeway.network/v1alpha1",
      kind: "Lab",
      metadata: { name },
      spec: {
        networks: networks.map((network) => ({
          name: network,
          prefix4: `${PREFIXES[network]?.[0]}.0/24`,
          prefix6: `${PREFIXES[network]?.[1]}:/64`,
        })),
        speakers: Object.entries(speakers).map(
          ([box, { host, networks: own = ["wire"], kind, ...rest }]) => ({
            name: box,
            kind,
            ...(roots[kind] === undefined ? {} : { root: roots[kind] }),
            ...rest,
            networks: own.map((network) => ({
              name: network,
              address4: `${PREFIXES[network]?.[0]}.${host}`,
              address6: `${PREFIXES[network]?.[1]}:${host}`,
            })),
          }),
        ),
      },
    };
    const root = `/run/causeway-test/${process.pid}-${name}`;
    return new SpeakerLab(await Lab.up(JSON.stringify(manifest), { root, executable }));
  }

  /** ask returns what a speaker's own client prints. */
  ask(name: string, ...words: string[]): Promise<string> {
    return this.lab.ask(name, ...words);
  }

  async json(name: string, ...words: string[]): Promise<Json> {
    return JSON.parse(await this.ask(name, ...words));
  }

  /** neighbor returns what our speaker says of one neighbor. */
  async neighbor(name: string, us = "us"): Promise<Json> {
    const [found] = await this.json(us, `neighbor ${name} --json`);
    return found;
  }

  /** established waits until our speaker has sessions with all of these. */
  async established(...names: readonly string[]): Promise<void> {
    for (const name of names)
      await until(`${name} is established`, async () => (await this.neighbor(name)).state === "established");
  }

  /** sh runs a script in a box. */
  async sh(name: string, script: string): Promise<string> {
    const { status, stdout, stderr } = await this.lab.exec(name, ["sh", "-ec", script]);
    if (status !== 0) throw new Error(`${name}: ${script}: ${stderr}${stdout}`);
    return stdout;
  }

  /** file returns the path of one of a speaker's files. */
  file(name: string, file: string): string {
    return `${this.lab.place.state(name)}/${file}`;
  }

  /** log returns what one of a speaker's daemons wrote. */
  log(name: string, daemon: string): string {
    return readFileSync(this.file(name, `${daemon}.log`), "utf8");
  }

  /** pid returns the process of a speaker whose command line has some text. */
  pid(name: string, text: string): number {
    using netns = this.lab.netns(name);
    const found = processesInNetns(new Set([netns.inode])).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").includes(text),
    );
    if (found === undefined) throw new Error(`no ${text} runs in ${name}`);
    return found;
  }

  /** change gives our speaker another file, and tells it. */
  change(config: string, us = "us"): void {
    writeFileSync(this.file(us, "bgp.yaml"), config);
    process.kill(this.pid(us, " bgp run "), "SIGHUP");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const folder = this.lab.place.folder;
    await this.lab.down();
    rmSync(folder.slice(0, folder.lastIndexOf("/")), { recursive: true, force: true });
  }
}
