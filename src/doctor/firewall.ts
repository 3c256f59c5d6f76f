/** Which of a node's packets its firewall refuses, and the commands that let them through: in the chain that refuses, ahead of the rule that does. */
import { type Accept, acceptsOf, iptablesWords, MARK, nftText } from "./accept.ts";
import { LINK, PODS_LINK } from "../mesh/mod.ts";
import { type Chain, judge, type Table } from "./packet.ts";
import type { Place } from "./place.ts";

/** Firewall is what the node has. */
export interface Firewall {
  readonly tables: readonly Table[];
  /** What judges packets and could not be read. */
  readonly unread: readonly string[];
  /** Of firewalld, where it runs: whether our zone is there. */
  readonly firewalld?: { readonly zone: boolean };
}

/** Refusal is one accept that is missing in one chain. */
export interface Refusal {
  readonly table: Table;
  readonly chain: Chain;
  /** Index of the chain's rule that refuses; absent: its policy does. */
  readonly rule?: number;
  readonly accept: Accept;
}

const families = { ip: [4], ip6: [6], inet: [4, 6] } as const;

/** refusalsOf returns what is refused, chain by chain. An accept in another chain is no help: each must let a packet through (nft(8), verdict statements). */
export function refusalsOf({ tables }: Firewall, place: Place): readonly Refusal[] {
  const accepts = acceptsOf(place);
  return tables.flatMap((table) =>
    table.chains.flatMap((chain) => {
      const held = accepts.filter(
        ({ hook, family }) =>
          hook === chain.hook && (families[table.family] as readonly number[]).includes(family),
      );
      return held.flatMap((accept) => {
        const judged = accept.samples
          .map((sample) => judge(table, chain, sample))
          .filter(({ refused }) => refused);
        if (judged.length === 0) return [];
        // A policy comes after all rules.
        const rule = Math.min(...judged.map((judgement) => judgement.rule ?? Number.POSITIVE_INFINITY));
        return [{ table, chain, accept, ...(Number.isFinite(rule) && { rule }) }];
      });
    }),
  );
}

/** oursOf returns the rules with our mark. */
export function oursOf({ tables }: Firewall) {
  return tables.flatMap((table) =>
    table.chains.flatMap((chain) =>
      chain.rules
        .map((rule, index) => ({ table, chain, rule, index }))
        .filter(({ rule }) => rule.comment?.startsWith(MARK)),
    ),
  );
}

/** insertions returns commands that let all of it through, each with its words. Those further down in a chain come first, so that no place shifts. */
export function insertions(refusals: readonly Refusal[], firewall: Firewall): readonly (readonly string[])[] {
  const place = ({ rule }: Refusal) => rule ?? Number.POSITIVE_INFINITY;
  const zoned = refusals.filter(({ table }) => table.backend === "firewalld").map(({ accept }) => accept);
  return [
    ...(zoned.length === 0 ? [] : zoneCommands(zoned, firewall.firewalld?.zone ?? false)),
    ...refusals
      .filter(({ table }) => table.backend !== "firewalld")
      .toSorted((a, b) => (place(b) === place(a) ? 0 : place(b) - place(a)))
      .map(insertion),
  ];
}

/** toolOf returns the program of a table of iptables. */
function toolOf({ backend, family }: Table): string {
  return `${family === "ip6" ? "ip6tables" : "iptables"}-${backend === "iptables-legacy" ? "legacy" : "nft"}`;
}

function insertion({ table, chain, rule, accept }: Refusal): readonly string[] {
  if (table.backend === "nft") {
    const handle = rule === undefined ? undefined : chain.rules[rule]?.handle;
    const at = handle === undefined ? [] : ["position", String(handle)];
    const verb = handle === undefined ? "add" : "insert";
    return ["nft", verb, "rule", table.family, table.name, chain.name, ...at, nftText(accept)];
  }
  const at = rule === undefined ? ["-A", chain.name] : ["-I", chain.name, String(rule + 1)];
  return [toolOf(table), "-w", "-t", table.name, ...at, ...iptablesWords(accept)];
}

/** removals returns commands that take away what is ours; the last of a chain comes first, so that no place shifts. */
export function removals(firewall: Firewall): readonly (readonly string[])[] {
  const rules = oursOf(firewall)
    .toReversed()
    .map(({ table, chain, rule, index }) =>
      table.backend === "nft"
        ? ["nft", "delete", "rule", table.family, table.name, chain.name, "handle", String(rule.handle)]
        : [toolOf(table), "-w", "-t", table.name, "-D", chain.name, String(index + 1)],
    );
  if (firewall.firewalld?.zone !== true) return rules;
  return [...rules, ["firewall-cmd", "--permanent", `--delete-zone=${ZONE}`], RELOAD];
}

/** ZONE is ours in firewalld. */
export const ZONE = "causeway";

const RELOAD = ["firewall-cmd", "--reload"];

/**
 * firewalld puts its rules in anew from its zones, so rules beside them would not stay. A zone accepts what comes in by the tunnel and from pods;
 * this node's own table has judged their sources before (mesh/ruleset.ts).
 */
function zoneCommands(accepts: readonly Accept[], there: boolean): readonly (readonly string[])[] {
  const permanent = (...words: string[]) => ["firewall-cmd", "--permanent", ...words];
  const ports = accepts.flatMap(({ udpPort }) => udpPort ?? []);
  const links = [LINK, PODS_LINK].map((link) => permanent(`--zone=${ZONE}`, `--add-interface=${link}`));
  return [
    ...(there ? [] : [permanent(`--new-zone=${ZONE}`)]),
    permanent(`--zone=${ZONE}`, "--set-target=ACCEPT"),
    ...links,
    // In the zone of the links that no zone has: the default one.
    ...[...new Set(ports)].map((port) => permanent(`--add-port=${port}/udp`)),
    RELOAD,
  ];
}
