/** What bench edge is asked to measure. */

/** EdgePlan says how much. */
export interface EdgePlan {
  /** How many L3 domains a node has; each number is measured on a node that has nothing before. */
  readonly domains: readonly number[];
  /** Routes announced one after the other, and domains added one after the other. */
  readonly tries: number;
  /** Before other work on the machine. */
  readonly urgent: boolean;
  readonly executable: string;
  /** Beside FRR by hand; the kernel has VRFs then. */
  readonly frr: boolean;
}
