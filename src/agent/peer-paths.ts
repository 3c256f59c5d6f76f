/**
 * The direct paths of this node: one state machine for each other node, fed once a second with what the tunnel's device says.
 * Carries out nothing: effects go to the agent.
 */
import {
  candidatesFor,
  type PathEffect,
  type PathEvent,
  pathReason,
  type PathState,
  type PathStep,
  pathUse,
  type PeerPath,
  startPath,
  stepPath,
} from "../mesh/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import type { Endpoint, PeerState, PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** Tick is one reading of the device; both clocks, since handshakes are told in the wall's. */
export interface Tick {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly peers: readonly PeerState[];
}

/** PeerPaths holds the machines. A hub has none: it is reached, and does not try. */
export class PeerPaths {
  readonly #states = new Map<string, PathState>();
  /** A node that comes back with another key is another one to WireGuard, and to what was said of it. */
  readonly #keys = new Map<string, PublicKey>();
  /** Names whose allowed IPs, endpoint or keepalive are to be computed anew. */
  readonly #effects: { readonly peer: string; readonly effect: PathEffect }[] = [];

  /** update follows the register: machines for nodes that came, none for nodes that left, candidates for all. */
  update(view: MeshView, tick: Tick): void {
    const { self } = view;
    if (self === undefined || self.hub) return;
    const others = view.nodes.filter((node) => !node.hub);
    const { overlay4, overlay6, enrol6, pods4, pods6 } = view.mesh;
    const inside = [overlay4, overlay6, enrol6, pods4, pods6].filter((prefix) => prefix !== undefined);
    const keys = new Map(others.map((node) => [node.name, node.publicKey]));
    for (const [name, key] of [...this.#keys]) if (keys.get(name) !== key) this.#forget(name);
    for (const node of others) {
      const candidates = candidatesFor(self, node, inside);
      const state = this.#states.get(node.name);
      if (state !== undefined)
        this.#step(node.name, state, { kind: "candidates", nowMs: tick.nowMs, candidates });
      else {
        this.#keys.set(node.name, node.publicKey);
        this.#take(node.name, startPath({ nowMs: tick.nowMs, candidates, ...known(node, tick) }));
      }
    }
  }

  /** observe gives every machine its peer's counters. */
  observe(view: MeshView, tick: Tick): void {
    const byKey = new Map(tick.peers.map((peer) => [peer.publicKey, peer]));
    for (const node of view.nodes) {
      const state = this.#states.get(node.name);
      const peer = byKey.get(node.publicKey);
      if (state === undefined || peer === undefined) continue;
      const age =
        peer.lastHandshakeMs === undefined ? undefined : Math.max(0, tick.wallMs - peer.lastHandshakeMs);
      this.#step(node.name, state, {
        kind: "observed",
        nowMs: tick.nowMs,
        rxBytes: peer.rxBytes,
        ...(age === undefined ? {} : { handshakeAgeMs: age }),
        ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
      });
    }
  }

  /** invited begins a round with a node that does the same now. */
  invited(name: string, nowMs: number): void {
    const state = this.#states.get(name);
    if (state !== undefined) this.#step(name, state, { kind: "invited", nowMs });
  }

  /** effects hands over what is to be done, once. */
  effects(): { readonly peer: string; readonly effect: PathEffect }[] {
    return this.#effects.splice(0);
  }

  /** uses returns what the mesh feature needs to know of each path. */
  uses(view: MeshView): ReadonlyMap<string, PeerPath> {
    return new Map(
      [...this.#states].map(([name, state]) => [name, { direct: view.direct.has(name), ...pathUse(state) }]),
    );
  }

  /** explain says where a node was tried and why its path is what it is. */
  explain(
    name: string,
    direct: boolean,
  ): { readonly candidates: readonly Endpoint[]; readonly reason: string } {
    const state = this.#states.get(name);
    return state === undefined
      ? { candidates: [], reason: "not tried" }
      : { candidates: state.candidates, reason: pathReason(state, direct) };
  }

  #forget(name: string): void {
    this.#states.delete(name);
    this.#keys.delete(name);
  }

  #step(name: string, state: PathState, event: PathEvent): void {
    this.#take(name, stepPath(state, event));
  }

  #take(name: string, [state, effects]: PathStep): void {
    this.#states.set(name, state);
    for (const effect of effects) this.#effects.push({ peer: name, effect });
  }
}

/** An agent that restarts finds the endpoint that the running tunnel uses; for a new peer every byte counts. */
function known(node: Node, tick: Tick): { readonly endpoint?: Endpoint; readonly rxBytes: number } {
  const peer = tick.peers.find((candidate) => candidate.publicKey === node.publicKey);
  const rxBytes = peer?.rxBytes ?? 0;
  return peer?.endpoint === undefined || peer.lastHandshakeMs === undefined
    ? { rxBytes }
    : { rxBytes, endpoint: peer.endpoint };
}
