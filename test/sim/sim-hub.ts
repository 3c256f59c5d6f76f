/** A hub: pongs, observations, and the relay of issue 5 (by mac1, then by source and receiver index), without cryptography. */
import { type Endpoint, formatEndpoint } from "../../src/net/mod.ts";
import { pongFor, type Ping } from "../../src/mesh/mod.ts";
import type { Datagram } from "./internet.ts";
import type { SimHost } from "./sim-host.ts";
import type { WireguardDatagram } from "./tunnel.ts";

/** Hello is a packet of a node's own session with the hub. */
export interface Hello {
  readonly kind: "hello";
  readonly node: string;
}

/** ProbeContent is a probe on the simulated wire: authentic by being there. */
export interface ProbeContent {
  readonly kind: "probe";
  readonly sender: string;
  readonly receiver: string;
  readonly probe: unknown;
}

const SESSION_MS = 180_000;
const CIRCUIT_MS = 240_000;

interface Live {
  readonly endpoint: Endpoint;
  readonly atMs: number;
}

/** SimHub is one hub with its host. */
export class SimHub {
  readonly name: string;
  readonly host: SimHost;
  up = true;
  instance = 1;
  /** Relayed datagrams. */
  relayed = 0;
  readonly #live = new Map<string, Live>();
  /** By who sends from where under which index: to whom. */
  readonly #circuits = new Map<string, { readonly to: string; usedMs: number }>();
  readonly #nowMs: () => number;
  readonly #observed: (node: string, endpoint: Endpoint) => void;

  constructor(
    host: SimHost,
    options: { readonly nowMs: () => number; readonly observed: (node: string, endpoint: Endpoint) => void },
  ) {
    this.name = host.name;
    this.host = host;
    this.#nowMs = options.nowMs;
    this.#observed = options.observed;
    host.receive = (datagram) => this.#receive(datagram);
  }

  kill(): void {
    this.up = false;
  }

  /** start brings it back with nothing remembered. */
  start(): void {
    this.up = true;
    this.instance++;
    this.#live.clear();
    this.#circuits.clear();
  }

  /** knows tells whether a node has a live session here. */
  knows(node: string): boolean {
    return this.up && this.#current(node) !== undefined;
  }

  #current(node: string): Endpoint | undefined {
    const live = this.#live.get(node);
    return live !== undefined && this.#nowMs() - live.atMs < SESSION_MS ? live.endpoint : undefined;
  }

  #receive(datagram: Datagram): void {
    if (!this.up) return;
    const content = datagram.content as Hello | ProbeContent | WireguardDatagram;
    if (content.kind === "hello") {
      this.#live.set(content.node, { endpoint: datagram.from, atMs: this.#nowMs() });
      this.#observed(content.node, datagram.from);
    } else if (content.kind === "probe") {
      const pong = pongFor(content.probe as Ping, { from: datagram.from, instance: this.instance });
      const answer = { kind: "probe", sender: this.name, receiver: content.sender, probe: pong };
      this.host.send(datagram.from, answer, { bytes: 62, fromIp: datagram.to.ip });
    } else this.#relay(datagram, content);
  }

  #relay(datagram: Datagram, content: WireguardDatagram): void {
    const from = [...this.#live.keys()].find((node) => {
      const endpoint = this.#current(node);
      return endpoint !== undefined && formatEndpoint(endpoint) === formatEndpoint(datagram.from);
    });
    if (from === undefined) return;
    const to = content.type === 1 ? content.for : this.#circuit(from, content.receiver as number);
    const endpoint = to === undefined ? undefined : this.#current(to);
    if (to === undefined || endpoint === undefined) return;
    // What the other will answer to this index goes back.
    if (content.sender !== undefined)
      this.#circuits.set(`${to}/${content.sender}`, { to: from, usedMs: this.#nowMs() });
    this.relayed++;
    this.host.send(endpoint, content, { bytes: datagram.bytes });
  }

  #circuit(from: string, receiver: number): string | undefined {
    const circuit = this.#circuits.get(`${from}/${receiver}`);
    if (circuit === undefined || this.#nowMs() - circuit.usedMs > CIRCUIT_MS) return undefined;
    circuit.usedMs = this.#nowMs();
    return circuit.to;
  }
}
