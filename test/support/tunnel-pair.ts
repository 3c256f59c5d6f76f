/**
 * Two namespaces joined by a cable, with one WireGuard link in each: what every test of tunnels starts from.
 *
 * ```
 * near: cw link 10.9.0.1 fd09::1 ── eth0 192.0.2.1 2001:db8::1 ═══ eth0 192.0.2.2 2001:db8::2 ── cw link 10.9.0.2 fd09::2 :far
 * ```
 */
import {
  parseEndpoint,
  parsePrefix,
  PrivateKey,
  type DeviceState,
  formatEndpoint,
  formatPrefix,
} from "../../src/net/mod.ts";
import { createNetns, Netns, removeNetns, removeTree, run, runSync } from "../../src/sys/mod.ts";
import type { Tunnel, TunnelBackend } from "../../src/tunnel/backend.ts";

/** Side is one end of the pair. */
export interface Side {
  readonly netns: Netns;
  readonly link: string;
  readonly key: PrivateKey;
  readonly overlay4: string;
  readonly overlay6: string;
  readonly underlay4: string;
  readonly underlay6: string;
  tunnel: Tunnel;
}

let serial = 0;

/** ip runs ip(8) in a namespace and returns what it printed. */
export function ip(netns: Netns, command: string): string {
  return tool(netns, `ip ${command}`);
}

/** tool runs a program in a namespace; its failure is the test's. */
export function tool(netns: Netns, command: string, input?: string): string {
  const done = runSync(command.split(" "), { netns, ...(input === undefined ? {} : { input }) });
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr.trim()}`);
  return done.stdout;
}

/** until looks again and again until the predicate holds. */
export async function until(what: string, predicate: () => boolean, limitMs = 60_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!predicate()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(10);
  }
}

/** comparable turns a device's state into what has to be equal whoever reports it: sorted, as text, without counters. */
export function comparable(state: DeviceState): unknown {
  return {
    publicKey: state.publicKey,
    listenPort: state.listenPort,
    peers: state.peers
      .map((peer) => ({
        publicKey: peer.publicKey,
        endpoint: peer.endpoint === undefined ? undefined : formatEndpoint(peer.endpoint),
        allowedIps: peer.allowedIps.map(formatPrefix).sort(),
        keepaliveSeconds: peer.keepaliveSeconds,
        presharedKey: peer.presharedKey,
      }))
      .sort((a, b) => (a.publicKey < b.publicKey ? -1 : 1)),
  };
}

/** TunnelPair is the two namespaces; disposing removes all of it. */
export class TunnelPair implements AsyncDisposable {
  readonly folder = `/run/causeway-test/${process.pid}-tunnel-${++serial}`;
  readonly near: Side;
  readonly far: Side;

  private constructor(near: Side, far: Side) {
    this.near = near;
    this.far = far;
  }

  static async open(backends: {
    readonly near: TunnelBackend;
    readonly far: TunnelBackend;
  }): Promise<TunnelPair> {
    // A user-space WireGuard's socket is named after the link, for the whole machine.
    const unique = process.pid.toString(36);
    const side = (name: string, number: number): Side => {
      const path = `/run/causeway-test/${process.pid}-tunnel-${serial + 1}/${name}`;
      createNetns(path);
      return {
        netns: Netns.open(path),
        link: `t${name.charAt(0)}${unique}x${serial + 1}`,
        key: PrivateKey.random(),
        overlay4: `10.9.0.${number}`,
        overlay6: `fd09::${number}`,
        underlay4: `192.0.2.${number}`,
        underlay6: `2001:db8::${number}`,
        tunnel: undefined as never,
      };
    };
    const pair = new TunnelPair(side("near", 1), side("far", 2));
    try {
      pair.#cable();
      await pair.#start(pair.near, backends.near);
      await pair.#start(pair.far, backends.far);
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
    return pair;
  }

  #cable(): void {
    const { near, far } = this;
    ip(
      near.netns,
      `link add eth0 type veth peer name eth0 netns /proc/${process.pid}/fd/${far.netns.fd.number}`,
    );
    for (const { netns, underlay4, underlay6 } of [near, far]) {
      ip(netns, "link set lo up");
      ip(netns, `addr add ${underlay4}/24 dev eth0`);
      ip(netns, `addr add ${underlay6}/64 dev eth0 nodad`);
      ip(netns, "link set eth0 up");
    }
  }

  async #start(side: Side, backend: TunnelBackend): Promise<void> {
    if (backend.linkType === "wireguard") ip(side.netns, `link add ${side.link} type wireguard`);
    side.tunnel = await backend.open(side.link, { netns: side.netns });
    ip(side.netns, `addr add ${side.overlay4}/24 dev ${side.link}`);
    ip(side.netns, `addr add ${side.overlay6}/64 dev ${side.link} nodad`);
    ip(side.netns, `link set ${side.link} mtu 1420 up`);
  }

  /** The other side of one side. */
  other(side: Side): Side {
    return side === this.near ? this.far : this.near;
  }

  /** The peer entry by which `side` knows the other one. */
  peer(side: Side, family: 4 | 6 = 4) {
    const other = this.other(side);
    const address = family === 4 ? other.underlay4 : `[${other.underlay6}]`;
    return {
      publicKey: other.key.publicKey,
      endpoint: parseEndpoint(`${address}:51820`),
      allowedIps: [parsePrefix(`${other.overlay4}/32`), parsePrefix(`${other.overlay6}/128`)],
    };
  }

  /** meet gives both sides their keys and each other, over one family. */
  meet(family: 4 | 6 = 4): void {
    for (const side of [this.near, this.far])
      side.tunnel.device.change({
        privateKey: side.key,
        listenPort: 51820,
        peers: [this.peer(side, family)],
      });
  }

  /** How a side reports the other one. */
  seen(side: Side, key = this.other(side).key) {
    return side.tunnel.device.read().peers.find((peer) => peer.publicKey === key.publicKey);
  }

  /** pings tells whether an answer comes back, over IPv4 and IPv6. */
  async pings(from: Side, options: { readonly waitSeconds?: number } = {}): Promise<boolean> {
    const to = this.other(from);
    for (const address of [to.overlay4, to.overlay6]) {
      const argv = ["ping", "-n", "-c", "1", "-W", `${options.waitSeconds ?? 20}`, address];
      if ((await run(argv, { netns: from.netns })).status !== 0) return false;
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const side of [this.near, this.far]) {
      await side.tunnel?.destroy();
      side.netns.close();
      removeNetns(side.netns.path);
    }
    removeTree(this.folder);
  }
}
