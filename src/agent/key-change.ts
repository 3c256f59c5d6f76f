/** This node's change of key: the machine of src/hub/rotation.ts with its files. The next key is stored before anybody hears of it. */
import {
  type Rotation,
  type RotationClaim,
  type RotationEvent,
  rotationProof,
  startRotation,
  stepRotation,
} from "../hub/mod.ts";
import { PrivateKey, type PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { monotonicMs, readText, removeTree, wallMs, writeAtomic } from "../sys/mod.ts";
import { nodeKey, takeNodeKey } from "./identity.ts";
import { info } from "./log.ts";
import { STATE } from "./paths.ts";

const NEXT_KEY = `${STATE}/node.key.next`;
/** When the present key was first used: milliseconds since 1970, by this machine's clock. */
const SINCE = `${STATE}/node.key.since`;

/** KeyLook is how things are, once a second. */
export interface KeyLook {
  readonly connected: boolean;
  readonly self: Node;
  readonly epoch: string;
  /** Public key of the hub that is followed. */
  readonly hubKey: PublicKey | undefined;
  readonly maxAgeMs: number | undefined;
}

/** KeyChangeHooks are called by a look. */
export interface KeyChangeHooks {
  readonly announce: (keys: {
    readonly now: PublicKey;
    readonly next: PublicKey;
    readonly proof: Uint8Array;
  }) => void;
  /** The present key is about to be another one. */
  readonly switching?: (present: PrivateKey) => void;
  /** The node's key is another one now, stored: take it up. */
  readonly switched: () => void;
}

/** KeyChange keeps the machine. */
export class KeyChange {
  readonly #hooks: KeyChangeHooks;
  #next: PrivateKey | undefined;
  #state: Rotation;

  constructor(hooks: KeyChangeHooks) {
    this.#hooks = hooks;
    const stored = readText(NEXT_KEY);
    this.#next = stored === undefined ? undefined : PrivateKey.fromBase64(stored);
    const next = this.#next?.publicKey;
    this.#state = startRotation({
      sinceMs: sinceMs(),
      ...(next === undefined ? {} : { next, switched: next === nodeKey().publicKey }),
    });
  }

  /** Whether a change is on its way, or wanted. */
  get changing(): boolean {
    return this.#state.wanted || this.#state.next !== undefined;
  }

  /** want asks for another key; it takes about a minute. */
  want(): void {
    this.#step({ kind: "want" });
  }

  /** look does what is due. */
  look(now: KeyLook): void {
    const { connected, self, maxAgeMs } = now;
    const event = {
      kind: "look",
      nowMs: monotonicMs(),
      wallMs: wallMs(),
      connected,
      self,
      maxAgeMs,
    } as const;
    for (const effect of this.#step(event)) {
      switch (effect) {
        case "make":
          this.#make();
          break;
        case "announce":
          this.#announce(now);
          break;
        case "switch":
          this.#hooks.switching?.(nodeKey());
          takeNodeKey(this.#next as PrivateKey);
          info("this node's key is another one now");
          this.#hooks.switched();
          break;
        case "finished":
          writeAtomic(SINCE, `${wallMs()}\n`, 0o600);
          removeTree(NEXT_KEY);
          this.#next = undefined;
          info("the change of this node's key is complete");
          break;
      }
    }
  }

  #step(event: RotationEvent) {
    const [state, effects] = stepRotation(this.#state, event);
    this.#state = state;
    return effects;
  }

  #make(): void {
    const made = PrivateKey.random();
    writeAtomic(NEXT_KEY, made.toFile(), 0o600);
    this.#next = made;
    this.#step({ kind: "made", key: made.publicKey });
  }

  #announce({ self, epoch, hubKey }: KeyLook): void {
    const next = this.#next;
    if (next === undefined || hubKey === undefined) return;
    const keys = { now: self.publicKey, next: next.publicKey };
    const claim: RotationClaim = { node: self.name, epoch, address: self.overlay6, ...keys };
    this.#hooks.announce({ ...keys, proof: rotationProof(next, hubKey, claim) });
  }
}

/** A key from before this was written down is as old as the first look. */
function sinceMs(): number {
  const stored = Number(readText(SINCE)?.trim());
  if (Number.isInteger(stored) && stored > 0) return stored;
  const nowMs = wallMs();
  writeAtomic(SINCE, `${nowMs}\n`, 0o600);
  return nowMs;
}
