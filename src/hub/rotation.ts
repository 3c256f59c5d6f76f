/**
 * A node's change of key, its own side: a state machine without file, socket and clock.
 *
 * ```
 *  resting ── asked, or the key is too old ──▶ made: the next key is stored, and announced to a hub until the register has it
 *     ▲                                          │ the register has it
 *     │                                          ▼
 *     │                                       announced: others get a second peer for it; OVERLAP_MS
 *     │ the register has the next key            │
 *     └────────────── switched ◀─────────────────┘ the device has the next key; all sessions are made anew with it
 * ```
 * The old key stays valid until a hub has heard the next one, so whoever misses a step is told by the register what to go by.
 */
import { formatIp, type Ip, type PrivateKey, type PublicKey } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import { proofHolds, proofOf } from "./proof.ts";

/** OVERLAP_MS is how long others know the next key before it is used: they are told within a second, or meet somebody who knows. */
export const OVERLAP_MS = 45_000;
/** An announcement that is not in the register yet is said again after this time. */
const AGAIN_MS = 10_000;

/** Rotation is where a node is. */
export interface Rotation {
  /** Since when the present key is used, milliseconds since 1970 by this node's clock. */
  readonly sinceMs: number;
  readonly wanted: boolean;
  readonly next?: PublicKey;
  /** When it was last told to a hub; monotonic, as are the others below. */
  readonly toldMs?: number;
  readonly announcedMs?: number;
  readonly switched: boolean;
}

/** RotationEvent is what happened, or how things are. */
export type RotationEvent =
  /** Somebody asked for another key. */
  | { readonly kind: "want" }
  /** The next key was made and stored. */
  | { readonly kind: "made"; readonly key: PublicKey }
  | {
      readonly kind: "look";
      readonly nowMs: number;
      readonly wallMs: number;
      /** A hub is connected. */
      readonly connected: boolean;
      /** This node's keys as the register has them. */
      readonly self: { readonly publicKey: PublicKey; readonly nextPublicKey?: PublicKey };
      readonly maxAgeMs?: number | undefined;
    };

/** RotationEffect is to be carried out. `make` is answered by `made`. */
export type RotationEffect = "make" | "announce" | "switch" | "finished";

type Step = readonly [Rotation, readonly RotationEffect[]];

/** startRotation begins, also in the middle of a change: `next` is the stored next key, `switched` that the device has it already. */
export function startRotation(stored: {
  readonly sinceMs: number;
  readonly next?: PublicKey;
  readonly switched?: boolean;
}): Rotation {
  return { wanted: false, switched: false, ...stored };
}

/** stepRotation takes one event. */
export function stepRotation(state: Rotation, event: RotationEvent): Step {
  switch (event.kind) {
    case "want":
      return [{ ...state, wanted: true }, []];
    case "made":
      return [{ ...state, wanted: false, next: event.key }, []];
    case "look":
      return state.next === undefined ? rest(state, event) : change(state, state.next, event);
  }
}

function rest(state: Rotation, look: RotationEvent & { kind: "look" }): Step {
  const { maxAgeMs, connected, wallMs, self } = look;
  const old = maxAgeMs !== undefined && wallMs - state.sinceMs > maxAgeMs * (1 - spread(self.publicKey));
  return [state, connected && (state.wanted || old) ? ["make"] : []];
}

/** Up to a tenth of the age, by the key: nodes that joined together do not all change in the same moment. */
function spread(key: PublicKey): number {
  return (sha256("causeway rotation spread", key)[0] as number) / 2560;
}

function change(state: Rotation, next: PublicKey, look: RotationEvent & { kind: "look" }): Step {
  const { nowMs, wallMs, connected, self } = look;
  if (self.publicKey === next)
    // Heard with it, and so in the register for good; a device that has not switched does so now.
    return [
      { sinceMs: wallMs, wanted: false, switched: false },
      state.switched ? ["finished"] : ["switch", "finished"],
    ];
  if (state.switched) return [state, []];
  if (self.nextPublicKey !== next) {
    const { announcedMs: _, ...rest } = state;
    const due = connected && nowMs - (state.toldMs ?? Number.NEGATIVE_INFINITY) >= AGAIN_MS;
    return due ? [{ ...rest, toldMs: nowMs }, ["announce"]] : [rest, []];
  }
  const announcedMs = state.announcedMs ?? nowMs;
  // Without a hub nobody could put right what goes wrong.
  if (nowMs - announcedMs < OVERLAP_MS || !connected) return [{ ...state, announcedMs }, []];
  return [{ ...state, announcedMs, switched: true }, ["switch"]];
}

/** RotationClaim is what a node says when it announces a key. */
export interface RotationClaim {
  readonly node: string;
  readonly epoch: string;
  readonly now: PublicKey;
  readonly next: PublicKey;
  /** The node's overlay address, from which it is said. */
  readonly address: Ip;
}

/** No nonce: the claim names both keys, and a key that was used is revoked. */
const NO_NONCE = new Uint8Array(32);

function input({ node, epoch, now, next, address }: RotationClaim) {
  return {
    nonce: NO_NONCE,
    address,
    request: { rotate: { node, epoch, now, next, from: formatIp(address) } },
  };
}

/** rotationProof shows a hub that this node holds the private half of its next key. */
export function rotationProof(next: PrivateKey, hub: PublicKey, claim: RotationClaim): Uint8Array {
  return proofOf({ own: next, peer: hub }, input(claim));
}

/** rotationProofHolds checks it, at the hub. */
export function rotationProofHolds(hub: PrivateKey, claim: RotationClaim, proof: Uint8Array): boolean {
  return proofHolds({ own: hub, peer: claim.next }, input(claim), proof);
}
