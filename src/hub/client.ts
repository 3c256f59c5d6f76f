/** The node's connection to its hub. Thin: what to do is decided by the state machine of sync-client.ts. */
import { SYNC_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip, type SigningKey } from "../net/mod.ts";
import { after, connectTcp, every, monotonicMs, randomBytes, type TcpConnection } from "../sys/mod.ts";
import type { SignedState } from "./signed-state.ts";
import {
  type ClientEffect,
  type ClientEvent,
  startClient,
  stepClient,
  type SyncClient,
} from "./sync-client.ts";
import { HUB_LINE_BYTES, type NodeFacts, PING_MS, SILENCE_MS } from "./sync-protocol.ts";
import { type MeshView, meshView } from "./view.ts";

const CONNECT_MS = 8_000;
/** How long the hub may take to confirm that this node left. */
const LEAVE_MS = 8_000;

/** HubClientOptions is what a node needs to follow its hub. */
export interface HubClientOptions {
  /** This node's name. */
  readonly node: string;
  /** The hub's overlay addresses; tried in turn. */
  readonly hubAddresses: readonly Ip[];
  readonly signingKey: SigningKey;
  /** The stored state, read with parseCache. */
  readonly signed?: SignedState;
  readonly facts: NodeFacts;
  readonly hooks: {
    /** A new state: store `formatCache(signed)`, then use the view. */
    readonly onState: (view: MeshView, signed: SignedState) => void;
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
  readonly #pinging: Disposable;

  private constructor(options: HubClientOptions) {
    const { node, signingKey, signed, facts } = options;
    this.#options = options;
    this.#state = startClient({
      trust: { signingKey, node },
      facts,
      ...(signed === undefined ? {} : { signed }),
    });
    this.#pinging = every(PING_MS, () => this.#ping());
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

  /** Number of the last change that this node has; 0 before the first. */
  get revision(): number {
    return this.#state.signed?.header.revision ?? 0;
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
      case "probe":
        return hooks.onProbe?.(effect.peer, effect.inMs);
      case "online":
        return hooks.onConnection?.(true);
      case "offline":
        return hooks.onConnection?.(false, effect.reason);
      case "left":
        if (this.#left === undefined) return hooks.onLeft?.();
        return this.#left.resolve();
    }
  }

  #use(signed: SignedState): void {
    const { hooks, node } = this.#options;
    let view: MeshView;
    try {
      view = meshView(signed.entries, node);
    } catch (error) {
      // Signed by the hub, but of a version that this node does not know: the last view stays.
      const connection = this.#connection;
      this.#connection = undefined;
      connection?.close();
      return this.#step({ kind: "disconnected", reason: (error as Error).message });
    }
    hooks.onState(view, signed);
  }

  #connect(): void {
    const addresses = this.#options.hubAddresses;
    const address = addresses[this.#attempt++ % addresses.length] as Ip;
    // Lines that come before the promise resolves wait for `connected`.
    let early: string[] | undefined = [];
    let own: TcpConnection | undefined;
    const current = () => own !== undefined && this.#connection === own;
    connectTcp({
      address: formatIp(address),
      port: this.#options.port ?? SYNC_PORT,
      maxLineBytes: HUB_LINE_BYTES,
      timeoutMs: CONNECT_MS,
      events: {
        line: (text) => {
          this.#heardMs = monotonicMs();
          if (early !== undefined) early.push(text);
          else if (current()) this.#step({ kind: "line", text });
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
        for (const text of lines) if (current()) this.#step({ kind: "line", text });
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
    if (monotonicMs() - this.#heardMs > SILENCE_MS) return this.#connection.close("the hub is silent");
    this.#connection.send('{"type":"ping"}');
  }

  close(): void {
    this.#closed = true;
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
