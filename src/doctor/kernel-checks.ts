/** Checks of the kernel: what it can do, and its settings. */
import { LINK, PODS_LINK } from "../mesh/mod.ts";
import type { Examination, Finding } from "./check.ts";
import type { Facts } from "./facts.ts";

function lacking({ lacking }: Facts, names: readonly string[]): Finding {
  const missing = names.filter((name) => lacking.includes(name));
  if (missing.length === 0) return { found: `${names.join(", ")} work` };
  return { found: `the kernel has no ${missing.join(", ")}`, commands: [["modprobe", "-a", ...missing]] };
}

/** A setting that must be one of these values; where the kernel has none, there is nothing to set. */
function setting(facts: Facts, wanted: readonly (readonly [path: string, ...good: string[]])[]): Finding {
  const there = wanted.filter(([path]) => facts.settings[path] !== undefined);
  const wrong = there.filter(([path, ...good]) => !good.includes(facts.settings[path] as string));
  const text = (rows: typeof wanted) =>
    rows.map(([path]) => `${dotted(path)} = ${facts.settings[path]}`).join(", ");
  if (there.length === 0) return { skipped: "this kernel has no such setting, or the link is not there" };
  if (wrong.length === 0) return { found: text(there) };
  return {
    found: text(wrong),
    commands: wrong.map(([path, good]) => ["sysctl", "-w", `${dotted(path)}=${good}`]),
  };
}

/** sysctl(8) takes slashes as well, which names of links with dots need. */
function dotted(path: string): string {
  return path.includes(".") ? path : path.replaceAll("/", ".");
}

/** kernelExaminations are these checks. */
export const kernelExaminations: readonly Examination<Facts>[] = [
  {
    id: "kernel-wireguard",
    why: "without WireGuard in the kernel the tunnel runs in user space, which needs /dev/net/tun",
    look: ({ lacking, tun }) => {
      if (!lacking.includes("wireguard")) return { found: "WireGuard works" };
      if (tun) return { found: "the kernel has no WireGuard; the tunnel runs in user space by /dev/net/tun" };
      return {
        found: "neither WireGuard nor /dev/net/tun",
        commands: [["modprobe", "-a", "wireguard", "tun"]],
      };
    },
  },
  {
    id: "kernel-links",
    why: "pods hang at a bridge by veth links, and VPCs are carried by VXLAN; without them pods are refused",
    look: (facts) => lacking(facts, ["bridge", "veth", "vxlan"]),
  },
  {
    id: "kernel-filter",
    why: "the node's own table keeps others from pretending to be nodes, and masquerades pods",
    look: (facts) => lacking(facts, ["nf_tables", "nf_conntrack"]),
  },
  {
    id: "kernel-kube",
    why: "containers need overlay, kube-proxy's rules need br_netfilter: Services would not answer pods of the same node",
    look: (facts) =>
      facts.kube === undefined
        ? { skipped: "no Kubernetes on this node" }
        : lacking(facts, ["overlay", "br_netfilter"]),
  },
  {
    id: "sysctl-forward",
    why: "a node that does not forward drops what its pods send, and a hub what it relays",
    look: (facts) =>
      setting(facts, [
        ["net/ipv4/ip_forward", "1"],
        ["net/ipv6/conf/all/forwarding", "1"],
      ]),
  },
  {
    id: "sysctl-rp-filter",
    why: "a strict check of the return path drops packets whose way changes between direct and relayed; the stricter of `all` and the link's own counts, so the link's must be loose (2)",
    look: (facts) => setting(facts, [[`net/ipv4/conf/${LINK}/rp_filter`, "2", ...looseWithAll(facts)]]),
  },
  {
    id: "sysctl-bridge",
    why: "without it packets between pods of one node pass kube-proxy's rules by, and answers of Services come from the wrong address",
    look: (facts) =>
      facts.kube === undefined
        ? { skipped: "no Kubernetes on this node" }
        : setting(facts, [
            ["net/bridge/bridge-nf-call-iptables", "1"],
            ["net/bridge/bridge-nf-call-ip6tables", "1"],
          ]),
  },
  {
    id: "sysctl-ipv6",
    why: "the overlay has IPv6 addresses, which a link without IPv6 cannot hold",
    look: (facts) =>
      setting(facts, [
        [`net/ipv6/conf/${LINK}/disable_ipv6`, "0"],
        [`net/ipv6/conf/${PODS_LINK}/disable_ipv6`, "0"],
      ]),
  },
  {
    id: "neighbours",
    why: "a full table of neighbours makes new pods unreachable at random (`neighbour table overflow`)",
    look: ({ neighbours, settings }) => {
      const most = Number(settings["net/ipv4/neigh/default/gc_thresh3"] ?? Number.NaN);
      if (Number.isNaN(most))
        return { skipped: "the limit can only be read in the machine's first namespace" };
      const found = `${neighbours} of ${most}`;
      if (neighbours < most * 0.8) return { found };
      return {
        found,
        commands: [
          [
            "sysctl",
            "-w",
            ...[1, 2, 3].map((at) => `net.ipv4.neigh.default.gc_thresh${at}=${most * 2 ** at}`),
          ],
        ],
      };
    },
  },
];

/** The kernel takes the larger of `all` and the link's own (Documentation/networking/ip-sysctl.rst): 0 is as good as 2 where `all` is not 1. */
function looseWithAll({ settings }: Facts): readonly string[] {
  return settings["net/ipv4/conf/all/rp_filter"] === "1" ? [] : ["0"];
}
