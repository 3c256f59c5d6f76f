/**
 * Security groups: what members may do, as chains and sets of the domain's nftables table of family inet.
 *
 * ```
 *   every packet between ports, and between port and router ─▶ forward ─▶ egress of who began the flow ─▶ ingress of the other end
 *                                                                              drop, unless a rule of one of its groups returns
 * ```
 * Each packet is judged by the flow that it belongs to, not by itself: by who began it and with what, as connection tracking remembers. So
 * answers pass, and a change of the rules ends exactly the flows that it no longer allows, with the next packet, even when the agent was
 * away meanwhile: nothing has to be forgotten, and no flow is taken for a new one in the wrong direction. Destinations are the sources of
 * answers, that is after DNAT.
 *
 * Frames that are bridged come by here through bridge-netfilter, whose settings are per namespace. It does not tell the port, so pods are
 * known by address; that a guarded port sends and hears nothing but its own addresses is the affair of the table of family bridge
 * (security-ports.ts).
 */
import type { KernelObject, SetElement } from "../engine/mod.ts";
import { type Family, formatIp, type Ip } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import type { LocalAttachment, PortRange, SecurityGroup, SecurityRule } from "./model.ts";
import { FAMILIES, ipWord, prefixSet } from "./prefix-set.ts";

type Direction = SecurityRule["direction"];
type Groups = ReadonlyMap<string, SecurityGroup>;

const DIRECTIONS = ["egress", "ingress"] as const;

/** The first name is that of which end the rules are; the second of the other end. */
const ENDS = {
  egress: { own: "ct original", other: "ct reply" },
  ingress: { own: "ct reply", other: "ct original" },
} as const;

/** Names of resources are DNS labels; what is no such name, or a long list of them, is shortened. */
function shortName(names: readonly string[]): string {
  const text = names.join(".");
  if (text.length <= 100 && names.every((name) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name))) return text;
  return `_${Buffer.from(sha256(names.join("\0")))
    .toString("hex")
    .slice(0, 16)}`;
}

/** groupSet returns the name of the set of a group's members. */
export function groupSet(group: string, family: Family): string {
  return `group${family}-${shortName([group])}`;
}

function chainOf(direction: Direction, groups: readonly string[]): string {
  return `${direction}-${shortName(groups)}`;
}

/** groupsOf returns the names of an attachment's groups, each once, in order: who has the same ones shares chains. */
export function groupsOf({ groups }: Pick<LocalAttachment, "groups">): string[] {
  return [...new Set(groups)].sort();
}

/** memberElements returns the members of a group, wherever they are, for the domains where a rule names it. */
export function memberElements(group: string, members: readonly Ip[]): SetElement[] {
  const unique = new Map(members.map((address) => [formatIp(address), address]));
  return [...unique].map(([text, { family }]) => ({
    kind: "element",
    family: "inet",
    set: groupSet(group, family),
    key: [text],
  }));
}

/** guardedElements returns what puts an attachment here under the rules of its groups; nothing when it has none. */
export function guardedElements(attachment: Pick<LocalAttachment, "addresses" | "groups">): SetElement[] {
  const groups = groupsOf(attachment);
  if (groups.length === 0) return [];
  return attachment.addresses.flatMap((address) =>
    DIRECTIONS.map((direction): SetElement => ({
      kind: "element",
      family: "inet",
      set: `${direction}${address.family}`,
      key: [formatIp(address)],
      value: `jump ${chainOf(direction, groups)}`,
    })),
  );
}

/**
 * bridgeNetfilter makes bridged IP packets pass by the rules, or keeps them from the detour. Without the module br_netfilter there are no
 * such settings, and the engine says so.
 */
export function bridgeNetfilter(on: boolean): KernelObject[] {
  const value = on ? "1" : "0";
  return ["iptables", "ip6tables"].map((name) => ({
    kind: "sysctl",
    path: `net/bridge/bridge-nf-call-${name}`,
    value,
  }));
}

/** combinations returns the different lists of groups of some attachments. */
export function combinations(attachments: readonly Pick<LocalAttachment, "groups">[]): string[][] {
  const found = new Map(
    attachments.map((attachment) => [groupsOf(attachment).join("\0"), groupsOf(attachment)]),
  );
  found.delete("");
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, groups]) => groups);
}

/** namedGroups returns the groups whose members the rules of some combinations ask for. */
export function namedGroups(used: readonly (readonly string[])[], groups: Groups): string[] {
  const rules = used.flat().flatMap((name) => groups.get(name)?.rules ?? []);
  return [...new Set(rules.flatMap((rule) => rule.groups))].sort();
}

function portSet(ports: readonly PortRange[]): string {
  const sorted = [...ports].sort((a, b) => a.first - b.first);
  const merged: PortRange[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range.first <= last.last + 1)
      merged[merged.length - 1] = { first: last.first, last: Math.max(last.last, range.last) };
    else merged.push(range);
  }
  const texts = merged.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return `{ ${texts.join(", ")} }`;
}

/** What is said of the flow's protocol and port; of the port of its destination as it is after DNAT. */
function protocolMatch({ protocol, ports }: SecurityRule, family: Family): string {
  if (protocol === "any") return "";
  if (protocol === "icmp") return `meta l4proto ${family === 4 ? "icmp" : "ipv6-icmp"} `;
  return `meta l4proto ${protocol} ${ports.length === 0 ? "" : `ct reply proto-src ${portSet(ports)} `}`;
}

function ruleLines(rule: SecurityRule): string[] {
  const { other } = ENDS[rule.direction];
  const anybody = rule.prefixes.length === 0 && rule.groups.length === 0;
  return FAMILIES.flatMap((family) => {
    const match = protocolMatch(rule, family);
    const ip = ipWord(family);
    const prefixes = prefixSet(rule.prefixes, family);
    const ends = [
      ...(anybody ? [`meta nfproto ipv${family} `] : []),
      ...(prefixes === undefined ? [] : [`${other} ${ip} saddr ${prefixes} `]),
      ...[...new Set(rule.groups)].sort().map((group) => `${other} ${ip} saddr @${groupSet(group, family)} `),
    ];
    return ends.map((end) => `${end}${match}return`);
  });
}

function combinationChain(direction: Direction, names: readonly string[], groups: Groups): string[] {
  const rules = names
    .flatMap((name) => groups.get(name)?.rules ?? [])
    .filter((rule) => rule.direction === direction);
  return [
    `chain ${chainOf(direction, names)} {`,
    // Of a packet that belongs to no flow nobody knows who began it.
    "\tct state { invalid, untracked } counter drop",
    ...[...new Set(rules.flatMap(ruleLines))].map((line) => `\t${line}`),
    "\tcounter drop",
    "}",
  ];
}

/** SecurityTable is the groups' part of the domain's table. */
export interface SecurityTable {
  /** Sets, maps and chains, in an order in which nft takes them. */
  readonly definitions: readonly string[];
  /** Rules of the chain `forward`. */
  readonly forward: readonly string[];
}

/** Neighbour discovery and multicast membership: a link does not work without them, and they belong to no flow (RFC 4890, section 4.4). */
export const LINK_ICMP6 =
  "{ nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report }";

const FORWARD = [
  `icmpv6 type ${LINK_ICMP6} accept`,
  "ct state { invalid, untracked } goto stray",
  "# Errors belong to a flow that was allowed, whatever their own protocol is.",
  "meta l4proto { icmp, ipv6-icmp } ct state related accept",
  ...DIRECTIONS.flatMap((direction) =>
    FAMILIES.map((family) => `${ENDS[direction].own} ${ipWord(family)} saddr vmap @${direction}${family}`),
  ),
];

const STRAY = [
  "chain stray {",
  ...FAMILIES.flatMap((family) => [
    `\t${ipWord(family)} saddr vmap @egress${family}`,
    `\t${ipWord(family)} daddr vmap @ingress${family}`,
  ]),
  "}",
];

/**
 * securityTable returns the rules for the combinations of groups that attachments here have; nothing without any, so that no packet of
 * such a domain is tracked. A group that is not known allows nothing.
 */
export function securityTable(used: readonly (readonly string[])[], groups: Groups): SecurityTable {
  if (used.length === 0) return { definitions: [], forward: [] };
  const named = namedGroups(used, groups);
  return {
    definitions: [
      ...FAMILIES.flatMap((family) => [
        ...DIRECTIONS.map((direction) => `map ${direction}${family} { type ipv${family}_addr : verdict; }`),
        ...named.map((name) => `set ${groupSet(name, family)} { type ipv${family}_addr; }`),
      ]),
      ...used.flatMap((names) =>
        DIRECTIONS.flatMap((direction) => combinationChain(direction, names, groups)),
      ),
      ...STRAY,
    ],
    forward: FORWARD,
  };
}
