/** CHECK of host ports (K4): the kernel's rules must lead to the pod, as the kernel itself lists them. */
import { type Nftables, NftablesError } from "../netlink/mod.ts";
import { formatHostPort, hostPortElements, type Pod } from "../pods/mod.ts";
import { CniError } from "./error.ts";

type Json = { readonly [key: string]: unknown };

/** checkHostPorts throws a CniError that names the first host port that does not lead to the pod. */
export function checkHostPorts(pod: Pod, nftables: Nftables): void {
  const tables = new Map<string, Json[]>();
  for (const port of pod.hostPorts ?? [])
    for (const { family, set, key, value } of hostPortElements({ ...pod, hostPorts: [port] })) {
      const table = tables.get(family) ?? listTable(family, nftables);
      tables.set(family, table);
      const problem = !isReached(table, set)
        ? `table ${family} causeway has no rule for it`
        : targetOf(table, set, key) !== value
          ? `it leads to ${targetOf(table, set, key) ?? "nobody"} instead of ${value}`
          : undefined;
      if (problem !== undefined)
        throw new CniError(
          "checkFailed",
          `Cannot confirm the attachment: host port ${formatHostPort(port)} does not work: ${problem}`,
        );
    }
}

function listTable(family: string, nftables: Nftables): Json[] {
  try {
    return (nftables.json(`list table ${family} causeway`) as { nftables: Json[] }).nftables;
  } catch (error) {
    if (error instanceof NftablesError) return [];
    throw error;
  }
}

/** Whether packets come by the rule that looks the set up, from outside and from the node itself. */
function isReached(table: readonly Json[], set: string): boolean {
  const rules = table.flatMap(({ rule }) => (rule === undefined ? [] : [rule as Json]));
  const has = (chain: string, words: string) =>
    rules.some((rule) => rule.chain === chain && JSON.stringify(rule.expr).includes(words));
  return (
    ["prerouting", "output"].every((chain) => has(chain, `"target":"host_ports"`)) &&
    has("host_ports", `"@${set}"`)
  );
}

/** The value of an element, as it stands in the ruleset. */
function targetOf(table: readonly Json[], set: string, key: readonly string[]): string | undefined {
  const map = table.find((entry) => (entry.map as Json | undefined)?.name === set)?.map as Json | undefined;
  const elements = (map?.elem ?? []) as (readonly [key: unknown, value: unknown])[];
  return parts(elements.find(([candidate]) => parts(candidate) === key.join(" . "))?.[1]);
}

function parts(value: unknown): string | undefined {
  return (value as { concat?: unknown[] } | undefined)?.concat?.join(" . ");
}
