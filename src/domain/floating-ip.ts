/**
 * Floating IPs: outside addresses, each for one address of a domain, translated both ways where the domain's gateway is.
 *
 * A flow is let through by the pair that it was begun under, at every packet: who loses a floating IP loses its flows, and who gets one
 * does not inherit them.
 */
import type { SetElement } from "../engine/mod.ts";
import { type Family, formatIp, ipCompare, ipEqual, type Ip } from "../net/mod.ts";
import type { FloatingIp } from "./model.ts";
import { FAMILIES, ipWord } from "./prefix-set.ts";

/** floatingSets declares what floatingElements fills. */
export function floatingSets(): string[] {
  return FAMILIES.flatMap((family) => {
    const type = `ipv${family}_addr`;
    return [
      `map float_in${family} { type ${type} : ${type}; }`,
      `map float_out${family} { type ${type} : ${type}; }`,
      `set float${family} { type ${type} . ${type}; }`,
    ];
  });
}

/** floatingNat returns the rules of translation: `in` at the leg's prerouting, `out` at its postrouting. */
export function floatingNat(way: "in" | "out"): string[] {
  return FAMILIES.map((family) => {
    const ip = ipWord(family);
    return way === "in"
      ? `iifname "cwn*" dnat ${ip} to ${ip} daddr map @float_in${family}`
      : `snat ${ip} to ${ip} saddr map @float_out${family}`;
  });
}

/** floatingForward returns the rules that let through what was begun outside: `from` there, and its answers `to` there. */
export function floatingForward(way: "from" | "to"): string[] {
  return FAMILIES.map((family) => {
    const ip = ipWord(family);
    const [own, direction] = way === "from" ? ["daddr", "original"] : ["saddr", "reply"];
    return `ct direction ${direction} ${ip} ${own} . ct original ${ip} daddr @float${family} return`;
  });
}

/**
 * floatingElements returns the elements of a domain's floating IPs. An address inside may have several; what it begins itself leaves under
 * the lowest one.
 */
export function floatingElements(floating: readonly FloatingIp[]): SetElement[] {
  const out = new Map<string, FloatingIp>();
  for (const one of [...floating].sort((a, b) => ipCompare(b.outside, a.outside)))
    out.set(formatIp(one.inside), one);
  return [
    ...floating.flatMap((one) => [
      element("float_in", one.outside.family, [one.outside], one.inside),
      element("float", one.outside.family, [one.inside, one.outside]),
    ]),
    ...[...out.values()].map((one) => element("float_out", one.inside.family, [one.inside], one.outside)),
  ];
}

function element(set: string, family: Family, key: readonly Ip[], value?: Ip): SetElement {
  return {
    ...{ kind: "element", family: "inet", set: `${set}${family}`, key: key.map(formatIp) },
    ...(value !== undefined && { value: formatIp(value) }),
  };
}

/**
 * endedAddresses returns the addresses whose flows are to be forgotten when floating IPs change: a flow keeps the translation that it was
 * begun with, in the domain as in the node's own namespace.
 */
export function endedAddresses(before: readonly FloatingIp[], after: readonly FloatingIp[]): Ip[] {
  const same = (a: FloatingIp, b: FloatingIp) =>
    a.domain === b.domain && ipEqual(a.outside, b.outside) && ipEqual(a.inside, b.inside);
  const gone = before.filter((one) => !after.some((other) => same(one, other)));
  const come = after.filter((one) => !before.some((other) => same(one, other)));
  const addresses = [...gone, ...come].flatMap(({ outside, inside }) => [outside, inside]);
  return [...new Map(addresses.map((address) => [formatIp(address), address])).values()];
}
