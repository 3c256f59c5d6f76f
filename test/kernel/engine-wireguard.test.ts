/** Peers through the engine, on each back-end that runs here; wg(8) is the witness. */
import { describe, expect, test } from "bun:test";
import { Engine, formatPlan, type KernelObject, type Peer } from "../../src/engine/mod.ts";
import {
  type DeviceChange,
  parseEndpoint,
  parsePrefix,
  PrivateKey,
  Secret,
  type WireguardDevice,
} from "../../src/net/mod.ts";
import { KernelWireguard, kernelHasWireguard } from "../../src/netlink/mod.ts";
import { type BackendName, ownBackend, type Tunnel, wireguardGoBackend } from "../../src/tunnel/mod.ts";
import { ownLacks } from "../support/own-needs.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const LINK = `cwe${process.pid % 100_000}`;
const secret = PrivateKey.random();
const [a, b, c] = [
  PrivateKey.random().publicKey,
  PrivateKey.random().publicKey,
  PrivateKey.random().publicKey,
];
const [p1, p2] = [parsePrefix("10.1.0.0/24"), parsePrefix("fd01::/64")];

const config: KernelObject = { kind: "wireguard", link: LINK, privateKey: secret, listenPort: 51820 };

function peer(publicKey: Peer["publicKey"], more: Partial<Peer> = {}): Peer {
  return { kind: "peer", link: LINK, publicKey, allowedIps: [], ...more };
}

/** Site is a namespace with an engine, a WireGuard link and a record of what is written to it. */
class Site implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly written: DeviceChange[] = [];
  engine: Engine;
  readonly #tunnel: Tunnel | undefined;
  readonly link: KernelObject;

  private constructor(tunnel: Tunnel | undefined, scratch: Scratch) {
    this.scratch = scratch;
    this.#tunnel = tunnel;
    this.link = {
      kind: "link",
      name: LINK,
      type: tunnel === undefined ? "wireguard" : "external",
      mtuBytes: 1420,
    };
    this.engine = this.open();
  }

  static async make(name: BackendName): Promise<Site> {
    const scratch = new Scratch();
    const backend =
      name === "user" ? ownBackend() : name === "wireguard-go" ? wireguardGoBackend() : undefined;
    const tunnel = await backend?.open(LINK, { netns: scratch.netns, logPath: `${scratch.folder}/log` });
    return new Site(tunnel, scratch);
  }

  /** open starts another engine on the same device. */
  open(): Engine {
    const { netns } = this.scratch;
    const recorded = (device: WireguardDevice): WireguardDevice => ({
      read: () => device.read(),
      change: (change) => {
        this.written.push(change);
        device.change(change);
      },
    });
    return Engine.open({
      netns,
      wireguard: (link) =>
        link === LINK ? recorded(this.#tunnel?.device ?? KernelWireguard.open(LINK, { netns })) : undefined,
    });
  }

  wg(words: string): string {
    return this.scratch.text(`wg ${words}`);
  }

  allowed(): Record<string, string[]> {
    const lines = this.wg(`show ${LINK} allowed-ips`)
      .trim()
      .split("\n")
      .filter((line) => line !== "");
    return Object.fromEntries(
      lines.map((line) => line.split("\t")).map(([key = "", ips = ""]) => [key, ips.split(" ").sort()]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.engine[Symbol.dispose]();
    await this.#tunnel?.destroy();
    this.#tunnel?.close();
    this.scratch[Symbol.dispose]();
  }
}

const backends = {
  kernel: notRoot ?? lacksTool("wg") ?? (kernelHasWireguard() ? undefined : "this kernel has no WireGuard"),
  user: ownLacks ?? lacksTool("wg"),
  "wireguard-go":
    notRoot ??
    lacksTool("wg") ??
    (wireguardGoBackend() === undefined ? "wireguard-go is not installed" : undefined),
} as const satisfies Readonly<Record<BackendName, string | undefined>>;

for (const [name, cannot] of Object.entries(backends)) {
  const backend = name as BackendName;
  const title = `peers on ${backend} WireGuard${cannot === undefined ? "" : ` (skipped: ${cannot})`}`;
  describe.skipIf(cannot !== undefined)(title, () => {
    test("a device and its peers are made, and an unchanged apply writes nothing", async () => {
      await using site = await Site.make(backend);
      const { engine, written } = site;
      const endpoint = parseEndpoint("192.0.2.7:51820");
      engine.set("mesh", [site.link, config]);
      engine.set("peer/a", [
        peer(a, { allowedIps: [p1, p2], endpoint, keepaliveSeconds: 25, presharedKey: Secret.random() }),
      ]);
      engine.set("peer/b", [peer(b)]);
      expect(formatPlan(engine.plan())).not.toContain(secret.toFile().trim());
      expect(engine.apply().failed).toEqual([]);
      expect(site.wg(`show ${LINK} public-key`).trim()).toBe(secret.publicKey);
      expect(site.wg(`show ${LINK} listen-port`).trim()).toBe("51820");
      expect(site.allowed()).toEqual({ [a]: ["10.1.0.0/24", "fd01::/64"], [b]: ["(none)"] });
      expect(site.wg(`show ${LINK} endpoints`)).toContain(`${a}\t192.0.2.7:51820`);
      expect(site.wg(`show ${LINK} persistent-keepalive`)).toContain(`${a}\t25`);
      const writes = written.length;
      expect(engine.apply().applied).toBe(0);
      expect(engine.apply("peer/a").applied).toBe(0);
      expect(engine.round().applied).toBe(0);
      engine[Symbol.dispose]();
      site.engine = site.open();
      site.engine.set("mesh", [site.link, config]);
      site.engine.set("peer/a", [
        peer(a, { allowedIps: [p1, p2], endpoint, keepaliveSeconds: 25, presharedKey: Secret.random() }),
      ]);
      site.engine.set("peer/b", [peer(b)]);
      expect(site.engine.sweep().applied).toBe(0);
      expect(written.length).toBe(writes);
    });

    test("one changed peer is one write that names no other", async () => {
      await using site = await Site.make(backend);
      const { engine, written } = site;
      engine.set("mesh", [site.link, config]);
      for (const key of [a, b, c]) engine.set(`peer/${key}`, [peer(key)]);
      engine.apply();
      written.length = 0;
      engine.set(`peer/${b}`, [peer(b, { allowedIps: [p1] })]);
      expect(engine.apply(`peer/${b}`).applied).toBe(1);
      expect(written.map((change) => change.peers?.map((one) => one.publicKey))).toEqual([[b]]);
      engine.remove(`peer/${c}`);
      engine.apply();
      expect(Object.keys(site.allowed()).sort()).toEqual([a, b].sort());
    });

    test("allowed prefixes move between peers in any order", async () => {
      await using site = await Site.make(backend);
      const { engine } = site;
      engine.set("mesh", [site.link, config]);
      engine.set("peers", [peer(a, { allowedIps: [p1] }), peer(b, { allowedIps: [p2] })]);
      engine.apply();
      engine.set("peers", [peer(a, { allowedIps: [p2] }), peer(b, { allowedIps: [p1] })]);
      expect(engine.apply().failed).toEqual([]);
      expect(site.allowed()).toEqual({ [a]: ["fd01::/64"], [b]: ["10.1.0.0/24"] });
      engine.set("peers", [peer(b, { allowedIps: [p1, p2] }), peer(a)]);
      expect(engine.apply().failed).toEqual([]);
      expect(site.allowed()).toEqual({ [a]: ["(none)"], [b]: ["10.1.0.0/24", "fd01::/64"] });
      engine.set("peers", [peer(c, { allowedIps: [p1, p2] })]);
      expect(engine.apply().failed).toEqual([]);
      expect(site.allowed()).toEqual({ [c]: ["10.1.0.0/24", "fd01::/64"] });
    });

    test("the later of two claims holds, and neither flaps", async () => {
      await using site = await Site.make(backend);
      const { engine, written } = site;
      engine.set("mesh", [site.link, config]);
      engine.set("old", [peer(a, { allowedIps: [p1, p2] })]);
      engine.set("new", [peer(b, { allowedIps: [p1] })]);
      engine.apply();
      expect(site.allowed()).toEqual({ [a]: ["fd01::/64"], [b]: ["10.1.0.0/24"] });
      written.length = 0;
      engine.round();
      engine.round();
      expect(written).toEqual([]);
      expect(engine.status("old")[0]?.reason).toBe(
        `10.1.0.0/24 belongs to peer ${b}, which claimed it later`,
      );
      engine.remove("new");
      engine.apply();
      expect(site.allowed()).toEqual({ [a]: ["10.1.0.0/24", "fd01::/64"] });
    });

    test("drift is repaired by the full round, and strangers go once pruning was asked for", async () => {
      await using site = await Site.make(backend);
      const { engine } = site;
      engine.set("mesh", [site.link, config]);
      engine.set("peers", [peer(a, { allowedIps: [p1] })]);
      engine.apply();
      site.wg(`set ${LINK} peer ${a} allowed-ips 10.99.0.0/24`);
      site.wg(`set ${LINK} peer ${c} allowed-ips 10.98.0.0/24`);
      site.wg(`set ${LINK} listen-port 51999`);
      engine.round();
      expect(site.wg(`show ${LINK} listen-port`).trim()).toBe("51820");
      expect(site.allowed()).toEqual({ [a]: ["10.1.0.0/24"], [c]: ["10.98.0.0/24"] });
      engine.sweep();
      expect(site.allowed()).toEqual({ [a]: ["10.1.0.0/24"] });
    });
  });
}
