/**
 * The story of two regions: gateways as processes of the real executable, with their configurations as people write them; hosts, cables and the
 * 1:1 NAT between are the kernel's.
 *
 * ```
 *  host 172.31.0.1 ═ eth1  paris  eth2, eth3 ═ wan: 172.31.1.30 ↔ 203.0.113.2 … 203.0.113.5 ↔ 172.32.1.30 ═ eth2, eth3  tokyo  eth1 ═ 172.32.0.1 host
 * ```
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import {
  type Netns,
  type ProcessResult,
  readText,
  removeTree,
  run,
  runSync,
  writeKernelFile,
} from "../../src/sys/mod.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";
import { executable } from "./lab-needs.ts";
import { Scratch } from "./scratch.ts";
import { sumInSoftware } from "./sum-in-software.ts";

/** The cities, as their networks are numbered. */
export const CITIES = { paris: 31, tokyo: 32 } as const;
export type City = keyof typeof CITIES;

/** What a NAT shows for which address. */
const NATS = [
  ["172.31.1.30", "203.0.113.2"],
  ["172.31.1.31", "203.0.113.3"],
  ["172.32.1.30", "203.0.113.5"],
  ["172.32.1.31", "203.0.113.6"],
] as const;

/** BEHIND are the public addresses of gateways behind `natsOfMany`. */
export const BEHIND = { paris: "172.31.1.30", tokyo: "10.32.1.30" } as const;

/** exampleOf returns the configuration of the examples, verbatim. */
export function exampleOf(city: City): string {
  return readFileSync(`${import.meta.dir}/../../examples/gateway/${city}.conf`, "utf8");
}

interface Site {
  readonly host: Netns;
  readonly gateway: Netns;
  process?: Bun.Subprocess<"ignore", "ignore", "pipe">;
  log: string;
}

/** GatewayStory is all of it; disposing ends the gateways too. */
export class GatewayStory implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly wan: Netns;
  readonly folder: string;
  readonly #sites = {} as Record<City, Site>;

  /** `queues` of each private interface: as many as the gateways have. */
  constructor(queues: 1 | 2 = 2) {
    this.wan = this.scratch.netns;
    this.folder = this.scratch.folder.replace("causeway-test/", "causeway-test/gateways-");
    try {
      this.#makeWan();
      for (const city of ["paris", "tokyo"] as const) this.#sites[city] = this.#makeSite(city, queues);
    } catch (error) {
      this.scratch[Symbol.dispose]();
      throw error;
    }
  }

  #makeWan(): void {
    const { scratch, wan } = this;
    scratch.text("ip link set lo up", wan);
    for (const number of Object.values(CITIES)) scratch.text(`ip addr add 172.${number}.0.1/32 dev lo`, wan);
    wan.run(() => writeKernelFile("/proc/sys/net/ipv4/ip_forward", "1"));
    const rules = NATS.map(
      ([inside, outside]) =>
        `add rule ip wan in ip daddr ${outside} ip daddr set ${inside}\nadd rule ip wan out ip saddr ${inside} ip saddr set ${outside}\n`,
    );
    this.#setNats(`add chain ip wan in { type filter hook prerouting priority -300; }
add chain ip wan out { type filter hook postrouting priority 300; }
${rules.join("")}`);
  }

  #setNats(rules: string): void {
    const input = `add table ip wan\ndelete table ip wan\nadd table ip wan\n${rules}`;
    const done = runSync(["nft", "-f", "-"], { netns: this.wan, input });
    if (done.status !== 0) throw new Error(done.stderr);
  }

  /** natsOfMany has NATs in the place of the 1:1 ones, before BEHIND: they give each flow a port, and let in from outside what calls these ports of UDP alone. */
  natsOfMany(forwarded: Partial<Record<City, number>>): void {
    // 172.32.0.0 is none of a private network.
    this.scratch.text(`ip route replace ${BEHIND.tokyo}/32 dev teth2`, this.wan);
    const lines = (["paris", "tokyo"] as const).flatMap((city) => {
      const [inside, outside, port] = [BEHIND[city], NATS[city === "paris" ? 0 : 2][1], forwarded[city]];
      return [
        `add rule ip wan out ip saddr ${inside} meta l4proto udp snat to ${outside}:20000-30000 random`,
        ...(port === undefined
          ? []
          : [`add rule ip wan in ip daddr ${outside} udp dport ${port} dnat to ${inside}:${port}`]),
      ];
    });
    this.#setNats(`add chain ip wan in { type nat hook prerouting priority dstnat; }
add chain ip wan out { type nat hook postrouting priority srcnat; }
${lines.join("\n")}\n`);
  }

  #makeSite(city: City, queues: number): Site {
    const { scratch, wan } = this;
    const [host, gateway] = [scratch.another(), scratch.another()];
    const number = CITIES[city];
    const macs = [...exampleOf(city).matchAll(/^ {2}mac ([0-9a-f:]+);/gm)].map((match) => match[1] as string);
    const several = `numrxqueues ${queues} numtxqueues ${queues}`;
    const path = (netns: Netns) => `/proc/${process.pid}/fd/${netns.fd.number}`;
    scratch.text(
      `ip link add eth1 ${several} type veth peer name eth0 ${several} netns ${path(host)}`,
      gateway,
    );
    for (const [index, name] of ["eth2", "eth3"].entries()) {
      const far = `${city[0]}${name}`;
      scratch.text(`ip link add ${name} type veth peer name ${far} netns ${path(wan)}`, gateway);
      scratch.text(`ip link set ${far} up`, wan);
      scratch.text(`ip route add 172.${number}.1.3${index}/32 dev ${far}`, wan);
    }
    for (const [index, mac] of macs.entries()) {
      scratch.text(`ip link set eth${index + 1} address ${mac}`, gateway);
      scratch.text(`ip link set eth${index + 1} up`, gateway);
    }
    scratch.text("ip link set lo up", host);
    scratch.text(`ip addr add 172.${number}.0.1/16 dev eth0`, host);
    scratch.text("ip link set eth0 up", host);
    const other = city === "paris" ? CITIES.tokyo : CITIES.paris;
    scratch.text(`ip route add 172.${other}.0.0/16 via 172.${number}.1.20 mtu 1440`, host);
    sumInSoftware(host, "eth0");
    return { host, gateway, log: "" };
  }

  /** start runs a gateway on AF_XDP, and resolves when it says that it is ready. */
  start(city: City, ...options: readonly string[]): Promise<void> {
    return this.startBy([], city, "--xdp", ...options);
  }

  /** startBy runs it by another program, which is given words before it, such as setpriv. */
  async startBy(by: readonly string[], city: City, ...options: readonly string[]): Promise<void> {
    const site = this.#sites[city];
    const libraries = ipsecMbFolders().flatMap((folder) => ["--libraries", folder]);
    const argv = [...by, executable, "gateway", "run", "--name", city, ...this.#where];
    const state = ["--state", `${this.folder}/${city}`];
    const child = site.gateway.run(() => ({
      process: Bun.spawn([...argv, ...state, ...libraries, ...options], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
      }),
    })).process;
    site.process = child;
    void child.stderr.pipeTo(
      new WritableStream({ write: (chunk) => void (site.log += Buffer.from(chunk).toString()) }),
    );
    const before = site.log.length;
    await this.until(`${city} is ready`, () => site.log.slice(before).includes("gateway is ready"));
  }

  get #where(): readonly string[] {
    return ["--folder", this.folder];
  }

  /** end sends a signal, and resolves when the gateway has ended. */
  async end(city: City, signal: NodeJS.Signals): Promise<void> {
    const child = this.#sites[city].process;
    child?.kill(signal);
    await child?.exited;
  }

  /** threads counts the threads of a gateway's process. */
  threads(city: City): number {
    return readdirSync(`/proc/${this.#sites[city].process?.pid}/task`).length;
  }

  /** processors returns on which each thread of a gateway may run (proc(5), Cpus_allowed_list), the first thread's first. */
  processors(city: City): string[] {
    const tasks = `/proc/${this.#sites[city].process?.pid}/task`;
    const ids = readdirSync(tasks).sort((a, b) => Number(a) - Number(b));
    // A thread of the runtime may end meanwhile.
    return ids.flatMap((id) => {
      const status = readText(`${tasks}/${id}/status`) ?? "";
      return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? [];
    });
  }

  /** kept returns what a gateway has on disk: names, and when each was written. */
  kept(name: string): string[] {
    const folder = `${this.folder}/${name}`;
    return readdirSync(folder)
      .sort()
      .map((file) => `${file} ${statSync(`${folder}/${file}`).mtimeMs}`);
  }

  log(city: City): string {
    return this.#sites[city].log;
  }

  /** causeway runs a command of the command line about a gateway; its words come before the name of the folder. */
  causeway(words: readonly string[], input?: string): Promise<ProcessResult> {
    return run([executable, ...words, ...this.#where], { ...(input === undefined ? {} : { input }) });
  }

  /** config does one verb, and throws what it refuses. */
  async config(words: readonly string[], input?: string): Promise<string> {
    const { status, stdout, stderr } = await this.causeway(["config", ...words], input);
    if (status !== 0) throw new Error(`causeway config ${words.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** state returns one leaf of `get-state`. */
  async state(city: City, path: string): Promise<string> {
    return (await this.config(["get-state", city, `/gateway-state${path}`])).trim();
  }

  /** hostOf returns the network namespace of a site's host. */
  hostOf(city: City): Netns {
    return this.#sites[city].host;
  }

  /** on runs a program on a site's host. */
  on(city: City, command: string): Promise<ProcessResult> {
    return run(command.split(" "), { netns: this.#sites[city].host });
  }

  /** beside runs a program where a gateway's interfaces are. */
  beside(city: City, command: string): string {
    return this.scratch.text(command, this.#sites[city].gateway);
  }

  /** serve starts a program on a site's host; the caller ends it. */
  serve(city: City, command: string): Bun.Subprocess<"ignore", "pipe", "pipe"> {
    return this.#sites[city].host.run(() => ({
      process: Bun.spawn(command.split(" "), { stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
    })).process;
  }

  /** until waits for something; a slow machine has all the time that the test has. */
  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await isSo()); tries++) {
      if (tries > 300)
        throw new Error(`${what}: it is not so\n${this.#sites.paris.log}\n${this.#sites.tokyo.log}`);
      await Bun.sleep(100);
    }
  }

  /** up waits until a gateway's route is up. */
  up(city: City): Promise<void> {
    const other = city === "paris" ? "tokyo" : "paris";
    return this.until(`${city}'s route is up`, async () =>
      (await this.state(city, `/route[id=${other}]/up`)).includes("true"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const city of ["paris", "tokyo"] as const) await this.end(city, "SIGKILL");
    this.scratch[Symbol.dispose]();
    removeTree(this.folder);
  }
}
