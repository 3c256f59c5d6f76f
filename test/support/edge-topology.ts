/**
 * A fabric as OpenPERouter's laboratory has it, in namespaces: FRR with VRFs as leaves, three nodes with an edge of ours on two ToRs, and on their
 * hosts what Kubernetes runs: FRR as MetalLB does, BIRD as Calico does, GoBGP as Cilium does. Needs a kernel with VRFs.
 *
 * ```
 *  A-red A-blue A-plain     B-red B-blue
 *       \   |   /                \  /
 *         leafA                 leafB
 *             \____ spine ______/
 *                  /     \
 *               tor1     tor2
 *                │ └──┬──┘ │
 *          eth1  a    b    c  eth2      each: edge ─ cwh100, cwh200 ─ host's speaker ─ pod
 *               FRR  BIRD GoBGP
 * ```
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { type Netns, removeTree, runSync } from "../../src/sys/mod.ts";
import { Foreign, foreignRoot } from "./bgp-foreign.ts";
import { EdgeNode } from "./edge-lab.ts";
import {
  calicoText,
  ciliumText,
  type FabricHost,
  HOSTS,
  isBehind,
  type Leaf,
  leafText,
  leavesOf,
  metallbText,
  podNets,
  SESSIONS,
  SPINE,
  spineSide,
  spineText,
  TOR_1,
  TOR_2,
  torText,
  type Vrf,
  VNIS,
} from "./edge-topology-config.ts";
import { lacksKind, Scratch } from "./scratch.ts";

const PORT = 8080;

/** How long a client waits for an answer. */
const PATIENCE_MS = 4_000;

/** Larger than what pods send, by what VXLAN adds. */
const FABRIC_MTU = 1600;

const NODES = ["a", "b", "c"] as const;

/** topologyLacks tells why the topology cannot be here. */
export function topologyLacks({ vrf }: { readonly vrf: boolean }): string | undefined {
  const foreign = (["frr", "bird", "gobgp"] as const).map((kind) => foreignRoot(kind).lacks);
  return foreign.find(Boolean) ?? (vrf ? lacksKind({ name: "x", type: "vrf", table: 7 }) : undefined);
}

/** EdgeTopology owns namespaces, daemons and nodes. */
export class EdgeTopology implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly nodes: readonly EdgeNode[];
  readonly #folder = mkdtempSync(`${tmpdir()}/causeway-topology-`);
  readonly #boxes = new Map<string, Netns>();
  readonly #daemons = new Map<string, Foreign>();
  readonly #servers: { stop(closeActive?: boolean): void }[] = [];
  #machines = 0;

  readonly #leaves: readonly Leaf[];

  private constructor({ vrf }: { readonly vrf: boolean }) {
    this.#leaves = leavesOf(vrf);
    this.#fabric();
    for (const host of HOSTS) this.#host(host);
    this.nodes = NODES.map((name, index) => this.#node(name, index));
    for (const name of [...HOSTS.map(({ name: host }) => host), ...NODES.map((node) => `pod-${node}`)])
      this.serve(this.netns(name));
  }

  /** up builds it all, and waits until every daemon answers. */
  static async up(options: { readonly vrf: boolean }): Promise<EdgeTopology> {
    const topology = new EdgeTopology(options);
    try {
      await topology.#start();
      return topology;
    } catch (error) {
      await topology[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** netns returns the namespace of a box, a host or a pod. */
  netns(name: string): Netns {
    const found = this.#boxes.get(name);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  }

  /** daemon returns the speaker of a router, or of a node's host. */
  daemon(name: string): Foreign {
    const found = this.#daemons.get(name);
    if (found === undefined) throw new Error(`${name} has no daemon`);
    return found;
  }

  /** leaf returns the leaf of a site that has a tenant, or hosts of none. */
  leaf(site: "A" | "B", vrf?: Vrf): Leaf {
    const found = this.#leaves.find((leaf) =>
      isBehind({ name: "", net4: "", site, ...(vrf && { vrf }) }, leaf),
    );
    if (found === undefined) throw new Error(`no leaf ${site} has ${vrf}`);
    return found;
  }

  /** routes returns a tenant's routes of a leaf's kernel. */
  routes(site: "A" | "B", vrf: Vrf): string {
    const { name, hasVrfs } = this.leaf(site, vrf);
    return ["ip route", "ip -6 route"]
      .map((command) => this.text(name, `${command} show${hasVrfs ? ` vrf ${vrf}` : ""}`))
      .join("");
  }

  /** text runs a program in a box. */
  text(name: string, command: string): string {
    return this.scratch.text(command, this.netns(name));
  }

  /** machine puts a machine behind a bridge of a node's host, and has it serve. */
  machine(
    node: EdgeNode,
    {
      bridge,
      mac,
      addresses,
    }: { readonly bridge: string; readonly mac: string; readonly addresses: readonly string[] },
  ): Netns {
    const name = `m${++this.#machines}`;
    const netns = this.#box(name);
    ip(node.netns, [
      `link add ${name} type veth peer name eth0 netns ${netns.path} address ${mac}`,
      `link set ${name} master ${bridge} up`,
    ]);
    ip(netns, [
      ...addresses.map((one) => `address add ${one} dev eth0${nodad(one)}`),
      "link set eth0 up",
      ...addresses.map((one) => `route add default via ${one.replace(/\d+\/\d+$/, "1")}`),
    ]);
    this.serve(netns);
    return netns;
  }

  /** serve answers whoever connects with the address that he comes from. */
  serve(netns: Netns): void {
    const server = netns.run(() =>
      Bun.listen({
        ...{ hostname: "::", port: PORT },
        socket: { open: (socket) => void socket.end(socket.remoteAddress), data() {} },
      }),
    );
    this.#servers.push(server);
  }

  #box(name: string): Netns {
    const netns = this.scratch.another();
    this.#boxes.set(name, netns);
    ip(netns, ["link set lo up"]);
    return netns;
  }

  #fabric(): void {
    const spine = this.#box(SPINE.name);
    forward(spine, LOOSE);
    for (const box of [...this.#leaves, TOR_1, TOR_2]) {
      const netns = this.#box(box.name);
      forward(netns, LOOSE);
      ip(spine, [
        `link add to-${box.name} mtu ${FABRIC_MTU} type veth peer name spine netns ${netns.path} mtu ${FABRIC_MTU}`,
        `address add ${spineSide(box.address)}/31 dev to-${box.name}`,
        `link set to-${box.name} up`,
      ]);
      ip(netns, [`address add ${box.address}/31 dev spine`, "link set spine up"]);
    }
    for (const leaf of this.#leaves) ip(this.netns(leaf.name), leafLinks(leaf));
    for (const [i, tor] of [TOR_1, TOR_2].entries())
      ip(this.netns(tor.name), [
        `link add nodes mtu ${FABRIC_MTU} type bridge`,
        `address add 192.168.1${i + 1}.2/24 dev nodes`,
        "link set nodes up",
      ]);
  }

  #host({ name, site, vrf, net4, net6 }: FabricHost): void {
    const netns = this.#box(name);
    const leaf = this.leaf(site, vrf);
    const six = net6 === undefined ? [] : [`address add ${net6}::1/64 dev to-${name} nodad`];
    ip(this.netns(leaf.name), [
      `link add to-${name} type veth peer name eth0 netns ${netns.path}`,
      // What has a master afterwards loses its IPv6 addresses.
      ...(vrf === undefined || !leaf.hasVrfs ? [] : [`link set to-${name} master ${vrf}`]),
      `link set to-${name} up`,
      `address add ${net4}.1/24 dev to-${name}`,
      ...six,
    ]);
    ip(netns, [
      `address add ${net4}.2/24 dev eth0`,
      ...(net6 === undefined ? [] : [`address add ${net6}::2/64 dev eth0 nodad`]),
      "link set eth0 up",
      `route add default via ${net4}.1`,
      ...(net6 === undefined ? [] : [`route add default via ${net6}::1`]),
    ]);
  }

  #node(name: (typeof NODES)[number], index: number): EdgeNode {
    const netns = this.#box(name);
    const pod = this.#box(`pod-${name}`);
    forward(netns);
    for (const [i, tor] of [TOR_1, TOR_2].entries()) {
      ip(this.netns(tor.name), [
        `link add to-${name} mtu ${FABRIC_MTU} type veth peer name eth${i + 1} netns ${netns.path} mtu ${FABRIC_MTU}`,
        `link set to-${name} master nodes up`,
      ]);
      ip(netns, [`address add 192.168.1${i + 1}.${index + 3}/24 dev eth${i + 1}`, `link set eth${i + 1} up`]);
    }
    const { net4, net6 } = podNets(index);
    ip(netns, [
      `link add pod0 type veth peer name eth0 netns ${pod.path}`,
      `address add ${net4}.1/24 dev pod0`,
      `address add ${net6}::1/64 dev pod0 nodad`,
      "link set pod0 up",
    ]);
    ip(pod, [
      `address add ${net4}.2/24 dev eth0`,
      `address add ${net6}::2/64 dev eth0 nodad`,
      "link set eth0 up",
      `route add default via ${net4}.1`,
      `route add default via ${net6}::1`,
    ]);
    const node = new EdgeNode(name, netns, `${this.#folder}/${name}`);
    node.index = index;
    return node;
  }

  async #start(): Promise<void> {
    const [a, b, c] = NODES;
    const texts: readonly (readonly [string, "frr" | "bird" | "gobgp", string])[] = [
      [SPINE.name, "frr", spineText([...this.#leaves, TOR_1, TOR_2])],
      ...this.#leaves.map((leaf) => [leaf.name, "frr" as const, leafText(leaf)] as const),
      [TOR_1.name, "frr", torText(TOR_1, "192.168.11")],
      [TOR_2.name, "frr", torText(TOR_2, "192.168.12")],
      [a, "frr", metallbText(0)],
      [b, "bird", calicoText(1)],
      [c, "gobgp", ciliumText(2)],
    ];
    await Promise.all(
      texts.map(async ([name, kind, config]) => {
        const { root = "" } = foreignRoot(kind);
        this.#daemons.set(name, await Foreign.start(kind, { root, netns: this.netns(name), config }));
      }),
    );
    const { net4, net6 } = podNets(2);
    this.daemon(c).ask("global", "rib", "add", `${net4}.0/24`);
    this.daemon(c).ask("global", "rib", "add", "-a", "ipv6", `${net6}::/64`);
  }

  /** routeByHand leads a host, whose speaker puts nothing into the kernel, to the fabric's hosts, as an admin of Cilium does. */
  routeByHand(node: EdgeNode): void {
    ip(
      node.netns,
      HOSTS.flatMap(({ vrf, net4, net6 }) =>
        vrf === undefined
          ? []
          : [
              `route add ${net4}.0/24 via ${SESSIONS[vrf].net4}.1`,
              `route add ${net6}::/64 via ${SESSIONS[vrf].net6}::1`,
            ],
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.stop(true);
    for (const daemon of this.#daemons.values()) await daemon[Symbol.asyncDispose]();
    for (const node of this.nodes ?? []) node[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
    removeTree(this.#folder);
  }
}

/** seenBy connects to what serves at an address, and returns whom that saw; nothing where there is no answer. */
export async function seenBy(from: Netns, address: string): Promise<string> {
  const { promise: said, resolve } = Promise.withResolvers<string>();
  let text = "";
  // A window may not return a promise; the socket is made at once.
  const { connecting } = from.run(() => ({
    connecting: Bun.connect({
      ...{ hostname: address, port: PORT },
      socket: {
        data: (_, chunk) => void (text += chunk.toString()),
        close: () => resolve(text),
        error: () => resolve(""),
        connectError: () => resolve(""),
      },
    }),
  }));
  connecting.then(
    (socket) => said.then(() => socket.terminate()),
    () => resolve(""),
  );
  const late = setTimeout(() => resolve(""), PATIENCE_MS);
  const seen = await said;
  clearTimeout(late);
  return seen.replace(/^::ffff:/, "");
}

function nodad(address: string): string {
  return address.includes(":") ? " nodad" : "";
}

/** One program for many commands: an emulated processor takes its time to start one. */
function ip(netns: Netns, commands: readonly string[]): void {
  const done = runSync(["ip", "-batch", "-"], { netns, input: `${commands.join("\n")}\n` });
  if (done.status !== 0) throw new Error(`ip: ${commands.join("; ")}: ${done.stderr.trim()}`);
}

/** Routers of a fabric have several ways, and packets that come by another one than answers go. */
const LOOSE = ["net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"];

function forward(netns: Netns, more: readonly string[] = []): void {
  const settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", ...more];
  const done = runSync(["sysctl", "-qw", ...settings], { netns });
  if (done.status !== 0) throw new Error(`sysctl: ${done.stderr.trim()}`);
}

/** A bridge and a VXLAN link for each L3 VNI, in a VRF where there are VRFs. */
function leafLinks({ routerId, vrfs, hasVrfs }: Leaf): string[] {
  const last = routerId.split(".").at(-1)?.padStart(2, "0");
  return [
    `address add ${routerId}/32 dev lo`,
    ...vrfs.flatMap((vrf) => {
      const vni = VNIS[vrf];
      return [
        ...(hasVrfs ? [`link add ${vrf} type vrf table ${1000 + vni}`, `link set ${vrf} up`] : []),
        `link add br${vni} address 02:00:00:${last}:0${vni / 100}:01 type bridge`,
        `link set br${vni} addrgenmode none`,
        ...(hasVrfs ? [`link set br${vni} master ${vrf}`] : []),
        `link add vni${vni} type vxlan id ${vni} local ${routerId} dstport 4789 nolearning`,
        `link set vni${vni} addrgenmode none master br${vni}`,
        `link set dev vni${vni} type bridge_slave learning off neigh_suppress on`,
        `link set br${vni} up`,
        `link set vni${vni} up`,
      ];
    }),
  ];
}
