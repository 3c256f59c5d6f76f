/** The node's connection to its hub. Thin: what to do is decided by the state machine of sync-client.ts. */
import { SYNC_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip, type PublicKey, type SigningKey } from "../net/mod.ts";
import { after, connectTcp, every, monotonicMs, randomBytes, type TcpConnection } from "../sys/mod.ts";
import { NodeClaims } from "./node-claims.ts";
import type { SignedState } from "./signed-state.ts";
import {
  type ClientEffect,
  type ClientEvent,
  startClient,
  stepClient,
  type SyncClient,
} from "./sync-client.ts";
import type { SealedKey } from "./pair-keys.ts";
import type { Removal } from "./removal.ts";
import { type Fact, FactBook, type NodeFacts } from "./facts.ts";
import {
  HUB_LINE_BYTES,
  MAX_TOLD_REMOVALS,
  PING_MS,
  PING_OF_SEVERAL_MS,
  SILENCE_MS,
  SILENCE_OF_SEVERAL_MS,
} from "./sync-protocol.ts";
import { type MeshView, meshView, type ViewCache } from "./view.ts";

const CONNECT_MS = 8_000;
/** The same while there is another hub to try. */
const CONNECT_NEXT_MS = 3_000;
/** How long the hub may take to confirm that this node left. */
const LEAVE_MS = 8_000;

/** FollowedHub is a hub to follow the register through. */
export interface FollowedHub {
  readonly name: string;
  /** Its overlay addresses; tried in turn. */
  readonly addresses: readonly Ip[];
}

/** HubClientOptions is what a node needs to follow its hub. */
export interface HubClientOptions {
  /** This node's name. */
  readonly node: string;
  /** All hubs, the one to begin with first. */
  readonly hubs: readonly FollowedHub[];
  readonly signingKey: SigningKey;
  /** The stored state, read with parseCache. */
  readonly signed?: SignedState;
  /** Revision of the newest removal that is known. */
  readonly removedTo?: number;
  readonly facts: NodeFacts;
  /** What is known of nodes; what hubs say is added to it. */
  readonly book?: FactBook;
  readonly hooks: {
    /** A new state: store `formatCache(signed)`, then use the view. */
    readonly onState: (view: MeshView, signed: SignedState) => void;
    /** New facts in the book: the view with them. */
    readonly onFacts?: (view: MeshView) => void;
    /** Nodes were removed: take over those that hold (Kept). */
    readonly onRemovals?: (removals: readonly Removal[]) => void;
    /** The operator wants another key of this node. */
    readonly onRotate?: () => void;
    /** Pre-shared keys that were asked for. */
    readonly onPairKeys?: (keys: readonly SealedKey[]) => void;
    /** The hub has said something: what this node knows is what the hub knows. */
    readonly onHeard?: () => void;
    /** Another node and this one are to try each other in so many milliseconds. */
    readonly onProbe?: (peer: string, inMs: number) => void;
    readonly onConnection?: (connected: boolean, reason?: string) => void;
    /** The hub confirmed that this node left, after `leave` had given up waiting. */
    readonly onLeft?: () => void;
  };
  /** For tests. */
  readonly port?: number;
}

/** HubClient owns the connection and goes on trying until it is disposed. */
export class HubClient implements Disposable {
  readonly #options: HubClientOptions;
  #state: SyncClient;
  #connection: TcpConnection | undefined;
  #attempt = 0;
  #heardMs = 0;
  #retry: Disposable | undefined;
  #closed = false;
  #left: PromiseWithResolvers<void> | undefined;
  readonly #book: FactBook;
  readonly #cache: ViewCache = new Map();
  #hubs: readonly FollowedHub[];
  /** The hub of the present connection or attempt. */
  #hub: FollowedHub | undefined;
  #turn = 0;
  #pinging: Disposable;
  /** Addresses of subnets, asked for at the hub. */
  readonly claims = new NodeClaims({
    tell: (message) => this.#step({ kind: "tell", message }),
    connected: () => this.connected,
  });

  private constructor(options: HubClientOptions) {
    const { node, signingKey, signed, facts } = options;
    this.#options = options;
    this.#book = options.book ?? new FactBook();
    this.#hubs = options.hubs;
    this.#state = startClient({
      trust: { signingKey, node },
      facts,
      hubs: options.hubs.length,
      ...(signed === undefined ? {} : { signed }),
      ...(options.removedTo === undefined ? {} : { removedTo: options.removedTo }),
    });
    this.#pinging = this.#beginPinging();
  }

  /** start begins to connect. */
  static start(options: HubClientOptions): HubClient {
    const client = new HubClient(options);
    client.#step({ kind: "start" });
    return client;
  }

  /** Whether the hub is connected now. */
  get connected(): boolean {
    return this.#state.phase === "online";
  }

  /** Name of the hub that the register is followed through now, or was last. */
  get hub(): string | undefined {
    return this.#hub?.name;
  }

  /** setHubs says which hubs there are, the preferred one first; the present connection stays, unless its hub is gone. */
  setHubs(hubs: readonly FollowedHub[]): void {
    const before = this.#hubs.length;
    this.#hubs = hubs;
    this.#turn = 0;
    if (before > 1 !== hubs.length > 1) {
      this.#pinging[Symbol.dispose]();
      this.#pinging = this.#beginPinging();
    }
    this.#step({ kind: "hubs", count: hubs.length });
    const current = this.#hub;
    if (current !== undefined && !hubs.some((hub) => hub.name === current.name)) this.hubLost(current.name);
  }

  /** hubLost says that a hub does not answer on its path: a connection through it is given up for the next hub. */
  hubLost(name: string): void {
    if (this.#hub?.name === name) this.#connection?.close(`hub ${name} does not answer`);
  }

  /** Number of the last change that this node has; 0 before the first. */
  get revision(): number {
    return this.#state.signed?.header.revision ?? 0;
  }

  /** tellRemovals tells the hub what the operator has signed; does nothing while there is none. */
  tellRemovals(removals: readonly Removal[]): void {
    for (let i = 0; i < removals.length; i += MAX_TOLD_REMOVALS)
      this.#step({ kind: "tell-removals", removals: removals.slice(i, i + MAX_TOLD_REMOVALS) });
  }

  /** announceKey tells a connected hub this node's next key. */
  announceKey(keys: { readonly now: PublicKey; readonly next: PublicKey; readonly proof: Uint8Array }): void {
    const { now, next } = keys;
    const proof = Buffer.from(keys.proof).toString("base64");
    this.#step({ kind: "tell", message: { type: "rotate", now, next, proof } });
  }

  /** askPairKeys asks a connected hub for this node's keys with peers; onPairKeys has the answer. */
  askPairKeys(peers: readonly string[]): void {
    if (peers.length > 0) this.#step({ kind: "tell", message: { type: "psk", peers } });
  }

  /** invite asks another node to try now. */
  invite(peer: string): void {
    this.#step({ kind: "invite", peer });
  }

  /** setFacts tells what changed about this node. */
  setFacts(facts: NodeFacts): void {
    this.#step({ kind: "facts", facts });
  }

  /** leave asks the hub to remove this node; rejects when the hub does not confirm in time. */
  leave(): Promise<void> {
    if (this.#left !== undefined) return this.#left.promise;
    const left = Promise.withResolvers<void>();
    this.#left = left;
    const deadline = after(LEAVE_MS, () => {
      // Who was told that it failed may stay: the next connection must not leave behind their back.
      this.#step({ kind: "stay" });
      left.reject(
        new Error(
          "Cannot leave the mesh: the hub does not answer; try again, or leave with --force and remove the node at the hub",
        ),
      );
    });
    const promise = left.promise.finally(() => {
      deadline[Symbol.dispose]();
      if (this.#left === left) this.#left = undefined;
    });
    left.promise = promise;
    this.#step({ kind: "leave" });
    return promise;
  }

  #step(event: ClientEvent): void {
    if (this.#closed) return;
    const [state, effects] = stepClient(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ClientEffect): void {
    const { hooks } = this.#options;
    switch (effect.kind) {
      case "connect":
        return this.#connect();
      case "send":
        return this.#connection?.send(JSON.stringify(effect.message));
      case "close": {
        const connection = this.#connection;
        this.#connection = undefined;
        return connection?.close();
      }
      case "retry": {
        this.#retry?.[Symbol.dispose]();
        // Half fixed, half random: nodes must not all come back in the same moment.
        const jitter = 0.5 + (randomBytes(1)[0] as number) / 510;
        this.#retry = after(effect.afterMs * jitter, () => this.#step({ kind: "retry" }));
        return;
      }
      case "state":
        return this.#use(effect.signed);
      case "facts":
        return this.#learn(effect.facts);
      case "rotate":
        return hooks.onRotate?.();
      case "psk":
        return hooks.onPairKeys?.(effect.keys);
      case "answer":
        return this.claims.answered(effect.answer);
      case "removals":
        return hooks.onRemovals?.(effect.removals);
      case "probe":
        return hooks.onProbe?.(effect.peer, effect.inMs);
      case "online":
        this.claims.online();
        return hooks.onConnection?.(true);
      case "offline":
        return hooks.onConnection?.(false, effect.reason);
      case "left":
        if (this.#left === undefined) return hooks.onLeft?.();
        return this.#left.resolve();
    }
  }

  #onLine(text: string): void {
    this.#step({ kind: "line", text });
    if (this.connected && this.#state.signed !== undefined) this.#options.hooks.onHeard?.();
  }

  #use(signed: SignedState): void {
    const { hooks, node } = this.#options;
    let view: MeshView;
    try {
      view = this.#view(signed);
      const names = [node, ...view.nodes.map((other) => other.name)];
      this.#book.keepOnly(new Set(names));
    } catch (error) {
      // Signed by the hub, but of a version that this node does not know: the last view stays.
      const connection = this.#connection;
      this.#connection = undefined;
      connection?.close();
      return this.#step({ kind: "disconnected", reason: (error as Error).message });
    }
    hooks.onState(view, signed);
  }

  #view(signed: SignedState): MeshView {
    return meshView(signed.entries, this.#options.node, { facts: this.#book, cache: this.#cache });
  }

  #learn(facts: readonly Fact[]): void {
    const { signed } = this.#state;
    const taken = facts.filter((fact) => this.#book.merge(fact));
    if (taken.length === 0 || signed === undefined) return;
    this.#options.hooks.onFacts?.(this.#view(signed));
  }

  #beginPinging(): Disposable {
    return every(this.#hubs.length > 1 ? PING_OF_SEVERAL_MS : PING_MS, () => this.#ping());
  }

  #connect(): void {
    const hub = this.#hubs[this.#turn++ % this.#hubs.length];
    if (hub === undefined) return this.#step({ kind: "disconnected", reason: "the mesh has no hub" });
    this.#hub = hub;
    const { addresses } = hub;
    const round = Math.floor(this.#attempt++ / this.#hubs.length);
    const address = addresses[round % addresses.length] as Ip;
    // Lines that come before the promise resolves wait for `connected`.
    let early: string[] | undefined = [];
    let own: TcpConnection | undefined;
    const current = () => own !== undefined && this.#connection === own;
    connectTcp({
      address: formatIp(address),
      port: this.#options.port ?? SYNC_PORT,
      maxLineBytes: HUB_LINE_BYTES,
      timeoutMs: this.#hubs.length > 1 ? CONNECT_NEXT_MS : CONNECT_MS,
      events: {
        line: (text) => {
          this.#heardMs = monotonicMs();
          if (early !== undefined) early.push(text);
          else if (current()) this.#onLine(text);
        },
        closed: (reason) => {
          if (!current()) return;
          this.#connection = undefined;
          this.#step({ kind: "disconnected", reason: reason ?? "the hub closed the connection" });
        },
      },
    }).then(
      (connection) => {
        if (this.#closed) return connection.close();
        own = connection;
        this.#connection = connection;
        this.#heardMs = monotonicMs();
        this.#step({ kind: "connected" });
        const lines = early ?? [];
        early = undefined;
        for (const text of lines) if (current()) this.#onLine(text);
        if (connection.closed && current()) {
          this.#connection = undefined;
          this.#step({ kind: "disconnected", reason: "the hub closed the connection" });
        }
      },
      (error: Error) =>
        this.#step({ kind: "disconnected", reason: `cannot reach the hub: ${error.message}` }),
    );
  }

  #ping(): void {
    if (this.#connection === undefined) return;
    const silenceMs = this.#hubs.length > 1 ? SILENCE_OF_SEVERAL_MS : SILENCE_MS;
    if (monotonicMs() - this.#heardMs > silenceMs) return this.#connection.close("the hub is silent");
    this.#connection.send('{"type":"ping"}');
  }

  close(): void {
    this.#closed = true;
    this.claims.close();
    this.#pinging[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
    this.#connection?.close();
    this.#connection = undefined;
    this.#left?.reject(new Error("Cannot leave the mesh: the agent stops"));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
