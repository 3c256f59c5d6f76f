/** What the kernel can do, by trying it in a namespace of its own that goes away at once: files about modules do not tell what works. */
import {
  addLink,
  kernelHasWireguard,
  NetlinkError,
  type NewLink,
  Nftables,
  Rtnetlink,
} from "../netlink/mod.ts";
import { createNetns, exists, Netns, ownPid, readText, removeNetns } from "../sys/mod.ts";

const links: readonly NewLink[] = [
  { name: "a", type: "bridge" },
  { name: "b", type: "veth", peer: { name: "c" } },
  { name: "d", type: "vxlan", vni: 1 },
];

const TABLE = "add table inet probe; add chain inet probe c";
const CONNTRACK = "add rule inet probe c ct state new accept";

/** lackingModules returns the modules that are not there; the kernel loads those that it finds. `root` is where the machine's files are. */
export function lackingModules(): readonly string[] {
  const path = `/run/causeway/doctor-${ownPid()}`;
  createNetns(path);
  try {
    using netns = Netns.open(path);
    return [...lackingLinks(netns), ...lackingFilters(netns), ...lackingOthers()];
  } finally {
    removeNetns(path);
  }
}

function lackingLinks(netns: Netns): readonly string[] {
  using route = Rtnetlink.open({ netns });
  return links.flatMap((link) => {
    const [error] = route.execute([addLink(link)]);
    return error instanceof NetlinkError && error.code === "EOPNOTSUPP" ? [link.type] : [];
  });
}

function lackingFilters(netns: Netns): readonly string[] {
  try {
    using nftables = Nftables.open({ netns });
    nftables.run(TABLE);
    try {
      nftables.run(CONNTRACK);
      return [];
    } catch {
      return ["nf_conntrack"];
    }
  } catch {
    // Without the library or the kernel's part nothing can be said of the rest.
    return ["nf_tables"];
  }
}

function lackingOthers(): readonly string[] {
  const filesystems = readText("/proc/filesystems") ?? "";
  return [
    ...(kernelHasWireguard() ? [] : ["wireguard"]),
    ...(exists("/proc/sys/net/bridge") ? [] : ["br_netfilter"]),
    ...(/\boverlay$/m.test(filesystems) ? [] : ["overlay"]),
  ];
}

const SETTINGS = [
  "net/ipv4/ip_forward",
  "net/ipv6/conf/all/forwarding",
  "net/ipv4/conf/all/rp_filter",
  "net/ipv4/conf/cw0/rp_filter",
  "net/ipv6/conf/cw0/disable_ipv6",
  "net/ipv6/conf/cw-pods/disable_ipv6",
  "net/bridge/bridge-nf-call-iptables",
  "net/bridge/bridge-nf-call-ip6tables",
  "net/ipv4/neigh/default/gc_thresh3",
];

/** readSettings returns what stands below /proc/sys. */
export function readSettings(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    SETTINGS.flatMap((path) => {
      const text = readText(`/proc/sys/${path}`);
      return text === undefined ? [] : [[path, text.trim()]];
    }),
  );
}
