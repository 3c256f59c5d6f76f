/** Exports by name: from what a peer and its session are, to what its update group sends. Equal exports have equal names. */
import type { BgpFamily } from "../wire/mod.ts";
import type { AttributeMap } from "./attribute-map.ts";
import type { OwnIdentity } from "./attribute-rank.ts";
import type { PeerKind } from "./export-attributes.ts";
import type { Membership } from "./membership.ts";
import { isClient, type RibPeer } from "./peer.ts";
import type { Policy, PolicyCache } from "./policy.ts";
import type { GroupExport } from "./update-group.ts";

/** ExportNames makes exports. */
export class ExportNames {
  readonly #own: OwnIdentity;
  readonly #withoutMed: AttributeMap;
  readonly #cacheOf: (policy: Policy, family: BgpFamily) => PolicyCache;
  /** Policies have no names: they are told apart by number. */
  readonly #numbers = new WeakMap<Policy, number>();
  #next = 1;

  constructor(
    own: OwnIdentity,
    withoutMed: AttributeMap,
    cacheOf: (policy: Policy, family: BgpFamily) => PolicyCache,
  ) {
    this.#own = own;
    this.#withoutMed = withoutMed;
    this.#cacheOf = cacheOf;
  }

  /** of returns what a peer whose session is up is sent in a family. */
  of(peer: RibPeer, family: BgpFamily, membership: Membership | undefined): GroupExport {
    const { session } = peer;
    const options = session?.families.get(family) ?? {};
    const { exportPolicy: policy, external } = peer.options;
    const kind: PeerKind = external ? "external" : isClient(peer.options, family) ? "client" : "internal";
    const { addPathSend: addPath, nextHopSelf, ownNextHop } = options;
    const as4 = session?.update.as4 === true;
    const extendedMessages = session?.extendedMessages === true;
    const longLived = session?.longLived === true;
    const extendedNextHop = session?.update.extendedNextHop.has(family) === true;
    const key = [
      kind,
      as4 ? "as4" : "as2",
      addPath ?? "one",
      extendedMessages ? "extended" : "usual",
      nextHopSelf?.join(".") ?? "-",
      ownNextHop?.join(".") ?? "-",
      extendedNextHop ? "any next hop" : "-",
      longLived ? "llgr" : "-",
      policy === undefined ? 0 : this.#numberOf(policy),
      membership === undefined ? "all" : `wants ${membership.name}`,
    ].join("|");
    const form = {
      kind,
      own: this.#own,
      nextHopSelf,
      ownNextHop,
      family,
      as4,
      pathIds: addPath !== undefined,
      extendedMessages,
      extendedNextHop,
    };
    const policies = policy === undefined ? [] : [this.#cacheOf(policy, family)];
    const without = external ? this.#withoutMed : undefined;
    return { key, form, addPath, longLived, policies, withoutMed: without, membership };
  }

  #numberOf(policy: Policy): number {
    let number = this.#numbers.get(policy);
    if (number === undefined) this.#numbers.set(policy, (number = this.#next++));
    return number;
  }
}
