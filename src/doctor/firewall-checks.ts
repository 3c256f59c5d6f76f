/** Checks of the firewall: what it refuses that must get through, and whether that stays so. */
import { MARK } from "./accept.ts";
import type { Examination, Finding } from "./check.ts";
import type { Facts } from "./facts.ts";
import { insertions, oursOf, type Refusal, refusalsOf } from "./firewall.ts";
import type { Hook } from "./packet.ts";

function where({ table, chain, rule }: Refusal): string {
  const by = rule === undefined ? `policy ${chain.policy}` : `rule ${rule + 1}`;
  return `${table.backend} ${table.family} ${table.name} ${chain.name} (${by})`;
}

function hookFinding(hook: Hook, { view, kept }: Facts): Finding {
  const { firewall, place } = view;
  if (place === undefined) return { skipped: "this node has no overlay addresses" };
  const refusals = refusalsOf(firewall, place).filter(({ chain }) => chain.hook === hook);
  if (refusals.length === 0) return { found: "nothing of the mesh is refused" };
  const lost = kept && oursOf(firewall).every(({ chain }) => chain.hook !== hook);
  const places = [...new Set(refusals.map(where))].join(", ");
  const what = [...new Set(refusals.map(({ accept }) => accept.about))].join(", ");
  return {
    found: `refused: ${what}; by ${places}${lost ? "; rules that let them through were put in and are gone" : ""}`,
    commands: insertions(refusals, firewall),
  };
}

/** firewallExaminations are these checks. */
export const firewallExaminations: readonly Examination<Facts>[] = [
  {
    id: "firewall-read",
    why: "a table that cannot be read may refuse what must get through",
    look: ({ view: { firewall } }) =>
      firewall.unread.length === 0
        ? { found: `${firewall.tables.length} tables beside our own` }
        : {
            found: firewall.unread.join("; "),
            fix: "install what is named: apt-get install iptables nftables",
          },
  },
  {
    id: "firewall-input",
    why: "kubectl exec, logs and port-forward come to port 10250 of the overlay address, nodes to each other's ports; a refused one is `no route to host`. An accept in another chain does not help",
    look: (facts) => hookFinding("input", facts),
  },
  {
    id: "firewall-forward",
    why: "packets of pods are forwarded: refused ones leave pods without names (CoreDNS not ready) and without each other",
    look: (facts) => hookFinding("forward", facts),
  },
  {
    id: "firewall-kept",
    why: "a reload of the firewall, and a reboot, drop rules that it does not know of; the agent puts them back",
    look: ({ view: { firewall }, kept, agent, agentProblem }) => {
      const ours = oursOf(firewall).length;
      if (ours === 0 && firewall.firewalld?.zone === true)
        return { found: "firewalld has the zone causeway, and puts it in by itself" };
      if (ours === 0 && !kept) return { skipped: "no rules of ours were needed" };
      const found = `${ours} rules with the comment "${MARK.trim()} …"`;
      if (!kept) return { found: `${found}, which nobody keeps`, fix: "causeway doctor --fix" };
      if (agent === undefined)
        return {
          found: `${found}; ${agentProblem ?? "the agent was not asked"}`,
          fix: "systemctl enable --now causeway",
        };
      return { found: `${found}, kept by the agent` };
    },
  },
];
