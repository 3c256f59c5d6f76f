/** Rules of a routing domain, which decide on networks by whatever EVPN route they come or go. */
import type { Prefix } from "../../net/mod.ts";
import type { PolicyRule } from "../../resources/mod.ts";
import { type ExtendedCommunity, type PathAttributes, printAdministered } from "../wire/mod.ts";
import { compileRules, decide, routeTargetOf } from "./policy.ts";

/** PrefixAttributes are what rules see and change of a network, beside its route targets. */
export type PrefixAttributes = Pick<
  PathAttributes,
  "asPath" | "localPreference" | "med" | "communities" | "largeCommunities" | "nextHop"
>;

/** RuledPrefix is a network of a routing domain. */
export interface RuledPrefix {
  /** Of the EVPN route: type 5, or type 2 of the host whose address it is. */
  readonly type: 2 | 5;
  readonly prefix: Prefix;
  /** L3VNI. */
  readonly vni: number;
  /** As `64512:300`. */
  readonly targets: readonly string[];
  readonly attributes: PrefixAttributes;
}

/** PrefixRules return what a network goes on with; undefined: it does not. */
export type PrefixRules = (route: RuledPrefix) => Pick<RuledPrefix, "targets" | "attributes"> | undefined;

/** compilePrefixRules returns rules as a function; what no rule decides is rejected. `asn` is what `prepend` puts in front. */
export function compilePrefixRules(
  rules: readonly PolicyRule[],
  { asn }: { readonly asn: number },
): PrefixRules {
  const compiled = compileRules(rules, asn);
  return ({ type, prefix, vni, targets, attributes }) => {
    const decided = decide(compiled, {
      ...{ prefix, evpnType: type, labels: [vni] },
      attributes: { origin: "igp", ...attributes, extendedCommunities: targets.map(routeTargetOf) },
    });
    if (decided === undefined) return undefined;
    const { extendedCommunities = [], ...rest } = decided;
    return { targets: extendedCommunities.flatMap(targetOf), attributes: rest };
  };
}

function targetOf(community: ExtendedCommunity): string[] {
  return community.kind === "route-target" ? [printAdministered(community.target)] : [];
}
