/** Reads what `iptables-save` and `ip6tables-save` print (iptables-save(8), iptables-extensions(8)). */
import { prefixContains, networkOf, tryParseInterfaceAddress, tryParseIp, hostPrefix } from "../net/mod.ts";
import {
  type Backend,
  type Chain,
  type Hook,
  linkMatches,
  type Match,
  type Rule,
  type Table,
  type Verdict,
} from "./packet.ts";

/** SaveOptions say whose output it is. */
export interface SaveOptions {
  readonly backend: Backend;
  readonly family: "ip" | "ip6";
}

const hooks: Readonly<Record<string, Hook>> = { INPUT: "input", FORWARD: "forward" };

/** NAT chains refuse nothing that a filter would not. */
const IGNORED_TABLES = new Set(["nat"]);

/** parseIptablesSave returns the tables; lines that are no rule are passed over, since newer versions print more. */
export function parseIptablesSave(text: string, options: SaveOptions): readonly Table[] {
  const tables: { readonly name: string; readonly chains: Map<string, Chain & { rules: Rule[] }> }[] = [];
  for (const line of text.split("\n")) {
    const current = tables.at(-1);
    const [, table] = /^\*(\S+)/.exec(line) ?? [];
    const [, chain, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    const [, of, rule] = /^(?:\[\d+:\d+\] )?-A (\S+) ?(.*)$/.exec(line) ?? [];
    if (table !== undefined) tables.push({ name: table, chains: new Map() });
    else if (chain !== undefined) current?.chains.set(chain, emptyChain(chain, policy));
    else if (of !== undefined) current?.chains.get(of)?.rules.push(parseRule(rule as string));
  }
  return tables
    .filter(({ name }) => !IGNORED_TABLES.has(name))
    .map(({ name, chains }) => ({ ...options, name, chains: [...chains.values()] }));
}

/** Chains that are not built in have `-` where the policy stands. */
function emptyChain(name: string, policy: string | undefined): Chain & { rules: Rule[] } {
  const hook = policy === "-" ? undefined : hooks[name];
  return { name, rules: [], ...(hook && { hook, policy: policy === "DROP" ? "drop" : "accept" }) };
}

/** Words of a shell, as iptables-save quotes them. */
function wordsOf(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, bare]) =>
    quoted === undefined ? (bare as string) : quoted.replace(/\\(.)/g, "$1"),
  );
}

function parseRule(text: string): Rule {
  const words = wordsOf(text);
  const matches: Match[] = [];
  let verdict: Verdict = { kind: "continue" };
  let comment: string | undefined;
  for (let at = 0; at < words.length;) {
    const negated = words[at] === "!";
    if (negated) at++;
    const option = words[at++] as string;
    const values: string[] = [];
    while (at < words.length && words[at] !== "!" && !(words[at] as string).startsWith("-"))
      values.push(words[at++] as string);
    const [value = ""] = values;
    if (option === "-j" || option === "-g") {
      verdict = verdictOf(option, value);
      // What follows are options of the target.
      break;
    }
    if (option === "--comment") comment = value;
    if (option === "-m" || option === "--comment") continue;
    const match = matchOf(option, value);
    matches.push(negated ? (packet) => invert(match(packet)) : match);
  }
  return { matches, verdict, text, ...(comment !== undefined && { comment }) };
}

function invert(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}

function verdictOf(option: string, target: string): Verdict {
  if (option === "-g") return { kind: "goto", chain: target };
  if (target === "ACCEPT") return { kind: "accept" };
  if (target === "DROP" || target === "REJECT") return { kind: "drop" };
  if (target === "RETURN") return { kind: "return" };
  // A target that decides nothing, such as LOG, is no chain of the table either.
  return { kind: "jump", chain: target };
}

const addressMatch =
  (side: "source" | "destination", value: string): Match =>
  (packet) => {
    const address = tryParseInterfaceAddress(value);
    const single = tryParseIp(value);
    const prefix = address ? networkOf(address) : single && hostPrefix(single);
    // A mask that is no length, such as 10.0.0.1/255.0.0.255.
    return prefix === undefined ? undefined : prefixContains(prefix, packet[side]);
  };

const portMatch =
  (value: string): Match =>
  ({ port }) =>
    value.split(",").some((part) => {
      const [first = "", last = first] = part.split(":");
      return port >= Number(first || 0) && port <= Number(last || 65535);
    });

const options: Readonly<Record<string, (value: string) => Match>> = {
  "-s": (value) => addressMatch("source", value),
  "-d": (value) => addressMatch("destination", value),
  "-i": (value) => (packet) => linkMatches(value, "+", packet.from),
  "-o": (value) => (packet) => linkMatches(value, "+", packet.to),
  "-p": (value) => (packet) =>
    ["all", packet.protocol, packet.protocol === "tcp" ? "6" : "17"].includes(value),
  "--dport": portMatch,
  "--dports": portMatch,
  "--ctstate": (value) => (packet) => value.split(",").includes(packet.state.toUpperCase()),
  "--state": (value) => (packet) => value.split(",").includes(packet.state.toUpperCase()),
  "--dst-type": (value) => (packet) => (value === "LOCAL" ? packet.to === undefined : undefined),
};

function matchOf(option: string, value: string): Match {
  return options[option]?.(value) ?? (() => undefined);
}
