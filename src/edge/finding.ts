/** What is wrong on a node: with one resource, or between two of which one has to give way. */
import type { ManifestProblem, TenantKind } from "../resources/mod.ts";

/** Place is a field of a resource. */
export interface Place {
  readonly kind: TenantKind;
  readonly name: string;
  readonly field: string;
  readonly value?: string;
}

/**
 * Effect is what a node leaves out: the resource; the whole VPC; all host sessions of the router; or any change to the router, whose running
 * state stays. `leak`: that leak. `member`: those who are let in by that name.
 */
export type Effect = "resource" | "vpc" | "passthrough" | "router" | "leak" | "member";

/** Finding is one thing that is wrong. */
export interface Finding {
  readonly at: Place;
  /** The one that stays, where the resource could stay itself if that one did not. */
  readonly other?: Place;
  /** Cause and fix, said of `at`, with the other's place. */
  readonly say: (other: Place | undefined) => string;
  readonly effect: Effect;
  /** `dependency`: it may be right as soon as something else is there. */
  readonly reason: "invalid" | "dependency";
  /** Of effect `vpc`. */
  readonly vpc?: string;
  /** Nobody is refused for it: what is missing may come later. */
  readonly late?: boolean;
}

/** place makes a Place. */
export function place(kind: TenantKind, name: string, field: string, value?: string): Place {
  return { kind, name, field, ...(value === undefined ? {} : { value }) };
}

/** wrong makes a finding about one resource. */
export function wrong(
  at: Place,
  problem: string,
  {
    effect = "resource",
    reason = "invalid",
    late = false,
  }: Partial<Pick<Finding, "effect" | "reason" | "late">> = {},
): Finding {
  return { at, say: () => problem, effect, reason, ...(late ? { late } : {}) };
}

/** clash makes a finding about two, of which `at` gives way. */
export function clash(
  at: Place,
  other: Place,
  say: (other: Place) => string,
  effect: Effect = "resource",
): Finding {
  return { at, other, say: (one) => say(one as Place), effect, reason: "invalid" };
}

/** formatPlace returns `VPC "red" (spec.vni)`. */
export function formatPlace({ kind, name, field }: Place): string {
  return `${kind} "${name}" (${field})`;
}

/** problemOf returns a finding as it is told of one of its places. */
export function problemOf(finding: Finding, at: Place = finding.at): ManifestProblem {
  const { kind, name, field, value } = at;
  return {
    object: `${kind} "${name}"`,
    field,
    ...(value === undefined ? {} : { value }),
    problem: finding.say(at === finding.at ? finding.other : finding.at),
  };
}
