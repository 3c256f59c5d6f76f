/** Checks of the firewall: what it refuses that must get through, and whether that stays so. */
import { MARK } from "./accept.ts";
import type { Examination, Finding } from "./check.ts";
import type { Facts } from "./facts.ts";
import { insertions, lostOf, oursOf, type Refusal, refusalsOf } from "./firewall.ts";
import type { Hook, Table } from "./packet.ts";

function where({ table, chain, rule }: Refusal): string {
  const by = rule === undefined ? `policy ${chain.policy}` : `rule ${rule + 1}`;
  return `${table.backend} ${table.family} ${table.name} ${chain.name} (${by})`;
}

function about(rules: number, what: string): string {
  return rules === 0 ? "" : `; rules that let them through ${what}`;
}

function hookFinding(hook: Hook, { view, kept }: Facts): Finding {
  const { firewall, place } = view;
  if (place === undefined) return { skipped: "this node has no overlay addresses" };
  const refusals = refusalsOf(firewall, place).filter(({ chain }) => chain.hook === hook);
  if (refusals.length === 0) return { found: "nothing of the mesh is refused" };
  const { lost, overruled } = lostOf(refusals, kept);
  const places = [...new Set(refusals.map(where))].join(", ");
  const what = [...new Set(refusals.map(({ accept }) => accept.about))].join(", ");
  return {
    found: `refused: ${what}; by ${places}${about(lost.length, "were put in and are gone")}${about(overruled.length, "are there, behind a denial that came later")}`,
    commands: insertions(refusals, firewall),
  };
}

/** Whether others have put anything into a table; a policy counts. */
function isUsed({ chains }: Table): boolean {
  return chains.some(
    ({ policy, rules }) => policy === "drop" || rules.some(({ comment }) => !comment?.startsWith(MARK)),
  );
}

function tableText({ backend, family, name, chains }: Table): string {
  const kube = chains.some((chain) => chain.name.startsWith("KUBE-")) ? " (Kubernetes' chains)" : "";
  return `${backend} ${family} ${name}${kube}`;
}

const drops = ({ chains }: Table) => chains.some(({ policy }) => policy === "drop");

/** The kernel has tables of legacy iptables apart from those of nf_tables, and packets pass both. A table by nft(8) that drops nothing by itself is nobody's mistake. */
function kindsFinding({ view: { firewall } }: Facts): Finding {
  const used = firewall.tables.filter(isUsed);
  const found = used.map(tableText).join(", ") || "nobody else has rules";
  const legacy = used.filter(({ backend }) => backend === "iptables-legacy");
  const others = used.filter(
    (table) => table.backend === "iptables-nft" || (table.backend === "nft" && drops(table)),
  );
  if (legacy.length === 0 || others.length === 0) return { found };
  return {
    found: `both kinds have rules: ${found}`,
    fix: "let all use one: update-alternatives --set iptables /usr/sbin/iptables-nft (ip6tables likewise), restart what writes rules (kubelet, kube-proxy, docker; k3s and kube-proxy's image choose by what they find), then take away what is left in the other kind: iptables-legacy-save shows it, a reboot drops it",
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
    id: "iptables-kinds",
    why: "iptables-legacy and iptables-nft do not see each other's rules, and packets must pass both: what one lets through the other refuses, and kube-proxy may write where nobody looks",
    look: kindsFinding,
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
      const rules = oursOf(firewall);
      const ours = rules.length;
      if (ours === 0 && firewall.firewalld?.zone === true)
        return { found: "firewalld has the zone causeway, and puts it in by itself" };
      if (ours === 0 && kept.size === 0) return { skipped: "no rules of ours were needed" };
      const found = `${ours} rules with the comment "${MARK.trim()} …"`;
      if (rules.some(({ key }) => !kept.has(key)))
        return { found: `${found}, which nobody keeps`, fix: "causeway doctor --fix", keeps: true };
      if (agent === undefined)
        return {
          found: `${found}; ${agentProblem ?? "the agent was not asked"}`,
          fix: "systemctl enable --now causeway",
        };
      return { found: `${found}, kept by the agent` };
    },
  },
];
