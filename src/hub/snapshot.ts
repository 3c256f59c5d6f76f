/** The register at one revision, cut up for all nodes: what all nodes of a class see once, and what is for one node alone. */
import type { SigningSecret } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import type { Register } from "./register.ts";
import { signHeader, stateDigest, type StateHeader, type StateMessage } from "./signed-state.ts";
import { type Labels, Visibility } from "./visibility.ts";

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
  #labels: Labels = new Map();
  #cached:
    | {
        readonly epoch: string;
        readonly revision: number;
        readonly visibility: Visibility;
        /** Since this revision nodes see the same others; who is older must get everything. */
        readonly sameSince: number;
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
    const register = this.#register;
    return {
      // Most lines of nodes are signs of life, for which the database need not be asked.
      get revision() {
        return register.revision;
      },
      message: (node, since) => this.message(node, since),
    };
  }

  /** message returns a signed state of one node. */
  message(node: string, since?: StateHeader): StateMessage {
    const { epoch, revision, visibility, sameSince, headers } = this.#current();
    const shared = visibility.shared(node);
    const own = visibility.own(node);
    const header =
      headers.get(node) ??
      signHeader({ epoch, revision, node, digest: stateDigest(own, shared.digest) }, this.#signing);
    headers.set(node, header);
    const known = since?.epoch === epoch && since.node === node && since.revision >= sameSince;
    const changes = known ? this.#register.changesSince(node, since.revision) : undefined;
    if (changes === undefined)
      return {
        type: "state",
        set: [...shared.entries, ...own].map(([key, value]) => [key, parse(value)]),
        remove: [],
        header,
      };
    const seen = changes.flatMap(({ key: published, value }) => {
      const key = visibility.keyFor(node, published);
      return key === undefined ? [] : [{ key, value }];
    });
    return {
      type: "state",
      from: (since as StateHeader).revision,
      set: seen.flatMap(({ key, value }) => (value === undefined ? [] : [[key, parse(value)] as const])),
      remove: seen.filter((change) => change.value === undefined).map((change) => change.key),
      header,
    };
  }

  #current() {
    const { epoch, revision } = this.#register;
    if (this.#cached?.revision === revision && this.#cached.epoch === epoch) return this.#cached;
    const before = this.#cached;
    const labels: Labels = new Map();
    const visibility = new Visibility(this.#register.entries(), this.#labels, labels);
    this.#labels = labels;
    const same = before?.epoch === epoch && visibility.sameAs(before.visibility);
    // What nodes saw before this hub started is not known. Without rules they saw all, or the digest tells them that they did not.
    const firstSince = before === undefined && !visibility.ruled ? 0 : revision;
    const sameSince = same ? before.sameSince : firstSince;
    this.#cached = { epoch, revision, visibility, sameSince, headers: new Map() };
    return this.#cached;
  }

  /** sameSince is the revision since which nodes see the same others. */
  get sameSince(): number {
    return this.#current().sameSince;
  }

  /** sees tells whether a node is told of another. */
  sees(node: string, other: string): boolean {
    return this.#current().visibility.sees(node, other);
  }
}

function parse(value: string): Json {
  return JSON.parse(value) as Json;
}
