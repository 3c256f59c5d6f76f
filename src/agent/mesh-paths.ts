/**
 * The paths from this node to all others: a ladder for each (mesh/ladder.ts), the choice of hubs (mesh/hub-choice.ts), and the probes that feed
 * them. Decides nothing itself: events go in, effects are carried out.
 *
 * ```
 *   register, resolver ──▶ candidates, hubs ─┐                 ┌─▶ probes out (prober.ts)
 *   probes in ───────────────────────────────┼─▶ steps ────────┼─▶ peers whose endpoint is to be set (`use`)
 *   device, once a second ───────────────────┘                 └─▶ invitations, distances of hubs
 * ```
 */
import { sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import {
  candidatesFor,
  explainLadder,
  hubChoiceDueMs,
  type HubChoice,
  type HubChoiceEvent,
  hubDistances,
  ladderDueMs,
  type LadderEvent,
  type LadderExplanation,
  type LadderMode,
  ladderMtu,
  type LadderState,
  ladderUse,
  LEAST_PROBE_BYTES,
  type PeerPath,
  pongFor,
  relayingHub,
  type Relay,
  relaysFor,
  startHubChoice,
  startLadder,
  stepHubChoice,
  stepLadder,
} from "../mesh/mod.ts";
import {
  type Endpoint,
  type Ip,
  type PeerState,
  type PrivateKey,
  type Prefix,
  type PublicKey,
  publicKeyBytes,
} from "../net/mod.ts";
import type { HubDistance, Node, Topology } from "../resources/mod.ts";
import { after, monotonicMs, randomBytes, wallMs } from "../sys/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import { DueQueue } from "./due-queue.ts";
import { HubEndpoints, hubPath, isLoopback, type Resolved, seenNodes } from "./hub-endpoints.ts";
import type { PathHooks } from "./path-hooks.ts";
import { PongAllowance } from "./pong-allowance.ts";
import { type ArrivedProbe, Prober } from "./prober.ts";

/** First rounds of a thousand ladders that begin together are spread over this time. */
const SPREAD_MS = 20_000;
/** So many begin at once. */
const AT_ONCE = 32;
/** The name of the choice of hubs among the ladders' in the queue; no node is named so. */
const HUBS = "/hubs";

const MODES: Readonly<Record<Topology, LadderMode>> = {
  "full-mesh": "full",
  "hubs-only": "hubs",
  "on-demand": "on-demand",
};

interface Ladder {
  node: Node;
  /** Times that the device was to be set. */
  uses: number;
  state: LadderState;
}

/** MeshPaths owns the machines and the prober. */
export class MeshPaths implements Disposable {
  readonly #hooks: PathHooks;
  readonly #prober: Prober;
  readonly #own: PublicKey;
  readonly #ladders = new Map<string, Ladder>();
  readonly #hubEndpoints = new HubEndpoints();
  /** On a hub: where nodes are. */
  #seen: ReadonlyMap<string, Endpoint> = new Map();
  #distances: ReadonlyMap<string, readonly HubDistance[]> = new Map();
  readonly #due = new DueQueue();
  readonly #pongs = new PongAllowance();
  readonly #invited = new Set<Disposable>();
  #choice: HubChoice = startHubChoice({ seed: seed() });
  #self: Node | undefined;
  #mode: LadderMode = "full";
  #linkMtuBytes = 1500;
  /** What a hub tells nodes of the life of its relay. */
  #instance: number | undefined;
  #used = new Set<string>();
  #looks = new Set<string>();
  #timer: Disposable | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #working = false;
  #closed = false;

  constructor(key: PrivateKey, hooks: PathHooks) {
    this.#own = key.publicKey;
    this.#hooks = hooks;
    this.#prober = new Prober(key, (arrived) => this.#work(() => this.#arrived(arrived)));
  }

  /** listen shares the tunnel's port for probes. */
  listen(tunnel: Tunnel, listenPort: number): void {
    this.#prober.listen(tunnel, listenPort);
  }

  /** relays is told on a hub which life of the relay's table this is. */
  relays(instance: number | undefined): void {
    this.#instance = instance;
  }

  /** update follows the register, and what its names resolve to. */
  update(
    view: MeshView,
    about: Resolved & { readonly inside: readonly Prefix[]; readonly linkMtuBytes: number },
  ): void {
    const { self, nodes, mesh } = view;
    if (self === undefined) return;
    this.#work(() => {
      const nowMs = monotonicMs();
      this.#self = self;
      this.#mode = MODES[mesh.topology];
      this.#prober.setNodes(nodes);
      this.#pongs.keep(new Set(nodes.map(({ name }) => name)));
      for (const name of [...this.#ladders.keys()])
        if (!nodes.some((node) => node.name === name && !node.hub)) this.#forget(name);
      const hubs = nodes.filter((node) => node.hub);
      for (const name of this.#hubEndpoints.follow(hubs, about)) this.#used.add(name);
      this.#linkMtuBytes = about.linkMtuBytes;
      this.#stepHubs({ kind: "hubs", nowMs, hubs: this.#hubEndpoints.known(this.#linkMtuBytes) });
      if (self.hub) {
        this.#seen = seenNodes(self.name, nodes, about);
        this.#distances = new Map(nodes.map((node) => [node.name, node.hubs]));
        return;
      }
      const peers = this.#peersByKey();
      let begun = 0;
      for (const node of nodes) {
        if (node.hub) continue;
        const known = this.#ladders.get(node.name);
        if (known !== undefined && known.node.publicKey !== node.publicKey) this.#forget(node.name);
        const candidates = candidatesFor(self, node, about);
        const ladder = this.#ladders.get(node.name);
        if (ladder === undefined)
          this.#begin(node, { nowMs, candidates, peer: peers.get(node.publicKey), number: begun++ });
        else {
          ladder.node = node;
          this.#step(ladder, { kind: "candidates", nowMs, candidates });
          if (ladder.state.mode !== this.#mode) this.#step(ladder, { kind: "mode", nowMs, mode: this.#mode });
          this.#step(ladder, { kind: "relays", nowMs, relays: this.#relaysOf(ladder.node, ladder.state) });
        }
      }
    });
  }

  #begin(
    node: Node,
    about: {
      readonly nowMs: number;
      readonly candidates: ReturnType<typeof candidatesFor>;
      readonly peer: PeerState | undefined;
      readonly number: number;
    },
  ): void {
    const { nowMs, candidates, peer, number } = about;
    const [state, effects] = startLadder({
      nowMs,
      controlling: Buffer.compare(publicKeyBytes(this.#own), publicKeyBytes(node.publicKey)) < 0,
      mode: this.#mode,
      seed: seed(),
      relays: this.#relaysOf(node),
      candidates,
      ...(peer === undefined
        ? {}
        : {
            known: {
              ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
              rxBytes: peer.rxBytes,
              txBytes: peer.txBytes,
              ...ageOf(peer),
            },
          }),
      ...(number < AT_ONCE ? {} : { delayMs: (randomBytes(1)[0] as number) * (SPREAD_MS / 256) }),
    });
    const ladder: Ladder = { node, uses: 0, state };
    this.#ladders.set(node.name, ladder);
    this.#used.add(node.name);
    this.#perform(ladder, effects, undefined);
  }

  #forget(name: string): void {
    this.#ladders.delete(name);
    this.#due.set(name, undefined);
  }

  /** observe gives the device's reading to all ladders; once a second. */
  observe(): void {
    this.#work(() => {
      const nowMs = monotonicMs();
      const peers = this.#peersByKey();
      for (const ladder of this.#ladders.values())
        this.#observe(ladder, peers.get(ladder.node.publicKey), nowMs);
      const hubs = new Set<string>();
      for (const { state } of this.#ladders.values()) {
        const hub = relayingHub(state, nowMs);
        if (hub !== undefined) hubs.add(hub);
      }
      if (!this.#self?.hub) this.#stepHubs({ kind: "relaying", nowMs, hubs: [...hubs] });
      // A hub that does not answer may have another address that does.
      const elsewhere = this.#hubEndpoints.rotate(this.#choice.hubs, nowMs);
      for (const name of elsewhere) this.#used.add(name);
      if (elsewhere.length > 0)
        this.#stepHubs({ kind: "hubs", nowMs, hubs: this.#hubEndpoints.known(this.#linkMtuBytes) });
    });
  }

  /** network makes everything be tried again: interfaces, routes or the machine's sleep changed what was true. */
  network(): void {
    this.#work(() => {
      const nowMs = monotonicMs();
      this.#hooks.greetHubs(); // First: they relay for an address that they know.
      this.#stepHubs({ kind: "network", nowMs });
      for (const ladder of this.#ladders.values())
        this.#step(ladder, { kind: "network", nowMs, moved: true });
    });
  }

  /** probeHubs asks each hub by UDP, whichever way is in use. */
  probeHubs(): void {
    this.#hooks.asked();
    for (const { name, endpoint: to } of this.#hubEndpoints.own())
      this.#prober.send(
        name,
        { kind: "ping", transaction: seed(), chosen: false, sizeBytes: LEAST_PROBE_BYTES },
        { to },
      );
  }

  /** invited tries a node at the moment that a hub named to both. */
  invited(name: string, inMs: number): void {
    const timer = after(inMs, () => {
      this.#invited.delete(timer);
      const ladder = this.#ladders.get(name);
      if (ladder !== undefined)
        this.#work(() => this.#step(ladder, { kind: "invited", nowMs: monotonicMs() }));
    });
    this.#invited.add(timer);
  }

  /** path returns what the mesh feature needs to know of one node's path. */
  path(name: string): PeerPath {
    const ladder = this.#ladders.get(name);
    if (ladder !== undefined) {
      const mtuBytes = ladderMtu(ladder.state)?.tunnelBytes;
      const use = { ...ladderUse(ladder.state), endpointSerial: ladder.uses };
      return { ...use, ...(mtuBytes === undefined ? {} : { mtuBytes }) };
    }
    // A hub that was away calls first: the nodes would find out only at their next handshake.
    const endpoint = this.#hubEndpoints.of(name) ?? this.#seen.get(name);
    if (endpoint === undefined) return {};
    const self = this.#self;
    // The node has found what fits, and says so to its hub.
    const found = self?.hub
      ? this.#distances.get(name)?.find(({ hub }) => hub === self.name)
      : hubDistances(this.#choice).find(({ hub }) => hub === name);
    return hubPath(endpoint, { generation: this.#hubEndpoints.generation(name), mtuBytes: found?.mtuBytes });
  }

  /** paths returns the paths of all nodes that there is something to say of. */
  paths(): ReadonlyMap<string, PeerPath> {
    const names = [...this.#ladders.keys(), ...this.#hubEndpoints.names(), ...this.#seen.keys()];
    return new Map(names.map((name) => [name, this.path(name)]));
  }

  /** explain says where a node's path is and why not on a better rung; undefined for hubs, and on a hub. */
  explain(name: string): LadderExplanation | undefined {
    const ladder = this.#ladders.get(name);
    return ladder && explainLadder(ladder.state, monotonicMs());
  }

  /** hubs returns what is known of the hubs' health. */
  get hubs(): HubChoice["hubs"] {
    return this.#choice.hubs;
  }

  /** Where this node speaks to the world: at its hub. */
  get outward(): Endpoint | undefined {
    const hubs = this.#hubEndpoints.own();
    return (hubs.find(({ name }) => name === this.#choice.home) ?? hubs[0])?.endpoint;
  }

  #arrived({ node, probe, from, local }: ArrivedProbe): void {
    const nowMs = monotonicMs();
    if (probe.kind === "pong" && this.#hubEndpoints.has(node)) {
      if (!isLoopback(from)) this.#hooks.answered();
      const { transaction, sizeBytes, seen, instance } = probe;
      const known = this.#choice.hubs.find(({ name }) => name === node)?.instance;
      if (known !== undefined && instance !== undefined && known !== instance) {
        // It has lost its sessions: ours with it is made anew at once, since it relays only for those that it has one with.
        this.#hubEndpoints.anew(node);
        this.#used.add(node);
      }
      this.#stepHubs({
        kind: "pong",
        nowMs,
        hub: node,
        transaction,
        sizeBytes,
        seen,
        ...(instance === undefined ? {} : { instance }),
      });
      return;
    }
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
    } else if (probe.kind === "ping" && this.#pongs.take(node, nowMs)) {
      // A hub keeps no state of a pair, nor does a node of its hub.
      const instance = this.#instance === undefined ? {} : { instance: this.#instance };
      this.#prober.send(node, pongFor(probe, { from, ...instance }), { to: from, from: local });
    }
  }

  #relaysOf(node: Node, state?: LadderState): readonly Relay[] {
    const current = state?.path.kind === "relay" ? state.path.relay.hub : undefined;
    return relaysFor(this.#choice, {
      nowMs: monotonicMs(),
      ...(node.hubs.length === 0 ? {} : { peer: node.hubs }),
      ...(current === undefined ? {} : { current }),
    });
  }

  #stepHubs(event: HubChoiceEvent): void {
    const before = hubDistances(this.#choice);
    const [choice, effects] = stepHubChoice(this.#choice, event);
    this.#choice = choice;
    this.#due.set(HUBS, hubChoiceDueMs(choice, event.nowMs));
    for (const effect of effects) {
      if (effect.kind === "ping") {
        const { hub, to, transaction, sizeBytes } = effect;
        if (!isLoopback(to)) this.#hooks.asked();
        this.#prober.send(hub, { kind: "ping", transaction, chosen: false, sizeBytes }, { to });
      } else if (effect.kind === "changed") {
        for (const ladder of this.#ladders.values())
          this.#step(ladder, {
            kind: "relays",
            nowMs: event.nowMs,
            relays: this.#relaysOf(ladder.node, ladder.state),
          });
      } else {
        this.#hooks.greetHubs();
        for (const ladder of this.#ladders.values())
          this.#step(ladder, { kind: "network", nowMs: event.nowMs, moved: true });
      }
    }
    const distances = hubDistances(choice);
    if (sameValue(before, distances)) return;
    this.#hooks.distances(distances);
    // What fits on the way to a hub may be another.
    for (const name of this.#hubEndpoints.names()) this.#used.add(name);
  }

  #observe(ladder: Ladder, peer: PeerState | undefined, nowMs: number): void {
    if (peer === undefined) return;
    const { rxBytes, txBytes, endpoint } = peer;
    this.#step(ladder, {
      kind: "observed",
      nowMs,
      rxBytes,
      txBytes,
      ...ageOf(peer),
      ...(endpoint === undefined ? {} : { endpoint }),
    });
  }

  #step(ladder: Ladder, event: LadderEvent, local?: Ip): void {
    const [state, effects] = stepLadder(ladder.state, event);
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
      this.#settle();
    } finally {
      this.#working = false;
      this.#wake();
    }
  }

  #settle(): void {
    if (this.#looks.size === 0 && this.#used.size === 0) return;
    // What WireGuard has learned by itself is not undone: before a peer is set, its ladder is told where it is.
    const peers = this.#peersByKey();
    const nowMs = monotonicMs();
    for (const name of new Set([...this.#looks, ...this.#used])) {
      const ladder = this.#ladders.get(name);
      if (ladder !== undefined) this.#observe(ladder, peers.get(ladder.node.publicKey), nowMs);
    }
    this.#looks.clear();
    const used = [...this.#used];
    this.#used.clear();
    if (used.length > 0) this.#hooks.use(used);
  }

  #wake(): void {
    const nextMs = this.#looks.size > 0 || this.#used.size > 0 ? monotonicMs() : this.#due.nextMs;
    if (this.#closed || nextMs === undefined || (this.#timer !== undefined && this.#timerMs <= nextMs))
      return;
    this.#timer?.[Symbol.dispose]();
    this.#timerMs = nextMs;
    this.#timer = after(Math.max(0, nextMs - monotonicMs()), () => {
      this.#timer = undefined;
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.#work(() => this.#onDue());
    });
  }

  #onDue(): void {
    const nowMs = monotonicMs();
    const names: string[] = [];
    for (let name = this.#due.take(nowMs); name !== undefined; name = this.#due.take(nowMs)) names.push(name);
    // Each once: what is due again at once has its turn after everything else.
    for (const name of names) {
      const ladder = this.#ladders.get(name);
      if (name === HUBS) this.#stepHubs({ kind: "due", nowMs });
      else if (ladder !== undefined) this.#step(ladder, { kind: "due", nowMs });
    }
  }

  #peersByKey(): ReadonlyMap<PublicKey, PeerState> {
    return new Map(this.#hooks.device().map((peer) => [peer.publicKey, peer]));
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    for (const timer of this.#invited) timer[Symbol.dispose]();
    this.#prober[Symbol.dispose]();
  }
}

function ageOf(peer: PeerState): { readonly handshakeAgeMs?: number } {
  const { lastHandshakeMs } = peer;
  return lastHandshakeMs === undefined ? {} : { handshakeAgeMs: Math.max(0, wallMs() - lastHandshakeMs) };
}

function seed(): bigint {
  return Buffer.from(randomBytes(8)).readBigUInt64BE();
}
