/**
 * The relay of data in the kernel (xdp-program.ts): its maps follow what the data path is told, for as long as both nodes are of one family and no rate is
 * set. What it does not carry goes to the workers as before, so that nothing depends on it.
 */
import {
  attachXdp,
  BpfMap,
  type Fd,
  loadXdpProgram,
  stable,
  type XdpLink,
  type XdpMode,
} from "../../sys/mod.ts";
import { MOST_CIRCUITS } from "./limits.ts";
import type { RelayStep } from "./relay.ts";
import {
  circuitKey,
  circuitValue,
  relayProgram,
  XDP_COUNTER,
  XDP_KEY,
  XDP_VALUE,
  type XdpPlace,
} from "./xdp-program.ts";

export type { XdpPlace } from "./xdp-program.ts";

/** Interfaces of the underlay; a hub has a few. */
const MOST_INTERFACES = 64;

/** XdpInterfaceState is what became of one interface. */
export type XdpInterfaceState =
  | { readonly link: string; readonly mode: XdpMode; readonly nativeError?: string }
  | { readonly link: string; readonly error: string };

interface Way {
  readonly source: number;
  readonly index: number;
  readonly to: number;
  /** The key that is in the map now. */
  key: Uint8Array | undefined;
  /** Whether the program sends on by it. */
  carried: boolean;
}

/** XdpRelayOptions say where interfaces are found, and what else the map of circuits is for. */
export interface XdpRelayOptions {
  /** Tells the index of an interface. */
  readonly indexOf: (link: string) => number | undefined;
  /** Circuits that the program does not carry are in the map too, for a program that only asks whether there is one. */
  readonly marks?: boolean;
}

/** XdpRelay owns maps, program and attachments; when it is closed, by the end of the process too, the kernel has all packets again. */
export class XdpRelay implements Disposable {
  readonly #circuits: BpfMap;
  readonly #interfaces: BpfMap;
  readonly #counter: BpfMap;
  readonly #program: Fd;
  readonly #links = new Map<string, XdpLink>();
  readonly #errors = new Map<string, string>();
  readonly #places = new Map<number, XdpPlace>();
  /** By each of the two nodes. */
  readonly #ways = new Map<number, Set<Way>>();
  readonly #byKey = new Map<string, Way>();
  #wanted: readonly string[] = [];
  #port = 0;
  #limited = false;
  readonly #options: XdpRelayOptions;

  private constructor(
    maps: { readonly circuits: BpfMap; readonly interfaces: BpfMap; readonly counter: BpfMap },
    program: Fd,
    options: XdpRelayOptions,
  ) {
    this.#options = options;
    this.#circuits = maps.circuits;
    this.#interfaces = maps.interfaces;
    this.#counter = maps.counter;
    this.#program = program;
  }

  /** open loads the program; throws what the kernel says against it. */
  static open(options: XdpRelayOptions): XdpRelay {
    using stack = new DisposableStack();
    const circuits = stack.use(
      BpfMap.create("relay_circuits", {
        type: "hash",
        keyBytes: XDP_KEY.bytes,
        valueBytes: XDP_VALUE.bytes,
        entries: MOST_CIRCUITS,
      }),
    );
    const interfaces = stack.use(
      BpfMap.create("relay_links", {
        type: "interfaces",
        keyBytes: 4,
        valueBytes: 4,
        entries: MOST_INTERFACES,
      }),
    );
    const counter = stack.use(
      BpfMap.create("relay_counter", {
        type: "perCpuArray",
        keyBytes: 4,
        valueBytes: XDP_COUNTER.size,
        entries: 1,
      }),
    );
    const code = relayProgram({
      circuits: circuits.fd.number,
      interfaces: interfaces.fd.number,
      counter: counter.fd.number,
    });
    const program = stack.use(loadXdpProgram("causeway_relay", code, { license: "GPL" }));
    stack.move();
    return new XdpRelay({ circuits, interfaces, counter }, program, options);
  }

  /** attach makes these the interfaces that it works at; `interfaces` says how that went. */
  attach(links: readonly string[]): void {
    this.#wanted = links;
    for (const [name, link] of this.#links) {
      if (links.includes(name)) continue;
      link.close();
      this.#links.delete(name);
    }
    this.#errors.clear();
    this.retry();
  }

  /** retry tries again what could not be attached: a predecessor may have gone, an interface come. */
  retry(): void {
    for (const name of this.#wanted) {
      if (this.#links.has(name)) continue;
      try {
        const ifindex = this.#options.indexOf(name);
        if (ifindex === undefined)
          throw new Error(
            "there is no such interface; ip link shows those that there are, and one that comes is taken",
          );
        const link = attachXdp(this.#program, { ifindex });
        this.#links.set(name, link);
        this.#interfaces.put(word(ifindex), word(ifindex));
        this.#errors.delete(name);
      } catch (error) {
        this.#errors.set(name, error instanceof Error ? error.message : String(error));
      }
    }
  }

  /** The map of circuits, for another program. */
  get map(): number {
    return this.#circuits.fd.number;
  }

  /** Whether there is something to try again. */
  get isIncomplete(): boolean {
    return this.#errors.size > 0;
  }

  /** What became of each interface. */
  get interfaces(): readonly XdpInterfaceState[] {
    return this.#wanted.map((link) => {
      const attached = this.#links.get(link);
      if (attached === undefined) return { link, error: this.#errors.get(link) ?? "not tried yet" };
      const { mode, nativeError } = attached;
      return { link, mode, ...(nativeError === undefined ? {} : { nativeError }) };
    });
  }

  /** Datagrams and bytes that the program sent on, and circuits that it has. */
  get counts(): { readonly datagrams: number; readonly bytes: number; readonly circuits: number } {
    const view = this.#counter.get(word(0));
    let datagrams = 0;
    let bytes = 0;
    for (let at = 0; view !== undefined && at < view.byteLength; at += XDP_COUNTER.size) {
      datagrams += Number(view.getBigUint64(at + XDP_COUNTER.datagrams, true));
      bytes += Number(view.getBigUint64(at + XDP_COUNTER.bytes, true));
    }
    let circuits = 0;
    for (const { carried } of this.#byKey.values()) if (carried) circuits++;
    return { datagrams, bytes, circuits };
  }

  /** listen tells our port. */
  listen(port: number): void {
    if (port === this.#port) return;
    this.#port = port;
    for (const way of this.#byKey.values()) this.#place(way);
  }

  /** hear takes a step of the relay; of a node's with its place. */
  hear(step: RelayStep, place?: XdpPlace): void {
    switch (step.kind) {
      case "circuit": {
        const { source, index, to } = step;
        const way: Way = { source, index, to, key: undefined, carried: false };
        this.#cut(step);
        this.#byKey.set(nameOf(step), way);
        for (const node of [way.source, way.to]) this.#waysOf(node).add(way);
        this.#place(way);
        return;
      }
      case "cut":
        this.#cut(step);
        return;
      case "node":
        if (place === undefined || step.endpoint === undefined) this.#places.delete(step.node);
        else this.#places.set(step.node, place);
        this.#placeAll(step.node);
        return;
      case "rate":
        this.#limited = step.bytesPerSecond !== undefined;
        for (const way of this.#byKey.values()) this.#place(way);
        return;
    }
  }

  /** move takes the place of a node that is live; what it was may be known without the address of ours. */
  move(node: number, place: XdpPlace): void {
    const before = this.#places.get(node);
    if (before === undefined || isSame(before, place)) return;
    this.#places.set(node, place);
    this.#placeAll(node);
  }

  #placeAll(node: number): void {
    for (const way of this.#ways.get(node) ?? []) this.#place(way);
  }

  #waysOf(node: number): Set<Way> {
    const known = this.#ways.get(node) ?? new Set();
    this.#ways.set(node, known);
    return known;
  }

  #cut(step: { readonly source: number; readonly index: number }): void {
    const way = this.#byKey.get(nameOf(step));
    if (way === undefined) return;
    this.#byKey.delete(nameOf(step));
    for (const node of [way.source, way.to]) {
      const ways = this.#ways.get(node);
      ways?.delete(way);
      if (ways?.size === 0) this.#ways.delete(node);
    }
    if (way.key !== undefined) this.#circuits.delete(way.key);
  }

  /** Puts a circuit into the map as it is now, or takes it out. */
  #place(way: Way): void {
    const [source, to] = [this.#places.get(way.source), this.#places.get(way.to)];
    const before = way.key;
    const value =
      this.#limited || this.#port === 0 || source === undefined || to === undefined || !isCarried(source, to)
        ? undefined
        : circuitValue(source, to, this.#port);
    way.carried = value !== undefined;
    const isKnown = way.carried || this.#options.marks === true;
    way.key = source === undefined || !isKnown ? undefined : circuitKey(source, way.index);
    if (before !== undefined && (way.key === undefined || !Buffer.from(before).equals(way.key)))
      this.#circuits.delete(before);
    if (way.key === undefined) return;
    try {
      // Of no family: the program passes it on.
      this.#circuits.put(way.key, value ?? stable(XDP_VALUE.bytes));
    } catch {
      // The kernel has no memory for it: the workers carry it.
      way.key = undefined;
      way.carried = false;
    }
  }

  [Symbol.dispose](): void {
    for (const link of this.#links.values()) link.close();
    this.#program.close();
    for (const map of [this.#circuits, this.#interfaces, this.#counter]) map[Symbol.dispose]();
  }
}

const nameOf = ({ source, index }: { readonly source: number; readonly index: number }) =>
  `${source} ${index}`;

const isSame = (a: XdpPlace, b: XdpPlace) =>
  a.port === b.port && Buffer.from(a.address).equals(b.address) && Buffer.from(a.local).equals(b.local);

/** Both of one family, with addresses of ours that are known, and not at one place. */
function isCarried(source: XdpPlace, to: XdpPlace): boolean {
  const bytes = source.address.length;
  if (to.address.length !== bytes || source.local.length !== bytes || to.local.length !== bytes) return false;
  return source.port !== to.port || !Buffer.from(source.address).equals(to.address);
}

function word(value: number): Uint8Array<ArrayBuffer> {
  const bytes = stable(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
