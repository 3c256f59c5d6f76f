/**
 * A gateway's queue on AF_XDP over two veth cables, in a namespace of its own; a flood from the site comes in, and what is sealed is dropped and
 * forgotten behind the other cable.
 *
 * ```
 * site: y0 ═══ x0 · gateway · p0 ═══ q0 :wire (drops all)
 * ```
 */
import { fileURLToPath } from "node:url";
import { parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { Arena, createNetns, Netns, removeNetns } from "../../src/sys/mod.ts";
import { GATEWAY_FILTER, gatewayArenaBytes, GatewayQueue } from "../../src/tunnel/gateway/mod.ts";
import { chooseAead } from "../../src/tunnel/path/mod.ts";
import { XdpInterface } from "../../src/tunnel/xdp/mod.ts";
import { ipsecMbFolders } from "../../test/support/ipsec-mb.ts";
import { must } from "../tunnel/cable.ts";

const FOLDER = "/run/causeway-bench";
const SPI = 300;
const DROP = [
  "add table netdev sink",
  "add chain netdev sink in { type filter hook ingress device q0 priority 0; policy drop; }",
];

/** XdpLine owns namespaces, sockets and the flood. */
export class XdpLine implements Disposable {
  readonly provider: string;
  readonly #stack = new DisposableStack();
  readonly #gateway: Netns;
  readonly #site: Netns;
  readonly #wire: Netns;
  readonly #queue: GatewayQueue;

  constructor() {
    [this.#gateway, this.#site, this.#wire] = [
      this.#netns("gateway"),
      this.#netns("site"),
      this.#netns("wire"),
    ];
    this.#join("x0", "y0", this.#site);
    this.#join("p0", "q0", this.#wire);
    for (const command of DROP) must(this.#wire, "nft", command);
    const arena = new Arena({ bytes: gatewayArenaBytes() + (64 << 20) });
    const { provider } = chooseAead(arena, { folders: ipsecMbFolders() });
    this.provider = provider.name;
    const inside = this.#attach("x0");
    const outside = this.#attach("p0");
    const side = (own: string, other: string, netns: Netns, ip: string, nextHop: string) => ({
      mac: parseMac(link(this.#gateway, own).address),
      four: {
        ip: parseIp(ip),
        nextHop: parseIp(nextHop),
        nextHopMac: parseMac(link(netns, other).address),
      },
    });
    this.#queue = this.#stack.use(
      new GatewayQueue({
        arena,
        provider,
        privateInterface: { ifindex: inside.ifindex, netns: this.#gateway, queue: 0, zeroCopy: true },
        publicInterface: { ifindex: outside.ifindex, netns: this.#gateway, queue: 0, zeroCopy: true },
        private: side("x0", "y0", this.#site, "10.0.0.1", "10.0.0.2"),
        public: side("p0", "q0", this.#wire, "192.0.2.1", "192.0.2.2"),
        mtuBytes: 1500,
        tell: () => {},
      }),
    );
    inside.add(0, this.#queue.privatePort.fd.number);
    outside.add(0, this.#queue.publicPort.fd.number);
    const { path } = this.#queue;
    const keyMaterial = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
    const association = { route: "far", spi: SPI, algorithm: "aes-128-gcm", keyMaterial } as const;
    path.obey({ kind: "route", route: { name: "far", prefixes: [parsePrefix("11.0.0.0/24")] } });
    path.obey({ kind: "outbound", association: { ...association, to: parseIp("192.0.2.2"), next: 1 } });
    path.obey({ kind: "move-outbound", route: "far", spi: SPI });
  }

  #netns(name: string): Netns {
    const path = `${FOLDER}/gateway-${name}`;
    createNetns(path);
    return this.#stack.adopt(Netns.open(path), (netns) => {
      netns.close();
      removeNetns(path);
    });
  }

  #join(near: string, far: string, netns: Netns): void {
    const there = `/proc/${process.pid}/fd/${netns.fd.number}`;
    must(this.#gateway, ...`ip link add ${near} type veth peer name ${far} netns ${there}`.split(" "));
    must(this.#gateway, ...`ip link set ${near} up`.split(" "));
    must(netns, ...`ip link set ${far} up`.split(" "));
  }

  #attach(name: string): XdpInterface {
    const { ifindex } = link(this.#gateway, name);
    return this.#stack.use(XdpInterface.open({ ifindex, netns: this.#gateway, filter: GATEWAY_FILTER }));
  }

  /** flood begins to send frames of these lengths in turn, until what it returns is disposed. */
  flood(frameBytes: readonly number[]): AsyncDisposable {
    const program = fileURLToPath(new URL("./flood-frames.ts", import.meta.url));
    const words = [link(this.#site, "y0").ifindex, link(this.#gateway, "x0").address, frameBytes.join()];
    const { child } = this.#site.run(() => ({
      child: Bun.spawn([process.execPath, program, ...words.map(String)], {
        stdin: "pipe",
        stdout: "ignore",
        stderr: "inherit",
      }),
    }));
    return {
      async [Symbol.asyncDispose]() {
        child.kill("SIGKILL");
        await child.exited;
      },
    };
  }

  /** run works for a while, and returns how many packets left sealed in a second of CPU time. */
  run(milliseconds: number): number {
    const queue = this.#queue;
    const sent = () => queue.path.report().counters.publicInterface.txpackets;
    const before = { sent: sent(), cpu: process.cpuUsage() };
    for (const end = performance.now() + milliseconds; performance.now() < end;)
      for (let i = 0; i < 100; i++) queue.once(1);
    const { user, system } = process.cpuUsage(before.cpu);
    return (sent() - before.sent) / (user + system);
  }

  [Symbol.dispose](): void {
    this.#stack[Symbol.dispose]();
  }
}

const link = (netns: Netns, name: string) =>
  JSON.parse(must(netns, "ip", "-j", "link", "show", name))[0] as { ifindex: number; address: string };
