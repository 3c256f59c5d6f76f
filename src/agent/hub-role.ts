/** The hub's role: it keeps the register, serves it, and tells nodes and other hubs what its tunnel sees. */
import {
  chosenKeys,
  type EdgeBook,
  edgeState,
  type Gossip,
  HubClaims,
  HubServer,
  type MeshView,
  type Register,
  type Removal,
  Registrar,
  type RegisterLog,
  type RouteFact,
  routeFacts,
} from "../hub/mod.ts";
import { enrolServiceAddress, type Enrolment, type PskChoice } from "../mesh/mod.ts";
import type { PeerState, PrivateKey, PublicKey, Secret, SigningSecret } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { monotonicMs, wallMs } from "../sys/mod.ts";
import { announcedFact } from "./announced.ts";
import { loadEtcdConfig } from "./etcd-config.ts";
import { FactsFile } from "./facts-file.ts";
import type { BlockClaims } from "../ipam/mod.ts";
import { liveNodes, startGossiping } from "./gossiping.ts";
import { HubKeyChange } from "./hub-key-change.ts";
import { info, warn } from "./log.ts";
import { sameKeys } from "./member-role.ts";
import { PskAge } from "./psk-age.ts";
import type { Role, RoleHooks, SelfFacts } from "./role.ts";
import { VERSION } from "./version.ts";

/** A handshake older than this says nothing of where a peer is now. */
const FRESH_MS = 180_000;

/** ownNode finds a hub in its register by its key, also while it changes that. */
export function ownNode(register: Register, key: PublicKey, former: PublicKey | undefined): Node | undefined {
  const known = register.nodeByKey(key) ?? register.nodeByNextKey(key);
  return known ?? (former === undefined ? undefined : register.nodeByKey(former));
}

/** HubRole owns the register and its services. */
export class HubRole implements Role {
  readonly hub = true;
  readonly connected = true;
  readonly hubEndpoints = [];
  readonly register: Register;
  /** The only door for writes. */
  readonly registrar: Registrar;
  readonly claims: BlockClaims;
  readonly signing: SigningSecret;
  readonly #key: PrivateKey;
  /** As it was when this hub began; undefined when it was dropped since. */
  #formerKey: PrivateKey | undefined;
  #keyChange: HubKeyChange | undefined;
  readonly #facts = new FactsFile();
  readonly #spent = new Set<PublicKey>();
  /** When each node was heard last, by name, the wall clock's milliseconds. */
  readonly heardMs = new Map<string, number>();
  #name = "";
  /** Asked for every second, and parsed only when it changed. */
  #view: { readonly revision: number; readonly version: number; readonly view: MeshView } | undefined;
  #names: { readonly of: readonly Node[]; readonly byKey: ReadonlyMap<PublicKey, string> } | undefined;
  #own: SelfFacts | undefined;
  #server: HubServer | undefined;
  #gossip: Gossip | undefined;
  #onView: (() => void) | undefined;
  readonly #promoting = new Set<PublicKey>();
  readonly #pskAge = PskAge.stored();
  #subscription: Disposable | undefined;

  /** Without a log the register is this hub's alone. */
  constructor(
    register: Register,
    keys: {
      readonly node: PrivateKey;
      /** The one before, which this hub still answers to. */
      readonly former?: PrivateKey | undefined;
      readonly signing: SigningSecret;
      readonly log?: RegisterLog;
    },
  ) {
    this.register = register;
    this.registrar = new Registrar(register, keys.log);
    this.claims = new HubClaims(this.registrar, () => this.name);
    this.#key = keys.node;
    this.#formerKey = keys.former;
    this.signing = keys.signing;
  }

  /** This hub as the register has it; undefined when it was removed. */
  #self(): Node | undefined {
    return ownNode(this.register, this.#key.publicKey, this.#formerKey?.publicKey);
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
    this.#keyChange ??= new HubKeyChange({
      registrar: this.registrar,
      view: () => this.view(),
      tunnel: hooks.tunnel,
      switched: hooks.onKeyChanged,
      dropped: () => {
        this.#formerKey = undefined;
        hooks.onView();
      },
    });
    this.#server = HubServer.start({
      registrar: this.registrar,
      facts: this.#facts.book,
      enrolAddress: enrolServiceAddress(this.register.mesh()),
      overlayAddresses: [overlay4, overlay6],
      signing: this.signing,
      hubKey: this.#key,
      formerKey: () => this.formerKey,
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

  /** routes returns what a node says of the Routes that it runs. */
  routes(node: string): readonly RouteFact[] {
    return this.#facts.book.routes(node);
  }

  /** edges returns what nodes say of their edges. */
  get edges(): EdgeBook {
    return this.#facts.book.edges;
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
      ...(facts.routes === undefined ? {} : { routes: routeFacts(facts.routes) }),
      ...(facts.edge === undefined ? {} : { edge: facts.edge && edgeState(facts.edge) }),
      version: VERSION,
    };
    const isNew = this.#facts.book.say(this.name, says, wallMs());
    this.#server?.tellFacts(isNew);
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
  #pairKeys: ReadonlyMap<string, Secret> | undefined;
  readonly #derived = new Map<string, { readonly of: string; readonly keys: ReadonlyMap<number, Secret> }>();

  get pairKeys(): ReadonlyMap<string, Secret> {
    // At first the newest ones: a tunnel that is made without any shakes hands in vain.
    return (this.#pairKeys ??= this.#pairKeysNow([]));
  }

  rotate(): void {
    if (this.#keyChange === undefined)
      throw new Error("Cannot change this hub's key: its services do not run yet; try again");
    this.#keyChange.want();
  }

  /** dropFormerKey ends the key that this hub had before, whoever still knows it by that. */
  async dropFormerKey(): Promise<void> {
    if (this.#keyChange === undefined)
      throw new Error("Cannot drop the former key: the hub's services do not run yet; try again");
    await this.#keyChange.drop();
  }

  get formerKey(): PrivateKey | undefined {
    return this.#keyChange === undefined ? this.#formerKey : this.#keyChange.former;
  }

  #lookAtKeys(peers: readonly PeerState[]): void {
    const view = this.view();
    const { self } = view;
    if (self === undefined) return;
    // Another hub says itself when its next key is its own.
    const changing = view.nodes.filter((node) => node.nextPublicKey !== undefined && !node.hub);
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
    const { pskGeneration: generation, mesh } = view;
    const age = { generation, maxAgeMs: mesh.keyMaxAgeMs, wallMs: wallMs(), nowMs: monotonicMs() };
    if (mesh.presharedKeys && this.#pskAge.isDue(age))
      this.registrar.newPsk().catch((error: unknown) => warn("cannot renew the pre-shared keys", { error }));
    const keys = this.#pairKeysNow(peers);
    if (sameKeys(keys, this.pairKeys)) return;
    this.#pairKeys = keys;
    this.#onView?.();
  }

  #pairKeysNow(states: readonly PeerState[]): ReadonlyMap<string, Secret> {
    const { self, nodes, pskGeneration } = this.view();
    if (self === undefined || pskGeneration === undefined) return new Map();
    const keysOf = (node: Node) => this.#keysWith(self, node, pskGeneration);
    return chosenKeys(this.#choices, { self, nodes, states, wallMs: wallMs(), keysOf });
  }

  /** addRemovals removes the nodes that the operator's key says are removed. */
  addRemovals(removals: readonly Removal[]): readonly string[] {
    return this.#remove(this.#server?.removals.asked(removals) ?? []);
  }

  #remove(names: readonly string[]): readonly string[] {
    for (const name of names)
      this.registrar
        .remove(name)
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
    this.#keyChange?.look(peers);
    const nowMs = wallMs();
    const hub = this.name;
    const names = this.#namesByKey();
    for (const peer of peers) {
      if (peer.lastHandshakeMs === undefined) continue;
      const name = names.get(peer.publicKey);
      if (name === undefined) continue;
      this.heardMs.set(name, peer.lastHandshakeMs);
      if (!this.#spent.has(peer.publicKey)) this.#spend(peer.publicKey);
      if (peer.endpoint === undefined || nowMs - peer.lastHandshakeMs >= FRESH_MS) continue;
      if (this.#facts.book.observe(name, { hub, endpoint: peer.endpoint }, nowMs)) this.#server?.tellFacts();
    }
  }

  /** Asked for all peers each second: with thousands of nodes the register would be asked too much. */
  #namesByKey(): ReadonlyMap<PublicKey, string> {
    const of = this.view().nodes;
    if (this.#names?.of !== of)
      this.#names = { of, byKey: new Map(of.map((node) => [node.publicKey, node.name])) };
    return this.#names.byKey;
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
