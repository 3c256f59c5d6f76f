/**
 * Policy as the RIB sees it: a function from a route's attributes to other attributes, or to a refusal. What a policy that looks at
 * nothing but attributes says is remembered by the number of the attribute set, so that it is asked once for a set and not for each route.
 */
import { attributesOf, type BgpFamily, encodeCanonical, type PathAttributes } from "../wire/mod.ts";
import { AttributeMap, changed } from "./attribute-map.ts";
import type { AttributeStore } from "./attribute-store.ts";

/** PolicyRoute is what a policy may look at. Key and extra are as NlriCursor gives them. */
export interface PolicyRoute {
  readonly family: BgpFamily;
  readonly key: Uint8Array;
  readonly extra: Uint8Array;
  readonly attributes: PathAttributes;
  /** The peer the route came from; 0 is this router. */
  readonly peer: number;
}

/** Policy decides on routes. */
export interface Policy {
  /** Whether it looks at anything but family and attributes; what it says is remembered only when it does not. */
  readonly dependsOnDestination: boolean;
  /** apply returns the attributes to go on with: the same object for unchanged, undefined to reject. */
  apply(route: PolicyRoute): PathAttributes | undefined;
}

const NOTHING = new Uint8Array(0);

/** PolicyCache applies one policy to routes of one family, whose attributes are known by number. */
export class PolicyCache {
  readonly #policy: Policy;
  readonly #family: BgpFamily;
  readonly #store: AttributeStore;
  readonly #map: AttributeMap;

  constructor(policy: Policy, family: BgpFamily, store: AttributeStore) {
    this.#policy = policy;
    this.#family = family;
    this.#store = store;
    this.#map = new AttributeMap(store, (canonical) => this.#ask(canonical, NOTHING, NOTHING, 0));
  }

  /** Whether each route has to be asked for. */
  get dependsOnDestination(): boolean {
    return this.#policy.dependsOnDestination;
  }

  /** apply returns the set to go on with, with a reference for the caller, or 0 where the policy rejects. For policies that look at attributes only. */
  apply(id: number): number {
    return this.#map.apply(id);
  }

  /** applyTo is `apply` for one route. */
  applyTo(id: number, key: Uint8Array, extra: Uint8Array, peer: number): number {
    return changed(this.#store, id, (canonical) => this.#ask(canonical, key, extra, peer));
  }

  #ask(canonical: Uint8Array, key: Uint8Array, extra: Uint8Array, peer: number): Uint8Array | undefined {
    const attributes = attributesOf(canonical);
    const answer = this.#policy.apply({ family: this.#family, key, extra, attributes, peer });
    return answer === attributes ? canonical : answer === undefined ? undefined : encodeCanonical(answer);
  }
}
