/** A NAT box between two networks (RFC 4787): how it names what is inside, and what it lets in. */
import { type Endpoint, type Ip, ipEqual } from "../../src/net/mod.ts";
import type { Random } from "../support/random.ts";
import { addressKey, type Attachment, type Datagram, type Network, type Weather } from "./internet.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** NatBehaviour is what distinguishes boxes. */
export interface NatBehaviour {
  /** One name for each inner endpoint, or one for each destination too. `none`: a firewall only. */
  readonly mapping: "independent" | "dependent" | "none";
  /** Who may answer: anybody, the address that was called, or the very port. */
  readonly filtering: "none" | "address" | "port";
  /** A mapping is forgotten so long after its last packet from inside. */
  readonly timeoutMs: number;
  /** What is inside may call what is inside by its outer name. */
  readonly hairpin: boolean;
}

interface Mapping {
  readonly inner: Endpoint;
  readonly port: number;
  usedMs: number;
  readonly allowed: Map<string, number>;
}

const endpointKey = ({ ip, port }: Endpoint) => `${addressKey(ip)}:${port}`;

/** NatBox is the gateway of the inner network. */
export class NatBox {
  readonly behaviour: NatBehaviour;
  /** Destinations that are let out; all when absent. */
  permitted: ((to: Endpoint) => boolean) | undefined;
  readonly outer: Attachment;
  readonly #outside: Network;
  readonly #inside: Network;
  readonly #innerPlug: Attachment;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #byKey = new Map<string, Mapping>();
  readonly #byPort = new Map<number, Mapping>();
  readonly #forwards = new Map<number, Endpoint>();
  /** Who came in through a forward: answers leave by the same port. */
  readonly #cameBy = new Map<string, number>();
  #rebound = false;

  constructor(options: {
    readonly time: VirtualTime;
    readonly random: Random;
    readonly owner: string;
    readonly behaviour: NatBehaviour;
    readonly inside: Network;
    readonly outside: Network;
    readonly outerIp: Ip;
    readonly innerIp: Ip;
    readonly weather: Weather;
  }) {
    const { inside, outside, outerIp, innerIp, owner } = options;
    this.#time = options.time;
    this.#random = options.random;
    this.behaviour = options.behaviour;
    this.#inside = inside;
    this.#outside = outside;
    this.outer = {
      owner,
      ip: outerIp,
      weather: options.weather,
      receive: (datagram) => this.#enter(datagram),
    };
    this.#innerPlug = { owner, ip: innerIp, weather: { delayMs: 0 }, receive: () => {} };
    inside.gateway = (datagram) => this.#leave(datagram);
    if (this.behaviour.mapping !== "none") outside.attach(this.outer);
  }

  /** pass makes a firewall the way to an address inside. */
  pass(ip: Ip): void {
    this.#outside.attach({ ...this.outer, ip });
  }

  /** forward lets everybody in at a port: a port forward, or a mapping that was asked for. */
  forward(port: number, inner: Endpoint): void {
    this.#forwards.set(port, inner);
  }

  /** rebind forgets all mappings, as a box that restarts. */
  rebind(): void {
    this.#byKey.clear();
    this.#byPort.clear();
    this.#rebound = true;
  }

  #leave(datagram: Datagram): void {
    const { from, to } = datagram;
    if (this.permitted?.(to) === false) return;
    const cameBy = this.#cameBy.get(`${endpointKey(from)}>${endpointKey(to)}`);
    if (cameBy !== undefined) {
      this.#outside.send({ ...datagram, from: { ip: this.outer.ip, port: cameBy } }, this.outer);
      return;
    }
    const mapping = this.#mapping(from, to);
    mapping.usedMs = this.#time.nowMs;
    mapping.allowed.set(this.#remote(to), this.#time.nowMs);
    const named = this.behaviour.mapping === "none" ? from : { ip: this.outer.ip, port: mapping.port };
    const translated = { ...datagram, from: named };
    if (this.behaviour.mapping !== "none" && ipEqual(to.ip, this.outer.ip)) {
      if (this.behaviour.hairpin) this.#enter(translated);
      return;
    }
    this.#outside.send(translated, { ...this.outer, ip: named.ip });
  }

  #enter(datagram: Datagram): void {
    const { to, from } = datagram;
    const inner = this.#innerOf(to, from);
    if (inner !== undefined) this.#inside.send({ ...datagram, to: inner }, this.#innerPlug);
  }

  #innerOf(to: Endpoint, from: Endpoint): Endpoint | undefined {
    const forward = this.#forwards.get(to.port);
    if (forward !== undefined) {
      this.#cameBy.set(`${endpointKey(forward)}>${endpointKey(from)}`, to.port);
      return forward;
    }
    const none = this.behaviour.mapping === "none";
    const mapping = none ? this.#byKey.get(endpointKey(to)) : this.#byPort.get(to.port);
    if (mapping === undefined || this.#isOver(mapping.usedMs)) return undefined;
    if (this.behaviour.filtering !== "none") {
      const allowedMs = mapping.allowed.get(this.#remote(from));
      if (allowedMs === undefined || this.#isOver(allowedMs)) return undefined;
    }
    return mapping.inner;
  }

  #remote(endpoint: Endpoint): string {
    return this.behaviour.filtering === "port" ? endpointKey(endpoint) : addressKey(endpoint.ip);
  }

  #isOver(ms: number): boolean {
    return this.#time.nowMs - ms > this.behaviour.timeoutMs;
  }

  #mapping(inner: Endpoint, to: Endpoint): Mapping {
    const key = endpointKey(inner) + (this.behaviour.mapping === "dependent" ? `>${endpointKey(to)}` : "");
    const known = this.#byKey.get(key);
    if (known !== undefined && !this.#isOver(known.usedMs)) return known;
    if (known !== undefined) this.#byPort.delete(known.port);
    // Cones keep the port while it is free, until they restart; others do not.
    const keeps = this.behaviour.mapping !== "dependent" && !this.#rebound && known === undefined;
    let port = inner.port;
    while (this.behaviour.mapping !== "none" && (!keeps || this.#byPort.has(port))) {
      port = 1024 + this.#random.below(64_000);
      if (!this.#byPort.has(port)) break;
    }
    const mapping = { inner, port, usedMs: this.#time.nowMs, allowed: new Map<string, number>() };
    this.#byKey.set(key, mapping);
    this.#byPort.set(port, mapping);
    return mapping;
  }
}
