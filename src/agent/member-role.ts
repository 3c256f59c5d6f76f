/** A member's role: it follows the hub's register, keeps a signed copy, and goes on from the copy when the hub is away. */
import {
  edgeState,
  explainAge,
  type FollowedHub,
  formatCache,
  type Gossip,
  HubClient,
  Kept,
  type MeshView,
  meshView,
  PairKeys,
  parseCache,
  type Removal,
  routeFacts,
  type SignedState,
  type SnapshotAge,
  type ViewCache,
} from "../hub/mod.ts";
import type { Enrolment } from "../mesh/mod.ts";
import { type PeerState, type PublicKey, parseSigningKey, type Secret, type SigningKey } from "../net/mod.ts";
import { equalBytes, monotonicMs, readText, wallMs, writeAtomic } from "../sys/mod.ts";
import { announcedFact } from "./announced.ts";
import { FactsFile } from "./facts-file.ts";
import { type BlockClaims, ClaimError } from "../ipam/mod.ts";
import { liveNodes, startGossiping } from "./gossiping.ts";
import { nodeKey, nodeSecret } from "./identity.ts";
import { KeyChange } from "./key-change.ts";
import { info, warn } from "./log.ts";
import { STATE } from "./paths.ts";
import type { Role, RoleHooks, SelfFacts } from "./role.ts";
import { VERSION } from "./version.ts";

const MEMBERSHIP = `${STATE}/member.json`;
const COPY = `${STATE}/register.json`;
const KEPT = `${STATE}/register.kept.json`;
const PAIRS = `${STATE}/node.key.pairs`;

/** Hubs as they are reached inside the tunnel, the preferred ones first. */
function followed(view: MeshView, order: readonly string[]): FollowedHub[] {
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return view.nodes
    .filter((node) => node.hub)
    .map((hub) => ({ name: hub.name, addresses: [hub.overlay4, hub.overlay6] }))
    .sort((a, b) => place(a.name) - place(b.name));
}

/** Membership is what a node keeps of its token: nothing of it is secret. */
export interface Membership {
  readonly name: string;
  readonly signingKey: SigningKey;
  /** Of the hub, `host:port`, best first; used until the register says others. */
  readonly endpoints: readonly string[];
}

/** storeMembership makes this node a member, durably. */
export function storeMembership(membership: Membership, state: SignedState): void {
  writeAtomic(COPY, formatCache(state), 0o600);
  writeAtomic(MEMBERSHIP, `${JSON.stringify(membership)}\n`, 0o600);
}

/** loadMembership returns what was stored, or undefined on a node that has not joined. */
export function loadMembership(): Membership | undefined {
  const text = readText(MEMBERSHIP);
  if (text === undefined) return undefined;
  const stored = JSON.parse(text) as { name: string; signingKey: string; endpoints: string[] };
  return { ...stored, signingKey: parseSigningKey(stored.signingKey) };
}

/** Before the first hub is known there is nobody to ask. */
function claimsThrough(claims: () => BlockClaims | undefined): BlockClaims {
  const ask = async <T>(question: (claims: BlockClaims) => Promise<T>): Promise<T> => {
    const there = claims();
    if (there === undefined) throw new ClaimError("unanswered", "no hub is known yet");
    return await question(there);
  };
  return {
    get reachable() {
      return claims()?.reachable ?? false;
    },
    claim: (wish) => ask((there) => there.claim(wish)),
    claimAddress: (wish) => ask((there) => there.claimAddress(wish)),
    giveBack: (numbers) => ask((there) => there.giveBack(numbers)),
    held: () => ask((there) => there.held()),
    tellUsage: (used) => claims()?.tellUsage(used),
  };
}

/** What cannot be written costs time after the next restart, not the network now. */
function storeKept(text: string): void {
  try {
    writeAtomic(KEPT, text, 0o600);
  } catch (error) {
    warn("cannot store what this node knows of removals", { error });
  }
}

/** sameKeys tells whether two maps hold the same keys. */
export function sameKeys(a: ReadonlyMap<string, Secret>, b: ReadonlyMap<string, Secret>): boolean {
  return (
    a.size === b.size &&
    [...a].every(([name, key]) => {
      const other = b.get(name);
      return other !== undefined && (other === key || equalBytes(key.reveal(), other.reveal()));
    })
  );
}

/** MemberRole owns the connection to the hub. */
export class MemberRole implements Role {
  readonly hub = false;
  readonly formerKey = undefined;
  readonly #membership: Membership;
  readonly #cache: ViewCache = new Map();
  #signed: SignedState;
  #view: MeshView;
  /** Names of all nodes of the register, whatever this node knows of them beside. */
  #registered: ReadonlySet<string> = new Set();
  #facts: SelfFacts = { local: [], mapped: [], mtuBytes: 1280, hubs: [] };
  readonly #known = new FactsFile();
  readonly #kept: Kept;
  readonly #ownKey = nodeKey().publicKey;
  readonly #keyChange = new KeyChange({
    announce: (keys) => this.#client?.announceKey(keys),
    switched: () => this.#hooks?.onKeyChanged(),
  });
  readonly #pairs: PairKeys;
  #pairKeys: ReadonlyMap<string, Secret> = new Map();
  #gossip: Gossip | undefined;
  #ageState: SnapshotAge["state"] = "fresh";
  #hooks: RoleHooks | undefined;
  #client: HubClient | undefined;
  readonly claims: BlockClaims = claimsThrough(() => this.#client?.claims);
  #order: readonly string[] = [];

  constructor(membership: Membership) {
    this.#membership = membership;
    const text = readText(COPY);
    if (text === undefined)
      throw new Error(
        "Cannot start as a member: the copy of the register is missing; restore it, or leave (--force) and join again",
      );
    this.#signed = parseCache(text, { signingKey: membership.signingKey, node: membership.name });
    this.#kept = new Kept({
      signingKey: membership.signingKey,
      node: membership.name,
      signed: this.#signed,
      text: readText(KEPT),
      wallMs: wallMs(),
      save: storeKept,
    });
    this.#pairs = new PairKeys({
      node: membership.name,
      secret: nodeSecret(),
      text: readText(PAIRS),
      save: (file) => {
        try {
          writeAtomic(PAIRS, file, 0o600);
          return true;
        } catch (error) {
          warn("cannot store the keys of pairs", { error });
          return false;
        }
      },
    });
    this.#view = this.#look();
    // Before the tunnel is made: one without them shakes hands in vain, which matters to a node with another key.
    this.#pairKeys = this.#pairKeysNow([]);
  }

  #pairKeysNow(states: readonly PeerState[]): ReadonlyMap<string, Secret> {
    const { self, nodes, pskGeneration } = this.#view;
    this.#pairs.follow(pskGeneration);
    return self === undefined ? new Map() : this.#pairs.use({ self, nodes, states, wallMs: wallMs() });
  }

  /** What this node goes by: the register as it was told or lent, without those who were removed. */
  #look(): MeshView {
    const view = meshView(this.#kept.entries(), this.name, { facts: this.#known.book, cache: this.#cache });
    this.#registered = new Set(view.nodes.map((node) => node.name));
    return this.#kept.filter(view, this.#ownKey, wallMs());
  }

  #changed(): void {
    this.#view = this.#look();
    if (this.#view.self === undefined) return this.#hooks?.onGone();
    this.#client?.setHubs(followed(this.#view, this.#order));
    this.#hooks?.onView();
  }

  get name(): string {
    return this.#membership.name;
  }

  get revision(): number {
    return this.#kept.revision;
  }

  get connected(): boolean {
    return this.#client?.connected ?? false;
  }

  view(): MeshView {
    return this.#view;
  }

  start(hooks: RoleHooks): void {
    const hubs = followed(this.#view, this.#order);
    this.#hooks = hooks;
    this.#startGossip();
    if (this.#client !== undefined || hubs.length === 0) return;
    this.#client = HubClient.start({
      node: this.name,
      hubs,
      book: this.#known.book,
      signingKey: this.#membership.signingKey,
      signed: this.#signed,
      removedTo: Math.max(0, ...[...this.#kept.removals.values()].map((removal) => removal.revision)),
      facts: this.#hubFacts(),
      hooks: {
        onState: (_, signed) => {
          this.#signed = signed;
          this.#kept.told(signed);
          // A copy that cannot be written costs time after the next restart, not the network now.
          try {
            writeAtomic(COPY, formatCache(signed), 0o600);
          } catch (error) {
            warn("cannot store the copy of the register", { error });
          }
          this.#changed();
        },
        onFacts: () => this.#changed(),
        onRemovals: (removals) => void this.addRemovals(removals),
        onRotate: () => this.rotate(),
        onPairKeys: (keys) => void this.#pairs.take(keys),
        onHeard: () => this.#kept.heard(wallMs()),
        onProbe: hooks.onInvited,
        onLeft: hooks.onGone,
        onConnection: (connected, reason) => {
          if (connected) {
            info("hub connected");
            this.#client?.tellRemovals(this.#operators());
          } else warn("hub away", { reason: reason ?? "" });
          hooks.onConnection(connected, reason);
        },
      },
    });
  }

  /** The hub that the register is followed through now, or was last. */
  get followedHub(): string | undefined {
    return this.#client?.hub;
  }

  /** A hub that does not answer on its path is left for the next one at once; otherwise the present connection stays. */
  hubsReached(names: readonly string[], lost: readonly string[]): void {
    this.#order = names;
    this.#client?.setHubs(followed(this.#view, names));
    for (const name of lost) this.#client?.hubLost(name);
  }

  setFacts(facts: SelfFacts): void {
    this.#facts = facts;
    this.#client?.setFacts(this.#hubFacts());
  }

  announcedChanged(): void {
    this.#client?.setFacts(this.#hubFacts());
  }

  #hubFacts() {
    const { local, mapped, mtuBytes, hubs, routes, edge } = this.#facts;
    return {
      local: [...local],
      mapped: [...mapped],
      mtuBytes,
      hubs: [...hubs],
      ...announcedFact(),
      ...(routes === undefined ? {} : { routes: routeFacts(routes) }),
      ...(edge === undefined ? {} : { edge: edge && edgeState(edge) }),
      version: VERSION,
    };
  }

  invite(peer: string): void {
    this.#client?.invite(peer);
  }

  enrolments(): readonly Enrolment[] {
    return [];
  }

  /** addRemovals takes over those that hold: their nodes are gone at once, and others are told. */
  addRemovals(removals: readonly Removal[]): readonly string[] {
    const before = this.#view.nodes;
    const added = this.#kept.addRemovals(removals);
    if (added.length === 0) return [];
    const keys = new Set<PublicKey>(added.map((removal) => removal.key));
    this.#changed();
    this.#gossip?.news();
    this.#client?.tellRemovals(added.filter((removal) => removal.by === "operator"));
    return before.filter((node) => keys.has(node.publicKey)).map((node) => node.name);
  }

  /** What the operator signed of nodes that the register still holds. */
  #operators(): Removal[] {
    const held = meshView(this.#signed.entries, this.name).nodes.map((node) => node.publicKey);
    return [...this.#kept.removals.values()].filter(({ by, key }) => by === "operator" && held.includes(key));
  }

  #startGossip(): void {
    const { self } = this.#view;
    if (this.#gossip !== undefined || self === undefined) return;
    this.#gossip = startGossiping(self, () => this.#view, {
      local: (peer) => this.#kept.local(this.#view, peer),
      onRemovals: (removals) => {
        const before = this.#kept.removals;
        this.addRemovals(removals);
        return this.#kept.removals !== before;
      },
      onLoan: (loan, from) => {
        // Somebody else may have lent the same meanwhile.
        if (!this.#kept.isNewer(loan)) return true;
        if (!this.#kept.addLoan(loan)) return false;
        info("register lent by a node", { peer: from, revision: loan.header.revision });
        this.#changed();
        return true;
      },
    });
  }

  rotate(): void {
    this.#keyChange.want();
  }

  get pairKeys(): ReadonlyMap<string, Secret> {
    return this.#pairKeys;
  }

  #lookAtKeys(peers: readonly PeerState[], nowMs: number): void {
    const { self, nodes, mesh, pskGeneration } = this.#view;
    if (self === undefined) return;
    const hubKey = nodes.find((node) => node.name === this.#client?.hub)?.publicKey;
    this.#keyChange.look({
      connected: this.connected,
      self,
      epoch: this.#signed.header.epoch,
      hubKey,
      maxAgeMs: mesh.keyMaxAgeMs,
    });
    this.#pairs.keep(this.#registered, nowMs);
    if (this.connected) this.#client?.askPairKeys(this.#pairs.missing(nodes, pskGeneration, monotonicMs()));
    const keys = this.#pairKeysNow(peers);
    if (sameKeys(keys, this.#pairKeys)) return;
    this.#pairKeys = keys;
    this.#hooks?.onView();
  }

  /** Whom to gossip with without a reason: on demand that would keep pairs from resting for ever, and who follows a hub hears of everything. */
  #byChance(alive: ReadonlySet<string>): ReadonlySet<string> {
    if (!this.connected || this.#view.mesh.topology !== "on-demand") return alive;
    return new Set(
      this.#view.nodes.filter(({ hub, name }) => hub && alive.has(name)).map(({ name }) => name),
    );
  }

  observe(peers: readonly PeerState[]): void {
    this.#startGossip();
    const nowMs = wallMs();
    this.#lookAtKeys(peers, nowMs);
    const alive = liveNodes(this.#view, peers, nowMs);
    this.#gossip?.look(alive, this.#byChance(alive));
    const { state } = this.#kept.age(this.#view.mesh, nowMs);
    if (state === this.#ageState) return;
    this.#ageState = state;
    if (this.ageProblem !== undefined) warn("the register is old", { reason: this.ageProblem });
    this.#changed();
  }

  get ageProblem(): string | undefined {
    const { mesh } = this.#view;
    return explainAge(mesh, this.#kept.age(mesh, wallMs()));
  }

  get hubEndpoints(): readonly string[] {
    const known = this.#view.mesh.endpoints;
    return known.length > 0 ? known : this.#membership.endpoints;
  }

  /** leave asks the hub to remove this node; rejects when the hub does not answer. */
  async leave(): Promise<void> {
    if (this.#client === undefined)
      throw new Error("Cannot leave the mesh: the tunnel is not up yet; try again");
    await this.#client.leave();
  }

  [Symbol.dispose](): void {
    this.#gossip?.close();
    this.#client?.close();
    this.#known[Symbol.dispose]();
  }
}
