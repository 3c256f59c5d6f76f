/** What a node has of links, addresses, routes, rules, settings and files: text by which it can be compared with itself. */
import type { PrivateHost } from "./private-host.ts";

/** Tables that iptables makes by itself and never removes; kube-proxy's and kubelet's rules are theirs to remove. */
const IPTABLES = /^table (ip|ip6) (nat|filter|mangle|raw|security) /;

const COMMANDS: Readonly<Record<string, string>> = {
  links: "ip -o -d link | sed 's/ promiscuity.*//'",
  addresses: "ip -o addr | sed 's/ valid_lft.*//'",
  routes: "ip route show table all; ip -6 route show table all | sed 's/ pref medium//'",
  rules: "ip rule; ip -6 rule",
  neighbours: "ip neigh show nud permanent; bridge fdb show",
  xfrm: "ip xfrm state; ip xfrm policy",
  settings: "grep -rs '' /proc/sys/net | grep -v nf_conntrack_count | sort",
  namespaces: "ls /run/netns",
  // What differs from the machine's own files is in the upper layers; kubernetes is what kubeadm writes.
  files: `find /run/layer/etc /run/layer/opt /run/wireguard /var/lib/causeway /var/lib/cni \
    '(' -name work -o -name kubernetes ')' -prune -o -type f -print | sort | xargs -r -d '\n' sha256sum`,
};

/** NodeDump is what was found, by subject, a line each. */
export type NodeDump = Readonly<Record<string, readonly string[]>>;

/** dumpOf reads a node. */
export async function dumpOf(host: PrivateHost): Promise<NodeDump> {
  const found: Record<string, readonly string[]> = {};
  for (const [subject, command] of Object.entries(COMMANDS)) {
    const { stdout } = await host.run(["sh", "-c", command]);
    found[subject] = stdout.split("\n").filter(Boolean);
  }
  const ruleset = (await host.run(["nft", "-s", "list", "ruleset"])).stdout;
  found.ruleset = ruleset
    .split(/^(?=table )/m)
    .filter((table) => table.startsWith("table ") && !IPTABLES.test(table))
    .flatMap((table) => table.split("\n").filter(Boolean));
  return found;
}

/** differences lists what one has and the other has not: `-` was there, `+` is there. */
export function differences(before: NodeDump, after: NodeDump): string[] {
  return Object.keys(before).flatMap((subject) => {
    const [was, is] = [before[subject] ?? [], after[subject] ?? []];
    return [
      ...was.filter((line) => !is.includes(line)).map((line) => `- ${subject}: ${line}`),
      ...is.filter((line) => !was.includes(line)).map((line) => `+ ${subject}: ${line}`),
    ];
  });
}
