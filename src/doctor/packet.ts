/**
 * How a chain of a firewall judges a packet: rules from the top, into other chains and back, and the policy where none of them decided.
 *
 * A rule is known as far as its matches are: of one that cannot be told (an ipset, a mark, a rate) it is taken that it does not match. So what is
 * said to be refused is refused; a firewall that refuses by such a match is not seen.
 */
import type { Family, Ip } from "../net/mod.ts";

/** Hook is where packets for this node, and those that it forwards, are judged. */
export type Hook = "input" | "forward";

/** Packet is one that must get through. */
export interface Packet {
  readonly family: Family;
  /** The link that it comes in by. */
  readonly from: string;
  /** The link that it goes out by; undefined for one that is for this node. */
  readonly to?: string;
  readonly source: Ip;
  readonly destination: Ip;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  /** What connection tracking says of it. */
  readonly state: "new" | "established";
}

/** Match tells whether a packet is meant; undefined where that cannot be told. */
export type Match = (packet: Packet) => boolean | undefined;

/** Verdict is what becomes of a packet that a rule matches. */
export type Verdict =
  | { readonly kind: "accept" | "drop" | "return" | "continue" }
  | { readonly kind: "jump" | "goto"; readonly chain: string };

/** Rule is one, in the order of its chain. */
export interface Rule {
  readonly matches: readonly Match[];
  readonly verdict: Verdict;
  readonly comment?: string;
  /** As the tool prints it, for people. */
  readonly text: string;
  /** What nft calls it by. */
  readonly handle?: number;
}

/** Chain of a table; with a hook and a policy where the kernel begins with it. */
export interface Chain {
  readonly name: string;
  readonly hook?: Hook;
  readonly policy?: "accept" | "drop";
  readonly rules: readonly Rule[];
}

/** Backend is the tool that a table belongs to. */
export type Backend = "iptables-nft" | "iptables-legacy" | "nft" | "firewalld";

/** Table of a firewall. */
export interface Table {
  readonly backend: Backend;
  readonly family: "ip" | "ip6" | "inet";
  readonly name: string;
  readonly chains: readonly Chain[];
}

/** Judgement is what a base chain makes of a packet: `rule` is the index of its own rule that decided, absent where the policy did. */
export interface Judgement {
  readonly refused: boolean;
  readonly rule?: number;
}

/** Deeper than the kernel lets chains call each other (NFT_JUMP_STACK_SIZE). */
const MOST_DEPTH = 16;

/** judge returns what a base chain does with a packet. */
export function judge(table: Table, chain: Chain, packet: Packet): Judgement {
  for (const [rule, { matches, verdict }] of chain.rules.entries()) {
    if (!matches.every((match) => match(packet) === true)) continue;
    const decided = follow(table, verdict, packet, 0);
    if (decided === "accept" || decided === "drop") return { refused: decided === "drop", rule };
    // A base chain that is returned from, or left by goto, ends with its policy.
    if (verdict.kind === "return" || verdict.kind === "goto") break;
  }
  return { refused: chain.policy === "drop" };
}

type Decided = "accept" | "drop" | undefined;

function follow(table: Table, verdict: Verdict, packet: Packet, depth: number): Decided {
  if (verdict.kind === "accept" || verdict.kind === "drop") return verdict.kind;
  if ((verdict.kind !== "jump" && verdict.kind !== "goto") || depth === MOST_DEPTH) return undefined;
  const called = table.chains.find(({ name }) => name === verdict.chain);
  for (const rule of called?.rules ?? []) {
    if (!rule.matches.every((match) => match(packet) === true)) continue;
    const decided = follow(table, rule.verdict, packet, depth + 1);
    if (decided !== undefined) return decided;
    if (rule.verdict.kind === "return" || rule.verdict.kind === "goto") return undefined;
  }
  return undefined;
}

/** linkMatches tells whether a link's name is meant; `wildcard` ends names that stand for all that begin so. */
export function linkMatches(pattern: string, wildcard: string, name: string | undefined): boolean {
  if (name === undefined) return false;
  return pattern.endsWith(wildcard) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
