/**
 * doctor: looks at a node and says what is wrong with it, why that matters, and the commands that mend it.
 *
 * ```
 *  kernel, files, tools ─▶ gather ─▶ facts ─▶ examinations (a table of functions) ─▶ checks ─▶ treat: the commands of those that failed
 *  agent, asked by who calls ────────┘
 * ```
 * The checks are pure; what they need is gathered first. It works without an agent, and then leaves out what only the agent knows. Other people's
 * firewall rules are never removed: ours are inserted ahead of them, marked by a comment, and FirewallKeeper puts them back after a reload.
 *
 * @example
 * ```ts
 * const facts = await gather({ state: "/var/lib/causeway", root: "/" });
 * const { checks } = diagnose(facts);
 * await treat(checks, { state: "/var/lib/causeway", tell: console.error });
 * ```
 */
export type { Check, Diagnosis, Skipped } from "./check.ts";
export { checkIds, diagnose } from "./diagnose.ts";
export type { AgentFacts, Facts, PeerFacts } from "./facts.ts";
export { FirewallKeeper } from "./firewall-keeper.ts";
export { gather, type GatherOptions } from "./gather.ts";
export { noteMachine } from "./key-facts.ts";
export { treat, type TreatOptions, untreat } from "./treat.ts";
