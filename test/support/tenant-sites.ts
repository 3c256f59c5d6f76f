/**
 * Two tenants with the same networks here and there, each with a gateway of its own on the first of two nodes, and a remote site of its own.
 *
 * ```
 *   pods 10.1.0.x of red  (cw-300) ═ h1: gateway red  198.51.3.1 ═ 198.51.3.2 gateway ═ red site  10.2.0.2
 *                                    red2 198.51.13.1 ═ 198.51.13.2 (a second queue)
 *   pods 10.1.0.x of blue (cw-400) ═ h1: gateway blue 198.51.4.1 ═ 198.51.4.2 gateway ═ blue site 10.2.0.2
 * ```
 */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Domain, Tunnel } from "../../src/domain/mod.ts";
import type { GatewayAnswer, Top } from "../../src/gatewayd/mod.ts";
import { parsePrefix } from "../../src/net/mod.ts";
import { LineClient, type Netns, removeTree, runSync, writeAtomic } from "../../src/sys/mod.ts";
import { segment, vpc } from "./domain-lab.ts";
import { executable } from "./lab-needs.ts";
import { ServicesLab } from "./services-lab.ts";
import { sumInSoftware } from "./sum-in-software.ts";

export const TENANTS = { red: 300, blue: 400 } as const;
export type Tenant = keyof typeof TENANTS;
const ALL = Object.keys(TENANTS) as Tenant[];

/** REMOTE is the host of either remote site. */
export const REMOTE = { 4: "10.2.0.2", 6: "fd02::2" } as const;
const MTU = 1400;

interface Running {
  readonly process: Bun.Subprocess<"ignore", "ignore", "pipe">;
  log: string;
}

/** TenantSites owns all of it. */
export class TenantSites implements AsyncDisposable {
  readonly lab = new ServicesLab(2);
  readonly folder = `${this.lab.lab.scratch.folder}-sites`;
  readonly domains: Readonly<Record<Tenant, Domain>>;
  /** The hosts of the remote sites. */
  readonly sites = {} as Record<Tenant, Netns>;
  readonly #gates = {} as Record<Tenant, Netns>;
  readonly #running = new Map<string, Running>();
  readonly #by: Tunnel["by"];
  /** Who carries each tenant's packets on the node, where that is another by now. */
  readonly #chosen = new Map<Tenant, Tunnel["by"]>();

  /** Whether red's Gateway has its first queue only. */
  #isNarrow = false;

  constructor(by: Tunnel["by"]) {
    this.#by = by;
    const { scratch } = this.lab.lab;
    const domain = (tenant: Tenant) =>
      vpc(tenant, TENANTS[tenant], [
        segment(`${tenant}-net`, TENANTS[tenant] + 1, ["10.1.0.0/24", "fd01::/64"]),
      ]);
    this.domains = { red: domain("red"), blue: domain("blue") };
    try {
      mkdirSync(this.folder, { recursive: true });
      for (const tenant of ALL) this.#site(tenant);
      this.#setTunnels();
    } catch (error) {
      this.lab[Symbol.dispose]();
      removeTree(this.folder);
      throw error;
    }
    // The lab's nodes forward, and do not have a gateway's address in user space.
    if (by === "kernel")
      for (const { link, net } of ALL.flatMap((tenant) => this.#ways(tenant)))
        scratch.text(`ip addr add ${net}.1/24 dev ${link}`, this.lab.lab.host(1).netns);
  }

  /** choose gives a tenant's Gateway another back-end, as the register would: its manifests are others, and its side of the VPC. */
  choose(tenant: Tenant, by: Tunnel["by"]): void {
    this.#chosen.set(tenant, by);
    this.#writeManifests(tenant);
    this.#setTunnels();
  }

  /** narrow takes the second queue of red's Gateway away, or gives it back. */
  narrow(isNarrow: boolean): void {
    this.#isNarrow = isNarrow;
    this.#writeManifests("red");
    this.#setTunnels();
  }

  #byOf(tenant: Tenant): Tunnel["by"] {
    return this.#chosen.get(tenant) ?? this.#by;
  }

  #setTunnels(): void {
    this.lab.set({
      domains: Object.values(this.domains),
      tunnels: ALL.map((tenant) => this.#tunnel(tenant)),
    });
  }

  #net(tenant: Tenant): string {
    return `198.51.${TENANTS[tenant] / 100}`;
  }

  /** A tenant's ways to its remote gateway, one for each queue: the node's link, the remote gateway's, and their network. */
  #ways(tenant: Tenant): { readonly link: string; readonly far: string; readonly net: string }[] {
    const net = this.#net(tenant);
    const first = { link: tenant, far: "p0", net };
    if (tenant === "blue" || this.#isNarrow) return [first];
    return [first, { link: `${tenant}2`, far: "p1", net: net.replace("51.", "51.1") }];
  }

  #tunnel(tenant: Tenant): Tunnel {
    const prefixes = ["10.2.0.0/16", "fd02::/64"].map((text) => parsePrefix(text));
    const queues = this.#ways(tenant).length;
    const shared = { node: "h1", by: this.#byOf(tenant), mtuBytes: MTU, queues };
    return {
      gateway: tenant,
      domain: TENANTS[tenant],
      ...shared,
      routes: [{ name: `${tenant}-site`, prefixes }],
    };
  }

  #site(tenant: Tenant): void {
    const { scratch, hosts } = this.lab.lab;
    const [gate, site] = [scratch.another(), scratch.another()];
    const node = (hosts[0] as (typeof hosts)[number]).netns;
    this.sites[tenant] = site;
    this.#gates[tenant] = gate;
    const ways = this.#ways(tenant);
    for (const { link, far } of ways) {
      scratch.text(`ip link add ${link} type veth peer name ${far} netns ${gate.path}`, node);
      scratch.text(`ip link set ${link} up`, node);
      scratch.text(`ip link set ${far} up`, gate);
    }
    const queues = `numtxqueues ${ways.length} numrxqueues ${ways.length}`;
    scratch.text(`ip link add x0 ${queues} type veth peer name y0 ${queues} netns ${site.path}`, gate);
    for (const line of ["link set x0 up", "link set lo up"]) scratch.text(`ip ${line}`, gate);
    for (const line of [
      ...["link set lo up", "link set y0 up", `addr add ${REMOTE[4]}/24 dev y0`],
      ...[`addr add ${REMOTE[6]}/64 dev y0 nodad`, "addr add 10.77.0.1/32 dev lo"],
      ...[`route add default via 10.2.0.1 mtu ${MTU}`, `-6 route add default via fd02::1 mtu ${MTU}`],
    ])
      scratch.text(`ip ${line}`, site);
    if (this.#by === "kernel") {
      for (const { far, net } of ways) scratch.text(`ip addr add ${net}.2/24 dev ${far}`, gate);
      scratch.text("ip addr add 10.2.0.1/24 dev x0", gate);
      scratch.text("ip addr add fd02::1/64 dev x0 nodad", gate);
      scratch.text("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", gate);
    }
    const devices = ways.map(({ link }) => link).join(", ");
    const chain = `chain out { type filter hook egress devices = { ${devices} } priority 0; ip daddr 10.0.0.0/8 counter name seen; ip6 daddr fd00::/8 counter name seen; }`;
    const input = `table netdev ${tenant} { counter seen { }; ${chain}; }`;
    const counting = runSync(["nft", "-f", "-"], { netns: node, input });
    if (counting.status !== 0) throw new Error(counting.stderr);
    for (const [netns, link] of [
      [site, "y0"],
      ...ways.flatMap(({ link, far }) => [[gate, far] as const, [node, link] as const]),
    ] as const)
      sumInSoftware(netns, link);
  }

  /** plain returns how many packets for a tenant's site the node's kernel has sent in the plain. */
  plain(tenant: Tenant): number {
    const text = this.lab.lab.scratch.text(
      `nft list counter netdev ${tenant} seen`,
      this.lab.lab.host(1).netns,
    );
    return Number(/packets (\d+)/.exec(text)?.[1]);
  }

  /** start runs all four gateways, and resolves when the tunnels are up at both ends. */
  async start(): Promise<void> {
    const backend = this.#by;
    for (const tenant of ALL) {
      const ways = this.#ways(tenant);
      const digits = (tenant === "red" ? "a1" : "b2").repeat(32);
      writeFileSync(`${this.folder}/${tenant}.psk`, `${digits}\n`, { mode: 0o600 });
      this.#writeManifests(tenant);
      writeFileSync(
        `${this.folder}/${tenant}.conf`,
        `private-interface4 { ifname x0; ip 10.2.0.1; nexthop-ip ${REMOTE[4]}; }
private-interface6 { ifname x0; ip "fd02::1"; nexthop-ip "${REMOTE[6]}"; }
${ways.map(({ far, net }, i) => `public-interface4 { ifname ${far}; ip ${net}.2; nexthop-ip ${net}.1; queue ${i + 1}; device-queue 1; }`).join("\n")}
mtu ${MTU};
backend ${backend};
route { id vpc; spi 700; net 10.1.0.0/24; net "fd01::/64"; preshared-key ${digits}; ${ways.map(({ net }, i) => `gateway { ip ${net}.1; queue ${i + 1}; }`).join(" ")} }
`,
      );
      this.#run(tenant, this.lab.lab.host(1).netns, [
        ...["--manifests", `${this.folder}/${tenant}.yaml`, "--node", "h1", "--vni", `${TENANTS[tenant]}`],
      ]);
      this.#run(`${tenant}-far`, this.#gates[tenant], ["--config", `${this.folder}/${tenant}.conf`]);
    }
    for (const name of this.#running.keys())
      await this.until(
        `the tunnel of ${name} is up`,
        async () => (await this.top(name))?.routes.every(({ up }) => up) === true,
      );
  }

  /** At once, as the agent does. */
  #writeManifests(tenant: Tenant): void {
    const ways = this.#ways(tenant);
    const outside = ways.map(
      ({ link, net }) => `{interface: ${link}, deviceQueue: 1, address4: {ip: ${net}.1, nextHop: ${net}.2}}`,
    );
    writeAtomic(
      `${this.folder}/${tenant}.yaml`,
      `apiVersion: causeway.network/v1alpha1
kind: Gateway
metadata: {name: ${tenant}}
spec:
  node: h1
  vpc: ${tenant}
  public: [${outside.join(", ")}]
  mtuBytes: ${MTU}
  backend: ${this.#byOf(tenant)}
---
apiVersion: causeway.network/v1alpha1
kind: Route
metadata: {name: ${tenant}-site}
spec:
  gateway: ${tenant}
  prefixes: [10.2.0.0/16, "fd02::/64"]
  gateways: [${ways.map(({ net }) => `{ip: ${net}.2}`).join(", ")}]
  spi: 700
  presharedKeyFile: ${this.folder}/${tenant}.psk
`,
    );
  }

  #run(name: string, netns: Netns, words: readonly string[]): void {
    const argv = [executable, "gateway", "run", "--name", name, "--folder", this.folder];
    const { child } = netns.run(() => ({
      child: Bun.spawn([...argv, "--state", `${this.folder}/${name}`, ...words], {
        ...({ stdin: "ignore", stdout: "ignore", stderr: "pipe" } as const),
      }),
    }));
    const running: Running = { process: child, log: "" };
    this.#running.set(name, running);
    void child.stderr.pipeTo(
      new WritableStream({ write: (chunk) => void (running.log += Buffer.from(chunk).toString()) }),
    );
  }

  /** kill ends a gateway as a crash would. */
  async kill(name: string): Promise<void> {
    const running = this.#running.get(name);
    running?.process.kill("SIGKILL");
    await running?.process.exited;
  }

  /** forget removes the associations of a tenant from the kernel of its node. */
  forget(tenant: Tenant): void {
    for (const { net } of this.#ways(tenant))
      for (const way of [`src ${net}.1 dst ${net}.2`, `src ${net}.2 dst ${net}.1`])
        this.lab.lab.host(1).text(`ip xfrm state deleteall ${way}`);
  }

  /** top is a look at a gateway; undefined while it does not answer. */
  async top(name: string): Promise<Top | undefined> {
    const lines: string[] = [];
    const ended = Promise.withResolvers<void>();
    try {
      const client = LineClient.connect(`${this.folder}/${name}.sock`, {
        onLine: (line) => lines.push(line),
        onClosed: () => ended.resolve(),
      });
      client.send(JSON.stringify({ op: "top", most: 0 }));
    } catch {
      return undefined;
    }
    await ended.promise;
    const answer: GatewayAnswer = JSON.parse(lines[0] ?? '{"error": "no answer"}');
    return "top" in answer ? answer.top : undefined;
  }

  /** spis are those of a tenant's associations: both ways, as its gateway has them now. */
  async spis(tenant: Tenant): Promise<string[]> {
    const { associations = [] } = (await this.top(tenant)) ?? {};
    return associations.map(({ direction, spi }) => `${direction} ${spi}`);
  }

  /** log is what a tenant's gateway has said. */
  log(tenant: Tenant): string {
    return this.#running.get(tenant)?.log ?? "";
  }

  /** until waits for something; a slow machine has all the time that the test has. */
  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await isSo()); tries++) {
      if (tries > 1200)
        throw new Error(
          `${what}: it is not so\n${[...this.#running.values()].map(({ log }) => log).join("")}`,
        );
      await Bun.sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#running.keys()) await this.kill(name);
    this.lab[Symbol.dispose]();
    removeTree(this.folder);
  }
}
