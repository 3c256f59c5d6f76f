/**
 * The paths to hubs, and which of them relays: the choice of hubs (mesh/hub-choice.ts) with its probes and the hubs' endpoints. What it means for
 * the paths to other nodes is mesh-paths.ts.
 */
import { sameValue } from "../engine/mod.ts";
import {
  doubtsHub,
  type HubChoice,
  type HubChoiceEvent,
  hubChoiceDueMs,
  hubDistances,
  LEAST_PROBE_BYTES,
  type PeerPath,
  type Pong,
  publishedDistances,
  type Relay,
  relaysFor,
  startHubChoice,
  stepHubChoice,
} from "../mesh/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import type { HubDistance, Node } from "../resources/mod.ts";
import { randomBytes } from "../sys/mod.ts";
import type { Generations } from "./generations.ts";
import { HubEndpoints, hubPath, isLoopback, type Resolved } from "./hub-endpoints.ts";
import type { HubDistances, PathHooks } from "./path-hooks.ts";

/** Probes that are asked for beside the choice's own; so many may be answered. */
const MOST_ASKED = 16;

/** HubPing is a ping to a hub. */
export interface HubPing {
  readonly transaction: bigint;
  readonly sizeBytes: number;
}

/** HubPathsOptions are what it asks of the rest of the paths. */
export interface HubPathsOptions {
  readonly hooks: Pick<PathHooks, "asked" | "answered" | "distances" | "greetHubs">;
  readonly generations: Generations;
  readonly send: (hub: string, ping: HubPing, to: Endpoint) => void;
  /** Other relays may be chosen from now on. */
  readonly changed: (nowMs: number) => void;
  /** A hub sees this node elsewhere. */
  readonly moved: (nowMs: number) => void;
  /** The peer of a hub is to be set. */
  readonly used: (hub: string) => void;
  /** When to step `due`. */
  readonly wake: (dueMs: number | undefined) => void;
}

/** HubPaths keeps the choice of hubs. */
export class HubPaths {
  readonly #options: HubPathsOptions;
  readonly #endpoints = new HubEndpoints();
  #choice: HubChoice = startHubChoice({ seed: seed() });
  /** Pings of `probe` without an answer, oldest first, each with the hub that may answer it. */
  readonly #asked = new Map<bigint, string>();
  /** They are numbered in a row, as each peer's are (mesh/answers.ts). */
  #next = seed();
  #linkMtuBytes = 1500;

  constructor(options: HubPathsOptions) {
    this.#options = options;
  }

  /** follow takes over the register's hubs. */
  follow(
    hubs: readonly Node[],
    about: Resolved & { readonly linkMtuBytes: number; readonly nowMs: number },
  ): void {
    for (const name of this.#endpoints.follow(hubs, about)) this.#options.used(name);
    this.#linkMtuBytes = about.linkMtuBytes;
    this.#tell(about.nowMs);
  }

  #tell(nowMs: number): void {
    this.step({ kind: "hubs", nowMs, hubs: this.#endpoints.known(this.#linkMtuBytes) });
  }

  /** look tries another address of a hub that does not answer at the one in use. */
  look(nowMs: number): void {
    const elsewhere = this.#endpoints.rotate(this.#choice.hubs, nowMs);
    for (const name of elsewhere) this.#options.used(name);
    if (elsewhere.length > 0) this.#tell(nowMs);
  }

  /** probe asks each hub by UDP, whichever way is in use. */
  probe(): void {
    this.#options.hooks.asked();
    for (const { name, endpoint } of this.#endpoints.own()) {
      const transaction = this.#next;
      this.#next = BigInt.asUintN(64, transaction + 1n);
      this.#asked.set(transaction, name);
      for (const oldest of this.#asked.keys()) if (this.#asked.size > MOST_ASKED) this.#asked.delete(oldest);
      this.#options.send(name, { transaction, sizeBytes: LEAST_PROBE_BYTES }, endpoint);
    }
  }

  /** pong takes a hub's answer; one to nothing of ours, such as one that is played back, says nothing. */
  pong(hub: string, pong: Pong, about: { readonly from: Endpoint; readonly nowMs: number }): void {
    const { transaction, sizeBytes, seen, instance } = pong;
    const known = this.#choice.hubs.find(({ name }) => name === hub)?.instance;
    const before = this.#choice;
    const told = instance === undefined ? {} : { instance };
    this.step({ kind: "pong", nowMs: about.nowMs, hub, transaction, sizeBytes, seen, ...told });
    const probed = this.#asked.get(transaction) === hub && this.#asked.delete(transaction);
    if (!probed && this.#choice === before) return;
    if (!isLoopback(about.from)) this.#options.hooks.answered();
    if (known === undefined || instance === undefined || known === instance) return;
    // It has lost its sessions: ours with it is made anew at once, since it relays only for those that it has one with.
    this.#endpoints.anew(hub);
    this.#options.used(hub);
  }

  /** step takes one event of the choice. */
  step(event: HubChoiceEvent): void {
    const { hooks, send, changed, moved, used, wake } = this.#options;
    const before = this.#distances();
    const [choice, effects] = stepHubChoice(this.#choice, event);
    this.#choice = choice;
    wake(hubChoiceDueMs(choice, event.nowMs));
    for (const effect of effects) {
      if (effect.kind === "ping") {
        if (!isLoopback(effect.to)) hooks.asked();
        send(effect.hub, effect, effect.to);
      } else if (effect.kind === "changed") changed(event.nowMs);
      else {
        hooks.greetHubs();
        moved(event.nowMs);
      }
    }
    const distances = this.#distances();
    if (sameValue(before, distances)) return;
    hooks.distances(distances);
    // What fits on the way to a hub may be another.
    for (const name of this.#endpoints.names()) used(name);
  }

  /** due does what is due; `heard` reads the device, and returns the hubs through which something came since it was last read. */
  due(nowMs: number, heard: () => readonly string[]): void {
    if (doubtsHub(this.#choice, nowMs)) this.step({ kind: "heard", nowMs, hubs: heard() });
    this.step({ kind: "due", nowMs });
  }

  #distances(): HubDistances {
    return { reached: hubDistances(this.#choice), published: publishedDistances(this.#choice) };
  }

  /** has tells whether a node is a hub. */
  has(name: string): boolean {
    return this.#endpoints.has(name);
  }

  /** relays returns the hubs through which a node can be reached, best first. */
  relays(
    node: Node,
    about: { readonly nowMs: number; readonly current: string | undefined },
  ): readonly Relay[] {
    const { nowMs, current } = about;
    return relaysFor(this.#choice, {
      nowMs,
      ...(node.hubs.length === 0 ? {} : { peer: node.hubs }),
      ...(current === undefined ? {} : { current }),
    });
  }

  /** names returns the hubs' names. */
  names(): string[] {
    return this.#endpoints.names();
  }

  /**
   * path returns the path to a hub, or on a hub to a node that was seen at an endpoint. A hub that was away calls first: the nodes would find
   * out only at their next handshake.
   */
  path(
    name: string,
    on: { readonly seen: Endpoint | undefined; readonly distance: HubDistance | undefined | "own" },
  ): PeerPath {
    const endpoint = this.#endpoints.of(name) ?? on.seen;
    if (endpoint === undefined) return {};
    const found =
      on.distance === "own" ? hubDistances(this.#choice).find(({ hub }) => hub === name) : on.distance;
    const generation = this.#options.generations.of(name, this.#endpoints.generation(name));
    return hubPath(endpoint, { generation, mtuBytes: found?.mtuBytes });
  }

  /** hubs returns what is known of the hubs' health. */
  get hubs(): HubChoice["hubs"] {
    return this.#choice.hubs;
  }

  /** Where this node speaks to the world: at its hub. */
  get outward(): Endpoint | undefined {
    const hubs = this.#endpoints.own();
    return (hubs.find(({ name }) => name === this.#choice.home) ?? hubs[0])?.endpoint;
  }

  /** end hands on how often peers were made anew. */
  end(): void {
    for (const name of this.names()) this.#options.generations.end(name, this.#endpoints.generation(name));
  }
}

function seed(): bigint {
  return Buffer.from(randomBytes(8)).readBigUInt64BE();
}
