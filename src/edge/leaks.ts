/**
 * Leaks: routes of one domain for another one of the same router, in one direction.
 *
 * ```
 *   cw-5100 (leaks from 5200)                                cw-5200
 *     10.9.0.0/16 via 169.254.0.1 dev cwp5200 ── cwp5200 ═ cwp5100 ── forwarded where its best route is one that 5100 has
 * ```
 * A packet that came over is looked up again in the other domain, which may know more than it gives: the longest of its networks decides, so that
 * a default route that is given opens nothing of what is not. What came from one domain never goes on to a third.
 */
import { bitsOf, type Family, formatIp, formatPrefix, ip, type Prefix, prefixCovers } from "../net/mod.ts";
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

/** openRanges returns the addresses whose longest network is a leaked one, as nft writes ranges: apart from each other, in order. */
export function openRanges(
  networks: readonly Prefix[],
  leaked: readonly Prefix[],
  family: Family,
): readonly string[] {
  const bits = bitsOf(family);
  const names = new Set(leaked.map(formatPrefix));
  const sorted = [...new Map(networks.map((network) => [formatPrefix(network), network])).entries()]
    .filter(([, network]) => network.family === family)
    .map(([name, { value, length }]) => ({
      first: value,
      last: value + (1n << BigInt(bits - length)) - 1n,
      open: names.has(name),
    }))
    .sort((a, b) => (a.first === b.first ? compare(b.last, a.last) : compare(a.first, b.first)));
  return rangesOf(sorted).map(({ first, last }) => {
    const text = formatIp(ip(family, first));
    return first === last ? text : `${text}-${formatIp(ip(family, last))}`;
  });
}

/** Networks hold each other or lie apart, so that those which hold where one begins are a stack. */
function rangesOf(sorted: readonly (Range & { readonly open: boolean })[]): readonly Range[] {
  const found: Range[] = [];
  const stack: (Range & { readonly open: boolean })[] = [];
  let at = 0n;
  const put = (last: bigint, open: boolean) => {
    if (open && at <= last) {
      const before = found.at(-1);
      if (before !== undefined && before.last + 1n === at) found[found.length - 1] = { ...before, last };
      else found.push({ first: at, last });
    }
    if (at <= last) at = last + 1n;
  };
  const closeBefore = (first: bigint | undefined) => {
    for (let top = stack.at(-1); top !== undefined && (first === undefined || top.last < first);) {
      put(top.last, top.open);
      stack.pop();
      top = stack.at(-1);
    }
  };
  for (const one of sorted) {
    closeBefore(one.first);
    const around = stack.at(-1);
    if (around !== undefined) put(one.first - 1n, around.open);
    at = one.first;
    stack.push(one);
  }
  closeBefore(undefined);
  return found;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}

/** LeakDoor is a link over which another domain's packets come. */
export interface LeakDoor {
  readonly link: string;
  /** All networks of this domain, and those that the other one has by a leak. */
  readonly networks: readonly Prefix[];
  readonly leaked: readonly Prefix[];
}

/** leakRuleset returns the text for the domain's table of family inet; `links` is a pattern that fits all such links. */
export function leakRuleset(doors: readonly LeakDoor[], links: string): string {
  const passes = doors.flatMap(({ link, networks, leaked }) =>
    ([4, 6] as const).flatMap((family) => {
      const ranges = openRanges(networks, leaked, family);
      const word = family === 4 ? "ip" : "ip6";
      return ranges.length === 0 ? [] : [`iifname "${link}" ${word} daddr { ${ranges.join(", ")} } accept`];
    }),
  );
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
