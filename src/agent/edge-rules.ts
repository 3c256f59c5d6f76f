/** Rules of a domain of the edge: what it takes from the fabric, and what it gives there. */
import type { EvpnHost, LocalPrefix, PrefixAttributes, PrefixRules } from "../bgp/mod.ts";
import type { ImportRule, RoutedRoute } from "../domain/mod.ts";
import type { EdgeDomain } from "../edge/mod.ts";
import { sameValue } from "../engine/mod.ts";
import { hostPrefix } from "../net/mod.ts";
import type { PolicyRule } from "../resources/mod.ts";
import type { EdgeSpeaker } from "./edge-routes.ts";
import type { ExportRule } from "./vpc-announcer.ts";

/** DomainRules are those that a domain has: the same functions as long as its rules are the same. */
export interface DomainRules {
  readonly imports?: ImportRule;
  readonly exports?: ExportRule;
  /** What is exported depends on more than the network. */
  readonly byPath?: boolean;
}

interface Ruled {
  readonly vni: number;
  readonly targets: readonly string[];
  readonly asn: number;
  readonly import: readonly PolicyRule[] | undefined;
  readonly export: readonly PolicyRule[] | undefined;
}

/** EdgeRules knows the rules of a router's domains. While nobody can read them, a domain that has rules takes and gives nothing. */
export class EdgeRules {
  readonly #known = new Map<number, { readonly ruled: Ruled; readonly rules: DomainRules }>();
  #read: EdgeSpeaker["rules"] | undefined;

  /** setReader says who reads rules. */
  setReader(read: EdgeSpeaker["rules"]): void {
    if (this.#read !== undefined) return;
    this.#read = read;
    this.#known.clear();
  }

  /** forget is for a domain that has left. */
  forget(vni: number): void {
    this.#known.delete(vni);
  }

  /** of returns the rules of a domain; `asn` is what `prepend` puts in front of a path. */
  of({ vni, routing }: EdgeDomain, asn: number): DomainRules {
    if (routing?.import === undefined && routing?.export === undefined) {
      this.#known.delete(vni);
      return {};
    }
    const { exportTargets: targets, host } = routing;
    const ruled = { vni, targets, asn: host?.asn ?? asn, import: routing.import, export: routing.export };
    const known = this.#known.get(vni);
    if (known !== undefined && sameValue(known.ruled, ruled)) return known.rules;
    const rules = rulesOf(ruled, this.#read);
    this.#known.set(vni, { ruled, rules });
    return rules;
  }
}

function rulesOf(ruled: Ruled, read: EdgeSpeaker["rules"] | undefined): DomainRules {
  const { asn } = ruled;
  const compiled = (rules: readonly PolicyRule[]): PrefixRules => read?.(rules, { asn }) ?? (() => undefined);
  return {
    ...(ruled.import === undefined ? {} : { imports: importRule(compiled(ruled.import)) }),
    ...(ruled.export === undefined ? {} : { exports: exportRule(compiled(ruled.export), ruled) }),
    byPath: ruled.export?.some(({ match }) => looksAtPath(match)) === true,
  };
}

function looksAtPath({ asPath, community, largeCommunity }: PolicyRule["match"]): boolean {
  return asPath !== undefined || community !== undefined || largeCommunity !== undefined;
}

/** importRule has rules decide on routes of the fabric: networks, and addresses of hosts that are routed to. */
export function importRule(rules: PrefixRules): ImportRule {
  return <R extends RoutedRoute>(route: R): R | undefined => {
    const { kind, vtep, targets, asPath = [], communities, largeCommunities } = route;
    const decided = rules({
      ...(kind === "prefix"
        ? { type: 5, prefix: route.prefix, vni: route.vni }
        : { type: 2, prefix: hostPrefix(route.ip), vni: l3vniOf(route) }),
      targets,
      attributes: {
        ...{ asPath, nextHop: { address: vtep } },
        ...(kind === "prefix" ? { localPreference: route.localPreference } : {}),
        ...(communities === undefined ? {} : { communities }),
        ...(largeCommunities === undefined ? {} : { largeCommunities }),
      },
    });
    if (decided === undefined) return undefined;
    if (kind !== "prefix") return route;
    const { localPreference = route.localPreference, asPath: path } = decided.attributes;
    return { ...route, localPreference, ...(path.length === 0 ? {} : { asPath: path }) };
  };
}

function l3vniOf({ l3vni, vni }: EvpnHost): number {
  return l3vni ?? vni;
}

/** exportRule has rules decide on what goes to the fabric as type 5. */
export function exportRule(
  rules: PrefixRules,
  { vni, targets }: { readonly vni: number; readonly targets: readonly string[] },
): ExportRule {
  return ({ prefix, asPath = [], communities, largeCommunities }) => {
    const decided = rules({
      ...{ type: 5, prefix, vni, targets },
      attributes: {
        asPath,
        ...(communities === undefined ? {} : { communities }),
        ...(largeCommunities === undefined ? {} : { largeCommunities }),
      },
    });
    return decided && { prefix, ...told(decided.attributes), ...ownTargets(decided.targets, targets) };
  };
}

function told({ asPath, localPreference, med, communities, largeCommunities }: PrefixAttributes) {
  return {
    ...(asPath.length === 0 ? {} : { asPath }),
    ...(localPreference === undefined ? {} : { localPreference }),
    ...(med === undefined ? {} : { med }),
    ...(communities === undefined ? {} : { communities }),
    ...(largeCommunities === undefined ? {} : { largeCommunities }),
  };
}

/** Those of the L3VNI follow it when they change. */
function ownTargets(targets: readonly string[], usual: readonly string[]): Pick<LocalPrefix, "targets"> {
  return sameValue(targets, usual) ? {} : { targets };
}
