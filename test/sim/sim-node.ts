/** A node as its agent and its device make it: real ladders and hub choice, a simulated WireGuard, and what the register says. */
import {
  type CandidateNode,
  candidatesFor,
  explainLadder,
  type HubChoice,
  type HubChoiceEvent,
  hubChoiceDueMs,
  ladderDueMs,
  type LadderEvent,
  type LadderMode,
  type LadderState,
  ladderUse,
  type Probe,
  publishedDistances,
  relayingHub,
  relaysFor,
  startHubChoice,
  startLadder,
  stepHubChoice,
  stepLadder,
} from "../../src/mesh/mod.ts";
import type { Endpoint } from "../../src/net/mod.ts";
import type { HubDistance } from "../../src/resources/mod.ts";
import type { Datagram } from "./internet.ts";
import type { Hello, ProbeContent } from "./sim-hub.ts";
import type { SimHost } from "./sim-host.ts";
import type { SimTunnel, WireguardDatagram } from "./tunnel.ts";
import type { SimWorld } from "./sim-world.ts";

const TICK_MS = 1_000;
const HELLO_MS = 25_000;
const RESTART_MS = 1_500;
const HELLO_BYTES = 64;
const PONG_BYTES = 62;

/** NodeFacts is what a node tells all others through the register. */
export interface NodeFacts extends CandidateNode {
  readonly hubs: readonly HubDistance[];
}

interface Pair {
  state: LadderState;
  /** Generations of earlier lives of the agent. */
  readonly base: number;
  wakeMs: number;
}

/** What is left of a device whose process was killed. */
const DEAD: SimTunnel = { set() {}, send() {}, receive() {}, due() {}, read: () => undefined };

/** SimNode runs until it is asleep, or its agent is. */
export class SimNode {
  readonly name: string;
  readonly host: SimHost;
  tunnel: SimTunnel;
  readonly pairs = new Map<string, Pair>();
  mode: LadderMode;
  endpoints: readonly string[] = [];
  mapped: readonly Endpoint[] = [];
  choice: HubChoice;
  /** Times that an agent's life began. */
  #life = 0;
  #wakeMs = Number.POSITIVE_INFINITY;
  #instances = new Map<string, number>();
  readonly #world: SimWorld;
  readonly #newTunnel: () => SimTunnel;
  readonly #uses = new Set<string>();
  #working = false;

  constructor(options: {
    readonly name: string;
    readonly host: SimHost;
    readonly world: SimWorld;
    readonly mode: LadderMode;
    readonly tunnel: (node: SimNode) => SimTunnel;
  }) {
    const { name, host, world } = options;
    this.name = name;
    this.host = host;
    this.mode = options.mode;
    this.#world = world;
    this.choice = startHubChoice({ seed: world.random.u64() });
    this.#newTunnel = () => options.tunnel(this);
    this.tunnel = this.#newTunnel();
    host.receive = (datagram) => this.#receive(datagram);
    this.#begin();
    this.#greet();
    this.#everyHello();
  }

  /** facts is what it would publish now. */
  facts(): NodeFacts {
    return {
      endpoints: this.endpoints,
      mapped: this.mapped,
      local: this.host.ips.map((ip) => ({ ip, port: 51820 })),
      observed: this.#world.observedOf(this.name),
      hubs: publishedDistances(this.choice),
    };
  }

  /** meet begins or updates what is known of another node. */
  meet(other: string): void {
    if (this.#life === 0) return;
    const { time, random } = this.#world;
    const candidates = this.#candidates(other);
    const pair = this.pairs.get(other);
    if (pair !== undefined) {
      this.#step(other, { kind: "candidates", nowMs: time.nowMs, candidates });
      this.#tellRelays(other);
      return;
    }
    const known = this.tunnel.read(other);
    const [state, effects] = startLadder({
      nowMs: time.nowMs,
      controlling: this.name < other,
      mode: this.mode,
      seed: random.u64(),
      relays: this.#relays(other),
      candidates,
      ...(known === undefined ? {} : { known }),
    });
    this.pairs.set(other, { state, base: this.#world.generationOf(this.name, other), wakeMs: Infinity });
    this.#take(other, effects);
    this.#drain();
  }

  /** rung is where a pair is. */
  rung(other: string): string {
    const pair = this.pairs.get(other);
    return pair === undefined ? "none" : explainLadder(pair.state, this.#world.time.nowMs).rung;
  }

  invited(other: string): void {
    if (this.pairs.has(other)) this.#step(other, { kind: "invited", nowMs: this.#world.time.nowMs });
  }

  /** network is what the agent does when its own addresses changed. */
  network(moved: boolean): void {
    if (this.#life === 0) return;
    this.#greet();
    this.#world.publish(this.name);
    this.#choose({ kind: "network", nowMs: this.#world.time.nowMs });
    for (const other of [...this.pairs.keys()]) {
      this.#step(other, {
        kind: "candidates",
        nowMs: this.#world.time.nowMs,
        candidates: this.#candidates(other),
      });
      this.#step(other, { kind: "network", nowMs: this.#world.time.nowMs, moved });
    }
  }

  /** restart ends the agent and starts it again; the device goes on. */
  restart(): void {
    for (const [other, { state, base }] of this.pairs)
      this.#world.setGeneration(this.name, { other, generation: base + state.generation });
    this.pairs.clear();
    this.#life = 0;
    this.#world.time.after(RESTART_MS, () => {
      this.choice = startHubChoice({ seed: this.#world.random.u64() });
      this.#begin();
      this.#world.introduce(this);
    });
  }

  /** killDataplane ends the device, its sessions and its port, which probes share; another begins later, and the agent sets it up. */
  killDataplane(downMs: number): void {
    this.tunnel = DEAD;
    this.#world.time.after(downMs, () => {
      this.tunnel = this.#newTunnel();
      for (const other of this.pairs.keys()) this.#set(other);
      this.#greet();
    });
  }

  /** greet tells all hubs where this node is now; more than once, for one may be lost. */
  #greet(): void {
    for (const ms of [300, 1_000]) this.#world.time.after(ms, () => this.hello());
    this.hello();
  }

  hello(): void {
    for (const hub of this.#world.hubs) {
      const endpoint = this.#world.endpointOf(hub, this);
      const hello: Hello = { kind: "hello", node: this.name };
      if (endpoint !== undefined) this.host.send(endpoint, hello, { bytes: HELLO_BYTES });
    }
  }

  #everyHello(): void {
    this.hello();
    this.#world.time.after(HELLO_MS, () => this.#everyHello());
  }

  #begin(): void {
    const life = this.#world.random.u32() + 1;
    this.#life = life;
    const { time, hubs } = this.#world;
    const known = hubs.flatMap((hub) => {
      const endpoint = this.#world.endpointOf(hub, this);
      return endpoint === undefined ? [] : [{ name: hub.name, endpoint }];
    });
    this.#choose({ kind: "hubs", nowMs: time.nowMs, hubs: known });
    const tick = () => {
      if (this.#life !== life) return;
      if (!this.host.asleep) this.#tick();
      time.after(TICK_MS, tick);
    };
    time.after(this.#world.random.below(TICK_MS), tick);
  }

  #tick(): void {
    const { nowMs } = this.#world.time;
    for (const other of [...this.pairs.keys()]) this.#observe(other);
    this.#tellRelaying(nowMs);
  }

  #tellRelaying(nowMs: number): void {
    const hubs = [...this.pairs.values()].map(({ state }) => relayingHub(state, nowMs));
    this.#choose({ kind: "relaying", nowMs, hubs: [...new Set(hubs.filter((hub) => hub !== undefined))] });
  }

  #observe(other: string): void {
    const reading = this.tunnel.read(other);
    if (reading !== undefined && this.pairs.has(other))
      this.#step(other, { kind: "observed", nowMs: this.#world.time.nowMs, ...reading });
  }

  #candidates(other: string) {
    return candidatesFor(this.facts(), this.#world.factsOf(other));
  }

  #relays(other: string) {
    const { path } = this.pairs.get(other)?.state ?? {};
    const { hubs } = this.#world.factsOf(other);
    return relaysFor(this.choice, {
      nowMs: this.#world.time.nowMs,
      ...(hubs.length === 0 ? {} : { peer: hubs }),
      ...(path?.kind === "relay" ? { current: path.relay.hub } : {}),
    });
  }

  #tellRelays(other: string): void {
    this.#step(other, { kind: "relays", nowMs: this.#world.time.nowMs, relays: this.#relays(other) });
  }

  #receive(datagram: Datagram): void {
    if (this.tunnel === DEAD) return;
    const content = datagram.content as ProbeContent | WireguardDatagram;
    if (content.kind === "wireguard") {
      this.tunnel.receive(content, datagram.bytes, datagram.from);
      return;
    }
    if (this.#life === 0 || content.receiver !== this.name) return;
    const { nowMs } = this.#world.time;
    const probe = content.probe as Probe;
    const { from } = datagram;
    if (this.#world.hubs.some((hub) => hub.name === content.sender)) {
      if (probe.kind === "pong") this.#choose({ ...probe, nowMs, hub: content.sender });
    } else if (this.pairs.has(content.sender)) this.#step(content.sender, { ...probe, nowMs, from });
  }

  #choose(event: HubChoiceEvent): void {
    const [choice, effects] = stepHubChoice(this.choice, event);
    this.choice = choice;
    let changed = false;
    for (const effect of effects) {
      if (effect.kind === "ping") {
        const { transaction, sizeBytes } = effect;
        const probe: Probe = { kind: "ping", transaction, sizeBytes, chosen: false };
        this.#probe({ to: effect.to, receiver: effect.hub, probe, bytes: sizeBytes });
      } else if (effect.kind === "changed") changed = true;
      else {
        this.#greet();
        for (const other of [...this.pairs.keys()])
          this.#step(other, { kind: "network", nowMs: event.nowMs, moved: true });
      }
    }
    if (changed) {
      this.#greetRestarted();
      for (const other of [...this.pairs.keys()]) this.#tellRelays(other);
      this.#world.publish(this.name);
    }
    this.#wakeChoice();
  }

  /** A hub that forgot us is told at once who we are. */
  #greetRestarted(): void {
    for (const { name, instance } of this.choice.hubs) {
      if (instance === undefined || this.#instances.get(name) === instance) continue;
      if (this.#instances.has(name)) this.#greet();
      this.#instances.set(name, instance);
    }
  }

  #wakeChoice(): void {
    const { time } = this.#world;
    const dueMs = hubChoiceDueMs(this.choice, time.nowMs);
    if (dueMs === undefined || (this.#wakeMs > time.nowMs && dueMs >= this.#wakeMs)) return;
    this.#wakeMs = dueMs;
    const life = this.#life;
    time.at(dueMs, () => {
      if (this.#life !== life || this.#wakeMs !== dueMs) return;
      this.#wakeMs = Number.POSITIVE_INFINITY;
      if (this.host.asleep)
        this.#world.whenAwake(this, () => this.#choose({ kind: "due", nowMs: time.nowMs }));
      else this.#choose({ kind: "due", nowMs: time.nowMs });
    });
  }

  #probe(options: {
    readonly to: Endpoint;
    readonly receiver: string;
    readonly probe: Probe;
    readonly bytes: number;
  }): void {
    const { to, receiver, probe, bytes } = options;
    if (this.tunnel === DEAD) return;
    const content: ProbeContent = { kind: "probe", sender: this.name, receiver, probe };
    this.host.send(to, content, { bytes });
  }

  #step(other: string, event: LadderEvent): void {
    const pair = this.pairs.get(other);
    if (pair === undefined) return;
    const [state, effects] = stepLadder(pair.state, event);
    const fell = pair.state.path.kind !== "relay" && state.path.kind === "relay";
    pair.state = state;
    this.#take(other, effects);
    if (fell) this.#tellRelaying(event.nowMs);
    this.#drain();
  }

  #take(other: string, effects: ReturnType<typeof stepLadder>[1]): void {
    for (const effect of effects) {
      if (effect.kind === "ping") {
        const { to, transaction, chosen, rung, sizeBytes } = effect;
        const probe: Probe = { kind: "ping", transaction, chosen, rung, sizeBytes };
        this.#probe({ to, receiver: other, probe, bytes: sizeBytes });
      } else if (effect.kind === "pong") {
        const { to, transaction, chosen, sizeBytes } = effect;
        const probe: Probe = { kind: "pong", transaction, chosen, sizeBytes, seen: to };
        this.#probe({ to, receiver: other, probe, bytes: PONG_BYTES });
      } else if (effect.kind === "use") this.#uses.add(other);
      else if (effect.kind === "invite") this.#world.invite(this.name, other);
      else if (effect.kind === "look") this.#world.time.after(1, () => this.#observe(other));
    }
    this.#wake(other);
  }

  /** What the device learnt by itself comes first, so that nothing undoes it. */
  #drain(): void {
    if (this.#working) return;
    this.#working = true;
    for (const other of this.#uses) {
      this.#observe(other);
      this.#uses.delete(other);
      this.#set(other);
    }
    this.#working = false;
  }

  #set(other: string): void {
    const pair = this.pairs.get(other);
    if (pair === undefined) return;
    const { generation, ...use } = ladderUse(pair.state);
    this.tunnel.set(other, { ...use, generation: pair.base + generation });
  }

  #wake(other: string): void {
    const { time } = this.#world;
    const pair = this.pairs.get(other);
    if (pair === undefined) return;
    const dueMs = ladderDueMs(pair.state, time.nowMs);
    if (dueMs === undefined || (pair.wakeMs > time.nowMs && dueMs >= pair.wakeMs)) return;
    pair.wakeMs = dueMs;
    time.at(dueMs, () => {
      if (this.pairs.get(other) !== pair || pair.wakeMs !== dueMs) return;
      pair.wakeMs = Number.POSITIVE_INFINITY;
      const due = () => this.#step(other, { kind: "due", nowMs: time.nowMs });
      if (this.host.asleep) this.#world.whenAwake(this, due);
      else due();
    });
  }
}
