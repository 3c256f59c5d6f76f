/** Reads what `nft -j list ruleset` prints (libnftables-json(5)): tables that no other tool keeps, and what this node's own table says. */
import { hostPrefix, ipCompare, parseIp, prefixContains, prefixOf, tryParseIp } from "../net/mod.ts";
import {
  type Chain,
  type Hook,
  linkMatches,
  type Match,
  type Packet,
  type Rule,
  type Table,
  type Verdict,
} from "./packet.ts";
import type { OwnTable } from "./place.ts";

interface Json {
  readonly [field: string]: unknown;
}

interface ListedRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
  readonly comment?: string;
  readonly expr: readonly Json[];
}

interface ListedChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly type?: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** NftListing is a ruleset as it was listed. */
export interface NftListing {
  readonly chains: readonly ListedChain[];
  readonly rules: readonly ListedRule[];
}

/** parseNftListing sorts the document's objects. */
export function parseNftListing(document: unknown): NftListing {
  const objects = ((document as Json).nftables ?? []) as readonly Json[];
  const named = <T>(kind: string) =>
    objects.flatMap((object) => (object[kind] === undefined ? [] : [object[kind] as T]));
  return { chains: named<ListedChain>("chain"), rules: named<ListedRule>("rule") };
}

const FAMILIES = ["ip", "ip6", "inet"] as const;

/** nftTables returns the tables that judge packets; `without` names those that other tools keep, by family and name. */
export function nftTables(
  { chains, rules }: NftListing,
  without: (family: string, name: string) => boolean,
): Table[] {
  const names = new Map(chains.map((chain) => [`${chain.family} ${chain.table}`, chain] as const));
  return [...names.values()].flatMap(({ family, table }): Table[] => {
    const known = FAMILIES.find((one) => one === family);
    if (known === undefined || without(family, table)) return [];
    const mine = chains.filter((chain) => chain.family === family && chain.table === table);
    const listed = rules.filter((rule) => rule.family === family && rule.table === table);
    const read = mine.map((chain) =>
      chainOf(
        chain,
        listed.filter((rule) => rule.chain === chain.name),
      ),
    );
    return [{ backend: "nft", family: known, name: table, chains: read }];
  });
}

function chainOf(chain: ListedChain, listed: readonly ListedRule[]): Chain {
  const hook = ["input", "forward"].find((one) => one === chain.hook && chain.type === "filter") as
    Hook | undefined;
  return {
    name: chain.name,
    rules: listed.flatMap(rulesOf),
    ...(hook && { hook, policy: chain.policy === "drop" ? "drop" : "accept" }),
  };
}

/** ownTable returns what this node's own table says of it (mesh/ruleset.ts): the chain `cluster_ports`, and the rule that accepts newcomers. */
export function ownTable({ rules }: NftListing): OwnTable {
  const own = rules.filter(({ family, table }) => family === "inet" && table === "causeway");
  const port = own
    .filter(({ chain, expr }) => chain === "cluster_ports" && expr.some((part) => "return" in part))
    .flatMap(({ expr }) => operands(expr, "dport", "udp"))
    .find((value) => typeof value === "number");
  const enrolment = own.filter(({ chain }) => chain === "prerouting").flatMap(enrolmentOf)[0];
  return { ...(port !== undefined && { tunnelPort: port as number }), ...(enrolment && { enrolment }) };
}

function enrolmentOf({ expr }: ListedRule): readonly NonNullable<OwnTable["enrolment"]>[] {
  const [from] = operands(expr, "saddr", "ip6") as readonly { prefix?: { addr: string; len: number } }[];
  const [service] = operands(expr, "daddr", "ip6");
  const accepts = expr.some((part) => "accept" in part);
  if (!accepts || from?.prefix === undefined || typeof service !== "string") return [];
  return [{ from: prefixOf(parseIp(from.prefix.addr), from.prefix.len), service: parseIp(service) }];
}

/** What a rule compares a field of a header with. */
function operands(expr: readonly Json[], field: string, protocol: string): readonly unknown[] {
  return expr.flatMap(({ match }) => {
    const { left, right } = (match ?? {}) as Json;
    const payload = (left as Json | undefined)?.payload as Json | undefined;
    return payload?.field === field && payload.protocol === protocol ? [right] : [];
  });
}

/** A rule with a map of verdicts is one rule for each of its elements. */
function rulesOf(rule: ListedRule): Rule[] {
  const matches: Match[] = [];
  let verdict: Verdict = { kind: "continue" };
  const about = {
    text: JSON.stringify(rule.expr),
    handle: rule.handle,
    ...(rule.comment && { comment: rule.comment }),
  };
  for (const part of rule.expr) {
    const [kind = ""] = Object.keys(part);
    const said = verdictOf(part);
    if (said !== undefined) verdict = said;
    else if (kind === "match") matches.push(matchOf(part.match as Json));
    else if (kind === "vmap") return mapped(part.vmap as Json, matches, about);
    else if (!["counter", "log", "comment", "mangle"].includes(kind)) matches.push(() => undefined);
  }
  return [{ matches, verdict, ...about }];
}

function mapped(vmap: Json, matches: readonly Match[], about: Pick<Rule, "text" | "handle">): Rule[] {
  const elements = ((vmap.data as Json | undefined)?.set ?? []) as readonly (readonly [unknown, Json])[];
  if (!Array.isArray(elements)) return [];
  return elements.map(([right, then]) => ({
    matches: [...matches, matchOf({ op: "==", left: vmap.key, right })],
    verdict: verdictOf(then) ?? { kind: "continue" },
    ...about,
  }));
}

function verdictOf(part: Json): Verdict | undefined {
  if ("accept" in part) return { kind: "accept" };
  if ("drop" in part || "reject" in part) return { kind: "drop" };
  if ("return" in part) return { kind: "return" };
  for (const kind of ["jump", "goto"] as const)
    if (kind in part) return { kind, chain: String((part[kind] as Json).target) };
  return undefined;
}

function matchOf({ op, left, right }: Json): Match {
  const test = testOf(left as Json);
  return (packet) => {
    const values = valuesOf(right).map((value) => test?.(packet, value));
    if (values.includes(undefined)) return undefined;
    const found = values.includes(true);
    return op === "!=" ? !found : op === "==" || op === "in" ? found : undefined;
  };
}

/** A set lists its elements; flags are listed bare, or joined by `|`. */
function valuesOf(right: unknown): readonly unknown[] {
  if (Array.isArray(right)) return right;
  const { set, "|": flags } = (typeof right === "object" && right !== null ? right : {}) as Json;
  if (Array.isArray(set))
    return set.map((one) => ((one as Json | null)?.elem as Json | undefined)?.val ?? one);
  return Array.isArray(flags) ? flags : [right];
}

type Test = (packet: Packet, value: unknown) => boolean | undefined;

const link =
  (side: "from" | "to"): Test =>
  (packet, value) =>
    typeof value === "string" && !value.startsWith("@") ? linkMatches(value, "*", packet[side]) : undefined;

const protocol: Test = (packet, value) =>
  value === packet.protocol || value === (packet.protocol === "tcp" ? 6 : 17);

const family: Test = (packet, value) =>
  value === (packet.family === 4 ? "ipv4" : "ipv6") || value === (packet.family === 4 ? "ip" : "ip6");

const metas: Readonly<Record<string, Test>> = {
  iifname: link("from"),
  oifname: link("to"),
  iif: link("from"),
  oif: link("to"),
  l4proto: protocol,
  nfproto: family,
  protocol: family,
};

function testOf({ meta, ct, payload, fib }: Json): Test | undefined {
  if (meta !== undefined) return metas[String((meta as Json).key)];
  if (ct !== undefined)
    return (ct as Json).key === "state" ? (packet, value) => value === packet.state : undefined;
  if (payload !== undefined) return payloadTest(payload as Json);
  const asked = fib as Json | undefined;
  const isType = asked?.result === "type" && [asked.flags].flat().includes("daddr");
  return isType ? (packet, value) => (value === "local") === (packet.to === undefined) : undefined;
}

function payloadTest({ protocol: header, field }: Json): Test | undefined {
  const side = field === "saddr" ? "source" : field === "daddr" ? "destination" : undefined;
  if ((header === "ip" || header === "ip6") && side !== undefined)
    return (packet, value) =>
      packet.family === (header === "ip" ? 4 : 6) ? inside(packet[side], value) : false;
  if (header === "ip" && field === "protocol") return protocol;
  if ((header === "tcp" || header === "udp" || header === "th") && field === "dport")
    return (packet, value) => (header === "th" || packet.protocol === header) && portIn(packet.port, value);
  return undefined;
}

function inside(address: Packet["source"], value: unknown): boolean | undefined {
  if (typeof value === "string") {
    const single = tryParseIp(value);
    return single === undefined ? undefined : prefixContains(hostPrefix(single), address);
  }
  const { prefix, range } = (value ?? {}) as {
    prefix?: { addr: string; len: number };
    range?: [string, string];
  };
  if (prefix !== undefined) return prefixContains(prefixOf(parseIp(prefix.addr), prefix.len), address);
  if (range === undefined) return undefined;
  return ipCompare(parseIp(range[0]), address) <= 0 && ipCompare(address, parseIp(range[1])) <= 0;
}

function portIn(port: number, value: unknown): boolean {
  if (typeof value === "number") return value === port;
  const { range } = (value ?? {}) as { range?: [number, number] };
  return range !== undefined && range[0] <= port && port <= range[1];
}
