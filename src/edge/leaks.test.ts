import { describe, expect, test } from "bun:test";
import { formatPrefix, type Ip, parseIp, parsePrefix, type Prefix, prefixContains } from "../net/mod.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { joins, leakedNetworks, leakRulesets, openRanges } from "./leaks.ts";
import type { EdgeDomain } from "./model.ts";

const nets = (...texts: string[]) => texts.map(parsePrefix);
const range = (text: string, least: number, most: number) => ({ prefix: parsePrefix(text), least, most });

describe("leaks between domains", () => {
  test("a leak names networks by ranges; without any it names all", () => {
    const networks = nets("0.0.0.0/0", "10.9.0.0/16", "10.9.1.0/24", "10.8.0.0/16", "fd00::/48");
    const named = (...ranges: ReturnType<typeof range>[]) =>
      leakedNetworks(networks, ranges).map(formatPrefix);
    expect(named()).toHaveLength(5);
    expect(named(range("10.9.0.0/16", 16, 32))).toEqual(["10.9.0.0/16", "10.9.1.0/24"]);
    expect(named(range("10.9.0.0/16", 16, 16), range("fd00::/16", 16, 64))).toEqual([
      "10.9.0.0/16",
      "fd00::/48",
    ]);
    expect(named(range("0.0.0.0/0", 0, 0))).toEqual(["0.0.0.0/0"]);
    expect(named(range("192.0.2.0/24", 24, 32))).toEqual([]);
  });

  const domain = (vni: number, ...leaks: readonly [from: number, ...ranges: ReturnType<typeof range>[]][]) =>
    ({
      ...{ vpc: `vpc${vni}`, vni, segments: [] },
      routing: { leaks: leaks.map(([from, ...prefixes]) => ({ from, prefixes })) },
    }) as unknown as EdgeDomain;
  const joined = (domains: readonly EdgeDomain[], networks: Readonly<Record<number, readonly Prefix[]>>) =>
    [...joins(domains, ({ vni }) => networks[vni] ?? [])].map(([vni, list]) => [
      vni,
      ...list.map(
        ({ other, taken, given }) =>
          `${other}: has ${taken.map(formatPrefix).join(" ")}, gives ${given.map(formatPrefix).join(" ")}`,
      ),
    ]);

  test("each end has what the other gives; a domain's own networks count before another's", () => {
    const networks = { 1: nets("10.0.0.0/8", "10.1.0.0/16"), 2: nets("10.1.0.0/16", "10.2.0.0/16"), 3: [] };
    expect(joined([domain(1, [2]), domain(2), domain(3)], networks)).toEqual([
      [1, "2: has 10.2.0.0/16, gives "],
      [2, "1: has , gives 10.2.0.0/16"],
    ]);
    expect(joined([domain(1, [2]), domain(2, [1])], networks)[1]).toEqual([
      2,
      "1: has 10.0.0.0/8, gives 10.2.0.0/16",
    ]);
    // From one that is not here nothing comes.
    expect(joined([domain(1, [9])], networks)).toEqual([]);
  });

  test("of two that give the same network the first that is named does, and the other one all else", () => {
    const same = nets("10.1.1.0/24");
    const networks = { 1: nets("10.9.0.0/16"), 2: same, 3: [...same, ...nets("10.3.0.0/16")] };
    expect(joined([domain(1, [3], [2]), domain(2, [1]), domain(3, [1])], networks)).toEqual([
      [1, "2: has , gives 10.9.0.0/16", "3: has 10.1.1.0/24 10.3.0.0/16, gives 10.9.0.0/16"],
      [2, "1: has 10.9.0.0/16, gives "],
      [3, "1: has 10.9.0.0/16, gives 10.1.1.0/24 10.3.0.0/16"],
    ]);
  });

  test("the networks of each domain are asked for once, and of one that leaks nothing never", () => {
    const many = [...Array(300).keys()].map((i) => domain(i + 1, [1_000]));
    const asked: number[] = [];
    const found = joins([...many, domain(1_000), domain(2_000)], ({ vni }) => {
      asked.push(vni);
      return [];
    });
    expect(found.get(1_000)).toHaveLength(300);
    expect(asked.toSorted((a, b) => a - b)).toEqual([...Array(300).keys()].map((i) => i + 1).concat(1_000));
  });

  test("a default route that is given opens nothing of what is not", () => {
    const networks = nets("0.0.0.0/0", "10.5.0.0/16", "10.5.7.0/24", "fd00::/64");
    expect(openRanges(networks, nets("0.0.0.0/0"), 4)).toEqual([
      "0.0.0.0-10.4.255.255",
      "10.6.0.0-255.255.255.255",
    ]);
    expect(openRanges(networks, nets("10.5.7.0/24"), 4)).toEqual(["10.5.7.0-10.5.7.255"]);
    expect(openRanges(networks, networks, 4)).toEqual(["0.0.0.0-255.255.255.255"]);
    expect(openRanges(networks, nets("fd00::/64"), 6)).toEqual(["fd00::-fd00::ffff:ffff:ffff:ffff"]);
    expect(openRanges(networks, [], 4)).toEqual([]);
    expect(openRanges(nets("10.0.0.1/32", "10.0.0.2/32"), nets("10.0.0.1/32"), 4)).toEqual(["10.0.0.1"]);
  });

  const seed = newSeed();
  test(`the longest network decides, whatever they are (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 200; round++) {
      const networks = [...Array(random.below(12))].map((): Prefix => {
        const length = random.below(9);
        return { family: 4, value: BigInt(random.below(2 ** length)) << BigInt(32 - length), length };
      });
      const leaked = networks.filter(() => random.below(2) === 0);
      const names = new Set(leaked.map(formatPrefix));
      const open = openRanges(networks, leaked, 4).map((text) => text.split("-").map(parseIp));
      for (let top = 0; top < 256; top++) {
        const address: Ip = { family: 4, value: (BigInt(top) << 24n) + 5n };
        const longest = networks
          .filter((network) => prefixContains(network, address))
          .reduce<Prefix | undefined>(
            (best, one) => ((best?.length ?? -1) < one.length ? one : best),
            undefined,
          );
        const wanted = longest !== undefined && names.has(formatPrefix(longest));
        const isOpen = open.some(
          ([first, last = first]) =>
            first !== undefined &&
            last !== undefined &&
            first.value <= address.value &&
            address.value <= last.value,
        );
        expect([round, top, isOpen]).toEqual([round, top, wanted]);
      }
    }
  });

  test("what comes from another domain goes to what it was given, and to no third domain", () => {
    const networks = nets("10.9.0.0/16", "10.8.0.0/16");
    const doors = [
      { link: "cwp5100", leaked: nets("10.9.0.0/16"), taken: nets("10.0.0.0/8") },
      { link: "cwp5200", leaked: nets("10.9.0.0/16"), taken: nets("10.1.0.0/16") },
      // Of which this one has no route back.
      { link: "cwp5300", leaked: nets("10.9.0.0/16"), taken: [] },
    ];
    const to = "ip daddr { 10.9.0.0-10.9.255.255 }";
    const errors = "icmp type { destination-unreachable, time-exceeded, parameter-problem }";
    const [four, six] = leakRulesets(doors, { networks, links: "cwp*" });
    expect([four?.family, six?.family]).toEqual(["ip", "ip6"]);
    expect(six?.text).not.toContain("accept\n");
    expect(four?.text).toBe(`chain leaks_forward {
	type filter hook forward priority filter; policy accept;
	# No transit.
	iifname "cwp*" oifname "cwp*" counter drop
	iifname "cwp5100" ${to} ip saddr { 10.0.0.0-10.0.255.255, 10.2.0.0-10.7.255.255, 10.10.0.0-10.255.255.255 } accept
	iifname "cwp5100" ${to} ${errors} accept
	iifname "cwp5200" ${to} ip saddr { 10.1.0.0-10.1.255.255 } accept
	iifname "cwp5200" ${to} ${errors} accept
	iifname "cwp*" counter drop
}
chain leaks_input {
	type filter hook input priority filter; policy accept;
	iifname "cwp*" counter drop
}
`);
  });
});
