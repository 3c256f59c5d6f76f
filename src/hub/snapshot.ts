/** The register at one revision, cut up for all nodes: what everybody sees once, and what is for one node alone. */
import type { SigningSecret } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import type { Register } from "./register.ts";
import {
  isOwn,
  sharedDigest,
  signHeader,
  stateDigest,
  type StateHeader,
  type StateMessage,
} from "./signed-state.ts";

/** Source is what a connection needs of the register; pure for as long as the revision stays. */
export interface StateSource {
  readonly revision: number;
  /** message returns everything, or the changes after `since` if the node's header proves that it has that revision. */
  message(node: string, since?: StateHeader): StateMessage;
}

/** Snapshots computes states of nodes; it keeps what all nodes share until the revision moves on. */
export class Snapshots {
  readonly #register: Register;
  readonly #signing: SigningSecret;
  #cached:
    | {
        readonly epoch: string;
        readonly revision: number;
        readonly shared: Map<string, string>;
        readonly digest: string;
        readonly owned: Map<string, Map<string, string>>;
        /** By node: a revision is signed once for each. */
        readonly headers: Map<string, StateHeader>;
      }
    | undefined;

  constructor(register: Register, signing: SigningSecret) {
    this.#register = register;
    this.#signing = signing;
  }

  /** source returns the register as it is now. */
  source(): StateSource {
    return { revision: this.#register.revision, message: (node, since) => this.message(node, since) };
  }

  /** message returns a signed state of one node. */
  message(node: string, since?: StateHeader): StateMessage {
    const { epoch, revision, shared, digest, owned, headers } = this.#current();
    const own = owned.get(node) ?? new Map<string, string>();
    const header =
      headers.get(node) ??
      signHeader({ epoch, revision, node, digest: stateDigest(own, digest) }, this.#signing);
    headers.set(node, header);
    const known = since !== undefined && since.epoch === epoch && since.node === node;
    const changes = known ? this.#register.changesSince(node, since.revision) : undefined;
    if (changes === undefined)
      return {
        type: "state",
        set: [...shared, ...own].map(([key, value]) => [key, parse(value)]),
        remove: [],
        header,
      };
    return {
      type: "state",
      from: (since as StateHeader).revision,
      set: changes.flatMap(({ key, value }) => (value === undefined ? [] : [[key, parse(value)] as const])),
      remove: changes.filter((change) => change.value === undefined).map((change) => change.key),
      header,
    };
  }

  #current() {
    const { epoch, revision } = this.#register;
    if (this.#cached?.revision === revision && this.#cached.epoch === epoch) return this.#cached;
    const shared = new Map<string, string>();
    const owned = new Map<string, Map<string, string>>();
    for (const [key, value] of this.#register.entries()) {
      if (!isOwn(key)) {
        shared.set(key, value);
        continue;
      }
      const node = key.split("/")[1] as string;
      const own = owned.get(node) ?? new Map<string, string>();
      owned.set(node, own.set(key, value));
    }
    const digest = sharedDigest(shared);
    this.#cached = { epoch, revision, shared, digest, owned, headers: new Map() };
    return this.#cached;
  }
}

function parse(value: string): Json {
  return JSON.parse(value) as Json;
}
