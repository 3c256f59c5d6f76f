/** The hub's two services: enrolment for newcomers, sync for nodes. Thin: what to do is decided by the state machines. */
import { SYNC_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip, parseIp, type PrivateKey, type SigningSecret } from "../net/mod.ts";
import {
  after,
  every,
  listenTcp,
  monotonicMs,
  type TcpConnection,
  type TcpEvents,
  type TcpListener,
  wallMs,
} from "../sys/mod.ts";
import type { Admission } from "./admission.ts";
import type { EnrolEvent } from "./enrol-server.ts";
import { EnrolService } from "./enrol-service.ts";
import { FactTeller } from "./fact-teller.ts";
import type { FactBook } from "./facts.ts";
import { HubLinks, type LinkState } from "./hub-links.ts";
import type { HubHealth } from "./hub-protocol.ts";
import { HubRemovals } from "./hub-removals.ts";
import { type HubSecret, sealHubSecret } from "./hub-secret.ts";
import { answerHub, isHubHello } from "./hub-session.ts";
import { Refusal } from "./refusal.ts";
import type { Register, Registration } from "./register.ts";
import type { Registrar } from "./registrar.ts";
import { Arrivals } from "./arrivals.ts";
import { KeyLimit } from "./key-limit.ts";
import { LiveNodes } from "./live-nodes.ts";
import { answerRequest } from "./node-requests.ts";
import { Snapshots } from "./snapshot.ts";
import { NODE_LINE_BYTES, SILENCE_MS } from "./sync-protocol.ts";
import { startSync, type SyncEffect, type SyncEvent, type SyncSession, stepSync } from "./sync-server.ts";

const MAX_NODES = 8192;
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
  readonly registrar: Registrar;
  readonly facts: FactBook;
  /** First address of the enrolment prefix; it must be on this machine already. */
  readonly enrolAddress: Ip;
  /** The hub's overlay addresses; they must be on this machine already. */
  readonly overlayAddresses: readonly Ip[];
  readonly signing: SigningSecret;
  readonly hubKey: PrivateKey;
  /** The one before, while the hub answers to it: tokens and nodes may know it by that. */
  readonly formerKey?: () => PrivateKey | undefined;
  /** What a newcomer needs that becomes a hub. */
  readonly hubSecret?: () => HubSecret | undefined;
  readonly hooks?: {
    /** A node connected or went. */
    readonly onNode?: (name: string, connected: boolean) => void;
    /** There are new facts. */
    readonly onFacts?: () => void;
    /** Another hub was reached or lost. */
    readonly onHub?: (name: string, connected: boolean, reason?: string) => void;
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
  /** Revision up to which it was told of removals. */
  removedTo: number;
  /** Another hub's connection, which follows no state. */
  peerHub: boolean;
}

/** HubServer owns the listening sockets and all connections. */
export class HubServer implements Disposable {
  readonly #options: HubOptions;
  readonly #register: Register;
  readonly #links: HubLinks;
  readonly #facts: FactTeller;
  #sameSince = 0;
  readonly #snapshots: Snapshots;
  readonly #resources = new DisposableStack();
  readonly #live = new LiveNodes<Live>();
  /** Removals as they are told and handed on. */
  readonly removals: HubRemovals;
  readonly #invited = new Map<string, number>();
  readonly #keyLimit = new KeyLimit();
  readonly #arrivals = new Arrivals();
  #nextId = 0;
  /** The next states of nodes that were told one just now. */
  #later: Disposable | undefined;
  readonly #enrolment: EnrolService;
  readonly #syncListeners: TcpListener[];

  private constructor(options: HubOptions) {
    const { registrar, facts, signing, hooks } = options;
    const { register } = registrar;
    this.#options = options;
    this.#register = register;
    this.#snapshots = new Snapshots(register, signing);
    this.removals = new HubRemovals(register, signing);
    using undo = new DisposableStack();
    this.#facts = undo.use(
      new FactTeller(facts, {
        sees: (node, other) => this.#snapshots.sees(node, other),
        connections: () => this.#live.size,
        tell: () => this.#guarded("tell nodes of facts", () => this.#tellFactsNow()),
      }),
    );
    // A node may have been removed while this hub was away.
    facts.keepOnly(register.names());
    this.#links = undo.use(
      new HubLinks({
        facts,
        book: this.#facts.book,
        health: () => this.#health(),
        ...(hooks?.onHub === undefined ? {} : { onLink: hooks.onHub }),
        ...(options.syncPort === undefined ? {} : { port: options.syncPort }),
      }),
    );
    this.#enrolment = undo.use(
      new EnrolService({
        register,
        hubKeys: () => this.#keys(),
        address: options.enrolAddress,
        ...(options.enrolPort === undefined ? {} : { port: options.enrolPort }),
        registered: (registration, told) => this.#registered(registration, told),
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
    this.#sameSince = this.#snapshots.sameSince;
    this.#followHubs();
    this.#resources.use(undo.move());
  }

  /** start listens; throws when an address is not there yet or a port is taken. */
  static start(options: HubOptions): HubServer {
    return new HubServer(options);
  }

  /** Ports, for tests that let the system choose. */
  get ports(): { readonly enrol: number; readonly sync: readonly number[] } {
    return { enrol: this.#enrolment.port, sync: this.#syncListeners.map((listener) => listener.port) };
  }

  /** How often newcomers may knock, and what was refused. */
  get admission(): Admission {
    return this.#enrolment.admission;
  }

  /** connected returns the names of nodes that follow the register now. */
  connected(): string[] {
    const names = this.#live.all().flatMap((live) => (live.helloed ? [live.session.node] : []));
    return [...new Set(names)].sort();
  }

  /** hubs returns the other hubs as this one sees them. */
  hubs(): readonly LinkState[] {
    return this.#links.states();
  }

  #health(): HubHealth {
    const { position, problem } = this.#options.registrar.state();
    return { revision: this.#register.revision, position, ...(problem === undefined ? {} : { problem }) };
  }

  #followHubs(): void {
    const own = this.#keys().map((key) => key.publicKey);
    this.#links.follow(this.#register.hubs().filter((hub) => !own.includes(hub.publicKey)));
  }

  /** The hub's keys, the present one first. */
  #keys(): readonly PrivateKey[] {
    const { hubKey, formerKey } = this.#options;
    const former = formerKey?.();
    return former === undefined ? [hubKey] : [hubKey, former];
  }

  /** Registers a newcomer, and returns what it is to be answered. */
  async #registered(
    registration: Registration,
    { from, hubKey }: { readonly from: string; readonly hubKey: PrivateKey },
  ): Promise<EnrolEvent> {
    try {
      const node = await this.#options.registrar.registerNode(registration, wallMs());
      this.#log({ kind: "registered", node: node.name, from });
      const { hubSecret } = this.#options;
      const secret = node.hub ? hubSecret?.() : undefined;
      return {
        kind: "registered",
        name: node.name,
        state: this.#snapshots.message(node.name),
        ...(secret === undefined
          ? {}
          : { secret: sealHubSecret({ own: hubKey, peer: node.publicKey }, secret) }),
      };
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

  #acceptNode(connection: TcpConnection): TcpEvents | string {
    const node = this.#register.nodeByAddress(parseIp(connection.remoteAddress));
    const open = node === undefined ? [] : this.#live.of(node.name);
    const nowMs = monotonicMs();
    if (node === undefined || open.length >= MAX_PER_NODE || !this.#arrivals.take(node.name, nowMs)) {
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
    const live: Live = {
      id: this.#nextId++,
      connection,
      session: startSync(node.name, nowMs),
      heardMs: nowMs,
      toldMs: Number.NEGATIVE_INFINITY,
      helloed: false,
      removedTo: 0,
      peerHub: false,
    };
    this.#live.add(live);
    return {
      line: (text) => {
        live.heardMs = monotonicMs();
        if (node.hub && !live.helloed && isHubHello(text)) live.peerHub = true;
        if (live.peerHub) this.#onHubLine(live, text);
        else this.#step(live, { kind: "line", text, nowMs: live.heardMs });
      },
      closed: () => {
        this.#live.delete(live);
        const { node: name } = live.session;
        if (live.helloed && this.#find(name) === undefined) this.#options.hooks?.onNode?.(name, false);
      },
    };
  }

  #onHubLine(live: Live, text: string): void {
    // Its key may have been revoked while the connection stays.
    if (this.#register.node(live.session.node)?.hub !== true) return live.connection.close("no hub");
    answerHub(text, {
      connection: live.connection,
      health: () => this.#health(),
      facts: (facts, edges) => {
        for (const edge of edges) this.#options.facts.edges.merge(edge);
        const taken = facts.filter((fact) => this.#options.facts.merge(fact));
        this.tellFacts(taken.length > 0);
      },
      invite: (from, to) => {
        if (this.#snapshots.sees(to, from)) this.#find(to)?.connection.send(probe(from, MEET_MS));
      },
    });
  }

  /** tellFacts tells nodes and hubs, a little later, what changed in the book; where it is nothing for nodes, hubs only. */
  tellFacts(nodesToo = true): void {
    if (nodesToo) return this.#facts.changed();
    this.#links.tellEdges();
  }

  #tellFactsNow(): void {
    this.#links.tell();
    this.#live.forAll((live) => this.#step(live, { kind: "facts" }));
    this.#options.hooks?.onFacts?.();
  }

  #step(live: Live, event: SyncEvent): void {
    const context = {
      source: this.#snapshots.source(),
      facts: this.#facts,
      signingKey: this.#options.signing.publicKey,
    };
    const [session, effects] = stepSync(live.session, event, context);
    live.session = session;
    for (const effect of effects) this.#perform(live, effect);
  }

  #perform(live: Live, effect: SyncEffect): void {
    const { registrar, facts, hooks } = this.#options;
    const { node } = live.session;
    switch (effect.kind) {
      case "send":
        if ((effect.message as { type?: unknown }).type === "state") live.toldMs = monotonicMs();
        return live.connection.send(JSON.stringify(effect.message));
      case "close":
        return live.connection.close(effect.reason);
      case "hello": {
        // A later connection of the same node is the living one.
        const others = this.#live.of(node).filter((other) => other !== live);
        if (others.some((other) => other.id > live.id && other.helloed))
          return live.connection.close("superseded");
        for (const other of others) if (other.id < live.id) other.connection.close("superseded");
        live.helloed = true;
        live.removedTo = effect.removedTo;
        this.#tellRemovals(live);
        hooks?.onNode?.(node, true);
        return;
      }
      case "facts":
        return this.tellFacts(facts.say(node, effect.facts, wallMs()));
      case "removals":
      case "rotate":
      case "psk":
      case "claims":
      case "usage":
        return answerRequest(node, effect, {
          registrar,
          removals: this.removals,
          keyLimit: this.#keyLimit,
          hubKeys: this.#keys(),
          sees: (own, other) => this.#snapshots.sees(own, other),
          send: (message) => live.connection.send(JSON.stringify(message)),
          failed: (error) => this.#failed(error),
        });
      case "invite":
        return this.#invite(node, effect.peer);
      case "raise":
        registrar.raiseRevision(effect.revision).catch((error: Error) => this.#failed(error));
        return;
      case "leave":
        void this.#leave(live);
        return;
    }
  }

  /** askRotate asks a node to change its key; false when it is not connected here. */
  askRotate(node: string): boolean {
    const live = this.#find(node);
    live?.connection.send('{"type":"rotate"}');
    return live !== undefined;
  }

  #tellRemovals(live: Live): void {
    if (!live.helloed) return;
    const list = this.removals.after(live.removedTo);
    live.removedTo = this.#register.revision;
    if (list.length > 0) live.connection.send(JSON.stringify({ type: "removals", list }));
  }

  #invite(from: string, to: string): void {
    const nowMs = monotonicMs();
    const key = from < to ? `${from}/${to}` : `${to}/${from}`;
    const [caller, called] = [this.#find(from), this.#find(to)];
    if (caller === undefined) return;
    if (nowMs - (this.#invited.get(key) ?? -INVITE_MS) < INVITE_MS || !this.#snapshots.sees(from, to)) return;
    if (this.#invited.size >= MAX_INVITES) this.#invited.clear();
    this.#invited.set(key, nowMs);
    // Both are told the same moment: what each sends first opens its own NAT for the other.
    const awayMs = called === undefined ? this.#links.invite(from, to) : 0;
    if (awayMs === undefined) return;
    caller.connection.send(probe(to, MEET_MS + awayMs));
    called?.connection.send(probe(from, MEET_MS));
  }

  #find(node: string): Live | undefined {
    return this.#live.of(node).find((one) => one.helloed);
  }

  async #leave(live: Live): Promise<void> {
    const { node } = live.session;
    try {
      await this.#options.registrar.removeNode(node);
      this.#log({ kind: "left", node });
    } catch (error) {
      const { message } = error as Error;
      this.#log({ kind: "failed", message });
      if (error instanceof Refusal)
        live.connection.send(JSON.stringify({ type: "refused", code: error.code, message }));
      return live.connection.close("cannot leave");
    }
    // The register tells the others a moment later, so the answer still finds the tunnel.
    this.#step(live, { kind: "left" });
  }

  #changed(): void {
    this.#followHubs();
    // Before the states, which may wait: what was removed has to stop at once.
    this.#live.forAll((live) => this.#tellRemovals(live));
    const names = this.#register.names();
    this.#options.facts.keepOnly(names);
    this.#tell(names);
    if (this.#sameSince !== this.#snapshots.sameSince) {
      // Who sees more nodes than before has not been told of them.
      this.#sameSince = this.#snapshots.sameSince;
      this.#live.forAll((live) => this.#step(live, { kind: "facts", all: true }));
    }
    for (const live of this.#live.all()) if (!names.has(live.session.node)) live.connection.close("removed");
  }

  /** Tells nodes the register's state; those that were told one just now a little later. Who was removed sees itself gone at once. */
  #tell(names: ReadonlySet<string> = this.#register.names()): void {
    this.#later?.[Symbol.dispose]();
    this.#later = undefined;
    let waitMs = Number.POSITIVE_INFINITY;
    this.#live.forAll((live) => {
      const restMs = live.toldMs + STATE_INTERVAL_MS - monotonicMs();
      const removed = !names.has(live.session.node);
      if (restMs <= 0 || removed) this.#step(live, { kind: "changed" });
      else waitMs = Math.min(waitMs, restMs);
    });
    if (waitMs === Number.POSITIVE_INFINITY) return;
    this.#later = after(Math.ceil(waitMs), () => this.#guarded("tell nodes of changes", () => this.#tell()));
  }

  #sweep(): void {
    const nowMs = monotonicMs();
    for (const live of this.#live.all())
      if (nowMs - live.heardMs > SILENCE_MS) live.connection.close("silent");
    this.#enrolment.sweep(nowMs);
    this.#arrivals.sweep(nowMs);
  }

  /** A disk that is full or broken must not end the hub; who was not told asks again when it connects. */
  #guarded(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log({ kind: "failed", message: `Cannot ${what}: ${(error as Error).message}` });
    }
  }

  #failed(error: Error): void {
    this.#log({ kind: "failed", message: error.message });
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

function probe(peer: string, inMs: number): string {
  return JSON.stringify({ type: "probe", peer, inMs: Math.round(inMs) });
}
