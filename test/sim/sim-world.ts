/** Everything of one simulation: networks, NAT boxes, hubs, nodes, the register between them, and traffic whose gaps are measured. */
import { type Endpoint, type Ip, ip, parseIp } from "../../src/net/mod.ts";
import type { LadderMode } from "../../src/mesh/mod.ts";
import { Random } from "../support/random.ts";
import { Network, type Weather } from "./internet.ts";
import { ModelWireguard } from "./model-wireguard.ts";
import { NatBox, type NatBehaviour } from "./nat-box.ts";
import { SimHost } from "./sim-host.ts";
import { SimHub } from "./sim-hub.ts";
import { type NodeFacts, SimNode } from "./sim-node.ts";
import type { SimTunnel, TunnelHost } from "./tunnel.ts";
import { VirtualTime } from "./virtual-time.ts";

/** How long facts take through the register, at most. */
const REGISTER_MS = 400;

/** Flow is packets in one direction. */
export interface Flow {
  readonly from: string;
  readonly to: string;
  sent: number;
  heard: number;
  lastMs: number;
  /** Longest time without a packet that arrived. */
  worstMs: number;
  /** It is sent as an answer only, to what arrives from the other way. */
  readonly answers?: boolean;
}

/** TunnelMaker makes a device of either kind. */
export type TunnelMaker = (host: TunnelHost) => SimTunnel;

/** SimWorld owns nothing but memory. */
export class SimWorld {
  readonly seed: number;
  readonly random: Random;
  readonly time = new VirtualTime();
  readonly internet: Network;
  readonly hubs: SimHub[] = [];
  readonly nodes = new Map<string, SimNode>();
  readonly boxes = new Map<string, NatBox>();
  readonly flows: Flow[] = [];
  /** Nobody talks. */
  quiet = false;
  readonly #observed = new Map<string, Map<string, Endpoint>>();
  readonly #facts = new Map<string, NodeFacts>();
  readonly #generations = new Map<string, number>();
  readonly #sleepers = new Map<SimNode, (() => void)[]>();
  readonly #tunnel: TunnelMaker;
  #address = 10;

  constructor(seed: number, tunnel: TunnelMaker = (host) => new ModelWireguard(host)) {
    this.seed = seed;
    this.random = new Random(seed);
    this.internet = new Network(this.time, this.random);
    this.#tunnel = tunnel;
  }

  /** publicIp returns an address that nobody has, each in a network of its own. */
  publicIp(family: 4 | 6 = 4): Ip {
    const n = BigInt(this.#address++);
    return family === 4
      ? ip(4, (0xc6000000n | (n << 8n)) + 7n)
      : ip(6, (0x20010db8n << 96n) | (n << 64n) | 7n);
  }

  addHub(
    name: string,
    options: { readonly weather: Weather; readonly families?: readonly (4 | 6)[] },
  ): SimHub {
    const host = new SimHost(name);
    for (const family of options.families ?? [4, 6])
      host.plug(this.internet, this.publicIp(family), options.weather);
    const hub = new SimHub(host, {
      nowMs: () => this.time.nowMs,
      observed: (node, endpoint) => this.#see({ hub: name, node, endpoint }),
    });
    this.hubs.push(hub);
    return hub;
  }

  /** addLan makes a network behind a box. */
  addLan(
    name: string,
    options: {
      readonly behaviour: NatBehaviour;
      readonly weather: Weather;
      /** Another box's network, for double NAT. */
      readonly outside?: Network;
      readonly outerIp?: Ip;
    },
  ): Network {
    const lan = new Network(this.time, this.random);
    const box = new NatBox({
      time: this.time,
      random: this.random,
      owner: name,
      behaviour: options.behaviour,
      inside: lan,
      outside: options.outside ?? this.internet,
      outerIp: options.outerIp ?? this.publicIp(),
      innerIp: parseIp("192.168.255.1"),
      weather: options.weather,
    });
    this.boxes.set(name, box);
    return lan;
  }

  addNode(
    host: SimHost,
    options: { readonly mode?: LadderMode; readonly endpoints?: readonly string[] } = {},
  ): SimNode {
    const { name } = host;
    this.#facts.set(name, { endpoints: [], mapped: [], local: [], observed: [], hubs: [] });
    const tunnelHost: TunnelHost = {
      name,
      nowMs: () => this.time.nowMs,
      below: (limit) => this.random.below(limit),
      send: (to, content, bytes) => host.send(to, content, { bytes }),
      wake: (atMs) =>
        this.time.at(atMs, () => {
          if (host.asleep) this.whenAwake(node, () => node.tunnel.due());
          else node.tunnel.due();
        }),
      deliver: (peer) => this.#heard(peer, name),
    };
    const node: SimNode = new SimNode({
      name,
      host,
      world: this,
      mode: options.mode ?? "full",
      tunnel: () => this.#tunnel(tunnelHost),
    });
    node.endpoints = options.endpoints ?? [];
    this.nodes.set(name, node);
    this.publish(name);
    this.introduce(node);
    return node;
  }

  /** introduce tells a node of all others. */
  introduce(node: SimNode): void {
    for (const other of this.nodes.keys()) if (other !== node.name) node.meet(other);
  }

  /** publish lets all others know what a node says of itself, if a hub is there to tell them. */
  publish(name: string): void {
    this.time.after(100 + this.random.below(REGISTER_MS - 100), () => {
      const node = this.nodes.get(name);
      if (node === undefined || node.host.asleep || !this.hubs.some((hub) => hub.up)) return;
      this.#facts.set(name, node.facts());
      for (const other of this.nodes.values()) if (other !== node && !other.host.asleep) other.meet(name);
    });
  }

  factsOf(name: string): NodeFacts {
    return this.#facts.get(name) as NodeFacts;
  }

  observedOf(name: string): NodeFacts["observed"] {
    return [...(this.#observed.get(name) ?? [])].map(([hub, endpoint]) => ({ hub, endpoint }));
  }

  generationOf(name: string, other: string): number {
    return this.#generations.get(`${name}>${other}`) ?? 0;
  }

  setGeneration(name: string, life: { readonly other: string; readonly generation: number }): void {
    this.#generations.set(`${name}>${life.other}`, life.generation);
  }

  /** endpointOf returns where a node reaches a hub: of its own family. */
  endpointOf(hub: SimHub, node: SimNode): Endpoint | undefined {
    const found = hub.host.ips.find((one) => node.host.ips.some(({ family }) => family === one.family));
    return found === undefined ? undefined : { ip: found, port: 51820 };
  }

  invite(from: string, to: string): void {
    if (!this.hubs.some((hub) => hub.knows(from) && hub.knows(to))) return;
    const atMs = this.time.nowMs + 150 + this.random.below(200);
    for (const [name, other] of [
      [from, to],
      [to, from],
    ] as const)
      this.time.at(atMs + this.random.below(50), () => {
        const node = this.nodes.get(name) as SimNode;
        if (!node.host.asleep) node.invited(other);
      });
  }

  #see({
    hub,
    node,
    endpoint,
  }: {
    readonly hub: string;
    readonly node: string;
    readonly endpoint: Endpoint;
  }): void {
    const seen = this.#observed.get(node) ?? new Map<string, Endpoint>();
    const before = seen.get(hub);
    if (before !== undefined && before.port === endpoint.port && before.ip.value === endpoint.ip.value)
      return;
    seen.set(hub, endpoint);
    this.#observed.set(node, seen);
    this.publish(node);
  }

  /** sleep suspends a node, and wakes it. */
  sleep(node: SimNode, ms: number): void {
    node.host.asleep = true;
    this.time.after(ms, () => {
      node.host.asleep = false;
      const waiting = this.#sleepers.get(node) ?? [];
      this.#sleepers.delete(node);
      for (const work of waiting) work();
      // The agent sees that its clocks disagree.
      node.network(true);
    });
  }

  whenAwake(node: SimNode, work: () => void): void {
    this.#sleepers.set(node, [...(this.#sleepers.get(node) ?? []), work]);
  }

  /** talk sends packets both ways for ever, each at its own moment. */
  talk(a: string, b: string, everyMs: number): void {
    this.#flow(a, b, everyMs);
    this.#flow(b, a, everyMs);
  }

  #flow(from: string, to: string, everyMs: number): void {
    const flow: Flow = { from, to, sent: 0, heard: 0, lastMs: this.time.nowMs, worstMs: 0 };
    this.flows.push(flow);
    const send = () => {
      if (!this.quiet) this.#send(flow);
      this.time.after(this.quiet ? 1_000 : everyMs, send);
    };
    this.time.after(this.random.below(everyMs), send);
  }

  /** ask sends packets one way for ever, which the other end answers; it says nothing of itself. */
  ask(a: string, b: string, everyMs: number): void {
    this.#flow(a, b, everyMs);
    this.flows.push({
      from: b,
      to: a,
      sent: 0,
      heard: 0,
      lastMs: this.time.nowMs,
      worstMs: 0,
      answers: true,
    });
  }

  #heard(from: string, to: string): void {
    for (const flow of this.flows) {
      if (flow.answers === true && flow.from === to && flow.to === from) this.#send(flow);
      if (flow.from !== from || flow.to !== to) continue;
      flow.heard++;
      flow.worstMs = Math.max(flow.worstMs, this.time.nowMs - flow.lastMs);
      flow.lastMs = this.time.nowMs;
    }
  }

  #send(flow: Flow): void {
    const node = this.nodes.get(flow.from) as SimNode;
    if (node.host.asleep) return;
    flow.sent++;
    node.tunnel.send(flow.to, flow.sent, 500);
  }

  /** throttle makes the largest packet of a node's way smaller. */
  throttle(name: string, mtuBytes: number): void {
    this.nodes.get(name)?.host.weather((weather) => ({ ...weather, mtuBytes }));
  }

  /** worst returns the longest silence of any flow since the last call. */
  worst(): number {
    let worst = 0;
    for (const flow of this.flows) {
      worst = Math.max(worst, flow.worstMs, this.time.nowMs - flow.lastMs);
      flow.worstMs = 0;
      flow.lastMs = this.time.nowMs;
    }
    return worst;
  }
}
