/**
 * Nodes with an edge in one process, and the fabric's router between them: FRR, which has no VNI of its own and only carries EVPN.
 *
 * ```
 *   host's speaker (FRR) ── host leg ── edge a ── eth1 ┐                     ┌ eth1 ── edge b ── host leg ── host's speaker
 *                                                      └─ FRR, AS 64512 ─────┘
 * ```
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { Edge, type OnEdgeSpeaker } from "../../src/agent/edge.ts";
import { clusterAccess, EdgePasswords } from "../../src/agent/edge-passwords.ts";
import { compilePrefixRules, neighborRoutes, Routers } from "../../src/bgp/mod.ts";
import type { LocalAttachment } from "../../src/domain/mod.ts";
import { Engine } from "../../src/engine/mod.ts";
import type { KubeAccess } from "../../src/kube/mod.ts";
import {
  type BgpRouter,
  formatProblem,
  parseManifest,
  type TenantResource,
  tenantsOf,
} from "../../src/resources/mod.ts";
import {
  ensureDirectory,
  listDirectory,
  Netns,
  removeNetns,
  removeTree,
  runSync,
} from "../../src/sys/mod.ts";
import { Foreign } from "./bgp-foreign.ts";
import { Scratch } from "./scratch.ts";
import { serve } from "./seen.ts";

/** EdgeSide is one node, its AS numbers and networks. */
export interface EdgeSide {
  readonly asn: number;
  readonly hostAsn: number;
  readonly net: string;
  readonly tor: string;
  readonly vtep: string;
}

/** edgeManifest is a node with a fabric's router and VPC red. */
export const edgeManifest = ({ asn, hostAsn, net, tor, vtep }: EdgeSide) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  routerIds: ${net}.200.0/24
  links: [{name: eth1}]
  neighbors: [{address: ${tor}, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [${vtep}/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: {announce: [198.51.100.0/24]}
  hostSession: {asn: ${asn}, peerAsn: ${hostAsn}, prefixes: [${net}.10.0/24], connectRetry: 1s}
`;

/** hostSpeaker is FRR as MetalLB configures it: one peer, and the addresses of its services. */
export const hostSpeaker = ({ asn, hostAsn, net }: EdgeSide, service: string) => `
router bgp ${hostAsn}
 bgp router-id ${net}.10.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 20 60
 neighbor ${net}.10.1 remote-as ${asn}
 neighbor ${net}.10.1 timers connect 1
 address-family ipv4 unicast
  network ${service}
 exit-address-family
`;

/** EdgeNode is one node: the host's namespace, and an agent's part of it. */
export class EdgeNode implements Disposable {
  readonly name: string;
  readonly netns: Netns;
  readonly folder: string;
  readonly problems: string[] = [];
  readonly logged: string[] = [];
  /** Where CNI plugins are; default as an agent has it. */
  plugins: readonly string[] | undefined;
  /** The program that keeps BFD sessions; none: there are none. */
  bfdProgram: readonly string[] | undefined;
  /** How it reads Secrets. */
  access: () => KubeAccess = () => clusterAccess(undefined);
  /** What the next agent is told of pods. */
  attached: readonly LocalAttachment[] = [];
  /** Its place among the nodes, and its labels. */
  index = 0;
  labels: Readonly<Record<string, string>> = {};
  #running:
    | {
        readonly engine: Engine;
        readonly routers: Routers;
        readonly edge: Edge;
        readonly passwords: EdgePasswords;
      }
    | undefined;

  constructor(name: string, netns: Netns, folder: string) {
    this.name = name;
    this.netns = netns;
    this.folder = folder;
    ensureDirectory(`${folder}/netns`);
    ensureDirectory(`${folder}/bgp`);
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get edge(): Edge {
    return this.#run().edge;
  }

  get engine(): Engine {
    return this.#run().engine;
  }

  get routers(): Routers {
    return this.#run().routers;
  }

  #run() {
    if (this.#running === undefined) throw new Error(`${this.name} does not run`);
    return this.#running;
  }

  /** start begins as an agent does. */
  start(): void {
    const engine = Engine.open({ netns: this.netns });
    engine.start();
    let tell: OnEdgeSpeaker = () => {};
    const routers = new Routers({
      folder: `${this.folder}/bgp`,
      ...(this.bfdProgram === undefined ? {} : { bfdProgram: this.bfdProgram }),
      log: (event, fields) => void this.logged.push(`${event} ${JSON.stringify(fields)}`),
      onSpeaker: (speaker) =>
        tell({
          speaker,
          rules: compilePrefixRules,
          routes: (listener) => neighborRoutes(speaker, listener),
        }),
    });
    const passwords = new EdgePasswords({ folder: `${this.folder}/passwords`, access: this.access });
    const edge = new Edge({
      passwords,
      ...{ home: engine, netns: this.netns, folder: `${this.folder}/netns` },
      pods: { all: () => this.attached.map((local) => ({ local })), raised() {} },
      linksPath: `${this.folder}/edge-links.json`,
      chains: {
        path: `${this.folder}/edge-chains.json`,
        run: this.folder,
        node: this.name,
        ...(this.plugins === undefined ? {} : { folders: this.plugins }),
      },
      bgp: {
        setEdge: (wanted: readonly BgpRouter[], onSpeaker) => {
          tell = onSpeaker;
          for (const [router, error] of routers.set(wanted))
            this.problems.push(`${router}: ${error.message}`);
        },
      },
      onProblem: (error) => void this.problems.push(error.message),
    });
    this.#running = { engine, routers, edge, passwords };
  }

  /** follow gives the edge its resources. */
  follow(text: string): void {
    const { resources, problems } = parseManifest(text);
    if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
    const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
    const { name, labels, index } = this;
    this.edge.follow(tenants, { name, hub: false, labels, index });
  }

  /** stop ends it as a crash would: nothing is said, and nothing taken down. */
  stop(): void {
    const { engine, routers, edge, passwords } = this.#run();
    this.#running = undefined;
    edge[Symbol.dispose]();
    passwords[Symbol.dispose]();
    routers.stop();
    engine[Symbol.dispose]();
  }

  /** shutdown ends it for good, with the process that keeps its BFD sessions. */
  async shutdown(): Promise<void> {
    await this.#running?.routers.shutdown("the node goes");
  }

  /** text runs a program in the host's namespace, or in one of the edge's. */
  text(command: string, inside?: string): string {
    using netns = inside === undefined ? undefined : Netns.open(`${this.folder}/netns/${inside}`);
    const done = runSync(command.split(" "), { netns: netns ?? this.netns });
    if (done.status !== 0) throw new Error(`${this.name}: ${command}: ${done.stderr.trim()}`);
    return done.stdout;
  }

  [Symbol.dispose](): void {
    if (this.#running !== undefined) this.stop();
    for (const file of listDirectory(`${this.folder}/netns`)) removeNetns(`${this.folder}/netns/${file}`);
  }
}

/** FABRIC is what the router between the nodes is told. */
const FABRIC = (neighbors: readonly { readonly address: string; readonly asn: number }[]) => `
router bgp 64512
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 20 60
${neighbors.map(({ address, asn }) => ` neighbor ${address} remote-as ${asn}`).join("\n")}
 address-family ipv4 unicast
${neighbors.map(({ address }) => `  neighbor ${address} activate`).join("\n")}
 exit-address-family
 address-family l2vpn evpn
${neighbors.map(({ address }) => `  neighbor ${address} activate`).join("\n")}
 exit-address-family
`;

/** evpnPaths returns of a route in FRR's text, by its end, what comes with it from a tunnel endpoint. */
export function evpnPaths(text: string, route: string, vtep: string): string[] {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.flatMap((line, i) =>
    line.endsWith(route) && lines[i + 1]?.startsWith(`${vtep} `) === true ? [lines[i + 2] ?? ""] : [],
  );
}

/** Socket is where machines are plugged in. */
interface Socket {
  readonly node: EdgeNode;
  readonly bridge: string;
}

/** EdgeLab owns namespaces, nodes and daemons. */
export class EdgeLab implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly nodes: EdgeNode[] = [];
  readonly #folder = mkdtempSync(`${tmpdir()}/causeway-edge-`);
  readonly #root: string;
  readonly #daemons: Foreign[] = [];
  readonly #stopping = new DisposableStack();

  /** `root` is where FRR is, if it is used. */
  constructor({ names, root = "" }: { readonly names: readonly string[]; readonly root?: string }) {
    this.#root = root;
    const { scratch } = this;
    scratch.text("ip link set lo up");
    scratch.text("sysctl -qw net.ipv4.ip_forward=1");
    for (const [i, name] of names.entries()) {
      const netns = scratch.another();
      scratch.text(`ip link add to-${name} mtu 1600 type veth peer name eth1 netns ${netns.path}`);
      scratch.text(`ip address add 192.168.${11 + i}.2/24 dev to-${name}`);
      scratch.text(`ip link set to-${name} up`);
      const text = (command: string) => scratch.text(command, netns);
      text("ip link set lo up");
      text(`ip address add 192.168.${11 + i}.3/24 dev eth1`);
      text("ip link set eth1 mtu 1600 up");
      this.nodes.push(new EdgeNode(name, netns, `${this.#folder}/${name}`));
    }
  }

  node(name: string): EdgeNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  /** fabric starts the router between the nodes, by their AS numbers; one in another namespace has the same addresses there. */
  async fabric(asns: readonly number[], netns = this.scratch.netns): Promise<Foreign> {
    const neighbors = asns.map((asn, i) => ({ address: `192.168.${11 + i}.3`, asn }));
    return await this.frr(netns, FABRIC(neighbors));
  }

  /** ours starts a Causeway router between the nodes in place of FRR: as a helper of a restart it keeps EVPN routes too, which FRR does not. */
  ours(asns: readonly number[]): Routers {
    const neighbors = asns.map((asn, i) => ({
      ...{ address: `192.168.${11 + i}.3`, asn, connectRetry: "1s" },
      families: { "ipv4-unicast": {}, "l2vpn-evpn": {} },
    }));
    return this.speaker("fabric", this.scratch.netns, { asn: 64512, routerId: "10.0.1.1", neighbors });
  }

  /** speaker starts a Causeway router in a namespace; it takes and gives what its neighbors say. */
  speaker(name: string, { path: namespace }: Netns, spec: object): Routers {
    const folder = `${this.#folder}/${name}`;
    ensureDirectory(folder);
    const routers = new Routers({ folder, log: () => {} });
    const { resources, problems } = parseManifest(
      JSON.stringify({
        ...{ apiVersion: "causeway.network/v1alpha1", kind: "BgpRouter", metadata: { name } },
        spec: { namespace, install: true, requirePolicy: false, ...spec },
      }),
    );
    if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
    for (const [, error] of routers.set(resources.map(({ value }) => value as BgpRouter))) throw error;
    this.#stopping.defer(() => routers.stop());
    return routers;
  }

  /** machine makes a machine whose Ethernet address ends in its number, behind a bridge of a node's host. */
  machine(at: Socket, number: number, ...addresses: readonly string[]): Netns {
    const netns = this.scratch.another();
    this.plug(netns, at, number, ...addresses);
    return netns;
  }

  /** plug puts a machine that is nowhere behind a bridge. As machines do, it looks first whether somebody else has its IPv6 addresses. */
  plug(netns: Netns, { node, bridge }: Socket, number: number, ...addresses: readonly string[]): void {
    const mac = `02:00:00:00:00:0${number}`;
    node.text(`ip link add m${number} type veth peer name eth0 netns ${netns.path} address ${mac}`);
    node.text(`ip link set m${number} master ${bridge} up`);
    for (const address of addresses)
      this.scratch.text(`ip address add ${address}/${address.includes(":") ? 64 : 24} dev eth0`, netns);
    this.scratch.text("ip link set eth0 up", netns);
  }

  /** frr starts FRR in a namespace. */
  async frr(netns: Netns, config: string): Promise<Foreign> {
    const daemon = await Foreign.start("frr", { root: this.#root, netns, config });
    this.#daemons.push(daemon);
    return daemon;
  }

  /** serve has a machine tell whoever asks whom it sees (seen.ts). */
  serve(netns: Netns): void {
    this.#stopping.use(serve(netns));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) await daemon[Symbol.asyncDispose]();
    this.#stopping.dispose();
    for (const node of this.nodes) node[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
    removeTree(this.#folder);
  }
}
