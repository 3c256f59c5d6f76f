/** A tunnel pair between whose ends a filter lets no UDP through: the near one is a node, the far one a hub, and TLS is the way. */
import { formatEndpoint, parseEndpoint } from "../../src/net/mod.ts";
import { Nftables } from "../../src/netlink/mod.ts";
import { ensureDirectory, run, writeAtomic } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { makeCertificate, type TlsConfig, type TlsHub, TlsProcess } from "../../src/tunnel/tls/mod.ts";
import { tool, TunnelPair, until } from "./tunnel-pair.ts";

/** UDP is dropped at the hub's door, in both directions and for both families, and counted. */
const BLOCK = `table inet block {
  chain in { type filter hook input priority 0; iifname "eth0" meta l4proto udp counter drop; }
  chain out { type filter hook output priority 0; oifname "eth0" meta l4proto udp counter drop; }
}`;

/** TlsPair is a pair whose near side reaches the far one, the hub, by TLS only. */
export class TlsPair implements AsyncDisposable {
  readonly pair: TunnelPair;
  readonly certificate = makeCertificate();
  hub!: TlsProcess;
  node!: TlsProcess;

  private constructor(pair: TunnelPair) {
    this.pair = pair;
  }

  static async open(near: TunnelBackend, far: TunnelBackend, hub: Partial<TlsHub> = {}): Promise<TlsPair> {
    const made = new TlsPair(await TunnelPair.open({ near, far }));
    try {
      await made.#start(hub);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(hub: Partial<TlsHub>): Promise<void> {
    const { pair } = this;
    {
      using nft = Nftables.open({ netns: pair.far.netns });
      nft.run(BLOCK);
    }
    writeAtomic(`${pair.folder}/cert.pem`, this.certificate.certificatePem);
    writeAtomic(`${pair.folder}/key.pem`, this.certificate.keyPem, 0o600);
    for (const [name, side] of [
      ["hub", pair.far],
      ["node", pair.near],
    ] as const) {
      ensureDirectory(`${pair.folder}/${name}`);
      this[name] = await TlsProcess.open({ ...this.place(name), netns: side.netns });
    }
    this.hub.configure(this.hubConfig);
    this.node.configure(this.nodeConfig(hub));
    const { near, far } = pair;
    near.tunnel.device.change({
      privateKey: near.key,
      listenPort: 51820,
      peers: [{ ...pair.peer(near), endpoint: parseEndpoint(`127.0.0.1:${this.localPort}`) }],
    });
    const { endpoint: _, ...peer } = pair.peer(far);
    far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: [peer] });
  }

  place(name: "hub" | "node") {
    return { socket: `${this.pair.folder}/${name}/tls.sock`, logPath: `${this.pair.folder}/${name}/log` };
  }

  get hubConfig(): TlsConfig {
    const { folder } = this.pair;
    const listener = { port: 443, certificatePath: `${folder}/cert.pem`, keyPath: `${folder}/key.pem` };
    return { tunnelPort: 51820, hubs: [], listener };
  }

  nodeConfig(hub: Partial<TlsHub> = {}): TlsConfig {
    const one = { name: "hub", host: this.pair.far.underlay4, port: 443, pin: this.certificate.pin, ...hub };
    return { tunnelPort: 51820, hubs: [one] };
  }

  get uplink() {
    const [uplink] = this.node.status?.hubs ?? [];
    if (uplink === undefined) throw new Error("there is no uplink");
    return uplink;
  }

  get localPort(): number {
    return this.uplink.localPort;
  }

  /** Where the hub's WireGuard sees the node. */
  get seenAt(): string {
    const endpoint = this.pair.seen(this.pair.far)?.endpoint;
    return endpoint === undefined ? "" : formatEndpoint(endpoint);
  }

  /** The UDP datagrams that the filter met, per chain. */
  get blocked(): number[] {
    const listing = tool(this.pair.far.netns, "nft list table inet block");
    return [...listing.matchAll(/counter packets (\d+)/g)].map((match) => Number(match[1]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const held of [this.hub, this.node]) await held?.destroy();
    await this.pair[Symbol.asyncDispose]();
  }
}

/** tcpFlow is one TCP flow of 50 MB, inside the tunnel. */
export async function tcpFlow(pair: TunnelPair, reverse: boolean): Promise<{ text: string; bytes: number }> {
  const { child } = pair.far.netns.run(() => ({
    child: Bun.spawn(["iperf3", "-s", "-1", "-B", pair.far.overlay4], { stdout: "ignore", stderr: "ignore" }),
  }));
  try {
    await until("iperf3 listens", () => tool(pair.far.netns, "ss -Hltn sport = 5201") !== "");
    const argv = ["iperf3", "-c", pair.far.overlay4, "-n", "50M", "-J", ...(reverse ? ["-R"] : [])];
    const done = await run(argv, { netns: pair.near.netns, timeoutMs: 120_000 });
    const { end } = JSON.parse(done.stdout) as {
      end: {
        sum_received: { bits_per_second: number; bytes: number };
        sum_sent: { retransmits: number };
      };
    };
    const { bits_per_second: rate, bytes } = end.sum_received;
    return { text: `${(rate / 1e6).toFixed(0)} Mbit/s, ${end.sum_sent.retransmits} retransmitted`, bytes };
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}
