/** What a node's edge is, from what resources say and what is known of the node. */
import type { TenantKind, TenantResources } from "../resources/mod.ts";
import { type Effect, problemOf } from "./finding.ts";
import { judgeNode } from "./judge.ts";
import type { EdgeRouter, NodeEdge } from "./model.ts";
import { planDomains } from "./plan-domain.ts";
import { planRouter } from "./plan-router.ts";
import type { EdgeFacts } from "./view.ts";

/** EdgeProblem is a resource that is not, or not wholly, on a node. */
export interface EdgeProblem {
  readonly kind: TenantKind;
  readonly name: string;
  readonly field: string;
  readonly value?: string;
  /** Cause and fix. */
  readonly problem: string;
  readonly effect: Effect;
  /** `dependency`: it follows as soon as something else is there. */
  readonly reason: "invalid" | "dependency";
}

/** EdgePlan is what is to be on a node. */
export interface EdgePlan {
  readonly edge: NodeEdge;
  /** Names of routers that stay exactly as they are, whatever that is: what is said of them cannot be. They are not in `edge`. */
  readonly kept: readonly string[];
  readonly problems: readonly EdgeProblem[];
}

/** planEdge returns what a node's edge is. The same resources in any order give the same plan. */
export function planEdge(tenants: TenantResources, facts: EdgeFacts): EdgePlan {
  const { routers, findings } = judgeNode(tenants, facts);
  return {
    edge: {
      routers: routers.flatMap((router): EdgeRouter[] => {
        const { underlay, index, passthrough, kept } = router;
        if (kept || index === undefined) return [];
        return [
          {
            ...planRouter(underlay, index, passthrough?.session),
            domains: planDomains(router, index),
          },
        ];
      }),
    },
    kept: routers.filter(({ kept }) => kept).map(({ router }) => router),
    problems: findings.map((finding) => {
      const { kind, name } = finding.at;
      const { object: _, field = "", ...told } = problemOf(finding);
      return { kind, name, field, ...told, effect: finding.effect, reason: finding.reason };
    }),
  };
}
