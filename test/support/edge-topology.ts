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
 *          eth1  a    b    c  eth2      each: edge ─ host-e-… ─ host's speaker ─ pod
 *               FRR  BIRD GoBGP
 * ```
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { type Netns, removeTree, run, runSync } from "../../src/sys/mod.ts";
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
import { executable, labLacks } from "./lab-needs.ts";
import { lacksKind, Scratch } from "./scratch.ts";
import { serve } from "./seen.ts";

/** Larger than what pods send, by what VXLAN adds. */
const FABRIC_MTU = " mtu 1600";

interface LinkEnd {
  readonly box: string;
  readonly name: string;
}

/** Nic is what a machine has, wherever it is. */
interface Nic {
  readonly bridge: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

const NODES = ["a", "b", "c"] as const;

/** topologyLacks tells why the topology cannot be here. */
export function topologyLacks({ vrf }: { readonly vrf: boolean }): string | undefined {
  const foreign = (["frr", "bird", "gobgp"] as const).map((kind) => foreignRoot(kind).lacks);
  return (
    labLacks ?? foreign.find(Boolean) ?? (vrf ? lacksKind({ name: "x", type: "vrf", table: 7 }) : undefined)
  );
}

/** Build says what of the topology there is. */
export interface Build {
  /** Whether leaves have their tenants in VRFs. */
  readonly vrf: boolean;
  /** Routers and hosts whose FRR has BFD. */
  readonly bfd?: readonly string[];
  /** Told how far it is. */
  readonly say: (text: string) => void;
}

/** EdgeTopology owns namespaces, daemons and nodes. */
export class EdgeTopology implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly nodes: readonly EdgeNode[];
  readonly #folder = mkdtempSync(`${tmpdir()}/causeway-topology-`);
  readonly #boxes = new Map<string, Netns>();
  readonly #daemons = new Map<string, Foreign>();
  readonly #servers = new DisposableStack();
  readonly #links: string[] = [];
  readonly #told = new Map<string, string[]>();
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
  static async up({ vrf, bfd = [], say }: Build): Promise<EdgeTopology> {
    const topology = new EdgeTopology({ vrf });
    try {
      say("namespaces are there");
      await topology.#wire();
      say("links are there");
      await topology.#start({ bfd, say });
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

  /** announce has a leaf announce a network, of a tenant or of none, or take it back. */
  announce(
    leaf: Leaf,
    network: string,
    { vrf, not = false }: { readonly vrf?: Vrf; readonly not?: boolean },
  ): void {
    this.daemon(leaf.name).ask(
      "configure terminal",
      `router bgp ${leaf.asn}${vrf !== undefined && leaf.hasVrfs ? ` vrf ${vrf}` : ""}`,
      `address-family ipv${network.includes(":") ? 6 : 4} unicast`,
      `${not ? "no " : ""}network ${network}`,
    );
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

  /** feed runs a program in a box that reads what it does. */
  feed(name: string, argv: readonly string[], input: string): void {
    const done = runSync(argv, { netns: this.netns(name), input });
    if (done.status !== 0) throw new Error(`${argv.join(" ")}: ${done.stderr.trim()}`);
  }

  /** machine puts a machine behind a bridge of a node's host, and has it serve. */
  machine(node: EdgeNode, nic: Nic): Netns {
    const netns = this.#box(`m${this.#machines + 1}`);
    this.#plug(netns, node, nic);
    this.serve(netns);
    return netns;
  }

  /** move takes a machine from where it is to a bridge of another node's host. */
  move(netns: Netns, node: EdgeNode, nic: Nic): void {
    ip(netns, ["link delete eth0"]);
    this.#plug(netns, node, nic);
  }

  #plug(netns: Netns, node: EdgeNode, { bridge, mac, addresses }: Nic): void {
    const name = `m${++this.#machines}`;
    ip(node.netns, [
      `link add ${name} type veth peer name eth0 netns ${netns.path} address ${mac}`,
      `link set ${name} master ${bridge} up`,
    ]);
    ip(netns, [
      ...addresses.map((one) => `address add ${one} dev eth0${nodad(one)}`),
      "link set eth0 up",
      ...addresses.map((one) => `route add default via ${one.replace(/\d+\/\d+$/, "1")}`),
    ]);
  }

  /** serve answers whoever connects with the address that he comes from, and what is said besides. */
  serve(netns: Netns, besides = ""): void {
    this.#servers.use(serve(netns, besides));
  }

  #box(name: string): Netns {
    const netns = this.scratch.another();
    this.#boxes.set(name, netns);
    this.#inside(name, "link set lo up");
    return netns;
  }

  /** What a box is told once all links are there. */
  #inside(box: string, ...commands: readonly string[]): void {
    const told = this.#told.get(box) ?? [];
    if (told.length === 0) this.#told.set(box, told);
    told.push(...commands);
  }

  /** A link between two boxes. */
  #link(one: LinkEnd, two: LinkEnd, mtu = ""): void {
    const end = ({ box, name }: LinkEnd) => `name ${name} netns ${this.netns(box).path}${mtu}`;
    this.#links.push(`link add ${end(one)} type veth peer ${end(two)}`);
  }

  #fabric(): void {
    const spine = SPINE.name;
    this.#box(spine);
    for (const box of [...this.#leaves, TOR_1, TOR_2]) {
      this.#box(box.name);
      this.#link({ box: spine, name: `to-${box.name}` }, { box: box.name, name: "spine" }, FABRIC_MTU);
      this.#inside(
        spine,
        `address add ${spineSide(box.address)}/31 dev to-${box.name}`,
        `link set to-${box.name} up`,
      );
      this.#inside(box.name, `address add ${box.address}/31 dev spine`, "link set spine up");
    }
    for (const leaf of this.#leaves) this.#inside(leaf.name, ...leafLinks(leaf));
    for (const [i, tor] of [TOR_1, TOR_2].entries())
      this.#inside(
        tor.name,
        `link add nodes${FABRIC_MTU} type bridge`,
        `address add 192.168.1${i + 1}.2/24 dev nodes`,
        "link set nodes up",
      );
    for (const router of [spine, ...this.#leaves.map(({ name }) => name), TOR_1.name, TOR_2.name])
      forward(this.netns(router), LOOSE);
  }

  #host({ name, site, vrf, net4, net6 }: FabricHost): void {
    this.#box(name);
    const leaf = this.leaf(site, vrf);
    this.#link({ box: leaf.name, name: `to-${name}` }, { box: name, name: "eth0" });
    this.#inside(
      leaf.name,
      // What has a master afterwards loses its IPv6 addresses.
      ...(vrf === undefined || !leaf.hasVrfs ? [] : [`link set to-${name} master ${vrf}`]),
      `link set to-${name} up`,
      `address add ${net4}.1/24 dev to-${name}`,
      ...(net6 === undefined ? [] : [`address add ${net6}::1/64 dev to-${name} nodad`]),
    );
    this.#inside(name, ...machineLinks(net4, net6));
  }

  #node(name: (typeof NODES)[number], index: number): EdgeNode {
    const netns = this.#box(name);
    const pod = `pod-${name}`;
    this.#box(pod);
    forward(netns);
    for (const [i, tor] of [TOR_1, TOR_2].entries()) {
      const eth = `eth${i + 1}`;
      this.#link({ box: tor.name, name: `to-${name}` }, { box: name, name: eth }, FABRIC_MTU);
      this.#inside(tor.name, `link set to-${name} master nodes up`);
      this.#inside(name, `address add 192.168.1${i + 1}.${index + 3}/24 dev ${eth}`, `link set ${eth} up`);
    }
    const { net4, net6 } = podNets(index);
    this.#link({ box: name, name: "pod0" }, { box: pod, name: "eth0" });
    this.#inside(
      name,
      `address add ${net4}.1/24 dev pod0`,
      `address add ${net6}::1/64 dev pod0 nodad`,
      "link set pod0 up",
    );
    this.#inside(pod, ...machineLinks(net4, net6));
    const node = new EdgeNode(name, netns, `${this.#folder}/${name}`);
    node.index = index;
    node.bfdProgram = [executable];
    return node;
  }

  /** Links and addresses: a program for all links, and one for each box, as an emulated processor takes its time to start one. */
  async #wire(): Promise<void> {
    ip(this.scratch.netns, this.#links);
    await Promise.all(
      [...this.#told].map(async ([box, commands]) => {
        const input = `${commands.join("\n")}\n`;
        const done = await run(["ip", "-batch", "-"], { netns: this.netns(box), input });
        if (done.status !== 0) throw new Error(`${box}: ${commands.join("; ")}: ${done.stderr.trim()}`);
      }),
    );
  }

  async #start({ bfd, say }: Required<Omit<Build, "vrf">>): Promise<void> {
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
        const options = { root, netns: this.netns(name), config, bfd: bfd.includes(name) };
        this.#daemons.set(name, await Foreign.start(kind, options));
        say(`${name}'s speaker answers`);
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
    this.#servers.dispose();
    await Promise.all([...this.#daemons.values()].map((daemon) => daemon[Symbol.asyncDispose]()));
    for (const node of this.nodes) {
      await node.shutdown();
      node[Symbol.dispose]();
    }
    this.scratch[Symbol.dispose]();
    removeTree(this.#folder);
  }
}

function nodad(address: string): string {
  return address.includes(":") ? " nodad" : "";
}

/** One program for many commands. */
function ip(netns: Netns, commands: readonly string[]): void {
  const done = runSync(["ip", "-batch", "-"], { netns, input: `${commands.join("\n")}\n` });
  if (done.status !== 0) throw new Error(`ip: ${commands.join("; ")}: ${done.stderr.trim()}`);
}

/** Routers of a fabric have several ways, and packets that come by another one than answers go. */
const LOOSE: readonly Setting[] = [
  ["ipv4/conf/all/rp_filter", 0],
  ["ipv4/conf/default/rp_filter", 0],
];

type Setting = readonly [name: string, value: number];

function forward(netns: Netns, more: readonly Setting[] = []): void {
  const settings: readonly Setting[] = [["ipv4/ip_forward", 1], ["ipv6/conf/all/forwarding", 1], ...more];
  netns.run(() => {
    for (const [name, value] of settings) writeFileSync(`/proc/sys/net/${name}`, String(value));
  });
}

/** What a machine with one link is told. */
function machineLinks(net4: string, net6: string | undefined): string[] {
  return [
    `address add ${net4}.2/24 dev eth0`,
    ...(net6 === undefined ? [] : [`address add ${net6}::2/64 dev eth0 nodad`]),
    "link set eth0 up",
    `route add default via ${net4}.1`,
    ...(net6 === undefined ? [] : [`route add default via ${net6}::1`]),
  ];
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
