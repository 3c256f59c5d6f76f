/**
 * Policies of a BgpRouter as functions of routes. Texts are parsed when a policy is compiled, so that a rule only compares.
 *
 * A policy that looks at nothing but attributes is asked once for a set of them (rib/policy.ts); one that names prefixes, types of EVPN routes
 * or VNIs is asked for each route.
 */
import { type Ip, type Prefix, prefixContains, prefixCovers } from "../../net/mod.ts";
import { asPathPattern, type PolicyRule, type PrefixRange, type RouteChange } from "../../resources/mod.ts";
import type { Policy, PolicyRoute } from "../rib/mod.ts";
import {
  type BgpFamily,
  decodeNlri,
  EVPN,
  type ExtendedCommunity,
  type Nlri,
  parseExtendedCommunity,
  type PathAttributes,
  prependAs,
  printAsPath,
  printExtendedCommunity,
  printLargeCommunity,
  parseLargeCommunity,
} from "../wire/mod.ts";

/** RuledRoute is what rules look at. */
export interface RuledRoute {
  /** Absent: it is no route to a network. */
  readonly prefix: Prefix | undefined;
  /** 0: it is no EVPN route. */
  readonly evpnType: number;
  /** VNIs. */
  readonly labels: readonly number[];
  attributes: PathAttributes;
}

/** RouteView is a route with what is read of it at most once. */
class RouteView implements RuledRoute {
  readonly #route: PolicyRoute;
  #known: Nlri | undefined;
  attributes: PathAttributes;

  constructor(route: PolicyRoute) {
    this.#route = route;
    this.attributes = route.attributes;
  }

  get prefix(): Prefix | undefined {
    const nlri = this.#nlri;
    return nlri.kind === "prefix" || nlri.kind === "ip-prefix" ? nlri.prefix : undefined;
  }

  get evpnType(): number {
    return this.#route.family === EVPN ? evpnTypeOf(this.#nlri) : 0;
  }

  get labels(): readonly number[] {
    return labelsOf(this.#nlri);
  }

  get #nlri(): Nlri {
    this.#known ??= decodeNlri(this.#route.family, this.#route.key, this.#route.extra);
    return this.#known;
  }
}

type Test = (route: RuledRoute) => boolean;
type Change = (attributes: PathAttributes) => PathAttributes;

/** CompiledRule is a rule whose texts are read. */
export interface CompiledRule {
  readonly tests: readonly Test[];
  readonly changes: readonly Change[];
  readonly action: PolicyRule["action"];
}

/** compilePolicy returns the policy of some rules; what no rule decides is rejected. `asn` is what `prepend` puts in front. */
export function compilePolicy(rules: readonly PolicyRule[], { asn }: { readonly asn: number }): Policy {
  const compiled = compileRules(rules, asn);
  const dependsOnDestination = rules.some(
    ({ match }) => match.prefix !== undefined || match.evpnType !== undefined || match.vni !== undefined,
  );
  return {
    dependsOnDestination,
    apply: (route) => decide(compiled, new RouteView(route)),
  };
}

/** compileRules reads the texts of rules. */
export function compileRules(rules: readonly PolicyRule[], asn: number): readonly CompiledRule[] {
  return rules.map((rule) => ({
    tests: testsOf(rule),
    changes: changesOf(rule.set, asn),
    action: rule.action,
  }));
}

/** decide returns the attributes that a route goes on with; undefined: a rule rejects it, or none decides. */
export function decide(rules: readonly CompiledRule[], route: RuledRoute): PathAttributes | undefined {
  for (const { tests, changes, action } of rules) {
    if (!tests.every((fits) => fits(route))) continue;
    if (action === "reject") return undefined;
    for (const change of changes) route.attributes = change(route.attributes);
    if (action === "accept") return route.attributes;
  }
  return undefined;
}

/** rejectAll is the policy of an external neighbor that has none (RFC 8212). */
export const rejectAll: Policy = { dependsOnDestination: false, apply: () => undefined };

/** policyByFamily asks the policy of the route's family; families that are not named are accepted as they are. */
export function policyByFamily(policies: ReadonlyMap<BgpFamily, Policy>): Policy | undefined {
  if (policies.size === 0) return undefined;
  return {
    dependsOnDestination: [...policies.values()].some((policy) => policy.dependsOnDestination),
    apply: (route) => {
      const policy = policies.get(route.family);
      return policy === undefined ? route.attributes : policy.apply(route);
    },
  };
}

function testsOf({ match }: PolicyRule): Test[] {
  const { prefix, community, largeCommunity, routeTarget, asPath, evpnType, vni, nextHop } = match;
  const tests: Test[] = [];
  if (prefix !== undefined) tests.push((route) => prefixFits(prefix, route.prefix));
  if (community !== undefined)
    tests.push(({ attributes }) => attributes.communities?.some((one) => community.includes(one)) === true);
  if (largeCommunity !== undefined)
    tests.push(
      ({ attributes }) =>
        attributes.largeCommunities?.some((one) => largeCommunity.includes(printLargeCommunity(one))) ===
        true,
    );
  if (routeTarget !== undefined) {
    const wanted = new Set(routeTarget.map((text) => printExtendedCommunity(routeTargetOf(text))));
    tests.push(
      ({ attributes }) =>
        attributes.extendedCommunities?.some((one) => wanted.has(printExtendedCommunity(one))) === true,
    );
  }
  if (asPath !== undefined) {
    const patterns = asPath.map((text) => new RegExp(asPathPattern(text)));
    tests.push(({ attributes }) => {
      const text = printAsPath(attributes.asPath);
      return patterns.some((pattern) => pattern.test(text));
    });
  }
  if (evpnType !== undefined) tests.push((route) => evpnType.includes(route.evpnType));
  if (vni !== undefined) tests.push(({ labels }) => labels.some((label) => vni.includes(label)));
  if (nextHop !== undefined)
    tests.push(({ attributes: { nextHop: hop } }) => hop !== undefined && inAny(nextHop, hop.address));
  return tests;
}

function inAny(prefixes: readonly Prefix[], address: Ip): boolean {
  return prefixes.some((prefix) => prefix.family === address.family && prefixContains(prefix, address));
}

function prefixFits(ranges: readonly PrefixRange[], prefix: Prefix | undefined): boolean {
  if (prefix === undefined) return false;
  return ranges.some(
    (range) =>
      range.prefix.family === prefix.family &&
      prefix.length >= range.least &&
      prefix.length <= range.most &&
      prefixCovers(range.prefix, prefix),
  );
}

/** evpnTypeOf returns the number of an EVPN route's type. */
function evpnTypeOf(nlri: Nlri): number {
  switch (nlri.kind) {
    case "ethernet-auto-discovery":
      return 1;
    case "mac-ip":
      return 2;
    case "inclusive-multicast":
      return 3;
    case "ethernet-segment":
      return 4;
    case "ip-prefix":
      return 5;
    case "evpn-unknown":
      return nlri.type;
    default:
      return 0;
  }
}

function labelsOf(nlri: Nlri): readonly number[] {
  if (nlri.kind === "mac-ip") return nlri.labels ?? [];
  if (nlri.kind === "ip-prefix" || nlri.kind === "ethernet-auto-discovery")
    return nlri.label === undefined ? [] : [nlri.label];
  return [];
}

/** routeTargetOf reads `65000:100`; throws for what is no route target. */
export function routeTargetOf(text: string): ExtendedCommunity {
  const community = parseExtendedCommunity(`rt:${text}`);
  if (community === undefined) throw new Error(`"${text}" is not a route target; write it like 65000:100`);
  return community;
}

function changesOf(set: RouteChange, asn: number): Change[] {
  const changes: Change[] = [];
  const { localPreference, med, nextHop, prepend } = set;
  if (localPreference !== undefined) changes.push((route) => ({ ...route, localPreference }));
  if (med !== undefined) changes.push((route) => ({ ...route, med }));
  if (nextHop !== undefined) changes.push((route) => ({ ...route, nextHop: { address: nextHop } }));
  if (prepend !== undefined)
    changes.push((route) => ({ ...route, asPath: prependAs(route.asPath, asn, prepend) }));
  listChange(changes, "communities", { remove: set.removeCommunity, add: set.addCommunity }, String);
  listChange(
    changes,
    "largeCommunities",
    {
      remove: set.removeLargeCommunity?.map((text) => parseLargeCommunity(text)),
      add: set.addLargeCommunity?.map((text) => parseLargeCommunity(text)),
    },
    printLargeCommunity as (value: unknown) => string,
  );
  listChange(
    changes,
    "extendedCommunities",
    { remove: set.removeRouteTarget?.map(routeTargetOf), add: set.addRouteTarget?.map(routeTargetOf) },
    printExtendedCommunity as (value: unknown) => string,
  );
  return changes;
}

/** A list attribute without some values and with others; an empty list is no attribute. */
function listChange(
  changes: Change[],
  field: "communities" | "largeCommunities" | "extendedCommunities",
  wish: { readonly remove?: readonly unknown[] | undefined; readonly add?: readonly unknown[] | undefined },
  name: (value: unknown) => string,
): void {
  const { remove = [], add = [] } = wish;
  if (remove.length === 0 && add.length === 0) return;
  const removed = new Set(remove.map(name));
  changes.push((route) => {
    const kept = ((route[field] ?? []) as readonly unknown[]).filter((value) => !removed.has(name(value)));
    const there = new Set(kept.map(name));
    const list = [...kept, ...add.filter((value) => !there.has(name(value)))];
    const { [field]: _, ...rest } = route;
    return (list.length === 0 ? rest : { ...rest, [field]: list }) as PathAttributes;
  });
}
