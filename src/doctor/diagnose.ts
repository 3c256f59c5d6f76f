/** All checks, in the order in which one would look: what lies below comes first. */
import { type Check, type Diagnosis, type Examination, examine } from "./check.ts";
import { controlPlaneExaminations } from "./control-plane-checks.ts";
import type { Facts } from "./facts.ts";
import { firewallExaminations } from "./firewall-checks.ts";
import { kernelExaminations } from "./kernel-checks.ts";
import { kubeExaminations } from "./kube-checks.ts";
import { meshExaminations } from "./mesh-checks.ts";
import { pluginExaminations } from "./plugin-checks.ts";

const examinations: readonly Examination<Facts>[] = [
  ...kernelExaminations,
  ...meshExaminations,
  ...firewallExaminations,
  ...kubeExaminations,
  ...controlPlaneExaminations,
  ...pluginExaminations,
];

/** checkIds are the names of all checks. */
export const checkIds: readonly string[] = examinations.map(({ id }) => id);

/** diagnose makes all checks, or those of `ids`. */
export function diagnose(facts: Facts, ids: readonly string[] = []): Diagnosis {
  return examine(
    examinations.filter(({ id }) => ids.length === 0 || ids.includes(id)),
    facts,
  );
}

/** isFirewall tells whether a check's commands put in rules, which the agent shall keep then. */
export function isFirewall({ id }: Check): boolean {
  return id === "firewall-input" || id === "firewall-forward";
}
