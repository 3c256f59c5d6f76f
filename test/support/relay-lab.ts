/**
 * Three namespaces: two ends that cannot reach each other, and a hub between them that forwards nothing but what its WireGuard port relays.
 *
 * ```
 * a: link 10.9.0.1 ── eth0 10.1.0.1 fd01::1 ═══ a0 10.1.0.254 ┐ hub ┌ b0 10.2.0.254 ═══ eth0 10.2.0.1 fd02::1 ── link 10.9.0.2 :b
 *                     (or behind a NAT, 10.1.0.9)             link 10.9.0.254
 * ```
 */
import { parseEndpoint, parsePrefix, PrivateKey } from "../../src/net/mod.ts";
import { createNetns, Netns, removeNetns, removeTree, run } from "../../src/sys/mod.ts";
import type { Tunnel, TunnelBackend } from "../../src/tunnel/backend.ts";
import {
  RelayClient,
  type RelayConfig,
  type RelayControl,
  type RelayStatus,
} from "../../src/tunnel/relay/mod.ts";
import { dataplaneBackend, type DataplaneProcess, processOf, socketOf } from "./dataplane.ts";
import { ip, tool, until } from "./tunnel-pair.ts";

/** RELAY_PORT is where all three listen. */
export const RELAY_PORT = 51820;

/** RelayEnd is one of the two. */
export interface RelayEnd {
  readonly name: "a" | "b";
  readonly netns: Netns;
  /** Where the cable to the hub begins: itself, or its NAT. */
  readonly gate: Netns;
  readonly link: string;
  readonly key: PrivateKey;
  readonly overlay: string;
  readonly family: 4 | 6;
  /** The network of its cable: 10.N.0.0/24 and fd0N::/64. */
  readonly number: 1 | 2;
  tunnel: Tunnel;
}

/** RelayLabOptions say what runs at the ends. */
export interface RelayLabOptions {
  readonly a?: TunnelBackend;
  readonly b?: TunnelBackend;
  /** Default: a bare process. */
  readonly hub?: TunnelBackend;
  readonly families?: readonly [4 | 6, 4 | 6];
  /** Whether `a` is behind a NAT. */
  readonly nat?: boolean;
  readonly workers?: number;
  readonly mtuBytes?: number;
}

let serial = 0;

/** RelayLab owns the namespaces and processes. */
export class RelayLab implements AsyncDisposable {
  readonly folder = `/run/causeway-test/${process.pid}-relay-${++serial}`;
  readonly hub: Netns;
  readonly hubLink = `rh${process.pid.toString(36)}x${serial}`;
  readonly hubKey = PrivateKey.random();
  readonly a: RelayEnd;
  readonly b: RelayEnd;
  hubTunnel!: Tunnel;
  relay!: RelayControl;
  readonly #all: Netns[] = [];

  private constructor(options: RelayLabOptions) {
    this.hub = this.#netns("hub");
    const end = (name: "a" | "b", number: 1 | 2): RelayEnd => {
      const netns = this.#netns(name);
      return {
        name,
        number,
        netns,
        gate: options.nat === true && name === "a" ? this.#netns("nat") : netns,
        link: `r${name}${process.pid.toString(36)}x${serial}`,
        key: PrivateKey.random(),
        overlay: `10.9.0.${number}`,
        family: options.families?.[number - 1] ?? 4,
        tunnel: undefined as never,
      };
    };
    this.a = end("a", 1);
    this.b = end("b", 2);
  }

  #netns(name: string): Netns {
    const path = `${this.folder}/${name}`;
    createNetns(path);
    const netns = Netns.open(path);
    this.#all.push(netns);
    return netns;
  }

  static async open(options: RelayLabOptions = {}): Promise<RelayLab> {
    const lab = new RelayLab(options);
    try {
      lab.#cables();
      await lab.#start(options);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  get ends(): readonly [RelayEnd, RelayEnd] {
    return [this.a, this.b];
  }

  get hubProcess(): DataplaneProcess {
    return processOf({ tunnel: this.hubTunnel });
  }

  #cables(): void {
    for (const netns of this.#all) {
      ip(netns, "link set lo up");
      tool(netns, "sysctl -qw net.ipv4.conf.all.promote_secondaries=1");
    }
    for (const { name, number, netns, gate } of this.ends) {
      cable(this.hub, `${name}0`, gate, "eth0");
      addresses(this.hub, `${name}0`, number, 254);
      addresses(gate, "eth0", number, netns === gate ? 1 : 9);
      if (netns === gate) continue;
      cable(gate, "in0", netns, "eth0");
      ip(gate, "addr add 172.16.0.254/24 dev in0");
      ip(gate, "link set in0 up");
      ip(netns, "addr add 172.16.0.1/24 dev eth0");
      ip(netns, "link set eth0 up");
      ip(netns, "route add default via 172.16.0.254");
      tool(gate, "sysctl -qw net.ipv4.ip_forward=1");
      tool(
        gate,
        "nft -f -",
        `table ip nat { chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade random; }; }\n`,
      );
    }
  }

  async #start({ a, b, hub, workers = 2, mtuBytes = 1420 }: RelayLabOptions): Promise<void> {
    const backend = hub ?? dataplaneBackend("--workers", `${workers}`);
    if (backend.linkType === "wireguard") ip(this.hub, `link add ${this.hubLink} type wireguard`);
    this.hubTunnel = await backend.open(this.hubLink, {
      netns: this.hub,
      relays: true,
      logPath: `${this.folder}/hub.log`,
    });
    this.relay = this.hubTunnel.relay ?? new RelayClient(socketOf(this.hubLink));
    this.addressHub();
    for (const end of this.ends) {
      const backend = (end === this.a ? a : b) ?? dataplaneBackend("--workers", "1");
      if (backend.linkType === "wireguard") ip(end.netns, `link add ${end.link} type wireguard`);
      end.tunnel = await backend.open(end.link, { netns: end.netns });
      ip(end.netns, `addr add ${end.overlay}/24 dev ${end.link}`);
      ip(end.netns, `link set ${end.link} mtu ${mtuBytes} up`);
    }
  }

  /** addressHub gives the hub's link its address; a link that was made anew has none. */
  addressHub(): void {
    ip(this.hub, `addr add 10.9.0.254/24 dev ${this.hubLink}`);
    ip(this.hub, `link set ${this.hubLink} up`);
  }

  /** The hub's address as an end reaches it. */
  hubEndpoint({ number, family }: RelayEnd) {
    return parseEndpoint(`${family === 4 ? `10.${number}.0.254` : `[fd0${number}::254]`}:${RELAY_PORT}`);
  }

  other(end: RelayEnd): RelayEnd {
    return end === this.a ? this.b : this.a;
  }

  /** The configuration of a relay between the two. */
  get config(): RelayConfig {
    return { enabled: true, classes: new Map(this.ends.map(({ key }) => [key.publicKey, 1])) };
  }

  /** introduce gives the hub its key, and both ends as peers. */
  introduce(): void {
    this.hubTunnel.device.change({
      privateKey: this.hubKey,
      listenPort: RELAY_PORT,
      peers: this.ends.map(({ key, overlay }) => ({
        publicKey: key.publicKey,
        allowedIps: [parsePrefix(`${overlay}/32`)],
      })),
    });
  }

  /** meet gives all three their keys, joins both ends with the hub, and has the hub relay. */
  async meet(
    config: RelayConfig = this.config,
    { wait = config.enabled }: { readonly wait?: boolean } = {},
  ): Promise<void> {
    this.introduce();
    this.relay.set(config);
    for (const end of this.ends)
      end.tunnel.device.change({
        privateKey: end.key,
        listenPort: RELAY_PORT,
        peers: [
          {
            publicKey: this.hubKey.publicKey,
            endpoint: this.hubEndpoint(end),
            allowedIps: [parsePrefix("10.9.0.254/32")],
            keepaliveSeconds: 25,
          },
        ],
      });
    for (const end of this.ends)
      await until(`${end.name} reaches the hub`, () => ping(end.netns, "10.9.0.254"));
    if (wait) await until("both are live", () => this.status.liveNodes === config.classes.size);
  }

  /** join makes the ends peers of each other, by the hub. Only those named know where the other is. */
  join(...knowing: readonly RelayEnd[]): void {
    for (const end of this.ends) {
      const { key, overlay } = this.other(end);
      end.tunnel.device.change({
        peers: [
          {
            publicKey: key.publicKey,
            allowedIps: [parsePrefix(`${overlay}/32`)],
            ...(knowing.length === 0 || knowing.includes(end) ? { endpoint: this.hubEndpoint(end) } : {}),
          },
        ],
      });
    }
  }

  get status(): RelayStatus {
    const status = this.relay.status();
    if (status === undefined) throw new Error("the hub does not answer");
    return status;
  }

  /** pings tells whether an answer comes from the other end, by WireGuard. */
  pings(from: RelayEnd, seconds = 20): Promise<boolean> {
    return pings(from.netns, this.other(from).overlay, seconds);
  }

  /** How an end reports another public key. */
  seen(end: { readonly tunnel: Tunnel }, key: PrivateKey) {
    return end.tunnel.device.read().peers.find(({ publicKey }) => publicKey === key.publicKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tunnel of [this.a.tunnel, this.b.tunnel, this.hubTunnel]) await tunnel?.destroy();
    for (const netns of this.#all) {
      netns.close();
      removeNetns(netns.path);
    }
    removeTree(this.folder);
  }
}

function cable(near: Netns, nearName: string, far: Netns, farName: string): void {
  ip(
    near,
    `link add ${nearName} type veth peer name ${farName} netns /proc/${process.pid}/fd/${far.fd.number}`,
  );
}

function addresses(netns: Netns, link: string, network: number, host: number): void {
  ip(netns, `addr add 10.${network}.0.${host}/24 dev ${link}`);
  ip(netns, `addr add fd0${network}::${host}/64 dev ${link} nodad`);
  ip(netns, `link set ${link} up`);
}

/** ping tells whether an answer comes back at once. */
export function ping(netns: Netns, address: string): boolean {
  return Bun.spawnSync(["nsenter", `--net=${netns.path}`, "ping", "-n", "-c", "1", "-W", "1", address])
    .success;
}

/** pings waits for an answer. */
export async function pings(netns: Netns, address: string, seconds: number): Promise<boolean> {
  const argv = ["ping", "-n", "-c", "1", "-W", `${seconds}`, address];
  return (await run(argv, { netns })).status === 0;
}
