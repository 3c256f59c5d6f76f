/** Removals at a hub: those that its register makes, signed when they are first told, and those that the operator signed. */
import type { PublicKey, SigningSecret } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { Register } from "./register.ts";
import { MAX_REMOVALS, type Removal, removalHolds, type Removals, signRemoval } from "./removal.ts";

/** A node that could not be removed is asked for again after this time. */
const AGAIN_MS = 10_000;

/** HubRemovals keeps what was signed, for as long as it is among the newest. */
export class HubRemovals {
  readonly #register: Register;
  readonly #signing: SigningSecret;
  #signed: ReadonlyMap<PublicKey, Removal> = new Map();
  #revision = -1;
  /** When each node was news. */
  readonly #newsMs = new Map<string, number>();

  constructor(register: Register, signing: SigningSecret) {
    this.#register = register;
    this.#signing = signing;
  }

  /** all returns the removals that the register holds, the newest of very many. */
  all(): Removals {
    const { revision, epoch } = this.#register;
    if (revision === this.#revision) return this.#signed;
    const made = this.#register.revocations(0, MAX_REMOVALS).map(({ publicKey: key, revision: at }) => {
      const known = this.#signed.get(key);
      if (known?.revision === at && known.epoch === epoch) return known;
      return signRemoval({ by: "register", epoch, key, revision: at }, this.#signing);
    });
    this.#signed = new Map(made.map((removal) => [removal.key, removal]));
    this.#revision = revision;
    return this.#signed;
  }

  /** after returns those that changes after a revision made. */
  after(revision: number): Removal[] {
    if (this.#register.revision <= revision) return [];
    return [...this.all().values()].filter((removal) => removal.revision > revision);
  }

  /** asked returns the names of nodes that the operator wants removed and the register still holds. */
  asked(heard: readonly Removal[]): string[] {
    const trust = {
      signingKey: this.#signing.publicKey,
      operatorKey: this.#register.mesh().operatorKey,
    };
    return heard.flatMap((removal) => {
      const node = removal.by === "operator" ? this.#nodeOf(removal.key) : undefined;
      // Without its last hub there is no mesh, and nobody who could tell.
      if (node === undefined || (node.hub && this.#register.hubs().length < 2)) return [];
      return removalHolds(removal, trust) ? [node.name] : [];
    });
  }

  /** Who holds a hub's former key is still taken for the hub by nodes that know that one only. */
  #nodeOf(key: PublicKey): Node | undefined {
    return this.#register.nodeByKey(key) ?? this.#register.nodeByFormerKey(key);
  }

  /** news returns those of them that were not returned a moment ago: while nothing can be written, others tell us of them again and again. */
  news(heard: readonly Removal[], nowMs: number): string[] {
    for (const [name, atMs] of this.#newsMs) if (nowMs - atMs >= AGAIN_MS) this.#newsMs.delete(name);
    const names = this.asked(heard).filter((name) => !this.#newsMs.has(name));
    for (const name of names) this.#newsMs.set(name, nowMs);
    return names;
  }
}
