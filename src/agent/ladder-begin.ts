/** How a ladder begins (mesh/ladder.ts): on what the device has of the peer already. */
import {
  type Candidate,
  type LadderEvent,
  type LadderMode,
  type LadderStep,
  type Relay,
  startLadder,
} from "../mesh/mod.ts";
import { type PeerState, type PublicKey, publicKeyBytes } from "../net/mod.ts";
import type { Topology } from "../resources/mod.ts";
import { randomBytes, wallMs } from "../sys/mod.ts";

/** A younger handshake is of a live session (WireGuard's REJECT_AFTER_TIME): after a start of the agent such a pair talks. */
const LIVE_MS = 180_000;
/** First rounds of a thousand ladders that begin together are spread over this time. */
const SPREAD_MS = 20_000;
/** So many begin at once. */
const AT_ONCE = 32;

/** MODES are what a mesh's topology means to a pair. */
export const MODES: Readonly<Record<Topology, LadderMode>> = {
  "full-mesh": "full",
  "hubs-only": "hubs",
  "on-demand": "on-demand",
};

/** LadderBeginning is what the caller knows. */
export interface LadderBeginning {
  readonly nowMs: number;
  readonly own: PublicKey;
  readonly other: PublicKey;
  readonly mode: LadderMode;
  readonly relays: readonly Relay[];
  readonly candidates: readonly Candidate[];
  readonly peer: PeerState | undefined;
  /** Of those that begin together. */
  readonly number: number;
}

/** beginLadder starts it. */
export function beginLadder(beginning: LadderBeginning): LadderStep {
  const { nowMs, own, other, mode, relays, candidates, peer, number } = beginning;
  return startLadder({
    nowMs,
    controlling: Buffer.compare(publicKeyBytes(own), publicKeyBytes(other)) < 0,
    mode,
    seed: Buffer.from(randomBytes(8)).readBigUInt64BE(),
    relays,
    candidates,
    ...(peer === undefined ? {} : { known: readingOf(peer) }),
    ...(number < AT_ONCE ? {} : { delayMs: (randomBytes(1)[0] as number) * (SPREAD_MS / 256) }),
  });
}

type Reading = Omit<Extract<LadderEvent, { readonly kind: "observed" }>, "kind" | "nowMs">;

/** readingOf returns what a ladder is told of a peer. */
export function readingOf(peer: PeerState): Reading {
  const { rxBytes, txBytes, endpoint } = peer;
  const handshakeAgeMs = handshakeAge(peer);
  return {
    rxBytes,
    txBytes,
    ...(handshakeAgeMs === undefined ? {} : { handshakeAgeMs }),
    ...(endpoint === undefined ? {} : { endpoint }),
  };
}

/** isLive tells whether the device has a session with a peer. */
export function isLive(peer: PeerState | undefined): boolean {
  return peer !== undefined && (handshakeAge(peer) ?? LIVE_MS) < LIVE_MS;
}

/** How long ago a peer's last handshake was, in milliseconds. */
function handshakeAge({ lastHandshakeMs }: PeerState): number | undefined {
  return lastHandshakeMs === undefined ? undefined : Math.max(0, wallMs() - lastHandshakeMs);
}

/** peersByKey arranges what was read of the peers that have one of some keys, or of all. */
export function peersByKey(
  read: readonly PeerState[],
  keys?: ReadonlySet<PublicKey>,
): ReadonlyMap<PublicKey, PeerState> {
  const peers = new Map<PublicKey, PeerState>();
  for (const peer of read) if (keys?.has(peer.publicKey) !== false) peers.set(peer.publicKey, peer);
  return peers;
}

/** keysOf returns the keys of the nodes that ladders lead to. */
export function keysOf(
  ladders: Iterable<{ readonly node: { readonly publicKey: PublicKey } }>,
): ReadonlySet<PublicKey> {
  return new Set([...ladders].map(({ node }) => node.publicKey));
}
