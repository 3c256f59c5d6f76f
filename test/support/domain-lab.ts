/**
 * Hosts in one kernel that are joined by a switch as underlay, each with a DomainHost. BGP is left out: `sync` tells each host what the
 * others have.
 */
import { DomainHost } from "../../src/agent/domain-host.ts";
import {
  type Domain,
  type DomainNode,
  guardText,
  type LocalAttachment,
  type RemoteChange,
  type Remote,
  type Segment,
} from "../../src/domain/mod.ts";
import { Engine } from "../../src/engine/mod.ts";
import { formatIp, formatPrefix, mac, parseInterfaceAddress, parseIp } from "../../src/net/mod.ts";
import { addLink, setLink } from "../../src/netlink/mod.ts";
import {
  ensureDirectory,
  listDirectory,
  Netns,
  removeNetns,
  removeTree,
  runSync,
} from "../../src/sys/mod.ts";
import { Scratch } from "./scratch.ts";

/** DomainLabOptions say what the underlay is. */
export interface DomainLabOptions {
  readonly hosts?: number;
  /** Family of the VTEPs' addresses. */
  readonly family?: 4 | 6;
  readonly underlayMtuBytes?: number;
}

/** Host is one node. */
export class Host implements Disposable {
  readonly name: string;
  readonly netns: Netns;
  node: DomainNode;
  readonly folder: string;
  readonly problems: string[] = [];
  /** How often a domain came late. */
  late = 0;
  readonly pods = new Map<string, { attachment: LocalAttachment; netns: Netns }>();
  engine: Engine;
  domains: DomainHost;
  /** The host's own table, which is the same after a restart. */
  rules: string;
  #told = new Map<string, Remote>();
  #list: readonly Domain[] = [];

  constructor(name: string, options: { netns: Netns; node: DomainNode; folder: string }) {
    this.name = name;
    ({ netns: this.netns, node: this.node, folder: this.folder } = options);
    ensureDirectory(this.folder);
    this.rules = guardText(this.node.underlayLink);
    [this.engine, this.domains] = this.#start();
  }

  #start(): [Engine, DomainHost] {
    const { netns, node, folder } = this;
    const home = Engine.open({ netns });
    home.set("guard", [{ kind: "ruleset", family: "inet", text: this.rules }]);
    home.apply("guard");
    home.start();
    const onProblem = (error: Error) => void this.problems.push(error.message);
    const onLate = () => void this.late++;
    return [home, DomainHost.open({ home, netns, node, folder, onProblem, onLate })];
  }

  setDomains(domains: readonly Domain[]): void {
    this.#list = domains;
    this.domains.setDomains(domains);
  }

  /** stop ends agent and engine as a crash would; start begins anew and adopts what is there. */
  stop(): void {
    this.domains[Symbol.dispose]();
    this.engine[Symbol.dispose]();
  }

  /** What is served comes before pods are adopted, as in the agent. */
  start(
    serve: (adopt: (attachments: readonly LocalAttachment[]) => void) => void = (adopt) =>
      adopt(this.attachments),
  ): void {
    [this.engine, this.domains] = this.#start();
    this.domains.setDomains(this.#list);
    serve((attachments) => this.domains.adopt(attachments));
    this.domains.sweep();
    this.#told.clear();
  }

  get attachments(): LocalAttachment[] {
    return [...this.pods.values()].map(({ attachment }) => attachment);
  }

  /** tell hands over what the others have now, and takes back what they no longer have. */
  tell(remotes: ReadonlyMap<string, Remote>): void {
    const changes: RemoteChange[] = [];
    for (const [key, remote] of this.#told) if (!remotes.has(key)) changes.push({ op: "remove", remote });
    for (const remote of remotes.values()) changes.push({ op: "set", remote });
    this.#told = new Map(remotes);
    this.domains.apply(changes);
  }

  /** What this host announces. */
  announced(): Remote[] {
    const { vtep } = this.node;
    const { routerMac } = this.domains;
    const active = this.domains.active();
    const out: Remote[] = active.segments.map((vni) => ({ kind: "flood", vni, vtep }));
    for (const { attachment } of this.pods.values())
      for (const ip of attachment.addresses)
        out.push({ kind: "host", vni: attachment.segment, mac: attachment.mac, ip, vtep, routerMac });
    for (const domain of this.#list)
      for (const segment of domain.segments)
        if (domain.routing !== undefined && active.segments.includes(segment.vni))
          for (const prefix of segment.prefixes)
            out.push({ kind: "prefix", vni: domain.vni, prefix, hops: [{ vtep, routerMac }] });
    return out;
  }

  /** text runs a program in the host's namespace, or in that of a domain. */
  text(command: string, vni?: number): string {
    using netns = vni === undefined ? undefined : Netns.open(`${this.folder}/cw-${vni}`);
    const done = runSync(command.split(" "), { netns: netns ?? this.netns });
    if (done.status !== 0) throw new Error(`${this.name}: ${command}: ${done.stderr.trim()}`);
    return done.stdout;
  }

  [Symbol.dispose](): void {
    this.stop();
    for (const file of listDirectory(this.folder)) removeNetns(`${this.folder}/${file}`);
    removeTree(this.folder);
  }
}

/** DomainLab is the underlay with its hosts. */
export class DomainLab implements Disposable {
  readonly scratch = new Scratch();
  readonly hosts: Host[] = [];
  #serial = 0;

  constructor(options: DomainLabOptions = {}) {
    const { hosts = 2, family = 4, underlayMtuBytes = 1500 } = options;
    const { route } = this.scratch;
    route.request(addLink({ name: "underlay", type: "bridge", mtuBytes: underlayMtuBytes, up: true }));
    route.request(setLink({ name: "lo", up: true }));
    for (let i = 1; i <= hosts; i++) {
      const netns = this.scratch.another();
      const peer = { name: "nic", netns, mtuBytes: underlayMtuBytes };
      const master = this.scratch.index("underlay");
      route.request(
        addLink({ name: `h${i}`, type: "veth", peer, master, mtuBytes: underlayMtuBytes, up: true }),
      );
      this.scratch.text(`ip address add 192.0.2.${i}/24 dev nic`, netns);
      this.scratch.text(`ip -6 address add fd00:2::${i}/64 dev nic nodad`, netns);
      for (const link of ["nic", "lo"]) this.scratch.text(`ip link set ${link} up`, netns);
      const vtep = parseIp(family === 4 ? `192.0.2.${i}` : `fd00:2::${i}`);
      const node = { vtep, underlayLink: "nic", underlayMtuBytes };
      this.hosts.push(new Host(`h${i}`, { netns, node, folder: `${this.scratch.folder}-h${i}` }));
    }
  }

  /** host returns a host by number, from 1. */
  host(number: number): Host {
    return this.hosts[number - 1] as Host;
  }

  setDomains(...domains: Domain[]): void {
    for (const host of this.hosts) host.setDomains(domains);
  }

  /** pod attaches a new pod, and returns its namespace. Addresses with lengths are for segments without prefixes. */
  pod(host: Host, name: string, wish: PodWish): Netns {
    const netns = this.scratch.another();
    this.scratch.text("ip link set lo up", netns);
    const serial = ++this.#serial;
    const { domain, segment } = wish;
    const given = wish.addresses.filter((text) => text.includes("/")).map(parseInterfaceAddress);
    const addresses = wish.addresses.map((text) => parseIp(text.split("/")[0] as string));
    const attachment: LocalAttachment = {
      id: `pod${String(serial).padStart(8, "0")}`,
      ifname: wish.ifname ?? "eth0",
      domain: domain.vni,
      segment: segment.vni,
      mac: wish.mac === undefined ? mac(0x0a58_0000_0000 + serial) : mac(wish.mac),
      addresses,
      mtuBytes: wish.mtuBytes ?? host.node.underlayMtuBytes - (host.node.vtep.family === 4 ? 50 : 70),
      defaultRoute: true,
      groups: [],
    };
    host.domains.attach(attachment, netns, given.length > 0 ? { addresses: given } : {});
    awaitUp(() => host.domains.missing(attachment, netns));
    host.pods.set(name, { attachment, netns });
    this.sync();
    return netns;
  }

  /** remove detaches a pod. */
  remove(host: Host, name: string): void {
    const pod = host.pods.get(name);
    if (pod === undefined) throw new Error(`there is no pod ${name}`);
    host.pods.delete(name);
    host.domains.detach(pod.attachment.id);
    this.sync();
  }

  /** sync tells each host what the others have. */
  sync(): void {
    for (const host of this.hosts) {
      const remotes = new Map<string, Remote>();
      for (const other of this.hosts)
        if (other !== host) for (const remote of other.announced()) merge(remotes, remote);
      host.tell(remotes);
    }
  }

  [Symbol.dispose](): void {
    for (const host of this.hosts) host[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
  }
}

/** PodWish is what a pod is to have. */
export interface PodWish {
  readonly domain: Domain;
  readonly segment: Segment;
  readonly addresses: readonly string[];
  readonly ifname?: string;
  readonly mac?: number;
  readonly mtuBytes?: number;
}

function merge(remotes: Map<string, Remote>, remote: Remote): void {
  const key = keyOf(remote);
  const known = remotes.get(key);
  if (known?.kind === "prefix" && remote.kind === "prefix")
    remotes.set(key, { ...known, hops: [...known.hops, ...remote.hops] });
  else remotes.set(key, remote);
}

function keyOf(remote: Remote): string {
  switch (remote.kind) {
    case "flood":
      return `flood ${remote.vni} ${formatIp(remote.vtep)}`;
    case "host":
      return `host ${remote.vni} ${remote.mac} ${remote.ip === undefined ? "" : formatIp(remote.ip)}`;
    case "prefix":
      return `prefix ${remote.vni} ${formatPrefix(remote.prefix)}`;
  }
}

/** segment makes a segment whose gateway is the first address of each prefix. */
export function segment(
  name: string,
  vni: number,
  prefixes: readonly string[],
  more: Partial<Segment> = {},
): Segment {
  const nets = prefixes.map(parseInterfaceAddress);
  return {
    name,
    vni,
    prefixes: nets.map(({ ip, length }) => ({ family: ip.family, value: ip.value, length })),
    gateways: nets.map(({ ip, length }) => ({ ip: { family: ip.family, value: ip.value + 1n }, length })),
    gatewayMac: mac(0x0200_0000_0000 + vni),
    importTargets: [`64512:${vni}`],
    exportTargets: [`64512:${vni}`],
    ...more,
  };
}

/** vpc makes a domain that routes between its segments. */
export function vpc(
  name: string,
  vni: number,
  segments: readonly Segment[],
  more: Partial<Domain> = {},
): Domain {
  const targets = { importTargets: [`64512:${vni}`], exportTargets: [`64512:${vni}`] };
  return { name, vni, routing: targets, segments, peerings: [], ...more };
}

/** Waits as the agent does; the bound guards against hanging only. */
function awaitUp(missing: () => readonly string[]): void {
  for (let looks = 0; missing().length > 0; looks++) {
    if (looks > 10_000) throw new Error(`not up: ${missing().join(", ")}`);
    Bun.sleepSync(1);
  }
}

/** pings sends one packet, or several, and tells whether all were answered. */
export function pings(netns: Netns, address: string, options = "-c 1 -W 1"): boolean {
  return runSync(["ping", "-n", ...options.split(" "), address], { netns }).status === 0;
}
