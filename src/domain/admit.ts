/**
 * Admission: whether a change of tenants' resources may be, and what the register adds to it. All or nothing.
 *
 * ```
 * change ─▶ what may never change ─▶ VNIs given ─▶ references, VNIs, targets, networks, outside addresses ─▶ next state, or problems
 * ```
 * What is there was admitted, so a problem is the change's; each names the object of the change, field, value and fix.
 */
import {
  formatProblem,
  type ManifestProblem,
  type Mesh,
  type TenantKind,
  tenantKinds,
  type TenantResource,
  type TenantResources,
  withTenants,
} from "../resources/mod.ts";
import { networkProblems } from "./admit-networks.ts";
import { outsideProblems } from "./admit-outside.ts";
import { referenceProblems } from "./admit-references.ts";
import { targetProblems } from "./admit-targets.ts";
import { keepGiven } from "./admit-unchanged.ts";
import { giveVnis, vniProblems } from "./admit-vnis.ts";

/** MAX_TENANT_RESOURCES is how many resources of one kind a register holds. */
export const MAX_TENANT_RESOURCES = 16_384;

/** How many problems are told at once. */
const MAX_TOLD = 20;

/** TenantName is what a resource is removed by. */
export interface TenantName {
  readonly kind: TenantKind;
  readonly name: string;
}

/** TenantChange sets resources, and removes some. */
export interface TenantChange {
  readonly set: readonly TenantResource[];
  readonly remove: readonly TenantName[];
}

/** AdmitContext is what a change is judged by beside the resources. */
export interface AdmitContext {
  readonly mesh: Pick<
    Mesh,
    "asn" | "openVnis" | "listenPort" | "overlay4" | "overlay6" | "enrol6" | "pods4" | "pods6" | "services"
  >;
  /** The VNI that the register gives next, if it is free. */
  readonly nextVni: number;
  /** inUse says who uses a resource beside other resources, as `4 nodes`; undefined: nobody. */
  readonly inUse?: (name: TenantName) => string | undefined;
  /** rules of other features, judged where names lead somewhere. */
  readonly rules?: (change: {
    readonly before: TenantResources;
    readonly after: TenantResources;
    readonly set: readonly TenantResource[];
  }) => readonly ManifestProblem[];
}

/** Judged is a change at work: the state before it and after it. */
export interface Judged extends AdmitContext {
  readonly before: TenantResources;
  readonly after: TenantResources;
  readonly change: TenantChange;
  readonly report: Report;
}

/** Report adds a problem. */
export type Report = (of: TenantName, problem: Omit<ManifestProblem, "object">) => void;

/** Admitted is what a change makes. */
export interface Admitted {
  readonly tenants: TenantResources;
  /** What is set, with all that the register gives. */
  readonly set: readonly TenantResource[];
  readonly nextVni: number;
}

/** AdmissionError holds all that is wrong with a change, a line for each problem. */
export class AdmissionError extends Error {
  override readonly name = "AdmissionError";

  constructor(problems: readonly ManifestProblem[]) {
    const lines = problems.slice(0, MAX_TOLD).map(formatProblem);
    const more = problems.length - lines.length;
    super([...lines, ...(more > 0 ? [`and ${more} more problems`] : [])].join("\n"));
  }
}

/** sameName tells whether a name is a resource's. */
export function sameName({ kind, name }: TenantName, of: TenantResource): boolean {
  return of.kind === kind && of.value.name === name;
}

/** admit returns the state after a change; throws AdmissionError when it may not be. */
export function admit(before: TenantResources, change: TenantChange, context: AdmitContext): Admitted {
  const problems: ManifestProblem[] = [];
  const report: Report = ({ kind, name }, problem) => {
    problems.push({ object: `${kind} "${name}"`, ...problem });
  };
  const kept = keepGiven(before, change.set, report);
  mustBeThere(before, change, report);
  if (problems.length > 0) throw new AdmissionError(problems);
  const { set, nextVni } = giveVnis(withTenants(before, { set: kept, remove: change.remove }), kept, context);
  const after = withTenants(before, { set, remove: change.remove });
  const judged: Judged = { ...context, before, after, change: { set, remove: change.remove }, report };
  for (const problemsOf of [limitProblems, referenceProblems, useProblems, vniProblems]) problemsOf(judged);
  // What follows takes for granted that names lead somewhere.
  if (problems.length === 0) {
    for (const problemsOf of [targetProblems, networkProblems, outsideProblems]) problemsOf(judged);
    problems.push(...(context.rules?.({ before, after, set }) ?? []));
  }
  if (problems.length > 0) throw new AdmissionError(problems);
  return { tenants: after, set, nextVni };
}

function mustBeThere(before: TenantResources, { set, remove }: TenantChange, report: Report): void {
  for (const name of remove)
    if (!before[name.kind].has(name.name))
      report(name, { problem: `is not there; see causeway get ${tenantKinds[name.kind].word}` });
    else if (set.some((one) => sameName(name, one)))
      report(name, { problem: "is both set and removed; do one of the two" });
}

function limitProblems({ after, change, report }: Judged): void {
  for (const { kind, value } of change.set)
    if (after[kind].size > MAX_TENANT_RESOURCES)
      return report(
        { kind, name: value.name },
        { problem: `is more than the ${MAX_TENANT_RESOURCES} of its kind that there may be; delete others` },
      );
}

function useProblems({ change, inUse, report }: Judged): void {
  for (const name of change.remove) {
    const users = inUse?.(name);
    if (users !== undefined)
      report(name, {
        problem: `is used by ${users}; delete the pods and wait until nodes return what they have, or use --force`,
      });
  }
}
