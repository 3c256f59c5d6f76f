/** What bench vpc can measure, and what it is asked to. */

/** vpcParts are its parts, in the order in which they are measured. */
export const vpcParts = ["add", "domains", "entries", "traffic"];

/** VpcPlan says what is measured. */
export interface VpcPlan {
  /** Of entries and traffic. */
  readonly rounds: number;
  /** Attached one after the other for each row of `add`. */
  readonly pods: number;
  /** Pods before the first that counts: the agent lives for months, and its code is compiled as it is used. */
  readonly warmUp: number;
  /** VPCs of one node. */
  readonly domains: number;
  /** MAC/IP entries of another node in one VPC. */
  readonly entries: number;
  /** How long traffic flows, and rest is looked at. */
  readonly seconds: number;
  /** Before other work on the machine. */
  readonly urgent: boolean;
  readonly parts: readonly string[];
  readonly executable: string;
}

/** Say tells how far it is. */
export type Say = (text: string) => void;
