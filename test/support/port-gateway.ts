/**
 * A home network with Debian's miniupnpd: a machine inside, the router, and a machine outside.
 *
 * ```
 * inside 192.168.7.2 2a01:db8:7::2 ── lan 192.168.7.1 2a01:db8:7::1 (router) wan 81.2.69.1 2a01:db8::1 ── outside 81.2.69.2 2a01:db8::2
 * ```
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createNetns, Netns, removeNetns, removeTree, terminate, which } from "../../src/sys/mod.ts";
import { ip, tool, until } from "./tunnel-pair.ts";

/** gatewayLacks says what is missing here, or undefined. */
export const gatewayLacks: string | undefined =
  process.getuid?.() !== 0
    ? "needs root"
    : which("miniupnpd") === undefined
      ? "needs miniupnpd: apt-get install miniupnpd-nftables"
      : undefined;

let serial = 0;

/** PortGateway is the network; disposing removes all of it. */
export class PortGateway implements AsyncDisposable {
  readonly folder = `/run/causeway-test/${process.pid}-gateway-${++serial}`;
  readonly inside: Netns;
  readonly router: Netns;
  readonly outside: Netns;
  #daemon: Bun.Subprocess | undefined;

  constructor() {
    const open = (name: string) => {
      createNetns(`${this.folder}/${name}`);
      return Netns.open(`${this.folder}/${name}`);
    };
    mkdirSync(this.folder, { recursive: true });
    [this.inside, this.router, this.outside] = [open("inside"), open("router"), open("outside")];
    this.#cable(this.inside, "lan", "192.168.7", "2a01:db8:7:");
    this.#cable(this.outside, "wan", "81.2.69", "2a01:db8:8:");
    for (const sysctl of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
      tool(this.router, `sysctl -qw ${sysctl}`);
    tool(this.router, "nft -f -", RULES);
  }

  #cable(host: Netns, link: string, four: string, six: string): void {
    const { router } = this;
    ip(router, `link add ${link} type veth peer name eth0 netns /proc/${process.pid}/fd/${host.fd.number}`);
    for (const [netns, name, number] of [
      [router, link, 1],
      [host, "eth0", 2],
    ] as const) {
      ip(netns, "link set lo up");
      ip(netns, `addr add ${four}.${number}/24 dev ${name}`);
      ip(netns, `addr add ${six}:${number}/64 dev ${name} nodad`);
      ip(netns, `link set ${name} up`);
    }
    ip(host, `route add default via ${four}.1`);
    ip(host, `-6 route add default via ${six}:1`);
  }

  /** start runs the daemon; `settings` are lines of its configuration, instead of ours of that name. */
  async start(...settings: readonly string[]): Promise<void> {
    const file = `${this.folder}/miniupnpd.conf`;
    const keys = new Set(settings.map((line) => line.split(/[= ]/)[0]));
    const others = SETTINGS.filter((line) => !keys.has(line.split(/[= ]/)[0]));
    writeFileSync(file, [...others, ...settings, `lease_file=${this.folder}/leases`, ""].join("\n"));
    const argv = ["miniupnpd", "-d", "-f", file, "-P", `${this.folder}/pid`];
    const output = Bun.file(`${this.folder}/log`);
    this.#daemon = this.router.run(() => ({
      child: Bun.spawn(argv, { stdin: "ignore", stdout: output, stderr: output }),
    })).child;
    await until(
      "miniupnpd listens",
      () => tool(this.router, "ss -Hlun").includes(":5351") || settings.includes("enable_natpmp=no"),
    );
  }

  /** stop ends the daemon; with `forget` it leaves no mapping, as a router that restarts. */
  async stop(): Promise<void> {
    if (this.#daemon !== undefined) await terminate(this.#daemon.pid);
    this.#daemon = undefined;
    removeTree(`${this.folder}/leases`);
    for (const chain of ["miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"])
      tool(this.router, `nft flush chain inet filter ${chain}`);
  }

  /** What the router maps, in the words of nft(8). */
  get rules(): string {
    return tool(this.router, "nft list chain inet filter prerouting_miniupnpd");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#daemon !== undefined) await terminate(this.#daemon.pid);
    for (const netns of [this.inside, this.router, this.outside]) {
      netns.close();
      removeNetns(netns.path);
    }
    removeTree(this.folder);
  }
}

const RULES = `table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    jump miniupnpd
    iifname "lan" accept
    ct state established,related accept
  }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; meta nfproto ipv4 oifname "wan" masquerade; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
`;

const SETTINGS = [
  "ext_ifname=wan",
  "listening_ip=lan",
  "http_port=0",
  "enable_natpmp=yes",
  "enable_upnp=yes",
  "secure_mode=yes",
  "system_uptime=no",
  "notify_interval=60",
  "uuid=00000000-0000-0000-0000-000000000001",
  "min_lifetime=60",
  "max_lifetime=86400",
  "allow 1024-65535 192.168.7.0/24 1024-65535",
  "deny 0-65535 0.0.0.0/0 0-65535",
];
