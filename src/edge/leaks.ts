/**
 * Leaks: routes of one domain for another one of the same router, in one direction.
 *
 * ```
 *   cw-5100 (leaks from 5200)                                cw-5200
 *     10.9.0.0/16 via 169.254.0.1 dev cwp5200 ── cwp5200 ═ cwp5100 ── forwarded where its best route is one that 5100 has
 * ```
 * A packet that came over is looked up again in the other domain, which may know more than it gives: the longest of its networks decides, so that
 * a default route that is given opens nothing of what is not. Its source has to be one that the other domain has from there, so that nobody sends in
 * the name of a third. What came from one domain never goes on to a third.
 */
import { bitsOf, type Family, formatIp, formatPrefix, ip, type Prefix, prefixCovers } from "../net/mod.ts";
import type { Ruleset } from "../engine/mod.ts";
import type { PrefixRange } from "../resources/mod.ts";
import type { EdgeDomain } from "./model.ts";

/** leakedNetworks returns those networks of a domain that a leak names; one without ranges names all. */
export function leakedNetworks(
  networks: readonly Prefix[],
  ranges: readonly PrefixRange[],
): readonly Prefix[] {
  if (ranges.length === 0) return networks;
  return networks.filter((network) =>
    ranges.some(
      ({ prefix, least, most }) =>
        prefix.family === network.family &&
        network.length >= least &&
        network.length <= most &&
        prefixCovers(prefix, network),
    ),
  );
}

/** Join is another domain that a domain has routes of, or gives some to. */
export interface Join {
  /** Its VNI. */
  readonly other: number;
  /** Networks of the other one that are reached from here, and of this one from there. */
  readonly taken: readonly Prefix[];
  readonly given: readonly Prefix[];
  /** All of this one's. */
  readonly networks: readonly Prefix[];
}

/**
 * joins returns the joins of each domain that has some, by VNI; `networksOf` are a domain's own. A network of its own counts before another's, and of
 * two that give the same one the first that its leaks name: it has one way. The cost is that of the leaks, however many domains there are.
 */
export function joins(
  domains: readonly EdgeDomain[],
  networksOf: (domain: EdgeDomain) => readonly Prefix[],
): ReadonlyMap<number, readonly Join[]> {
  const byVni = new Map(domains.map((domain) => [domain.vni, domain]));
  const known = new Map<number, readonly Prefix[]>();
  const all = (domain: EdgeDomain) => {
    const networks = known.get(domain.vni) ?? networksOf(domain);
    known.set(domain.vni, networks);
    return networks;
  };
  /** By VNI of who has them, then of whose they are. */
  const taken = new Map<number, Map<number, Prefix[]>>();
  const given = new Map<number, number[]>();
  for (const to of domains) {
    const leaks = to.routing?.leaks ?? [];
    const there = new Set(leaks.length === 0 ? [] : all(to).map(formatPrefix));
    for (const { from, prefixes } of leaks) {
      const source = byVni.get(from);
      if (source === undefined) continue;
      const fresh = leakedNetworks(all(source), prefixes).filter((network) => {
        const name = formatPrefix(network);
        return !there.has(name) && there.add(name).has(name);
      });
      taken.set(to.vni, (taken.get(to.vni) ?? new Map()).set(from, fresh));
      given.set(from, [...(given.get(from) ?? []), to.vni]);
    }
  }
  return new Map(
    domains.flatMap((own): [number, Join[]][] => {
      const others = new Set([...(taken.get(own.vni)?.keys() ?? []), ...(given.get(own.vni) ?? [])]);
      const list = [...others]
        .sort((a, b) => a - b)
        .map((other): Join => ({
          ...{ other, networks: all(own) },
          taken: taken.get(own.vni)?.get(other) ?? [],
          given: taken.get(other)?.get(own.vni) ?? [],
        }));
      return list.length === 0 ? [] : [[own.vni, list]];
    }),
  );
}

interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** Addresses of a network, and whose they are; those of nobody are undefined. */
interface Owned<T> extends Range {
  readonly owner: T | undefined;
}

/** openRanges returns the addresses whose longest network is a leaked one, as nft writes ranges: apart from each other, in order. */
export function openRanges(
  networks: readonly Prefix[],
  leaked: readonly Prefix[],
  family: Family,
): readonly string[] {
  const names = new Set(leaked.map(formatPrefix));
  const owners = networks.map((network) => ({
    network,
    owner: names.has(formatPrefix(network)) || undefined,
  }));
  return rangesByOwner(owners, family).get(true) ?? [];
}

/** Whose the longest network of each address is, as ranges of each owner in order. */
function rangesByOwner<T>(
  networks: readonly { readonly network: Prefix; readonly owner: T | undefined }[],
  family: Family,
): ReadonlyMap<T, readonly string[]> {
  const bits = bitsOf(family);
  const sorted = [...new Map(networks.map((one) => [formatPrefix(one.network), one])).values()]
    .filter(({ network }) => network.family === family)
    .map(({ network: { value, length }, owner }) => ({
      ...{ first: value, last: value + (1n << BigInt(bits - length)) - 1n },
      owner,
    }))
    .sort((a, b) => (a.first === b.first ? compare(b.last, a.last) : compare(a.first, b.first)));
  const found = new Map<T, string[]>();
  for (const { first, last, owner } of rangesOf(sorted)) {
    if (owner === undefined) continue;
    const text = formatIp(ip(family, first));
    const list = found.get(owner) ?? [];
    found.set(owner, list);
    list.push(first === last ? text : `${text}-${formatIp(ip(family, last))}`);
  }
  return found;
}

/** Networks hold each other or lie apart, so that those which hold where one begins are a stack. */
function rangesOf<T>(sorted: readonly Owned<T>[]): readonly Owned<T>[] {
  const found: Owned<T>[] = [];
  const stack: Owned<T>[] = [];
  let at = 0n;
  const put = (last: bigint, owner: T | undefined) => {
    if (at > last) return;
    const before = found.at(-1);
    if (before !== undefined && before.owner === owner && before.last + 1n === at)
      found[found.length - 1] = { ...before, last };
    else found.push({ first: at, last, owner });
    at = last + 1n;
  };
  const closeBefore = (first: bigint | undefined) => {
    for (let top = stack.at(-1); top !== undefined && (first === undefined || top.last < first);) {
      put(top.last, top.owner);
      stack.pop();
      top = stack.at(-1);
    }
  };
  for (const one of sorted) {
    closeBefore(one.first);
    const around = stack.at(-1);
    if (around !== undefined) put(one.first - 1n, around.owner);
    at = one.first;
    stack.push(one);
  }
  closeBefore(undefined);
  return found;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}

/** What a router has to tell about a packet comes under an address of its own. */
const ERRORS = {
  4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
  6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
} as const;

/** LeakDoor is a link over which another domain's packets come. */
export interface LeakDoor {
  readonly link: string;
  /** Networks of this domain that the other one has by a leak, and those that this one has of the other. */
  readonly leaked: readonly Prefix[];
  readonly taken: readonly Prefix[];
}

/** LeakRules say what a domain has of its own, and a pattern that fits all links by which others come. */
export interface LeakRules {
  readonly networks: readonly Prefix[];
  readonly links: string;
}

/**
 * leakRulesets returns the rules of a domain's doors, in tables of each family: that of both families is of the domain's services, which change while
 * these have to stay as an earlier agent made them. What one of several tables drops is gone.
 */
export function leakRulesets(doors: readonly LeakDoor[], rules: LeakRules): Ruleset[] {
  return [
    { kind: "ruleset", family: "ip", text: leakText(doors, rules, 4) },
    { kind: "ruleset", family: "ip6", text: leakText(doors, rules, 6) },
  ];
}

function leakText(doors: readonly LeakDoor[], { networks, links }: LeakRules, family: Family): string {
  const sources = rangesByOwner<string>(
    [
      ...networks.map((network) => ({ network, owner: undefined })),
      ...doors.flatMap(({ link, taken }) => taken.map((network) => ({ network, owner: link }))),
    ],
    family,
  );
  // Many have the same.
  const opened = new Map<string, readonly string[]>();
  const openTo = (leaked: readonly Prefix[]) => {
    const name = leaked.map(formatPrefix).join();
    const ranges = opened.get(name) ?? openRanges(networks, leaked, family);
    opened.set(name, ranges);
    return ranges;
  };
  const word = family === 4 ? "ip" : "ip6";
  const passes = doors.flatMap(({ link, leaked }) => {
    const [from, to] = [sources.get(link) ?? [], openTo(leaked)];
    if (from.length === 0 || to.length === 0) return [];
    const at = `iifname "${link}" ${word} daddr { ${to.join(", ")} }`;
    return [`${at} ${word} saddr { ${from.join(", ")} } accept`, `${at} ${ERRORS[family]} accept`];
  });
  const lines = [
    "chain leaks_forward {",
    "\ttype filter hook forward priority filter; policy accept;",
    "\t# No transit.",
    `\tiifname "${links}" oifname "${links}" counter drop`,
    ...passes.map((line) => `\t${line}`),
    `\tiifname "${links}" counter drop`,
    "}",
    "chain leaks_input {",
    "\ttype filter hook input priority filter; policy accept;",
    `\tiifname "${links}" counter drop`,
    "}",
  ];
  return lines.map((line) => `${line}\n`).join("");
}
