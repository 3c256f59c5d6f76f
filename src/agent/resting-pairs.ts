/**
 * Nodes that this one does not talk to. No ladder stands for them, and nothing is done for them each second: of each is kept where its packets would go
 * first, and what the device said of it last. In a large mesh these are nearly all nodes.
 */
import { type PeerPath, type Relay, tunnelMtuOf } from "../mesh/mod.ts";
import { endpointEqual, type PeerState, type PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** RestingRelay is the hub through which a pair would talk. */
export type RestingRelay = Pick<Relay, "hub" | "endpoint" | "mtuBytes">;

/** RestingPair is one of them. */
export interface RestingPair {
  readonly node: Node;
  readonly relay: RestingRelay | undefined;
  /** As it was read last. */
  readonly peer: PeerState | undefined;
  /** Times that the device was to be set. */
  readonly uses: number;
}

type Kept = { -readonly [K in keyof RestingPair]: RestingPair[K] };

/** RestingPairs keeps them by the nodes' names. */
export class RestingPairs {
  readonly #pairs = new Map<string, Kept>();
  readonly #byKey = new Map<PublicKey, Kept>();
  /** Most of them have one and the same. */
  #relay: RestingRelay | undefined;

  /** has tells whether a node rests. */
  has(name: string): boolean {
    return this.#pairs.has(name);
  }

  /** names returns their names. */
  names(): IterableIterator<string> {
    return this.#pairs.keys();
  }

  /** get returns one of them. */
  get(name: string): RestingPair | undefined {
    return this.#pairs.get(name);
  }

  /** put adds one. */
  put(pair: RestingPair): void {
    this.take(pair.node.name);
    const kept: Kept = { ...pair, relay: this.#shared(pair.relay) };
    this.#pairs.set(pair.node.name, kept);
    this.#byKey.set(pair.node.publicKey, kept);
  }

  /** take removes one, and returns it. */
  take(name: string): RestingPair | undefined {
    const pair = this.#pairs.get(name);
    if (pair === undefined) return undefined;
    this.#pairs.delete(name);
    this.#byKey.delete(pair.node.publicKey);
    return pair;
  }

  /** follow takes over what a node of the same key is now, and the relay; true if that changes its path. */
  follow(node: Node, relay: RestingRelay | undefined): boolean {
    const pair = this.#pairs.get(node.name);
    if (pair === undefined) return false;
    pair.node = node;
    // Where no hub is known now, packets go on where they went.
    if (relay === undefined || (pair.relay !== undefined && sameRelay(pair.relay, relay))) return false;
    pair.relay = this.#shared(relay);
    return true;
  }

  #shared(relay: RestingRelay | undefined): RestingRelay | undefined {
    if (relay === undefined) return undefined;
    const { hub, endpoint, mtuBytes } = relay;
    if (this.#relay === undefined || !sameRelay(this.#relay, relay))
      this.#relay = { hub, endpoint, ...(mtuBytes === undefined ? {} : { mtuBytes }) };
    return this.#relay;
  }

  /** stirred takes a reading of the device, and returns the names of nodes with which anything was exchanged since the last one. */
  stirred(peers: Iterable<PeerState>): string[] {
    const names: string[] = [];
    for (const peer of peers) {
      const pair = this.#byKey.get(peer.publicKey);
      if (pair === undefined || pair.peer === peer) continue;
      if (hasMoved(pair.peer, peer)) names.push(pair.node.name);
      else pair.peer = peer;
    }
    return names;
  }

  /** path returns what the mesh feature needs to know; `generation`: how often the peer was made anew. */
  path(name: string, generation: number): PeerPath {
    const { relay, uses } = this.#pairs.get(name) ?? { relay: undefined, uses: 0 };
    if (relay === undefined) return { rests: true, generation, endpointSerial: uses };
    const { endpoint, mtuBytes } = relay;
    return {
      rests: true,
      generation,
      endpointSerial: uses,
      endpoint,
      ...(mtuBytes === undefined ? {} : { mtuBytes: tunnelMtuOf(mtuBytes, endpoint.ip.family) }),
    };
  }
}

function sameRelay(a: RestingRelay, b: RestingRelay): boolean {
  return a.hub === b.hub && a.mtuBytes === b.mtuBytes && endpointEqual(a.endpoint, b.endpoint);
}

/** Bytes came or went, or a handshake was made. A peer that was made anew begins at nothing. */
function hasMoved(before: PeerState | undefined, now: PeerState): boolean {
  if (now.rxBytes === 0 && now.txBytes === 0) return false;
  return now.rxBytes !== (before?.rxBytes ?? 0) || now.txBytes !== (before?.txBytes ?? 0);
}
