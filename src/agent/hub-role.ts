/** The hub's role: it keeps the register, serves it, and tells nodes and other hubs what its tunnel sees. */
import {
  chosenKeys,
  type Gossip,
  HubServer,
  type MeshView,
  type Register,
  type Removal,
  Registrar,
  type RegisterLog,
} from "../hub/mod.ts";
import { enrolServiceAddress, type Enrolment, type PskChoice } from "../mesh/mod.ts";
import type { PeerState, PrivateKey, PublicKey, Secret, SigningSecret } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { monotonicMs, wallMs } from "../sys/mod.ts";
import { announcedFact } from "./announced.ts";
import { loadEtcdConfig } from "./etcd-config.ts";
import { FactsFile } from "./facts-file.ts";
import { liveNodes, startGossiping } from "./gossiping.ts";
import { info, warn } from "./log.ts";
import { sameKeys } from "./member-role.ts";
import type { Role, RoleHooks, SelfFacts } from "./role.ts";
import { VERSION } from "./version.ts";

/** A handshake older than this says nothing of where a peer is now. */
const FRESH_MS = 180_000;

/** HubRole owns the register and its services. */
export class HubRole implements Role {
  readonly hub = true;
  readonly connected = true;
  readonly hubEndpoints = [];
  readonly register: Register;
  /** The only door for writes. */
  readonly registrar: Registrar;
  readonly signing: SigningSecret;
  readonly #key: PrivateKey;
  readonly #facts = new FactsFile();
  readonly #spent = new Set<PublicKey>();
  /** When each node was heard last, by name, the wall clock's milliseconds. */
  readonly heardMs = new Map<string, number>();
  #name = "";
  /** Asked for every second, and parsed only when it changed. */
  #view: { readonly revision: number; readonly version: number; readonly view: MeshView } | undefined;
  #own: SelfFacts | undefined;
  #server: HubServer | undefined;
  #gossip: Gossip | undefined;
  #onView: (() => void) | undefined;
  readonly #promoting = new Set<PublicKey>();
  #subscription: Disposable | undefined;

  /** Without a log the register is this hub's alone. */
  constructor(
    register: Register,
    keys: { readonly node: PrivateKey; readonly signing: SigningSecret; readonly log?: RegisterLog },
  ) {
    this.register = register;
    this.registrar = new Registrar(register, keys.log);
    this.#key = keys.node;
    this.signing = keys.signing;
  }

  /** This hub as the register has it; undefined when it was removed. */
  #self(): Node | undefined {
    return this.register.nodeByKey(this.#key.publicKey);
  }

  get name(): string {
    this.#name = this.#self()?.name ?? this.#name;
    return this.#name;
  }

  /** server serves nodes; undefined before the tunnel is up. */
  get server(): HubServer | undefined {
    return this.#server;
  }

  get revision(): number {
    return this.register.revision;
  }

  view(): MeshView {
    const { revision } = this.register;
    const { version } = this.#facts.book;
    if (this.#view?.revision !== revision || this.#view.version !== version)
      this.#view = { revision, version, view: this.register.view(this.name, this.#facts.book) };
    return this.#view.view;
  }

  start(hooks: RoleHooks): void {
    this.#onView = hooks.onView;
    if (this.#server !== undefined) return;
    // Not only once the services run: a node that is removed must lose its peer in any case.
    this.#subscription ??= this.register.subscribe(hooks.onView);
    const self = this.#self();
    if (self === undefined) return hooks.onGone();
    const { overlay4, overlay6 } = self;
    this.#server = HubServer.start({
      registrar: this.registrar,
      facts: this.#facts.book,
      enrolAddress: enrolServiceAddress(this.register.mesh()),
      overlayAddresses: [overlay4, overlay6],
      signing: this.signing,
      hubKey: this.#key,
      hubSecret: () => {
        const config = loadEtcdConfig();
        return config && { signing: this.signing, prefix: config.prefix, etcd: config.endpoints };
      },
      hooks: {
        onNode: (name, connected) => info(connected ? "node connected" : "node disconnected", { node: name }),
        onFacts: () => hooks.onView(),
        onHub: (name, connected, reason) => {
          if (connected) info("other hub connected", { node: name });
          else warn("other hub away", { node: name, reason: reason ?? "" });
        },
        onEvent: (event) => {
          if (event.kind === "failed") warn("hub service", { reason: event.message });
          else if (event.kind === "refused")
            warn("newcomer refused", { path: event.from, reason: event.message });
          else info(`node ${event.kind}`, { node: event.node });
        },
      },
    });
  }

  // It follows its own register.
  hubsReached(): void {}

  setFacts(facts: SelfFacts): void {
    this.#own = facts;
    const says = {
      local: [...facts.local],
      mapped: [...facts.mapped],
      hubs: [...facts.hubs],
      ...(facts.tlsPin === undefined ? {} : { tlsPin: facts.tlsPin }),
      mtuBytes: facts.mtuBytes,
      ...announcedFact(),
      version: VERSION,
    };
    if (this.#facts.book.say(this.name, says, wallMs())) this.#server?.tellFacts();
  }

  announcedChanged(): void {
    if (this.#own !== undefined) this.setFacts(this.#own);
  }

  // A hub is reached by everyone directly.
  invite(): void {}

  enrolments(): readonly Enrolment[] {
    return this.register.enrolments(wallMs());
  }

  readonly ageProblem = undefined;
  readonly #choices = new Map<string, PskChoice>();
  #pairKeys: ReadonlyMap<string, Secret> = new Map();
  readonly #derived = new Map<string, { readonly of: string; readonly keys: ReadonlyMap<number, Secret> }>();

  get pairKeys(): ReadonlyMap<string, Secret> {
    return this.#pairKeys;
  }

  rotate(): void {
    throw new Error(
      "Cannot change a hub's key: newcomers' tokens and other hubs know it by that; let another machine join as a hub, and remove this one",
    );
  }

  #lookAtKeys(peers: readonly PeerState[]): void {
    const view = this.view();
    const { self } = view;
    if (self === undefined) return;
    const changing = view.nodes.filter((node) => node.nextPublicKey !== undefined);
    for (const { publicKey, lastHandshakeMs } of changing.length > 0 ? peers : []) {
      const heard = lastHandshakeMs !== undefined;
      const node = heard ? changing.find((one) => one.nextPublicKey === publicKey) : undefined;
      if (node === undefined || this.#promoting.has(publicKey)) continue;
      this.#promoting.add(publicKey);
      this.registrar
        .promoteKey(node.name, publicKey)
        .catch((error: unknown) => warn("cannot store a node's new key", { node: node.name, error }))
        .finally(() => this.#promoting.delete(publicKey));
    }
    const keys =
      view.pskGeneration === undefined
        ? new Map<string, Secret>()
        : chosenKeys(this.#choices, {
            self,
            nodes: view.nodes,
            states: peers,
            wallMs: wallMs(),
            keysOf: (node) => this.#keysWith(self, node, view.pskGeneration),
          });
    if (sameKeys(keys, this.#pairKeys)) return;
    this.#pairKeys = keys;
    this.#onView?.();
  }

  /** addRemovals removes the nodes that the operator's key says are removed. */
  addRemovals(removals: readonly Removal[]): readonly string[] {
    return this.#remove(this.#server?.removals.asked(removals) ?? []);
  }

  #remove(names: readonly string[]): readonly string[] {
    for (const name of names)
      this.registrar
        .removeNode(name)
        .catch((error: unknown) => warn("cannot remove a node that the operator removed", { error }));
    return names;
  }

  /** Deriving costs; a pair's keys are others only with another generation or another enrolment, which has another public key. */
  #keysWith(self: Node, node: Node, generation: number | undefined): ReadonlyMap<number, Secret> {
    const of = `${generation} ${node.publicKey}`;
    const known = this.#derived.get(node.name);
    if (known?.of === of) return known.keys;
    const keys = this.register.pairKeys(self, node);
    // Those of removed nodes.
    if (this.#derived.size > 2 * this.view().nodes.length) this.#derived.clear();
    this.#derived.set(node.name, { of, keys });
    return keys;
  }

  #gossipWith(peers: readonly PeerState[]): void {
    const view = this.view();
    const server = this.#server;
    if (view.self === undefined || server === undefined) return;
    this.#gossip ??= startGossiping(view.self, () => this.view(), {
      local: () => ({
        epoch: this.register.epoch,
        revision: this.register.revision,
        removals: server.removals.all(),
        // Nodes are told the register's state by name, when they follow it.
        loan: () => undefined,
      }),
      onRemovals: (removals) => this.#remove(server.removals.news(removals, monotonicMs())).length > 0,
    });
    this.#gossip?.look(liveNodes(view, peers, wallMs()));
  }

  observe(peers: readonly PeerState[]): void {
    this.#gossipWith(peers);
    this.#lookAtKeys(peers);
    const nowMs = wallMs();
    for (const peer of peers) {
      if (peer.lastHandshakeMs === undefined) continue;
      const node = this.register.nodeByKey(peer.publicKey);
      if (node === undefined) continue;
      this.heardMs.set(node.name, peer.lastHandshakeMs);
      if (!this.#spent.has(peer.publicKey)) this.#spend(peer.publicKey);
      if (peer.endpoint === undefined || nowMs - peer.lastHandshakeMs >= FRESH_MS) continue;
      const seen = { hub: this.name, endpoint: peer.endpoint };
      if (this.#facts.book.observe(node.name, seen, nowMs)) this.#server?.tellFacts();
    }
  }

  /** While nothing can be written, the next tick says it again. */
  #spend(key: PublicKey): void {
    this.#spent.add(key);
    this.registrar.handshakeSeen(key).catch(() => this.#spent.delete(key));
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]();
    this.#gossip?.close();
    this.#server?.close();
    this.registrar[Symbol.dispose]();
    this.#facts[Symbol.dispose]();
    this.register.close();
  }
}
