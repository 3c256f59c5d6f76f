/**
 * Two gateways as processes, and a switch between them on whose ports packets in the plain are counted: what of the sites' own addresses is on the
 * wire.
 *
 * ```
 * host 10.10.1.2 fd01::2 10.20.1.2 ═ gateway one 192.0.2.1 2001:db8::1 ═ switch ═ 192.0.2.2 2001:db8::2 gateway two ═ 10.10.2.2 fd02::2 10.20.2.2 host
 * ```
 */
import { mkdirSync, writeFileSync } from "node:fs";
import type { GatewayAnswer, GatewayRequest, Top } from "../../src/gatewayd/mod.ts";
import { LineClient, removeTree, run, runSync } from "../../src/sys/mod.ts";
import { executable } from "./lab-needs.ts";
import { Scratch } from "./scratch.ts";
import { sumInSoftware } from "./sum-in-software.ts";
import { XfrmSite } from "./xfrm-sites.ts";

const SITES = [1, 2] as const;
/** SiteNumber is in a site's addresses. */
export type SiteNumber = (typeof SITES)[number];

const other = (number: SiteNumber) => (3 - number) as SiteNumber;
const psk = (digits: string) => digits.repeat(32);

/** configOf returns a configuration with a route by our exchange, in UDP over IPv6, and one by Vita's over IPv4. */
export function configOf(number: SiteNumber, backend: string): string {
  const far = other(number);
  return `private-interface4 { ifname x0; ip 10.10.${number}.1; nexthop-ip 10.10.${number}.2; }
private-interface6 { ifname x0; ip fd0${number}::1; nexthop-ip fd0${number}::2; }
public-interface4 { ifname p0; ip 192.0.2.${number}; nexthop-ip 192.0.2.${far}; }
public-interface6 { ifname p0; ip 2001:db8::${number}; nexthop-ip 2001:db8::${far}; }
mtu 1400;
backend ${backend};
route { id far; spi 700; net 10.10.${far}.0/24; net "fd0${far}::/64"; preshared-key ${psk("a1")}; encapsulation always; gateway { ip "2001:db8::${far}"; } }
route4 { id vita; spi 800; net 10.20.${far}.0/24; preshared-key ${psk("b2")}; gateway { ip 192.0.2.${far}; } }
`;
}

interface Running {
  process?: Bun.Subprocess<"ignore", "ignore", "pipe">;
  log: string;
  /** Where the log was when it was started or changed last. */
  mark: number;
}

/** GatewayProcesses are both; disposing ends them. */
export class GatewayProcesses implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly folder = this.scratch.folder.replace("causeway-test/", "causeway-test/processes-");
  readonly sites: Readonly<Record<SiteNumber, XfrmSite>>;
  readonly #running: Record<SiteNumber, Running> = {
    1: { log: "", mark: 0 },
    2: { log: "", mark: 0 },
  };

  constructor() {
    try {
      mkdirSync(this.folder, { recursive: true });
      this.sites = { 1: this.#site(1), 2: this.#site(2) };
      this.#join();
    } catch (error) {
      this.scratch[Symbol.dispose]();
      removeTree(this.folder);
      throw error;
    }
  }

  #site(number: SiteNumber): XfrmSite {
    const { scratch } = this;
    const site = new XfrmSite(scratch, number);
    site.ip("host", `addr add 10.20.${number}.2/32 dev lo`);
    scratch.text(`ip link add w${number} type veth peer name p0 netns ${site.gate.path}`);
    site.address();
    const far = other(number);
    // The host's own ways: back to what is behind it, and to the other site in the plain.
    for (const line of [
      `route add 10.20.${number}.0/24 via 10.10.${number}.2`,
      ...[`10.10.${far}.0/24`, `10.20.${far}.0/24`].map((net) => `route add ${net} via 192.0.2.${far}`),
      `-6 route add fd0${far}::/64 via 2001:db8::${far}`,
    ])
      site.ip("gate", line);
    // What AF_XDP takes from a cable has whole checksums only.
    sumInSoftware(site.host, "y0");
    sumInSoftware(site.gate, "p0");
    return site;
  }

  #join(): void {
    const { scratch } = this;
    scratch.text("ip link add sw type bridge");
    for (const link of ["w1", "w2"]) scratch.text(`ip link set ${link} master sw`);
    for (const link of ["w1", "w2", "sw"]) scratch.text(`ip link set ${link} up`);
    const chain = (link: string) =>
      `chain ${link} { type filter hook ingress device ${link} priority 0; ip daddr 10.0.0.0/8 counter name seen; ip6 daddr fd00::/8 counter name seen; }`;
    const input = `table netdev plain { counter seen { }; ${chain("w1")}; ${chain("w2")}; }`;
    const done = runSync(["nft", "-f", "-"], { netns: scratch.netns, input });
    if (done.status !== 0) throw new Error(done.stderr);
  }

  /** plain returns how many packets were on the wire in the plain. */
  get plain(): number {
    const text = this.scratch.text("nft list counter netdev plain seen");
    return Number(/packets (\d+)/.exec(text)?.[1]);
  }

  /** start runs a gateway, and resolves when it says that it is ready. */
  async start(number: SiteNumber, config?: string): Promise<void> {
    const running = this.#running[number];
    const { folder } = this;
    const name = `g${number}`;
    const file = `${folder}/${name}.conf`;
    if (config !== undefined) writeFileSync(file, config);
    const argv = [
      executable,
      "gateway",
      "run",
      "--name",
      name,
      "--folder",
      folder,
      "--state",
      `${folder}/${name}`,
    ];
    const child = this.sites[number].gate.run(() => ({
      process: Bun.spawn([...argv, ...(config === undefined ? [] : ["--config", file])], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
      }),
    })).process;
    running.mark = running.log.length;
    running.process = child;
    void child.stderr.pipeTo(
      new WritableStream({ write: (chunk) => void (running.log += Buffer.from(chunk).toString()) }),
    );
    await this.until(`gateway ${number} is ready`, () =>
      running.log.slice(running.mark).includes("gateway is ready"),
    );
  }

  /** end sends a signal, and resolves when the gateway has ended. */
  async end(number: SiteNumber, signal: NodeJS.Signals): Promise<void> {
    const { process: child } = this.#running[number];
    child?.kill(signal);
    await child?.exited;
  }

  log(number: SiteNumber): string {
    return this.#running[number].log;
  }

  /** ask sends one request to a gateway's socket, as the command line does; throws its refusal. */
  async ask(number: SiteNumber, request: GatewayRequest): Promise<Exclude<GatewayAnswer, { error: string }>> {
    const lines: string[] = [];
    const ended = Promise.withResolvers<void>();
    const client = LineClient.connect(`${this.folder}/g${number}.sock`, {
      onLine: (line) => lines.push(line),
      onClosed: () => ended.resolve(),
    });
    client.send(JSON.stringify(request));
    await ended.promise;
    const answer: GatewayAnswer = JSON.parse(lines[0] ?? '{"error": "no answer"}');
    if ("error" in answer) throw new Error(answer.error);
    return answer;
  }

  async top(number: SiteNumber): Promise<Top> {
    const answer = await this.ask(number, { op: "top" });
    if (!("top" in answer)) throw new Error("it is no look");
    return answer.top;
  }

  /** set changes a part of a configuration. */
  async set(number: SiteNumber, path: string, value: string): Promise<void> {
    const running = this.#running[number];
    running.mark = running.log.length;
    await this.ask(number, { op: "config", request: { verb: "set", path, value } });
  }

  /** up waits until a gateway has said, since it was started or changed, that it carries packets by something, and that both routes are up. */
  up(number: SiteNumber, by: RegExp): Promise<void> {
    const running = this.#running[number];
    return this.until(`gateway ${number} carries packets by ${by.source}`, () => {
      const said = running.log.slice(running.mark);
      const queue = said.split("\n").find((line) => line.includes('"queue is up"'));
      return (
        by.test(queue ?? "") &&
        ["far", "vita"].every((id) => said.includes(`"route is up","gateway":"g${number}","route":"${id}"`))
      );
    });
  }

  /** state returns what `config get-state` prints of all. */
  async state(number: SiteNumber): Promise<string> {
    const request = { verb: "get-state", path: "/gateway-state" } as const;
    const answer = await this.ask(number, { op: "config", request });
    return "text" in answer ? answer.text : "";
  }

  /** ping sends from the first host; returns what ping(8) said. */
  async ping(words: string): Promise<string> {
    return (await run(`ping -n ${words}`.split(" "), { netns: this.sites[1].host })).stdout;
  }

  /** whilePinging sends to hosts until some work is done. */
  async whilePinging(hosts: readonly string[], work: () => Promise<void>): Promise<void> {
    const flows = hosts.map((host) =>
      this.sites[1].host.run(() => ({
        process: Bun.spawn(`ping -n -q -i 0.2 ${host}`.split(" "), { stdin: "ignore", stdout: "ignore" }),
      })),
    );
    try {
      await work();
    } finally {
      for (const { process: flow } of flows) flow.kill("SIGKILL");
      await Promise.all(flows.map(({ process: flow }) => flow.exited));
    }
  }

  /** until waits for something; a slow machine has all the time that the test has. */
  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await isSo()); tries++) {
      if (tries > 600) throw new Error(`${what}: it is not so\n${this.log(1)}\n${this.log(2)}`);
      await Bun.sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const number of SITES) await this.end(number, "SIGKILL");
    for (const number of SITES) this.sites[number][Symbol.dispose]();
    this.scratch[Symbol.dispose]();
    removeTree(this.folder);
  }
}
