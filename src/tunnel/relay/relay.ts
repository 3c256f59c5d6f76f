/**
 * The relay of a hub: WireGuard messages between nodes that cannot reach each other, which the hub forwards as they are and cannot read.
 *
 * ```
 *   A ── initiation: mac1 says B, sender a ──▶ hub ──▶ B        from a live node, to a live node, if both may talk
 *   A ◀── response: receiver a, sender b ──── hub ◀── B        teaches the circuits of data, both ways (circuits.ts)
 *   A ◀──▶ data, cookie replies: receiver ──▶ hub ◀──▶ B        by the node that sends and the index
 * ```
 * A node is a peer of the hub's own with a class (policy.ts). It is live while it has a session with the hub; then its endpoint is where the last authentic
 * packet came from, and messages from there are its own. Who sends from elsewhere is nobody. So circuits are between nodes and not between addresses, and
 * a node that moves takes them along with its next packet for the hub.
 *
 * The core has no socket and no clock. It decides on handshakes; data goes by what `drain` tells the data path (relay-path.ts).
 */
import { type Endpoint, formatEndpoint, type PublicKey } from "../../net/mod.ts";
import { randomBytes } from "../../sys/mod.ts";
import type { Primitives } from "../wireguard/mod.ts";
import type { MacKeys } from "../wireguard/mac.ts";
import { type CircuitChange, Circuits } from "./circuits.ts";
import { changedConfig, NO_RELAY, Permissions, type RelayChange, type RelayConfig } from "./policy.ts";
import { type Findable, Receivers } from "./receivers.ts";
import { Seen } from "./seen.ts";

/** RelayPeer is a peer of the hub as the device has it. */
export interface RelayPeer {
  readonly publicKey: PublicKey;
  readonly macKeys: MacKeys;
  /** Where it is, and until when it has a session; absent while it has none. */
  readonly live?: {
    readonly endpoint: Endpoint;
    readonly untilMs: number;
    /** When it last showed that it receives there, too: a handshake went to and fro. */
    readonly provenMs?: number;
  };
}

/** RelayStep is what the data path has to know. */
export type RelayStep =
  | CircuitChange
  /** Where a node is; without `endpoint` it is nowhere, and neither sends nor receives. */
  | { readonly kind: "node"; readonly node: number; readonly endpoint?: Endpoint }
  | { readonly kind: "rate"; readonly bytesPerSecond?: number };

/** RelayDrop are the reasons for which handshake messages are not forwarded; each is a counter. */
export const relayDrops = [
  /** For nobody that has the mac1, or for an index that is not known. */
  "unknown",
  /** For a node that the sender may not talk to. */
  "forbidden",
  /** For a node that has no session with the hub. */
  "absent",
  /** More hashes, or more initiations, than the sender may have. */
  "budget",
  /** An index that another pair of nodes has. */
  "taken",
  /** Too many circuits or pairs. */
  "full",
] as const;
export type RelayDrop = (typeof relayDrops)[number];

/** RelayVerdict is a node to forward to, why not, or that the message is no business of the relay's. */
export type RelayVerdict = { readonly to: number } | { readonly drop: RelayDrop } | undefined;

/** RelayMessage is a handshake message as it came. */
export interface RelayMessage {
  readonly datagram: Uint8Array;
  readonly from: Endpoint;
  readonly nowMs: number;
}

interface Node extends Findable {
  readonly number: number;
  readonly publicKey: PublicKey;
  class: number;
  endpoint: Endpoint | undefined;
  /** Of the endpoint. */
  place: string | undefined;
  /** When it proved to be there; 0 if it did not. */
  provenMs: number;
  untilMs: number;
}

const INITIATION = 1;
const RESPONSE = 2;
const COOKIE = 3;
/** By their types: lengths, and where the sender's and the receiver's index are (wireguard/message.ts). */
const LENGTHS = [0, 148, 92, 64];
const SENDER = 4;

/** RelayOptions are what a relay works with. */
export interface RelayOptions {
  readonly primitives: Primitives;
  /** The hub's own: what is for it is none of the relay's. */
  readonly isOwnIndex: (index: number) => boolean;
}

/** Relay is the state of all nodes and circuits. */
export class Relay {
  readonly #options: RelayOptions;
  readonly #nodes = new Map<number, Node>();
  /** Who is at a place. A node that comes to where another one lives has to wait. */
  readonly #places = new Map<string, Node>();
  readonly #waiting = new Set<Node>();
  readonly #circuits = new Circuits((change) => void this.#steps.push(change));
  readonly #seen = new Seen(randomBytes(8));
  readonly #drops = new Map<RelayDrop, number>();
  #config: RelayConfig = NO_RELAY;
  #permissions = new Permissions(undefined);
  readonly #receivers: Receivers<Node>;
  #steps: RelayStep[] = [];
  #forwarded = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#receivers = new Receivers(options.primitives);
  }

  get config(): RelayConfig {
    return this.#config;
  }

  /** Handshake messages that were forwarded, and those that were not, by reason. */
  get counters(): Readonly<Record<"forwarded" | RelayDrop, number>> {
    const drops = Object.fromEntries(relayDrops.map((name) => [name, this.#drops.get(name) ?? 0]));
    return { forwarded: this.#forwarded, ...(drops as Record<RelayDrop, number>) };
  }

  /** What there is now. */
  get counts(): {
    readonly nodes: number;
    readonly liveNodes: number;
    readonly circuits: number;
    readonly pairs: number;
  } {
    const { live, pairs } = this.#circuits.counts;
    return { nodes: this.#nodes.size, liveNodes: this.#places.size, circuits: live, pairs };
  }

  /** drain returns what the data path has to hear of, in order; from now on it is taken to know. */
  drain(): readonly RelayStep[] {
    if (this.#steps.length === 0) return this.#steps;
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }

  /** configure changes the configuration. Nodes that it newly names have to be told by `peer`. Throws, with nothing changed, if it cannot be. */
  configure(change: RelayChange): void {
    const config = changedConfig(this.#config, change);
    const before = this.#config;
    this.#config = config;
    this.#permissions = new Permissions(config.allow);
    if (config.bytesPerSecond !== before.bytesPerSecond)
      this.#steps.push({
        kind: "rate",
        ...(config.bytesPerSecond === undefined ? {} : { bytesPerSecond: config.bytesPerSecond }),
      });
    for (const node of [...this.#nodes.values()]) {
      const value = config.enabled ? config.classes.get(node.publicKey) : undefined;
      if (value === undefined) this.#remove(node);
      else node.class = value;
    }
    for (const node of this.#nodes.values())
      this.#circuits.end(node.number, (other) => this.#mayTalk(node, this.#nodes.get(other)));
  }

  /** own tells the hub's own keys, of each identity that it answers to. */
  own(identities: readonly MacKeys[]): void {
    this.#receivers.setOwn(this.#config.enabled ? identities : []);
  }

  /** peer tells what a peer of the hub is now, or that it is none any more. */
  peer(number: number, peer: RelayPeer | undefined, nowMs: number): void {
    const value =
      peer === undefined || !this.#config.enabled ? undefined : this.#config.classes.get(peer.publicKey);
    const known = this.#nodes.get(number);
    if (peer === undefined || value === undefined) {
      if (known !== undefined) this.#remove(known, nowMs);
      return;
    }
    const node = known ?? this.#add(number, { peer, class: value, nowMs });
    if (node !== undefined) this.#settle(node, peer.live, nowMs);
  }

  #add(
    number: number,
    {
      peer,
      nowMs,
      class: value,
    }: { readonly peer: RelayPeer; readonly nowMs: number; readonly class: number },
  ): Node | undefined {
    const { publicKey, macKeys } = peer;
    const found = this.#receivers.newFindable(macKeys, nowMs);
    if (found === undefined) return undefined;
    const node: Node = {
      ...found,
      number,
      publicKey,
      class: value,
      endpoint: undefined,
      place: undefined,
      provenMs: 0,
      untilMs: 0,
    };
    this.#nodes.set(number, node);
    this.#receivers.add(node);
    return node;
  }

  #remove(node: Node, nowMs?: number): void {
    const next = nowMs === undefined ? undefined : this.#waitingSuccessor(node);
    if (next !== undefined && nowMs !== undefined) this.#circuits.rename(node.number, next.number, nowMs);
    this.#circuits.end(node.number);
    this.#leave(node);
    this.#nodes.delete(node.number);
    this.#receivers.remove(node);
  }

  /** Puts a node where it is now. */
  #settle(node: Node, live: RelayPeer["live"], nowMs: number): void {
    const { endpoint, untilMs, provenMs = 0 } = live ?? { endpoint: undefined, untilMs: 0 };
    node.untilMs = untilMs;
    node.provenMs = provenMs;
    if (endpoint === undefined || untilMs <= nowMs) {
      this.#leave(node);
      return;
    }
    // Told again and again while packets come.
    if (endpoint === node.endpoint && this.#places.get(node.place as string) === node) return;
    const place = formatEndpoint(endpoint);
    if (place === node.place && this.#places.get(place) === node) return;
    if (place !== node.place) this.#leave(node);
    node.endpoint = endpoint;
    node.place = place;
    this.#enter(node, nowMs);
  }

  /** Whether a node is what another one was before it changed its key. */
  #succeeds(node: Node, other: Node): boolean {
    return this.#config.successors?.get(node.publicKey) === other.publicKey;
  }

  #waitingSuccessor(node: Node): Node | undefined {
    for (const other of this.#waiting) if (this.#succeeds(other, node)) return other;
    return undefined;
  }

  #enter(node: Node, nowMs?: number): void {
    const { number, endpoint, place } = node;
    if (endpoint === undefined || place === undefined) return;
    // Who lives there stays: else any node could take another one's place by a packet with its address. But who proved to be there comes before who did not, or did earlier.
    const holder = this.#places.get(place);
    if (holder !== undefined) {
      const yields = node.provenMs > holder.provenMs;
      this.#waiting.add(yields ? holder : node);
      if (!yields) return;
      if (nowMs !== undefined && this.#succeeds(node, holder))
        this.#circuits.rename(holder.number, number, nowMs);
      this.#steps.push({ kind: "node", node: holder.number });
    }
    this.#waiting.delete(node);
    this.#places.set(place, node);
    this.#steps.push({ kind: "node", node: number, endpoint });
  }

  #leave(node: Node): void {
    const { number, place } = node;
    node.endpoint = undefined;
    node.place = undefined;
    this.#waiting.delete(node);
    if (place === undefined || this.#places.get(place) !== node) return;
    this.#places.delete(place);
    this.#steps.push({ kind: "node", node: number });
    for (const other of this.#waiting) if (other.place === place) return this.#enter(other);
  }

  #mayTalk(node: Node, other: Node | undefined): boolean {
    return other !== undefined && node !== other && this.#permissions.allow(node.class, other.class);
  }

  #isLive(node: Node, nowMs: number): boolean {
    return node.place !== undefined && nowMs < node.untilMs && this.#places.get(node.place) === node;
  }

  /** endpoint returns where to forward to. */
  endpoint(node: number): Endpoint | undefined {
    return this.#nodes.get(node)?.endpoint;
  }

  /** carries tells whether data of a source with a receiver index is relayed. */
  carries(from: Endpoint, index: number): boolean {
    const source = this.#places.get(formatEndpoint(from));
    return source !== undefined && this.#circuits.find(source.number, index)?.live === true;
  }

  /** take decides on a handshake message. */
  take(message: RelayMessage): RelayVerdict {
    if (!this.#config.enabled || this.#places.size === 0) return undefined;
    const { datagram, from, nowMs } = message;
    const type = datagram[0] as number;
    if (!(type >= INITIATION && type <= COOKIE) || datagram.length !== LENGTHS[type]) return undefined;
    if (datagram[1] !== 0 || datagram[2] !== 0 || datagram[3] !== 0) return undefined;
    const source = this.#places.get(formatEndpoint(from));
    if (source === undefined || !this.#isLive(source, nowMs)) return undefined;
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
    const first = view.getUint32(SENDER, true);
    const verdict =
      type === INITIATION
        ? this.#initiation(source, { datagram, sender: first, nowMs })
        : type === RESPONSE
          ? this.#response(source, { sender: first, receiver: view.getUint32(SENDER + 4, true), nowMs })
          : this.#cookie(source, { receiver: first, nowMs });
    if (verdict === undefined) return undefined;
    if ("drop" in verdict) this.#drops.set(verdict.drop, (this.#drops.get(verdict.drop) ?? 0) + 1);
    else this.#forwarded++;
    return verdict;
  }

  #initiation(
    source: Node,
    {
      datagram,
      sender,
      nowMs,
    }: { readonly datagram: Uint8Array; readonly sender: number; readonly nowMs: number },
  ): RelayVerdict {
    const to = this.#receivers.find(source, datagram, nowMs);
    if (to === "own") return undefined;
    if (to === "budget") return { drop: "budget" };
    if (to === undefined || to === source) return { drop: "unknown" };
    if (!this.#mayTalk(source, to)) return { drop: "forbidden" };
    if (!this.#isLive(to, nowMs)) return { drop: "absent" };
    if (this.#options.isOwnIndex(sender)) return { drop: "taken" };
    const pair = this.#circuits.pair(source.number, to.number, nowMs);
    if (pair === undefined) return { drop: "full" };
    const isRepeated = this.#seen.has(source.number, to.number, sender);
    const budget = isRepeated ? pair.repeated : pair.initiations[pair.nodes[0] === source.number ? 0 : 1];
    if (!budget.takeOne(nowMs)) return { drop: "budget" };
    const refusal = this.#circuits.expect(pair, { source: to.number, index: sender, isRepeated, nowMs });
    if (refusal !== undefined) {
      this.#circuits.drop(pair);
      return { drop: refusal };
    }
    if (!isRepeated) this.#seen.add({ source: source.number, to: to.number, index: sender, nowMs });
    this.#receivers.met(source, to);
    return { to: to.number };
  }

  #response(
    source: Node,
    {
      sender,
      receiver,
      nowMs,
    }: { readonly sender: number; readonly receiver: number; readonly nowMs: number },
  ): RelayVerdict {
    if (this.#options.isOwnIndex(receiver)) return undefined;
    const asked = this.#circuits.find(source.number, receiver);
    const to = asked === undefined ? undefined : this.#nodes.get(asked.to);
    if (asked === undefined || to === undefined) return { drop: "unknown" };
    if (!this.#isLive(to, nowMs)) return { drop: "absent" };
    if (this.#options.isOwnIndex(sender)) return { drop: "taken" };
    const refusal = this.#circuits.answer(asked, sender, nowMs);
    return refusal === undefined ? { to: to.number } : { drop: refusal };
  }

  #cookie(
    source: Node,
    { receiver, nowMs }: { readonly receiver: number; readonly nowMs: number },
  ): RelayVerdict {
    if (this.#options.isOwnIndex(receiver)) return undefined;
    const asked = this.#circuits.find(source.number, receiver);
    const to = asked === undefined ? undefined : this.#nodes.get(asked.to);
    if (to === undefined) return { drop: "unknown" };
    return this.#isLive(to, nowMs) ? { to: to.number } : { drop: "absent" };
  }

  /** due ends what is over. */
  due(nowMs: number): void {
    this.#circuits.expire(nowMs);
    for (const node of this.#places.values()) if (node.untilMs <= nowMs) this.#leave(node);
  }

  /** all returns the steps that lead to what holds now, for a data path that is new. */
  all(): readonly RelayStep[] {
    const { bytesPerSecond } = this.#config;
    return [
      { kind: "rate", ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) },
      ...[...this.#places.values()].map(({ number: node, endpoint }): RelayStep => ({
        kind: "node",
        node,
        ...(endpoint === undefined ? {} : { endpoint }),
      })),
      ...this.#circuits.all().map(({ source, index, to, pair }): RelayStep => ({
        kind: "circuit",
        source,
        index,
        to,
        meter: pair.meter,
      })),
    ];
  }

  /** circuits returns the live ones, for a successor. */
  circuits(): readonly RelayCircuit[] {
    return this.#circuits.all().map(({ source, index, to, expiresMs }) => ({ source, index, to, expiresMs }));
  }

  /** restore goes on with a predecessor's circuits; after its nodes were told. */
  restore(circuits: readonly RelayCircuit[], nowMs: number): void {
    for (const circuit of circuits)
      if (circuit.expiresMs > nowMs && this.#nodes.has(circuit.source) && this.#nodes.has(circuit.to))
        this.#circuits.restore(circuit, nowMs);
  }
}

/** RelayCircuit is a live circuit as it is handed over. */
export interface RelayCircuit {
  readonly source: number;
  readonly index: number;
  readonly to: number;
  readonly expiresMs: number;
}
