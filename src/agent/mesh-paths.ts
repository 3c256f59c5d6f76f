/**
 * The paths from this node to all others: a ladder for each that it talks to (mesh/ladder.ts), or for all in a full mesh; the others, which rest
 * (resting-pairs.ts); the hubs (hub-paths.ts); and the probes that feed them. Decides nothing itself: events go in, effects are carried out.
 *
 * ```
 *   register, resolver ──▶ candidates, hubs ─┐                 ┌─▶ probes out (prober.ts)
 *   probes in ───────────────────────────────┼─▶ steps ────────┼─▶ peers whose endpoint is to be set (`use`)
 *   device, once a second ───────────────────┘                 └─▶ invitations, distances of hubs
 * ```
 */
import type { MeshView } from "../hub/mod.ts";
import {
  awaitsAnswer,
  candidatesFor,
  canRest,
  explainLadder,
  hearingHub,
  type HubChoice,
  ladderDueMs,
  type LadderEvent,
  type LadderExplanation,
  type LadderMode,
  ladderMtu,
  type LadderState,
  type LadderStep,
  ladderUse,
  mindsTime,
  type PeerPath,
  pongFor,
  relayingHub,
  stepLadder,
} from "../mesh/mod.ts";
import type { Endpoint, Ip, PeerState, Prefix, PublicKey } from "../net/mod.ts";
import type { HubDistance, Node } from "../resources/mod.ts";
import { after, monotonicMs } from "../sys/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import { DueQueue } from "./due-queue.ts";
import { DueTimer } from "./due-timer.ts";
import { Gathering } from "./gathering.ts";
import type { Generations } from "./generations.ts";
import { type Resolved, seenNodes } from "./hub-endpoints.ts";
import { HubPaths } from "./hub-paths.ts";
import { beginLadder, isLive, keysOf, MODES, peersByKey, readingOf } from "./ladder-begin.ts";
import type { PathHooks } from "./path-hooks.ts";
import { PongAllowance } from "./pong-allowance.ts";
import { type ArrivedProbe, type OwnKeys, Prober } from "./prober.ts";
import { RelayLife } from "./relay-life.ts";
import { RestingPairs } from "./resting-pairs.ts";

/** A timer that comes so late was kept from it: timers alone are late by a few. */
const STOOD_MS = 20;
/** The name of the choice of hubs among the ladders' in the queue; no node is named so. */
const HUBS = "/hubs";

interface Ladder {
  node: Node;
  /** Times that the device was to be set. */
  uses: number;
  state: LadderState;
  /** As it was read last. */
  peer: PeerState | undefined;
}

type About = Resolved & { readonly inside: readonly Prefix[]; readonly linkMtuBytes: number };

/** How a ladder begins. */
interface Beginning {
  readonly nowMs: number;
  readonly peer: PeerState | undefined;
  /** Of those that begin together. */
  readonly number: number;
}

/** MeshPaths owns the machines and the prober. */
export class MeshPaths implements Disposable {
  readonly #hooks: PathHooks;
  readonly #prober: Prober;
  readonly #own: PublicKey;
  readonly #ladders = new Map<string, Ladder>();
  readonly #resting = new RestingPairs();
  readonly #generations: Generations;
  readonly #hubs: HubPaths;
  /** On a hub: where nodes are. */
  #seen: ReadonlyMap<string, Endpoint> = new Map();
  #distances: ReadonlyMap<string, readonly HubDistance[]> = new Map();
  readonly #due = new DueQueue();
  readonly #pongs = new PongAllowance();
  readonly #invited = new Set<Disposable>();
  #self: Node | undefined;
  #about: About | undefined;
  #mode: LadderMode = "full";
  readonly #life: RelayLife;
  #used = new Set<string>();
  #looks = new Set<string>();
  readonly #timer = new DueTimer(() => this.#work(() => this.#onDue()));
  readonly #gathering = new Gathering();
  #working = false;
  #closed = false;
  /** A pair went to a relay: what the hubs are to hear of it. */
  #fell = false;

  constructor(keys: OwnKeys, { generations, ...hooks }: PathHooks & { readonly generations: Generations }) {
    this.#own = keys.own.publicKey;
    this.#hooks = hooks;
    this.#life = new RelayLife(() => hooks.life());
    this.#generations = generations;
    this.#hubs = new HubPaths({
      hooks,
      generations,
      send: (hub, { transaction, sizeBytes }, to) =>
        void this.#prober.send(hub, { kind: "ping", transaction, chosen: false, sizeBytes }, { to }),
      changed: (nowMs) => {
        for (const ladder of this.#ladders.values()) this.#tellRelays(ladder, nowMs);
        for (const name of this.#resting.names()) this.#followResting(name, nowMs);
      },
      moved: (nowMs) => {
        for (const ladder of this.#ladders.values())
          this.#step(ladder, { kind: "network", nowMs, moved: true });
      },
      used: (name) => void this.#used.add(name),
      wake: (dueMs) => this.#due.set(HUBS, dueMs),
    });
    this.#prober = new Prober(keys, (arrived) => this.#work(() => this.#arrived(arrived)));
  }

  /** listen shares the tunnel's port for probes. */
  listen(tunnel: Tunnel, listenPort: number): void {
    this.#prober.listen(tunnel, listenPort);
  }

  /** update follows the register, and what its names resolve to. */
  update(view: MeshView, about: About): void {
    const { self, nodes, mesh } = view;
    if (self === undefined) return;
    this.#work(() => {
      const nowMs = monotonicMs();
      this.#self = self;
      this.#about = about;
      this.#mode = MODES[mesh.topology];
      this.#prober.setNodes(nodes, self.publicKey);
      this.#pongs.keep(new Set(nodes.map(({ name }) => name)));
      const others = new Map(nodes.flatMap((node) => (node.hub ? [] : [[node.name, node.publicKey]])));
      for (const name of [...this.#ladders.keys(), ...this.#resting.names()])
        if (others.get(name) !== this.#node(name)?.publicKey) this.#forget(name);
      const hubs = nodes.filter((node) => node.hub);
      this.#hubs.follow(hubs, { ...about, nowMs });
      if (self.hub) {
        this.#seen = seenNodes(self.name, nodes, about);
        this.#distances = new Map(nodes.map((node) => [node.name, node.hubs]));
        return;
      }
      const peers = peersByKey(this.#hooks.device());
      let begun = 0;
      for (const node of nodes)
        if (!node.hub && this.#follow(node, { nowMs, peer: peers.get(node.publicKey), number: begun }))
          begun++;
    });
  }

  /** What is known of a node, whether it rests or not. */
  #node(name: string): Node | undefined {
    return this.#ladders.get(name)?.node ?? this.#resting.get(name)?.node;
  }

  /** Follows one node of the register; true if a ladder begins. */
  #follow(node: Node, beginning: Beginning): boolean {
    const { nowMs, peer } = beginning;
    const ladder = this.#ladders.get(node.name);
    if (ladder !== undefined) {
      ladder.node = node;
      this.#step(ladder, { kind: "candidates", nowMs, candidates: this.#candidates(node) });
      if (ladder.state.mode !== this.#mode) this.#step(ladder, { kind: "mode", nowMs, mode: this.#mode });
      this.#tellRelays(ladder, nowMs);
      return false;
    }
    if (this.#mode !== "full" && this.#resting.has(node.name)) {
      this.#followResting(node.name, nowMs, node);
      return false;
    }
    if (this.#mode !== "full" && !isLive(peer)) {
      const [relay] = this.#hubs.relays(node, { nowMs, current: undefined });
      this.#resting.put({ node, relay, peer, uses: 0 });
      this.#used.add(node.name);
      return false;
    }
    this.#begin(node, beginning);
    return true;
  }

  #followResting(name: string, nowMs: number, node = this.#resting.get(name)?.node): void {
    if (node === undefined) return;
    const current = this.#resting.get(name)?.relay?.hub;
    const [relay] = this.#hubs.relays(node, { nowMs, current });
    if (this.#resting.follow(node, relay)) this.#used.add(name);
  }

  #candidates(node: Node): ReturnType<typeof candidatesFor> {
    return this.#self === undefined ? [] : candidatesFor(this.#self, node, this.#about);
  }

  #begin(node: Node, beginning: Beginning): Ladder {
    const { peer } = beginning;
    const rest = this.#resting.take(node.name);
    const [state, effects] = this.#start(node, beginning, rest?.relay?.hub);
    const ladder: Ladder = { node, uses: rest?.uses ?? 0, state, peer };
    this.#ladders.set(node.name, ladder);
    this.#used.add(node.name);
    this.#perform(ladder, effects, undefined);
    return ladder;
  }

  #start(node: Node, beginning: Beginning, current: string | undefined): LadderStep {
    return beginLadder({
      ...beginning,
      own: this.#own,
      other: node.publicKey,
      mode: this.#mode,
      relays: this.#hubs.relays(node, { nowMs: beginning.nowMs, current }),
      candidates: this.#candidates(node),
    });
  }

  /** A pair that rested has a ladder from now on. */
  #rouse(name: string, nowMs: number): Ladder | undefined {
    const rest = this.#resting.get(name);
    return rest && this.#begin(rest.node, { nowMs, peer: rest.peer, number: 0 });
  }

  /** Forgets the ladder of a pair that does not talk. */
  #rest({ node, uses, state, peer }: Ladder): void {
    this.#forget(node.name);
    const { path } = state;
    this.#resting.put({ node, relay: path.kind === "relay" ? path.relay : undefined, peer, uses });
  }

  #forget(name: string): void {
    this.#generations.end(name, this.#ladders.get(name)?.state.generation ?? 0);
    this.#ladders.delete(name);
    this.#resting.take(name);
    this.#due.set(name, undefined);
  }

  /** observe gives the device's reading to all ladders that it may mean anything to; once a second, and when another process carries the tunnel (`anew`). */
  observe({ anew = false }: { readonly anew?: boolean } = {}): void {
    if (anew) this.#prober.reopen();
    this.#work(() => {
      const nowMs = monotonicMs();
      const read = this.#hooks.device();
      for (const name of this.#resting.stirred(read)) this.#rouse(name, nowMs);
      const peers = peersByKey(read, keysOf(this.#ladders.values()));
      for (const ladder of this.#ladders.values()) {
        const { node, state } = ladder;
        const peer = peers.get(node.publicKey);
        if (peer !== ladder.peer || mindsTime(state, peer?.endpoint)) this.#observe(ladder, peer, nowMs);
        else if (canRest(state, nowMs, peer?.endpoint)) this.#rest(ladder);
      }
      this.#tellRelaying(nowMs);
      // A hub that does not answer may have another address that does.
      this.#hubs.look(nowMs);
    });
  }

  #tellRelaying(nowMs: number): void {
    this.#fell = false;
    if (this.#self?.hub) return;
    const hubs = new Set<string>();
    for (const { state } of this.#ladders.values()) {
      const hub = relayingHub(state, nowMs);
      if (hub !== undefined) hubs.add(hub);
    }
    this.#hubs.step({ kind: "relaying", nowMs, hubs: [...hubs] });
  }

  /** network makes everything be tried again: interfaces, routes or the machine's sleep changed what was true. */
  network(): void {
    this.#work(() => {
      const nowMs = monotonicMs();
      this.#hooks.greetHubs(); // First: they relay for an address that they know.
      this.#hubs.step({ kind: "network", nowMs });
      for (const ladder of this.#ladders.values())
        this.#step(ladder, { kind: "network", nowMs, moved: true });
    });
  }

  /** probeHubs asks each hub by UDP, whichever way is in use. */
  probeHubs(): void {
    this.#hubs.probe();
  }

  /** invited tries a node at the moment that a hub named to both. */
  invited(name: string, inMs: number): void {
    const timer = after(inMs, () => {
      this.#invited.delete(timer);
      this.#work(() => {
        const nowMs = monotonicMs();
        const ladder = this.#ladders.get(name) ?? this.#rouse(name, nowMs);
        if (ladder !== undefined) this.#step(ladder, { kind: "invited", nowMs });
      });
    });
    this.#invited.add(timer);
  }

  /** path returns what the mesh feature needs to know of one node's path. */
  path(name: string): PeerPath {
    const ladder = this.#ladders.get(name);
    if (ladder !== undefined) {
      const mtuBytes = ladderMtu(ladder.state)?.tunnelBytes;
      const use = ladderUse(ladder.state);
      const generation = this.#generations.of(name, use.generation);
      const path = { ...use, generation, endpointSerial: ladder.uses };
      return { ...path, ...(mtuBytes === undefined ? {} : { mtuBytes }) };
    }
    if (this.#resting.has(name)) return this.#resting.path(name, this.#generations.of(name, 0));
    const self = this.#self;
    // The node has found what fits, and says so to its hub.
    const distance = self?.hub ? this.#distances.get(name)?.find(({ hub }) => hub === self.name) : "own";
    return this.#hubs.path(name, { seen: this.#seen.get(name), distance });
  }

  /** paths returns the paths of all nodes that there is something to say of. */
  paths(): ReadonlyMap<string, PeerPath> {
    const others = [...this.#ladders.keys(), ...this.#resting.names()];
    const names = [...others, ...this.#hubs.names(), ...this.#seen.keys()];
    return new Map(names.map((name) => [name, this.path(name)]));
  }

  /** explain says where a node's path is and why not on a better rung; undefined for hubs, and on a hub. */
  explain(name: string): LadderExplanation | undefined {
    const nowMs = monotonicMs();
    const rest = this.#resting.get(name);
    // What it would begin with says why it does not.
    const state = rest
      ? this.#start(rest.node, { nowMs, peer: undefined, number: 0 }, rest.relay?.hub)[0]
      : this.#ladders.get(name)?.state;
    return state && explainLadder(state, nowMs);
  }

  /** hubs returns what is known of the hubs' health. */
  get hubs(): HubChoice["hubs"] {
    return this.#hubs.hubs;
  }

  /** Where this node speaks to the world: at its hub. */
  get outward(): Endpoint | undefined {
    return this.#hubs.outward;
  }

  #arrived({ node, probe, from, local }: ArrivedProbe): void {
    const nowMs = monotonicMs();
    if (probe.kind === "pong" && this.#hubs.has(node)) return this.#hubs.pong(node, probe, { from, nowMs });
    const ladder = this.#ladders.get(node);
    if (ladder !== undefined) {
      const { kind, transaction, chosen, sizeBytes, rung } = probe;
      this.#step(
        ladder,
        kind === "ping"
          ? { kind, nowMs, from, transaction, chosen, sizeBytes, ...(rung === undefined ? {} : { rung }) }
          : { kind, nowMs, from, transaction, chosen, sizeBytes },
        local,
      );
      return;
    }
    // Nobody probes here.
    if (this.#resting.has(node) && this.#mode === "hubs") return;
    if (probe.kind === "ping" && this.#pongs.take(node, { transaction: probe.transaction, nowMs })) {
      // A hub keeps no state of a pair, nor does a node of its hub; and who rests wants no path.
      this.#prober.send(node, pongFor(probe, { from, ...this.#life.at(nowMs) }), { to: from, from: local });
    }
  }

  /** Reads the device; returns the hubs through which something came since the last reading. */
  #heard(nowMs: number): readonly string[] {
    const relayed = [...this.#ladders.values()].filter(({ state }) => state.path.kind === "relay");
    const peers = peersByKey(this.#hooks.device(), keysOf(relayed));
    for (const ladder of relayed) this.#observe(ladder, peers.get(ladder.node.publicKey), nowMs);
    return relayed.flatMap(({ state }) => hearingHub(state, nowMs) ?? []);
  }

  #tellRelays(ladder: Ladder, nowMs: number): void {
    const { path } = ladder.state;
    const current = path.kind === "relay" ? path.relay.hub : undefined;
    this.#step(ladder, { kind: "relays", nowMs, relays: this.#hubs.relays(ladder.node, { nowMs, current }) });
  }

  #observe(ladder: Ladder, peer: PeerState | undefined, nowMs: number): void {
    ladder.peer = peer;
    if (peer !== undefined) this.#step(ladder, { kind: "observed", nowMs, ...readingOf(peer) });
  }

  #step(ladder: Ladder, event: LadderEvent, local?: Ip): void {
    const [state, effects] = stepLadder(ladder.state, event);
    // Whether that hub lives, and where it sees this node, is to be known at once.
    if (ladder.state.path.kind !== "relay" && state.path.kind === "relay") this.#fell = true;
    ladder.state = state;
    this.#perform(ladder, effects, local);
  }

  #perform(ladder: Ladder, effects: ReturnType<typeof stepLadder>[1], local: Ip | undefined): void {
    const { name } = ladder.node;
    for (const effect of effects) {
      switch (effect.kind) {
        case "ping": {
          const { kind, to, transaction, chosen, rung, sizeBytes } = effect;
          this.#prober.send(name, { kind, transaction, chosen, rung, sizeBytes }, { to });
          break;
        }
        case "pong": {
          const { kind, to, transaction, chosen, sizeBytes } = effect;
          this.#prober.send(name, { kind, transaction, chosen, sizeBytes, seen: to }, { to, from: local });
          break;
        }
        case "use":
          ladder.uses++;
          this.#used.add(name);
          break;
        case "mtu":
          this.#used.add(name);
          break;
        case "look":
          this.#looks.add(name);
          break;
        case "invite":
          this.#hooks.invite(name);
      }
    }
    this.#due.set(name, ladderDueMs(ladder.state, monotonicMs()));
  }

  /** Does something, then all that it asked for: readings of the device, and peers that are to be set, each once. */
  #work(work: () => void): void {
    if (this.#closed) return;
    if (this.#working) return work();
    this.#working = true;
    try {
      work();
      if (this.#fell) this.#tellRelaying(monotonicMs());
      this.#settle();
    } finally {
      this.#working = false;
      this.#wake();
    }
  }

  #settle(): void {
    if (this.#looks.size > 0 || this.#used.size > 0) this.#gathering.run(() => this.#carryOut());
  }

  #carryOut(): void {
    // What WireGuard has learned by itself is not undone: before a peer is set, its ladder is told where it is.
    const ladders = [...new Set([...this.#looks, ...this.#used])].flatMap(
      (name) => this.#ladders.get(name) ?? [],
    );
    const peers = ladders.length === 0 ? undefined : peersByKey(this.#hooks.device(), keysOf(ladders));
    const nowMs = monotonicMs();
    for (const ladder of ladders) this.#observe(ladder, peers?.get(ladder.node.publicKey), nowMs);
    this.#looks.clear();
    const used = [...this.#used];
    this.#used.clear();
    if (used.length > 0) this.#hooks.use(used);
  }

  #wake(): void {
    if (this.#closed) return;
    this.#timer.set(this.#due.nextMs);
    if (this.#looks.size > 0 || this.#used.size > 0)
      this.#timer.set(Math.max(monotonicMs(), this.#gathering.nextMs));
  }

  /** What was due, and nothing was done about, tells how long this process stood still: others are not held dead for that. */
  #stood(nowMs: number): void {
    const forMs = nowMs - (this.#due.nextMs ?? nowMs);
    if (forMs < STOOD_MS) return;
    const event = { kind: "stood", nowMs, forMs } as const;
    this.#hubs.step(event);
    for (const one of this.#ladders.values()) if (awaitsAnswer(one.state)) this.#step(one, event);
  }

  #onDue(): void {
    const nowMs = monotonicMs();
    this.#stood(nowMs);
    const names: string[] = [];
    for (let name = this.#due.take(nowMs); name !== undefined; name = this.#due.take(nowMs)) names.push(name);
    // Each once: what is due again at once has its turn after everything else.
    for (const name of names) {
      const ladder = this.#ladders.get(name);
      if (name === HUBS) this.#hubs.due(nowMs, () => this.#heard(nowMs));
      else if (ladder !== undefined) this.#step(ladder, { kind: "due", nowMs });
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer[Symbol.dispose]();
    for (const timer of this.#invited) timer[Symbol.dispose]();
    this.#prober[Symbol.dispose]();
    this.#hubs.end();
    for (const name of [...this.#ladders.keys()]) this.#forget(name);
  }
}
