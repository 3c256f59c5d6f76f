/** A node's pre-shared keys: what hubs have sealed for it, kept in a file of mode 0600, and which one each pair uses now. */
import { z } from "zod";
import { choosePsk, leads, NO_KEY, type PskChoice } from "../mesh/mod.ts";
import { type PeerState, type PublicKey, Secret } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { hubPairKey, openPairKey } from "./pair-key.ts";

/** MAX_PSK_PEERS is for how many peers a node asks in one line: with the longest names it is shorter than NODE_LINE_BYTES. */
export const MAX_PSK_PEERS = 60;

/** sealedKeySchema reads one pair's key as a hub hands it over. */
export const sealedKeySchema = z.object({
  peer: z.string().min(1).max(253),
  generation: z.number().int().min(1),
  sealed: z.string().max(256),
});

/** SealedKey is one pair's key, for one of the two. */
export type SealedKey = z.output<typeof sealedKeySchema>;

/** A peer that has no key at the hub is asked about again after this time. */
const AGAIN_MS = 60_000;

const fileSchema = z.array(
  z.object({
    peer: z.string(),
    generation: z.number().int().min(1),
    key: z.string(),
    /** Since when the peer is not in the register: milliseconds since 1970, by this machine's clock. */
    goneMs: z.number().optional(),
  }),
);

/** chosenKeys tells which key each pair uses now, and remembers it; `keysOf` gives a pair's keys by generation. */
export function chosenKeys(
  choices: Map<string, PskChoice>,
  now: {
    readonly self: Node;
    readonly nodes: readonly Node[];
    readonly states: readonly PeerState[];
    readonly wallMs: number;
    readonly keysOf: (node: Node) => ReadonlyMap<number, Secret>;
  },
): ReadonlyMap<string, Secret> {
  const { self, nodes, states, wallMs, keysOf } = now;
  const heard = new Map(states.map((state) => [state.publicKey, state.lastHandshakeMs]));
  const used = new Map<string, Secret>();
  const names = new Set(nodes.map((node) => node.name));
  for (const name of choices.keys()) if (!names.has(name)) choices.delete(name);
  for (const node of nodes) {
    const keys = keysOf(node);
    const choice = choosePsk(choices.get(node.name), {
      leader: leads(self, node),
      available: [...keys.keys(), NO_KEY],
      lastHandshakeMs: latest(heard.get(node.publicKey), node.nextPublicKey && heard.get(node.nextPublicKey)),
      wallMs,
    });
    choices.set(node.name, choice);
    const key = keys.get(choice.generation);
    if (key !== undefined) used.set(node.name, key);
  }
  return used;
}

function latest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other);
}

/** Keys of a node that is not in the register for so long are forgotten. */
const FORGET_MS = 86_400_000;
/** What is due is looked for so often. */
const TIDY_MS = 60_000;

/** PairKeys keeps a member's keys; `save` is given the file's text after each change, and says whether it was stored. */
export class PairKeys {
  readonly #node: string;
  readonly #secret: Secret | undefined;
  readonly #save: (text: string) => boolean;
  #stored = true;
  readonly #keys = new Map<string, Map<number, Secret>>();
  readonly #choices = new Map<string, PskChoice>();
  #generation: number | undefined;
  /** Public keys of nodes now, and those that nodes had when their keys were handed over. */
  #present: ReadonlyMap<string, PublicKey> = new Map();
  readonly #handedFor = new Map<string, PublicKey>();
  readonly #askedMs = new Map<string, number>();
  /** Since when nodes are not in the register, by the wall's clock: it goes on while no agent runs. */
  readonly #goneMs = new Map<string, number>();
  #tidiedMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    readonly node: string;
    /** What this node and the hubs have in common; absent if its token had none. */
    readonly secret: Secret | undefined;
    readonly text?: string | undefined;
    readonly save: (text: string) => boolean;
  }) {
    this.#node = options.node;
    this.#secret = options.secret;
    this.#save = options.save;
    for (const { peer, generation, key, goneMs } of read(options.text)) {
      this.#put(peer, generation, key);
      if (goneMs !== undefined) this.#goneMs.set(peer, goneMs);
    }
  }

  #put(peer: string, generation: number, key: Secret): void {
    const keys = this.#keys.get(peer) ?? new Map<number, Secret>();
    this.#keys.set(peer, keys.set(generation, key));
  }

  /**
   * missing returns the peers whose newest key is to be asked for now; `generation`: the newest of the mesh, undefined when it has no keys.
   * After a start, and when a peer has another public key, its key is asked for again: another machine may have taken its place.
   */
  missing(nodes: readonly Node[], generation: number | undefined, nowMs: number): readonly string[] {
    this.follow(generation);
    this.#present = new Map(nodes.map((node) => [node.name, node.publicKey]));
    if (generation === undefined || this.#secret === undefined) return [];
    const due = nodes
      .filter(({ name, hub, publicKey }) => {
        const current =
          this.#handedFor.get(name) === publicKey && this.#keys.get(name)?.has(generation) === true;
        return !hub && !current && nowMs - (this.#askedMs.get(name) ?? Number.NEGATIVE_INFINITY) >= AGAIN_MS;
      })
      .map((node) => node.name)
      .slice(0, MAX_PSK_PEERS);
    for (const name of due) this.#askedMs.set(name, nowMs);
    return due;
  }

  /** follow says which generation is the mesh's newest; undefined when it has none. Without a hub that is what it said last. */
  follow(generation: number | undefined): void {
    this.#generation = generation;
  }

  /** take stores what a hub handed over; true when some of it was new. */
  take(sealed: readonly SealedKey[]): boolean {
    const secret = this.#secret;
    let fresh = false;
    for (const { peer, generation, sealed: text } of secret === undefined ? [] : sealed) {
      const key = openPairKey(text, secret as Secret, { node: this.#node, peer, generation });
      if (key === undefined) continue;
      this.#put(peer, generation, key);
      const publicKey = this.#present.get(peer);
      if (publicKey !== undefined) this.#handedFor.set(peer, publicKey);
      for (const old of this.#keys.get(peer)?.keys() ?? [])
        if (old < generation - 1) this.#keys.get(peer)?.delete(old);
      fresh = true;
    }
    if (fresh) this.#store();
    return fresh;
  }

  /** use returns the key of each pair that has one now, by name; look again whenever the device was read. */
  use(now: {
    readonly self: Node;
    readonly nodes: readonly Node[];
    readonly states: readonly PeerState[];
    readonly wallMs: number;
  }): ReadonlyMap<string, Secret> {
    if (this.#generation === undefined) return new Map();
    return chosenKeys(this.#choices, { ...now, keysOf: (node) => this.#keysOf(node) });
  }

  #keysOf(node: Node): ReadonlyMap<number, Secret> {
    if (!node.hub) return this.#keys.get(node.name) ?? new Map<number, Secret>();
    const [secret, newest] = [this.#secret, this.#generation];
    if (secret === undefined || newest === undefined) return new Map();
    const generations = [newest, newest - 1].filter((generation) => generation > NO_KEY);
    return new Map(
      generations.map(
        (generation) => [generation, hubPairKey(secret, { hub: node.name, generation })] as const,
      ),
    );
  }

  /** keep forgets the nodes that are not in the register for long, and stores what could not be stored before; call it every second or so. */
  keep(registered: ReadonlySet<string>, wallMs: number): void {
    if (Math.abs(wallMs - this.#tidiedMs) < TIDY_MS) return;
    this.#tidiedMs = wallMs;
    let changed = !this.#stored;
    for (const name of new Set([...this.#keys.keys(), ...this.#handedFor.keys(), ...this.#askedMs.keys()])) {
      const knownMs = this.#goneMs.get(name);
      // A clock may be set back.
      const goneMs = Math.min(knownMs ?? wallMs, wallMs);
      if (registered.has(name)) changed = this.#goneMs.delete(name) || changed;
      else if (wallMs - goneMs < FORGET_MS) {
        this.#goneMs.set(name, goneMs);
        changed ||= goneMs !== knownMs;
      } else {
        for (const key of this.#keys.get(name)?.values() ?? []) key.reveal().fill(0);
        changed = this.#keys.delete(name) || changed;
        for (const map of [this.#handedFor, this.#askedMs, this.#goneMs]) map.delete(name);
      }
    }
    if (changed) this.#store();
  }

  #store(): void {
    const list = [...this.#keys].flatMap(([peer, keys]) => {
      const goneMs = this.#goneMs.get(peer);
      const gone = goneMs === undefined ? {} : { goneMs };
      return [...keys].map(([generation, key]) => ({ peer, generation, key: key.toFile().trim(), ...gone }));
    });
    this.#stored = this.#save(`${JSON.stringify(list)}\n`);
  }
}

/** A damaged file costs asking again. */
function read(text: string | undefined) {
  if (text === undefined) return [];
  try {
    return fileSchema.parse(JSON.parse(text)).map((one) => ({ ...one, key: Secret.fromBase64(one.key) }));
  } catch {
    return [];
  }
}
