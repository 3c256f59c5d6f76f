import { expect, test } from "bun:test";
import { parseInterfaceAddress, parseIp, parsePrefix } from "../net/mod.ts";
import type { AddressInfo, LinkInfo, RouteInfo } from "../netlink/mod.ts";
import { checkIds, diagnose } from "./diagnose.ts";
import type { AgentFacts, Facts, KubeFacts, PeerFacts } from "./facts.ts";
import { parseIptablesSave } from "./iptables-save.ts";
import { type KernelView, placeOf } from "./place.ts";

function link(index: number, name: string, more: Partial<LinkInfo> = {}): LinkInfo {
  return {
    ...{
      index,
      name,
      up: true,
      running: true,
      lowerUp: true,
      loopback: false,
      operState: "up",
      mtuBytes: 1500,
    },
    ...more,
  };
}

function address(linkIndex: number, text: string): AddressInfo {
  return { linkIndex, address: parseInterfaceAddress(text), scope: 0, permanent: true } as AddressInfo;
}

function route(text: string, more: Partial<RouteInfo> & { readonly dev?: number } = {}): RouteInfo {
  const { dev, ...rest } = more;
  return {
    ...{
      destination: parsePrefix(text),
      table: 254,
      protocol: 4,
      metric: 0,
      type: "unicast",
      scope: "global",
      tos: 0,
    },
    hops: dev === undefined ? [] : [{ linkIndex: dev }],
    ...rest,
  } as RouteInfo;
}

const networks = ["10.90.0.0/16", "fd01:2:3::/64", "10.244.0.0/16"];
const kernel: KernelView = {
  links: [
    link(1, "eth0"),
    link(2, "cw0", { mtuBytes: 1440 }),
    link(3, "cw-pods", { kind: "bridge", mtuBytes: 1440 }),
  ],
  addresses: [
    address(1, "192.168.1.5/24"),
    address(2, "10.90.0.2/32"),
    address(2, "fd01:2:3::2/128"),
    address(3, "10.244.1.1/24"),
  ],
  routes: [
    route("0.0.0.0/0", { dev: 1 }),
    route("192.168.1.0/24", { dev: 1 }),
    route("10.90.0.0/16", { dev: 2 }),
    ...networks.map((text) => route(text, { type: "unreachable", metric: 0x7fff_ffff })),
  ],
};

const peer: PeerFacts = {
  ...{
    name: "one",
    hub: false,
    overlay: [parseIp("10.90.0.3")],
    pods: [parsePrefix("10.244.2.0/24")],
    down: false,
  },
  reason: "",
};

const agent: AgentFacts = {
  ...{ node: "worker", hub: false, overlay: [parseIp("10.90.0.2"), parseIp("fd01:2:3::2")] },
  ...{
    pods: [parsePrefix("10.244.1.0/24")],
    connected: true,
    failed: [],
    peers: [peer],
    tunnel: { mtuBytes: 1440 },
  },
  mesh: {
    overlay: [parsePrefix("10.90.0.0/16"), parsePrefix("fd01:2:3::/64")],
    pods: [parsePrefix("10.244.0.0/16")],
    services: [parsePrefix("10.96.0.0/12")],
  },
};

const kube: KubeFacts = {
  ...{ distribution: "kubeadm", nodeIp: { value: "10.90.0.2", path: "/etc/default/kubelet" }, ordered: true },
  running: { nodeIp: "10.90.0.2" },
  registered: { internal: ["10.90.0.2"], podCidrs: ["10.244.1.0/24"] },
  networks: [
    { path: "manager.yaml", kind: "pods", value: "10.244.0.0/16" },
    { path: "manager.yaml", kind: "services", value: "10.96.0.0/12" },
  ],
  controlPlane: {
    certificate: { path: "apiserver.crt", names: ["kubernetes", "10.96.0.1", "10.90.0.2"] },
    endpoint: { path: "admin.conf", host: "10.90.0.2" },
    flags: [{ path: "kube-apiserver.yaml", flag: "advertise-address", hosts: ["10.90.0.2"] }],
  },
};

const cniFile = (path: string, type: string, delegatesToUs = false) => ({
  ...{ path, types: [type], delegatesToUs, calls: [type] },
});
const ours = cniFile("/etc/cni/net.d/10-causeway.conflist", "causeway");
const well: Facts = {
  ...{ agent, lacking: [], tun: true, neighbours: 10, kept: new Set(), kube },
  settings: {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/cw0/rp_filter": "2",
    "net/ipv6/conf/cw0/disable_ipv6": "0",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
    "net/ipv4/neigh/default/gc_thresh3": "1024",
  },
  view: viewOf(kernel),
  ways: [{ to: "one", address: "10.90.0.3", link: "cw0" }],
  pings: [{ peer: "one", small: true, large: true, largeBytes: 1440 }],
  cni: { folder: "/etc/cni/net.d", files: [ours] },
  plugins: { folders: ["/opt/cni/bin"], there: ["causeway", "flannel"], unlike: [] },
  hubNames: [],
  key: { path: "node.key", mode: 0o100600, elsewhere: [], machine: { made: ["aa"], now: ["aa"] } },
};

function viewOf(changed: KernelView, firewall = ""): Facts["view"] {
  const place = placeOf(changed, { tunnelPort: 51820 });
  const text = `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n${firewall}\nCOMMIT\n`;
  const tables = parseIptablesSave(text, { backend: "iptables-nft", family: "ip" });
  return { kernel: changed, firewall: { tables, unread: [] }, ...(place && { place }) };
}

/** What firewall.keep has after a fix. */
const keptNodes = new Set(["iptables-nft ip filter INPUT causeway: nodes of the mesh"]);

const wrong = (facts: Facts) => diagnose(facts).checks.filter(({ ok }) => !ok);

test("a node that is well has nothing wrong, and only firewalls and networks that are not there are not looked at", () => {
  const { skipped } = diagnose(well);
  expect(wrong(well)).toEqual([]);
  expect(skipped.map(({ id }) => id)).toEqual(["edge", "firewall-kept", "other-network"]);
});

function withKernel(change: Partial<KernelView>): Facts {
  return { ...well, view: viewOf({ ...kernel, ...change }) };
}

const withKube = (change: Partial<KubeFacts>): Facts => ({ ...well, kube: { ...kube, ...change } });
const withAgent = (change: Partial<AgentFacts>): Facts => ({ ...well, agent: { ...agent, ...change } });
const set = (path: string, value: string): Facts => ({
  ...well,
  settings: { ...well.settings, [path]: value },
});
const mac = (made: string): Facts => ({
  ...well,
  key: { ...(well.key as never as object), machine: { made: [made], now: ["aa"] } } as never,
});

/** Without an agent, and with another link below. */
function below(mtuBytes: number): Facts {
  const links = kernel.links.map((one) => (one.name === "eth0" ? { ...one, mtuBytes } : one));
  return { ...withKernel({ links }), agent: undefined as never, agentProblem: "no agent" };
}

/** The same rule in iptables-nft and in iptables-legacy. */
function bothKinds(rule: string): Facts {
  const view = viewOf(kernel, rule);
  const legacy = view.firewall.tables.map((table) => ({ ...table, backend: "iptables-legacy" as const }));
  const tables = [...view.firewall.tables, ...legacy];
  return { ...well, view: { ...view, firewall: { ...view.firewall, tables } } };
}

/** What goes wrong, which check sees it, and a part of what it says to do. */
const rows: readonly (readonly [about: string, id: string, facts: Facts, fix: string])[] = [
  ["no VXLAN", "kernel-links", { ...well, lacking: ["vxlan"] }, "modprobe -a vxlan"],
  [
    "no WireGuard, no TUN",
    "kernel-wireguard",
    { ...well, lacking: ["wireguard"], tun: false },
    "modprobe -a wireguard tun",
  ],
  ["no conntrack", "kernel-filter", { ...well, lacking: ["nf_conntrack"] }, "modprobe -a nf_conntrack"],
  ["no br_netfilter", "kernel-kube", { ...well, lacking: ["br_netfilter"] }, "modprobe -a br_netfilter"],
  ["no forwarding", "sysctl-forward", set("net/ipv4/ip_forward", "0"), "sysctl -w net.ipv4.ip_forward=1"],
  [
    "strict return path",
    "sysctl-rp-filter",
    set("net/ipv4/conf/cw0/rp_filter", "1"),
    "sysctl -w net.ipv4.conf.cw0.rp_filter=2",
  ],
  [
    "bridges pass iptables by",
    "sysctl-bridge",
    set("net/bridge/bridge-nf-call-iptables", "0"),
    "bridge-nf-call-iptables=1",
  ],
  ["no IPv6 on the link", "sysctl-ipv6", set("net/ipv6/conf/cw0/disable_ipv6", "1"), "disable_ipv6=0"],
  ["full neighbour table", "neighbours", { ...well, neighbours: 900 }, "gc_thresh3=2048"],
  ["not joined", "agent", withAgent({ node: undefined as never }), "causeway join"],
  [
    "session of an edge that ended",
    "edge",
    withAgent({ edge: { routers: ["underlay"], problems: ['VPC "red": the session has ended'] } }),
    "causeway bgp",
  ],
  ["failed object", "objects", withAgent({ failed: ["route/10.1.0.0: no"] }), "causeway plan"],
  [
    "address lost",
    "tunnel-link",
    withKernel({ addresses: kernel.addresses.filter((one) => one.address.length !== 128) }),
    "restart",
  ],
  [
    "link gone",
    "tunnel-link",
    withKernel({ links: kernel.links.filter(({ name }) => name !== "cw0") }),
    "restart",
  ],
  ["tunnel ended", "tunnel", withAgent({ tunnel: { mtuBytes: 1440, problem: "it ended" } }), "journalctl"],
  ["no hub", "hub", withAgent({ connected: false }), "UDP port"],
  [
    "hub's name without an address",
    "hub-name",
    { ...well, hubNames: [{ name: "hub.example.com", addresses: [] }] },
    "getent hosts hub.example.com",
  ],
  [
    "peer down",
    "peers",
    withAgent({ peers: [{ ...peer, down: true, reason: "no answer" }] }),
    "causeway peers one",
  ],
  [
    "key for all to read",
    "key",
    { ...well, key: { ...(well.key as never as object), mode: 0o644 } as never },
    "chmod 600",
  ],
  ["key of a copied machine", "key", mac("bb"), "causeway leave"],
  [
    "key of wg-quick",
    "key",
    { ...well, key: { ...(well.key as never as object), elsewhere: ["/etc/wireguard/wg0.conf"] } as never },
    "wg-quick down",
  ],
  [
    ...["docker0 in the pods' network", "overlap"],
    withKernel({
      links: [...kernel.links, link(4, "docker0")],
      addresses: [...kernel.addresses, address(4, "10.244.9.1/24")],
    }),
    "renumber",
  ] as never,
  [
    "route into the LAN",
    "overlap",
    withKernel({ routes: [...kernel.routes, route("10.90.128.0/17", { dev: 1 })] }),
    "renumber",
  ],
  [
    "wrong interface",
    "routes",
    { ...well, ways: [{ to: "one", address: "10.90.0.3", link: "eth0" }] },
    "ip route get 10.90.0.3",
  ],
  [...["tunnel larger than below", "mtu-links"], below(1400), "ip link set cw0 mtu 1340"] as never,
  [
    ...["tunnel as no agent wants it", "mtu-links"],
    withKernel({ links: kernel.links.map((one) => (one.name === "cw0" ? { ...one, mtuBytes: 1430 } : one)) }),
    "systemctl restart causeway",
  ] as never,
  [
    ...["pods larger than the tunnel", "mtu-links"],
    withKernel({
      links: kernel.links.map((one) => (one.name === "cw-pods" ? { ...one, mtuBytes: 1500 } : one)),
    }),
    "ip link set cw-pods mtu 1440",
  ] as never,
  [
    "MTU black hole",
    "mtu-path",
    { ...well, pings: [{ peer: "one", small: true, large: false, largeBytes: 1440 }] },
    "fragmentation needed",
  ],
  [
    "INPUT REJECT on 10250",
    "firewall-input",
    { ...well, view: viewOf(kernel, "-A INPUT -j REJECT") },
    "-I INPUT 1 -i cw0",
  ],
  [
    "FORWARD REJECT",
    "firewall-forward",
    { ...well, view: viewOf(kernel, "-A FORWARD -j REJECT") },
    "-I FORWARD 1",
  ],
  ["rules of both kinds", "iptables-kinds", bothKinds("-A INPUT -p tcp -j ACCEPT"), "update-alternatives"],
  [
    "rules lost",
    "firewall-input",
    { ...well, kept: keptNodes, view: viewOf(kernel, "-A INPUT -j REJECT") },
    "-I INPUT 1",
  ],
  [
    "unread table",
    "firewall-read",
    { ...well, view: { ...well.view, firewall: { tables: [], unread: ["no tool"] } } },
    "apt-get",
  ],
  [
    "no --node-ip",
    "node-ip",
    withKube({ nodeIp: undefined as never, running: undefined as never }),
    "causeway kube prepare kubeadm",
  ],
  [
    "--node-ip of the LAN",
    "node-ip",
    withKube({ nodeIp: { value: "192.168.1.5", path: "f" } }),
    "causeway kube prepare kubeadm",
  ],
  [
    "kubelet not restarted",
    "node-ip",
    withKube({ running: { nodeIp: "192.168.1.5" } }),
    "systemctl restart kubelet",
  ],
  [
    "INTERNAL-IP on the LAN",
    "internal-ip",
    withKube({ registered: { internal: ["192.168.1.5"], podCidrs: [] } }),
    "kube prepare",
  ],
  ["kubelet does not wait", "unit-order", withKube({ ordered: false }), "kube prepare"],
  [
    "pod network of kubeadm",
    "cluster-networks",
    withKube({ networks: [{ path: "f", kind: "pods", value: "10.240.0.0/16" }] }),
    "--control-plane",
  ],
  [
    "podCIDR of another",
    "pod-cidr",
    withKube({ registered: { internal: [], podCidrs: ["10.244.7.0/24"] } }),
    "allocate-node-cidrs",
  ],
  [
    ...["two CNIs", "cni-folder"],
    {
      ...well,
      cni: {
        folder: "f",
        files: [cniFile("f/05-flannel.conflist", "flannel"), ours],
      },
    },
    "then mv -n f/05-flannel.conflist f/05-flannel.conflist.not-used",
  ] as never,
  [
    "plugin gone",
    "cni-files",
    { ...well, plugins: { folders: ["f"], there: [], unlike: ["f/causeway"] } },
    "causeway cni install --bin-dir f",
  ],
  [
    "API server on the LAN",
    "api-names",
    withKube({ controlPlane: { flags: [{ path: "f", flag: "advertise-address", hosts: ["192.168.1.5"] }] } }),
    "set 10.90.0.2",
  ],
  ["no CNI of ours", "cni-folder", { ...well, cni: { folder: "f", files: [] } }, "causeway cni install"],
  [
    ...["flannel on the LAN", "other-network"],
    withKernel({
      links: [...kernel.links, link(5, "flannel.1", { vxlan: { local: parseIp("192.168.1.5") } as never })],
    }),
    "--iface=cw0",
  ] as never,
];

for (const [about, id, facts, fix] of rows)
  test(`${about}: ${id}`, () => {
    const found = wrong(facts).find((check) => check.id === id);
    expect([about, found?.id, found?.fix]).toEqual([about, id, expect.stringContaining(fix)]);
    expect([found?.found.length, found?.why.length].every((length) => (length ?? 0) > 0)).toBe(true);
  });

test("each check has a row", () => {
  const shown = new Set([...rows.map(([, id]) => id), "firewall-kept"]);
  expect(checkIds.filter((id) => !shown.has(id))).toEqual([]);
});

test("Multus that hands on to us is us; what comes after us is only named", () => {
  const multus = cniFile("f/00-multus.conf", "multus", true);
  const later = cniFile("f/87-podman.conflist", "bridge");
  const { checks } = diagnose({ ...well, cni: { folder: "f", files: [multus, ours, later] } }, [
    "cni-folder",
  ]);
  expect(checks).toEqual([
    expect.objectContaining({ ok: true, found: expect.stringContaining("87-podman") }),
  ]);
});

const look = (facts: Facts, id: string) => diagnose(facts, [id]).checks[0];

test("the tunnel keeps what IPv6 needs, and an agent's word counts more than the default route's link", () => {
  expect(look(below(1300), "mtu-links")?.fix).toContain("mtu 1280");
  expect(look({ ...below(1300), agent }, "mtu-links")?.ok).toBe(true);
  expect(look(below(1300), "mtu-links")?.commands).toBeUndefined();
});

test("IPv6 forwarding is the agent's to turn on, and nobody's where the node has not joined", () => {
  const off = set("net/ipv6/conf/all/forwarding", "0");
  expect(look(off, "sysctl-forward")).toMatchObject({ ok: false, fix: "systemctl restart causeway" });
  expect(look(off, "sysctl-forward")?.commands).toBeUndefined();
  const alone = viewOf({ ...kernel, addresses: [] });
  expect(look({ ...off, agent: undefined as never, view: alone }, "sysctl-forward")).toBeUndefined();
});

test("the larger of both return path settings counts", () => {
  const settings = (all: string, link: string) => ({
    ...well.settings,
    ...{ "net/ipv4/conf/all/rp_filter": all, "net/ipv4/conf/cw0/rp_filter": link },
  });
  const pairs = ["0 0", "0 1", "1 0", "1 2", "2 0", "2 1"].map((text) => text.split(" ") as [string, string]);
  const good = pairs.map(
    ([all, one]) => look({ ...well, settings: settings(all, one) }, "sysctl-rp-filter")?.ok,
  );
  expect(good).toEqual([true, false, false, true, true, true]);
});

test("flannel by the overlay numbers pods itself, and no check says otherwise", () => {
  const flannel = link(5, "flannel.1", { vxlan: { local: parseIp("10.90.0.2") } as never });
  const facts: Facts = {
    ...withKernel({ links: [...kernel.links, flannel] }),
    kube: {
      ...kube,
      networks: [{ path: "f", kind: "pods", value: "10.42.0.0/16" }],
      registered: { internal: ["10.90.0.2"], podCidrs: ["10.42.1.0/24"] },
    },
    cni: { folder: "f", files: [cniFile("f/10-flannel.conflist", "flannel")] },
  };
  expect(wrong(facts)).toEqual([]);
});

test("without iproute2 ways are not looked at", () => {
  const { skipped } = diagnose({ ...well, ways: [], waysProblem: "needs ip" }, ["routes"]);
  expect(skipped).toEqual([{ id: "routes", why: "needs ip" }]);
});

test("rules that are lost are said to be", () => {
  const found = (rules: string) =>
    wrong({ ...well, kept: keptNodes, view: viewOf(kernel, rules) }).find(({ id }) => id === "firewall-input")
      ?.found;
  expect(found("-A INPUT -j REJECT")).toContain("were put in and are gone");
  const ours = '-A INPUT -m comment --comment "causeway: nodes of the mesh" -j ACCEPT';
  expect(found(`-A INPUT -j REJECT\n${ours}`)).toContain("are there, behind a denial");
});

test("rules of one kind, and ours in both, are no two kinds", () => {
  const kinds = (facts: Facts) => look(facts, "iptables-kinds")?.ok;
  expect(kinds({ ...well, view: viewOf(kernel, "-A INPUT -j ACCEPT") })).toBe(true);
  expect(kinds(bothKinds('-A INPUT -m comment --comment "causeway: the tunnel" -j ACCEPT'))).toBe(true);
  expect(kinds(bothKinds("-A INPUT -m comment --comment mine -j ACCEPT"))).toBe(false);
});

test("rules of ours that nobody keeps are wrong, with an agent that is asked to they are not", () => {
  const rule = '-A INPUT -i cw0 -m comment --comment "causeway: nodes of the mesh" -j ACCEPT';
  const kept = (facts: Partial<Facts>) =>
    diagnose({ ...well, view: viewOf(kernel, rule), ...facts }, ["firewall-kept"]).checks[0];
  expect(kept({ kept: new Set() })).toMatchObject({ ok: false, fix: "causeway doctor --fix", keeps: true });
  expect(kept({ kept: keptNodes })?.ok).toBe(true);
  expect(kept({ kept: keptNodes, agent: undefined as never, agentProblem: "no agent" })).toMatchObject({
    ok: false,
  });
});

test("firewalld keeps its zone by itself", () => {
  const view = { ...well.view, firewall: { tables: [], unread: [], firewalld: { zone: true } } };
  expect(diagnose({ ...well, view }, ["firewall-kept"]).checks[0]?.ok).toBe(true);
});

test("without an agent the rest is looked at", () => {
  const { agent: _, pings: __, ...rest } = well;
  const { checks, skipped } = diagnose({ ...rest, agentProblem: "The agent does not run" });
  expect(checks.filter(({ ok }) => !ok).map(({ id }) => id)).toEqual(["agent"]);
  expect(skipped.map(({ id }) => id)).toEqual([
    "objects",
    "tunnel",
    "hub",
    "edge",
    "peers",
    "mtu-path",
    "firewall-kept",
    "other-network",
  ]);
});
