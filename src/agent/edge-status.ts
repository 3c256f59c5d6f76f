/** Routers of the edge as people see them. */
import { routerNamespace } from "../edge/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { DomainHost, DomainStatus } from "./domain-host.ts";
import type { EdgeLegs } from "./edge-legs.ts";

/** EdgeStatus is what people see of a router. */
export interface EdgeStatus {
  readonly router: string;
  readonly underlay: string;
  readonly namespace: string;
  readonly domains: readonly (DomainStatus & { readonly fromHost: readonly string[] })[];
  /** What is not as it should be. */
  readonly problems: readonly string[];
}

interface StatusSources {
  readonly underlay: string;
  readonly host: DomainHost | undefined;
  readonly legs: EdgeLegs;
  /** Of the router's namespace. */
  readonly engine: Engine;
  readonly problems: readonly string[];
}

/** edgeStatus returns what people see of a router. */
export function edgeStatus(
  router: string,
  { underlay, host, legs, engine, problems }: StatusSources,
): EdgeStatus {
  const refused = engine.problems().map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`);
  return {
    ...{ router, underlay, namespace: routerNamespace(router) },
    domains: (host?.status() ?? []).map((domain) => ({
      ...domain,
      fromHost: legs.routes.get(domain.vni)?.fromHost ?? [],
    })),
    problems: [...problems, ...refused],
  };
}
