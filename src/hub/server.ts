/** The hub's two services: enrolment for newcomers, sync for nodes. Thin: what to do is decided by the state machines. */
import { ENROL_PORT, SYNC_PORT } from "../mesh/mod.ts";
import {
  formatIp,
  type Ip,
  parseIp,
  prefixContains,
  type PrivateKey,
  type SigningSecret,
} from "../net/mod.ts";
import {
  after,
  every,
  listenTcp,
  monotonicMs,
  randomBytes,
  type TcpConnection,
  type TcpEvents,
  type TcpListener,
  wallMs,
} from "../sys/mod.ts";
import { ENROL_LINE_BYTES } from "./enrol-protocol.ts";
import { type EnrolEvent, startEnrol, stepEnrol } from "./enrol-server.ts";
import { NONCE_BYTES } from "./proof.ts";
import { Refusal } from "./refusal.ts";
import type { Register } from "./register.ts";
import { Snapshots } from "./snapshot.ts";
import { NODE_LINE_BYTES, SILENCE_MS } from "./sync-protocol.ts";
import { startSync, type SyncEffect, type SyncEvent, type SyncSession, stepSync } from "./sync-server.ts";

const MAX_NEWCOMERS = 64;
const MAX_NEWCOMERS_PER_USE = 4;
/** A newcomer that has not registered by then is cut off. */
const ENROL_MS = 10_000;
/** Connections that one use may open in a minute. */
const USES_PER_MINUTE = 30;
const MAX_NODES = 4096;
/** A node that comes back before the old connection is known to be dead has two for a while. */
const MAX_PER_NODE = 4;
/** A pair is invited at most so often. */
const INVITE_MS = 5_000;
const MAX_INVITES = 65_536;
/** From the invitation to the moment when both ends of a pair try: longer than most ways from the hub to a node. */
const MEET_MS = 100;
/**
 * STATE_INTERVAL_MS is the least time between two states that a node is told because of changes. In a mesh that moves, each state costs a
 * signature and a message per node, and one with the changes of many revisions costs the same as one with those of a single one.
 */
export const STATE_INTERVAL_MS = 50;

/** HubOptions is what the hub's services need. */
export interface HubOptions {
  readonly register: Register;
  /** First address of the enrolment prefix; it must be on this machine already. */
  readonly enrolAddress: Ip;
  /** The hub's overlay addresses; they must be on this machine already. */
  readonly overlayAddresses: readonly Ip[];
  readonly signing: SigningSecret;
  readonly hubKey: PrivateKey;
  readonly hooks?: {
    /** A node connected or went. */
    readonly onNode?: (name: string, connected: boolean) => void;
    /** For the log: what newcomers and nodes were told. */
    readonly onEvent?: (event: HubLogEvent) => void;
  };
  /** For tests; 0 lets the system choose. */
  readonly enrolPort?: number;
  readonly syncPort?: number;
}

/** HubLogEvent is worth a line in the log. */
export type HubLogEvent =
  | { readonly kind: "registered"; readonly node: string; readonly from: string }
  | { readonly kind: "refused"; readonly code: string; readonly from: string; readonly message: string }
  | { readonly kind: "left"; readonly node: string }
  | { readonly kind: "failed"; readonly message: string };

interface Live {
  readonly id: number;
  readonly connection: TcpConnection;
  session: SyncSession;
  heardMs: number;
  /** When it was last told a state. */
  toldMs: number;
  helloed: boolean;
}

/** HubServer owns the listening sockets and all connections. */
export class HubServer implements Disposable {
  readonly #options: HubOptions;
  readonly #snapshots: Snapshots;
  readonly #resources = new DisposableStack();
  readonly #live = new Map<number, Live>();
  readonly #newcomers = new Map<string, number>();
  readonly #invited = new Map<string, number>();
  readonly #recent = new Map<string, number[]>();
  #nextId = 0;
  /** The next states of nodes that were told one just now. */
  #later: Disposable | undefined;
  readonly #enrolListener: TcpListener;
  readonly #syncListeners: TcpListener[];

  private constructor(options: HubOptions) {
    const { register, signing } = options;
    this.#options = options;
    this.#snapshots = new Snapshots(register, signing);
    using undo = new DisposableStack();
    this.#enrolListener = undo.use(
      listenTcp({
        address: formatIp(options.enrolAddress),
        port: options.enrolPort ?? ENROL_PORT,
        maxLineBytes: ENROL_LINE_BYTES,
        maxConnections: MAX_NEWCOMERS,
        accept: (connection) => this.#acceptNewcomer(connection),
      }),
    );
    this.#syncListeners = options.overlayAddresses.map((address) =>
      undo.use(
        listenTcp({
          address: formatIp(address),
          port: options.syncPort ?? SYNC_PORT,
          maxLineBytes: NODE_LINE_BYTES,
          maxConnections: MAX_NODES,
          accept: (connection) => this.#acceptNode(connection),
        }),
      ),
    );
    undo.use(register.subscribe(() => this.#guarded("tell nodes of changes", () => this.#changed())));
    undo.use(every(5_000, () => this.#guarded("look for silent nodes", () => this.#sweep())));
    this.#resources.use(undo.move());
  }

  /** start listens; throws when an address is not there yet or a port is taken. */
  static start(options: HubOptions): HubServer {
    return new HubServer(options);
  }

  /** Ports, for tests that let the system choose. */
  get ports(): { readonly enrol: number; readonly sync: readonly number[] } {
    return { enrol: this.#enrolListener.port, sync: this.#syncListeners.map((listener) => listener.port) };
  }

  /** connected returns the names of nodes that follow the register now. */
  connected(): string[] {
    return [
      ...new Set([...this.#live.values()].filter((live) => live.helloed).map((live) => live.session.node)),
    ].sort();
  }

  #acceptNewcomer(connection: TcpConnection): TcpEvents | string {
    const { register, hubKey } = this.#options;
    const from = connection.remoteAddress;
    const address = parseIp(from);
    const count = this.#newcomers.get(from) ?? 0;
    if (!prefixContains(register.mesh().enrol6, address)) return "not from the enrolment network";
    if (count >= MAX_NEWCOMERS_PER_USE || !this.#admit(from)) return "too many connections";
    this.#newcomers.set(from, count + 1);
    let [session, effects] = startEnrol(address, randomBytes(NONCE_BYTES));
    const step = (event: EnrolEvent) => {
      [session, effects] = stepEnrol(session, event, hubKey);
      perform();
    };
    const perform = () => {
      for (const effect of effects) {
        if (effect.kind === "send") connection.send(JSON.stringify(effect.message));
        else if (effect.kind === "close") connection.close();
        else step(this.#registered(effect.registration, from));
      }
    };
    const deadline = after(ENROL_MS, () => connection.close("too slow"));
    perform();
    return {
      line: (text) => step({ kind: "line", text }),
      closed: () => {
        deadline[Symbol.dispose]();
        const left = (this.#newcomers.get(from) ?? 1) - 1;
        if (left > 0) this.#newcomers.set(from, left);
        else this.#newcomers.delete(from);
      },
    };
  }

  #registered(registration: Parameters<Register["registerNode"]>[0], from: string): EnrolEvent {
    try {
      const node = this.#options.register.registerNode(registration, wallMs());
      this.#log({ kind: "registered", node: node.name, from });
      return { kind: "registered", name: node.name, state: this.#snapshots.message(node.name) };
    } catch (error) {
      const refusal =
        error instanceof Refusal
          ? error
          : new Refusal("bad-request", "The hub cannot register nodes now; see its log");
      if (!(error instanceof Refusal))
        this.#log({
          kind: "failed",
          message: `Cannot register ${registration.name}: ${(error as Error).message}`,
        });
      this.#log({ kind: "refused", code: refusal.code, from, message: refusal.message });
      return { kind: "refused", refusal };
    }
  }

  #admit(from: string): boolean {
    const nowMs = monotonicMs();
    const times = (this.#recent.get(from) ?? []).filter((time) => nowMs - time < 60_000);
    if (times.length >= USES_PER_MINUTE) return false;
    this.#recent.set(from, [...times, nowMs]);
    return true;
  }

  #acceptNode(connection: TcpConnection): TcpEvents | string {
    const node = this.#options.register.nodeByAddress(parseIp(connection.remoteAddress));
    const open = [...this.#live.values()].filter((live) => live.session.node === node?.name);
    if (node === undefined || open.length >= MAX_PER_NODE) {
      const refusal =
        node === undefined
          ? new Refusal(
              "unknown-source",
              `${connection.remoteAddress} is no node's address; it may have been removed`,
            )
          : new Refusal("too-many", "Too many connections; the node connects again later");
      connection.send(JSON.stringify({ type: "refused", code: refusal.code, message: refusal.message }));
      return refusal.message;
    }
    const nowMs = monotonicMs();
    const live: Live = {
      id: this.#nextId++,
      connection,
      session: startSync(node.name, nowMs),
      heardMs: nowMs,
      toldMs: Number.NEGATIVE_INFINITY,
      helloed: false,
    };
    this.#live.set(live.id, live);
    return {
      line: (text) => {
        live.heardMs = monotonicMs();
        this.#step(live, { kind: "line", text, nowMs: live.heardMs });
      },
      closed: () => {
        this.#live.delete(live.id);
        const { node: name } = live.session;
        if (live.helloed && !this.connected().includes(name)) this.#options.hooks?.onNode?.(name, false);
      },
    };
  }

  #step(live: Live, event: SyncEvent): void {
    const context = { source: this.#snapshots.source(), signingKey: this.#options.signing.publicKey };
    const [session, effects] = stepSync(live.session, event, context);
    live.session = session;
    for (const effect of effects) this.#perform(live, effect);
  }

  #perform(live: Live, effect: SyncEffect): void {
    const { register, hooks } = this.#options;
    const { node } = live.session;
    switch (effect.kind) {
      case "send":
        if ((effect.message as { type?: unknown }).type === "state") live.toldMs = monotonicMs();
        return live.connection.send(JSON.stringify(effect.message));
      case "close":
        return live.connection.close(effect.reason);
      case "hello": {
        // A later connection of the same node is the living one.
        const others = [...this.#live.values()].filter(
          (other) => other.session.node === node && other !== live,
        );
        if (others.some((other) => other.id > live.id && other.helloed))
          return live.connection.close("superseded");
        for (const other of others) if (other.id < live.id) other.connection.close("superseded");
        live.helloed = true;
        hooks?.onNode?.(node, true);
        return;
      }
      case "facts":
        return register.setFacts(node, effect.facts);
      case "invite":
        return this.#invite(node, effect.peer);
      case "raise":
        return register.raiseRevision(effect.revision);
      case "leave":
        return this.#leave(live);
    }
  }

  #invite(from: string, to: string): void {
    const nowMs = monotonicMs();
    const key = from < to ? `${from}/${to}` : `${to}/${from}`;
    const live = (name: string) =>
      [...this.#live.values()].find((one) => one.session.node === name && one.helloed);
    const [caller, called] = [live(from), live(to)];
    if (caller === undefined || called === undefined) return;
    if (nowMs - (this.#invited.get(key) ?? -INVITE_MS) < INVITE_MS) return;
    if (this.#invited.size >= MAX_INVITES) this.#invited.clear();
    this.#invited.set(key, nowMs);
    // Both are told the same moment: what each sends first opens its own NAT for the other.
    caller.connection.send(JSON.stringify({ type: "probe", peer: to, inMs: MEET_MS }));
    called.connection.send(JSON.stringify({ type: "probe", peer: from, inMs: MEET_MS }));
  }

  #leave(live: Live): void {
    const { node } = live.session;
    try {
      this.#options.register.removeNode(node);
      this.#log({ kind: "left", node });
    } catch (error) {
      this.#log({ kind: "failed", message: (error as Error).message });
      return live.connection.close("cannot leave");
    }
    // The register tells the others a moment later, so the answer still finds the tunnel.
    this.#step(live, { kind: "left" });
  }

  #changed(): void {
    this.#tell();
    for (const live of [...this.#live.values()])
      if (this.#options.register.node(live.session.node) === undefined) live.connection.close("removed");
  }

  /** Tells nodes the register's state; those that were told one just now a little later. Who was removed sees itself gone at once. */
  #tell(): void {
    this.#later?.[Symbol.dispose]();
    this.#later = undefined;
    const nowMs = monotonicMs();
    let waitMs = Number.POSITIVE_INFINITY;
    for (const live of [...this.#live.values()]) {
      const restMs = live.toldMs + STATE_INTERVAL_MS - nowMs;
      const removed = this.#options.register.node(live.session.node) === undefined;
      if (restMs <= 0 || removed) this.#step(live, { kind: "changed" });
      else waitMs = Math.min(waitMs, restMs);
    }
    if (waitMs === Number.POSITIVE_INFINITY) return;
    this.#later = after(Math.ceil(waitMs), () => this.#guarded("tell nodes of changes", () => this.#tell()));
  }

  #sweep(): void {
    const nowMs = monotonicMs();
    for (const live of [...this.#live.values()])
      if (nowMs - live.heardMs > SILENCE_MS) live.connection.close("silent");
    for (const [from, times] of this.#recent)
      if (times.every((time) => nowMs - time >= 60_000)) this.#recent.delete(from);
  }

  /** A disk that is full or broken must not end the hub; who was not told asks again when it connects. */
  #guarded(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log({ kind: "failed", message: `Cannot ${what}: ${(error as Error).message}` });
    }
  }

  #log(event: HubLogEvent): void {
    this.#options.hooks?.onEvent?.(event);
  }

  close(): void {
    this.#later?.[Symbol.dispose]();
    this.#resources.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
