/**
 * What the speakers of the edge's topology (edge-topology.ts) are told: routers of the fabric, and what runs on nodes' hosts. Numbers are those of
 * OpenPERouter's laboratory.
 */

/** Vrf is a tenant of the fabric, with an L3 VNI. */
export type Vrf = "red" | "blue";

export const VNIS: Readonly<Record<Vrf, number>> = { red: 100, blue: 200 };

/** FabricBox is a router of the fabric: its AS number, and its address of the spine's link, which has the address before. */
export interface FabricBox {
  readonly name: string;
  readonly asn: number;
  readonly routerId: string;
  readonly address: string;
}

/** Leaf is one with hosts behind it. Its tenants are in VRFs, or its one tenant in its own table. */
export interface Leaf extends FabricBox {
  readonly site: "A" | "B";
  readonly vrfs: readonly Vrf[];
  /** It has hosts of no tenant. */
  readonly isPlain: boolean;
  readonly hasVrfs: boolean;
}

export const SPINE = { name: "spine", asn: 64612, routerId: "10.1.0.1" } as const;
export const TOR_1: FabricBox = {
  ...{ name: "tor1", asn: 64512, routerId: "10.1.0.11", address: "192.168.1.5" },
};
export const TOR_2: FabricBox = {
  ...{ name: "tor2", asn: 64513, routerId: "10.1.0.12", address: "192.168.1.7" },
};

/**
 * The spine knows both ToRs by this AS number, and leaves hear the same whichever of the two it prefers meanwhile: where a path changes, FRR 8.4 may
 * forget a router's Ethernet address.
 */
const TORS_ASN = 64511;

const BOTH: readonly Vrf[] = ["red", "blue"];

/** leavesOf returns the leaves: one of each site, or one for each tenant of a site where the kernel has no VRFs. */
export function leavesOf(hasVrfs: boolean): Leaf[] {
  const leaf = (site: "A" | "B", vrfs: readonly Vrf[], { isPlain = false, number = 0 } = {}): Leaf => {
    const own = (site === "A" ? 1 : 2) + 10 * number;
    return {
      ...{
        name: number === 0 ? `leaf${site}` : `leaf${site}${number}`,
        asn: 64520,
        site,
        vrfs,
        isPlain,
        hasVrfs,
      },
      routerId: `100.64.0.${own}`,
      address: `192.168.1.${(site === "A" ? 1 : 3) + 10 * number}`,
    };
  };
  if (hasVrfs) return [leaf("A", BOTH, { isPlain: true }), leaf("B", BOTH)];
  return [
    leaf("A", ["red"]),
    leaf("A", ["blue"], { number: 1 }),
    leaf("A", [], { number: 2, isPlain: true }),
    leaf("B", ["red"]),
    leaf("B", ["blue"], { number: 1 }),
  ];
}

/** spineSide returns the spine's address of a box's link. */
export const spineSide = (address: string) => address.replace(/\d+$/, (last) => String(Number(last) - 1));

/** FabricHost is a machine behind a leaf, in a VRF or in none. */
export interface FabricHost {
  readonly name: string;
  readonly site: "A" | "B";
  readonly vrf?: Vrf;
  /** Without the host's part; the gateway is 1, the host 2. */
  readonly net4: string;
  readonly net6?: string;
}

export const HOSTS: readonly FabricHost[] = [
  { name: "A-red", site: "A", vrf: "red", net4: "192.168.20", net6: "2001:db8:20" },
  { name: "A-blue", site: "A", vrf: "blue", net4: "192.168.21", net6: "2001:db8:21" },
  { name: "A-plain", site: "A", net4: "192.168.22" },
  { name: "B-red", site: "B", vrf: "red", net4: "192.169.20", net6: "2001:db8:169:20" },
  { name: "B-blue", site: "B", vrf: "blue", net4: "192.169.21", net6: "2001:db8:169:21" },
];

/** isBehind tells whether a host is behind a leaf. */
export function isBehind({ site, vrf }: FabricHost, leaf: Leaf): boolean {
  return site === leaf.site && (vrf === undefined ? leaf.isPlain : leaf.vrfs.includes(vrf));
}

const router = (asn: number, routerId: string) => `router bgp ${asn}
 bgp router-id ${routerId}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 60 180`;

/** In both families of the fabric. */
const active = (
  neighbors: readonly string[],
  { more4 = "", moreEvpn = "" } = {},
) => ` address-family ipv4 unicast
${neighbors.map((one) => `  neighbor ${one} activate\n  neighbor ${one} allowas-in`).join("\n")}
${more4} exit-address-family
 address-family l2vpn evpn
${neighbors.map((one) => `  neighbor ${one} activate\n  neighbor ${one} allowas-in`).join("\n")}
${moreEvpn} exit-address-family
exit`;

/** spineText is the spine's configuration. */
export function spineText(boxes: readonly FabricBox[]): string {
  const neighbors = boxes.map(
    (box) =>
      ` neighbor ${box.address} remote-as ${box === TOR_1 || box === TOR_2 ? TORS_ASN : box.asn}\n neighbor ${box.address} timers connect 1`,
  );
  const all = active(
    boxes.map(({ address }) => address),
    { more4: "  maximum-paths 1\n" },
  );
  return [router(SPINE.asn, SPINE.routerId), ...neighbors, all].join("\n");
}

/** leafText is a leaf's: a VTEP with its tenants as L3 VNIs, and the plain host's network. */
export function leafText(leaf: Leaf): string {
  const spine = spineSide(leaf.address);
  const hosts = HOSTS.filter((host) => isBehind(host, leaf));
  const plain = hosts.filter(({ vrf }) => vrf === undefined).map(({ net4 }) => `  network ${net4}.0/24\n`);
  const networks = (vrf: Vrf) => {
    const own = hosts.filter((host) => host.vrf === vrf);
    return ` address-family ipv4 unicast
${own.map(({ net4 }) => `  network ${net4}.0/24`).join("\n")}
 exit-address-family
 address-family ipv6 unicast
${own.map(({ net6 }) => `  network ${net6}::/64`).join("\n")}
 exit-address-family
 address-family l2vpn evpn
  advertise ipv4 unicast
  advertise ipv6 unicast
 exit-address-family
exit`;
  };
  const base = router(leaf.asn, leaf.routerId);
  const toSpine = ` neighbor ${spine} remote-as ${SPINE.asn}\n neighbor ${spine} timers connect 1`;
  const all = active([spine], {
    more4: `  network ${leaf.routerId}/32\n${plain.join("")}`,
    moreEvpn: "  advertise-all-vni\n",
  });
  const [only] = leaf.vrfs;
  if (leaf.hasVrfs || only === undefined)
    return [
      ...leaf.vrfs.map((vrf) => `vrf ${vrf}\n vni ${VNIS[vrf]}\nexit-vrf`),
      ...[base, toSpine, all],
      ...leaf.vrfs.map(
        (vrf) => `${base.replace(/ timers.*/, "").replace(/(bgp \d+)/, `$1 vrf ${vrf}`)}\n${networks(vrf)}`,
      ),
    ].join("\n");
  // The tenant's table is the router's own: between it and the spine there are tunnel endpoints only.
  const filter = ` address-family ipv4 unicast\n  neighbor ${spine} prefix-list endpoints in\n  neighbor ${spine} prefix-list endpoints out\n exit-address-family`;
  return [
    `vni ${VNIS[only]}`,
    "ip prefix-list endpoints seq 5 permit 100.64.0.0/15 le 32",
    ...[base, toSpine, filter, all.replace(/\nexit$/, ""), networks(only)],
  ].join("\n");
}

/** torText is a ToR's: nodes are whoever calls from its network. */
export function torText(tor: FabricBox, net: string): string {
  const spine = spineSide(tor.address);
  return [
    router(tor.asn, tor.routerId),
    ` neighbor ${spine} remote-as ${SPINE.asn}\n neighbor ${spine} timers connect 1`,
    ` neighbor ${spine} local-as ${TORS_ASN} no-prepend replace-as`,
    " neighbor nodes peer-group\n neighbor nodes remote-as 64514",
    ` bgp listen range ${net}.0/24 peer-group nodes`,
    active([spine, "nodes"]),
  ].join("\n");
}

/** SESSIONS are host sessions: the edge's addresses are the same on every node. */
export const SESSIONS = {
  red: { net4: "192.169.10", net6: "2001:db8:169:10" },
  blue: { net4: "192.169.11", net6: "2001:db8:169:11" },
  plain: { net4: "192.169.9" },
} as const;

/** podNets returns which networks a node's pods have, by the node's index. */
export const podNets = (index: number) => ({ net4: `10.244.${index}`, net6: `fd00:244:${index + 1}` });

/** metallbText is FRR as MetalLB and FRR-K8s configure it: a neighbor for each peer, all that it has to all of them. */
export function metallbText(index: number): string {
  const four = [SESSIONS.red, SESSIONS.blue, SESSIONS.plain].map(({ net4 }) => `${net4}.1`);
  const six = [SESSIONS.red, SESSIONS.blue].map(({ net6 }) => `${net6}::1`);
  const { net4, net6 } = podNets(index);
  const each = (list: readonly string[], text: (one: string) => string) => list.map(text).join("\n");
  return `router bgp 64515
 bgp router-id 10.3.0.${index + 1}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
${each([...four, ...six], (one) => ` neighbor ${one} remote-as 64514\n neighbor ${one} timers connect 1`)}
 address-family ipv4 unicast
${each(four, (one) => `  neighbor ${one} activate`)}
  network ${net4}.0/24
 exit-address-family
 address-family ipv6 unicast
${each(six, (one) => `  neighbor ${one} activate`)}
  network ${net6}::/64
 exit-address-family
`;
}

/**
 * calicoText is BIRD as Calico configures it: the node's block as a blackhole, sessions that look next hops up, its own AS number accepted (all nodes
 * have it), what is learned in the kernel.
 */
export function calicoText(index: number): string {
  const { net4, net6 } = podNets(index);
  const host = (net: string, colons: string) => `${net}${colons}${index + 2}`;
  const session = (
    name: string,
    own: string,
    edge: string,
    family: 4 | 6,
  ) => `protocol bgp ${name} from calico {
  neighbor ${edge} as 64514; source address ${own};
  ipv${family} { import all; export filter blocks${family}; gateway recursive; };
}`;
  return `router id 10.3.0.${index + 1};
filter blocks4 { if net ~ ${net4}.0/24 then accept; reject; }
filter blocks6 { if net ~ ${net6}::/64 then accept; reject; }
protocol device { scan time 2; }
protocol direct { ipv4; ipv6; }
protocol static { ipv4; route ${net4}.0/24 blackhole; }
protocol static { ipv6; route ${net6}::/64 blackhole; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; scan time 2; merge paths on; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; scan time 2; merge paths on; }
template bgp calico {
  local as 64515; multihop; allow local as 1; graceful restart;
  connect delay time 1; connect retry time 1; error wait time 1,5;
}
${session("red4", host(SESSIONS.red.net4, "."), `${SESSIONS.red.net4}.1`, 4)}
${session("red6", host(SESSIONS.red.net6, "::"), `${SESSIONS.red.net6}::1`, 6)}
${session("blue4", host(SESSIONS.blue.net4, "."), `${SESSIONS.blue.net4}.1`, 4)}
${session("blue6", host(SESSIONS.blue.net6, "::"), `${SESSIONS.blue.net6}::1`, 6)}
`;
}

/** ciliumText is GoBGP as Cilium configures it: it listens nowhere, announces, and puts nothing into the kernel. */
export function ciliumText(index: number): string {
  const session = (own: string, edge: string, family: 4 | 6) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${edge}"
    peer-as = 64514
  [neighbors.transport.config]
    local-address = "${own}"
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 2
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv${family}-unicast"
`;
  return `[global.config]
  as = 64515
  router-id = "10.3.0.${index + 1}"
  port = -1
${[SESSIONS.red, SESSIONS.blue]
  .flatMap(({ net4, net6 }) => [
    session(`${net4}.${index + 2}`, `${net4}.1`, 4),
    session(`${net6}::${index + 2}`, `${net6}::1`, 6),
  ])
  .join("")}`;
}
