/** What bench mesh can measure, and what it is asked to. */

/** meshParts are its parts, in the order in which they are measured. */
export const meshParts = ["join", "start", "recovery", "hub", "node"];

/** MeshPlan says what is measured. */
export interface MeshPlan {
  /** Of joins, starts, events and changes. */
  readonly rounds: number;
  /** Simulated nodes. */
  readonly nodes: number;
  /** Of which the measured node talks to so many. */
  readonly talking: number;
  /** How long rest is looked at. */
  readonly seconds: number;
  /** After so many seconds all is at rest: path MTUs are found, retries are over. */
  readonly calmSeconds: number;
  /** Before other work on the machine. */
  readonly urgent: boolean;
  readonly parts: readonly string[];
  readonly executable: string;
}
