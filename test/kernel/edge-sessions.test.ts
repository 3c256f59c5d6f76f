/**
 * The kinds of sessions that an edge has, with FRR as the fabric's router: each kind carries what the hosts of two nodes announce, in a VPC and plain,
 * and an L2 domain; who is asked sees the asker's own address. Numbers in names are those of OpenPERouter's end-to-end cases (docs/edge-tests.md).
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { bridgedMachine } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import type { Json } from "../support/scratch.ts";
import { seen } from "../support/seen.ts";

setDefaultTimeout(180_000);
const { root, lacks } = foreignRoot("frr");

const TOR = 64512;
/** AS number of the edge in host sessions of the VPC, and in one kind of the whole edge. */
const EDGE = 64599;

/** A kind of session of node 1 or 2 with the ToR. */
interface Kind {
  readonly asn: number;
  /** As the Underlay says it. */
  readonly neighbor: (node: number) => string;
  /** What the ToR calls the node, and how it configures it. */
  readonly peer: (node: number) => string;
  readonly remoteAs: string;
  /** The ToR calls the node by its link. */
  readonly isUnnumbered?: true;
}

const four = (node: number) => `192.168.1${node}`;
const six = (node: number) => `fd00:1${node}::`;
const KINDS = {
  external: {
    ...{ asn: 64514, remoteAs: "64514" },
    neighbor: (node) => `{address: ${four(node)}.2, asn: external`,
    peer: (node) => `${four(node)}.3`,
  },
  internal: {
    ...{ asn: TOR, remoteAs: "internal" },
    neighbor: (node) => `{address: ${four(node)}.2, asn: internal`,
    peer: (node) => `${four(node)}.3`,
  },
  sameNumber: {
    ...{ asn: TOR, remoteAs: `${TOR}` },
    neighbor: (node) => `{address: ${four(node)}.2, asn: ${TOR}`,
    peer: (node) => `${four(node)}.3`,
  },
  six: {
    ...{ asn: 64524, remoteAs: "64524" },
    neighbor: (node) => `{address: "${six(node)}2", asn: ${TOR}`,
    peer: (node) => `${six(node)}3`,
  },
  unnumbered: {
    ...{ asn: 64524, remoteAs: "external", isUnnumbered: true },
    neighbor: () => `{link: eth1, asn: ${TOR}`,
    peer: (node) => `to-${node === 1 ? "a" : "b"}`,
  },
  listen4: {
    ...{ asn: EDGE, remoteAs: `${EDGE}` },
    neighbor: (node) => `{listen: ${four(node)}.0/24, asn: ${TOR}`,
    peer: (node) => `${four(node)}.3`,
  },
  listen6: {
    ...{ asn: 64514, remoteAs: "64514" },
    neighbor: (node) => `{listen: "${six(node)}/64", asn: external`,
    peer: (node) => `${six(node)}3`,
  },
} satisfies Record<string, Kind>;

/** What is said of the session with the host: AS number of the speaker there, and what the edge takes. */
interface HostKind {
  readonly hostAsn: number;
  readonly peerAsn: string;
}
const HOST_KINDS = {
  number: { hostAsn: 64515, peerAsn: "64515" },
  external: { hostAsn: 64525, peerAsn: "external" },
  internal: { hostAsn: 64599, peerAsn: "internal" },
} satisfies Record<string, HostKind>;
/** What is behind each node's host, without the machine's part: in the VPC, and in none. */
const RED = ["10.99.0", "10.98.0"] as const;
const PLAIN = [
  { net4: "10.97.0", net6: "fd00:97:" },
  { net4: "10.96.0", net6: "fd00:96:" },
] as const;
/** What the ToR itself announces. */
const TORS = "198.51.100.0/24";
/** A passthrough is the Underlay's own, and has its AS number. */
const plainPeer = ({ asn }: Kind, { peerAsn }: HostKind) =>
  peerAsn === "internal" && asn !== EDGE ? "external" : peerAsn;

const manifest = (node: number, kind: Kind, host: HostKind) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${kind.asn}
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [${kind.neighbor(node)}, ${"listen" in kind ? "" : "connectRetry: 1s, "}families: {ipv4-unicast: {}, ipv6-unicast: {}, l2vpn-evpn: {}}}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32]}
  hostSessions: [{name: plain, asn: ${kind.asn}, peerAsn: ${plainPeer(kind, host)}, prefixes: [192.169.2${node}.0/24, "fd00:169:2${node}::/64"], connectRetry: 1s}]
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: {}
  hostSession: {asn: ${EDGE}, peerAsn: ${host.peerAsn}, prefixes: [192.169.1${node}.0/24], connectRetry: 1s}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {}}
`;

/** The host's speaker has a session for each, and says there what is its own. */
function hostSpec(i: number, { asn }: Kind, { hostAsn }: HostKind): object {
  const { net4, net6 } = PLAIN[i] as (typeof PLAIN)[number];
  const sessions = [
    {
      name: "red",
      asn: EDGE,
      edge: `192.169.1${i + 1}.1`,
      family: "ipv4-unicast",
      network: `${RED[i]}.0/24`,
    },
    { name: "plain4", asn, edge: `192.169.2${i + 1}.1`, family: "ipv4-unicast", network: `${net4}.0/24` },
    { name: "plain6", asn, edge: `fd00:169:2${i + 1}::1`, family: "ipv6-unicast", network: `${net6}:/64` },
  ];
  return {
    ...{ asn: hostAsn, routerId: `10.0.2.${i + 1}`, networks: sessions.map(({ network }) => network) },
    policies: Object.fromEntries(
      sessions.map(({ name, network }) => [name, [{ match: { prefix: [network] }, action: "accept" }]]),
    ),
    neighbors: sessions.map(({ name, asn: edgeAsn, edge, family }) => ({
      ...{ address: edge, asn: edgeAsn, connectRetry: "1s" },
      families: { [family]: { export: name } },
    })),
  };
}

function torText(kinds: readonly [Kind, Kind]): string {
  const peers = kinds.map((kind, i) => ({ kind, name: kind.peer(i + 1) }));
  const each = (text: (peer: (typeof peers)[number]) => string) => peers.map(text).join("\n");
  return `router bgp ${TOR}
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 60 180
${each(({ name, kind }) => ` neighbor ${name} ${kind.isUnnumbered ? "interface " : ""}remote-as ${kind.remoteAs}`)}
${each(({ name }) => ` neighbor ${name} timers connect 1`)}
${each(({ name }) => (/^192/.test(name) ? "" : ` neighbor ${name} capability extended-nexthop`))}
 address-family ipv4 unicast
${each(({ name }) => `  neighbor ${name} activate\n  neighbor ${name} next-hop-self`)}
  network ${TORS}
 exit-address-family
 address-family ipv6 unicast
${each(({ name }) => `  neighbor ${name} activate\n  neighbor ${name} next-hop-self`)}
 exit-address-family
 address-family l2vpn evpn
${each(({ name }) => `  neighbor ${name} activate`)}
 exit-address-family
`;
}

describe.skipIf(lacks !== undefined)(
  `kinds of sessions of an edge${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let nodes: readonly [EdgeNode, EdgeNode];
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a", "b"], root: root as string });
      nodes = [lab.node("a"), lab.node("b")];
      lab.scratch.text("sysctl -qw net.ipv6.conf.all.forwarding=1");
      for (const [i, node] of nodes.entries()) {
        lab.scratch.text(`ip address add ${six(i + 1)}2/64 dev to-${node.name} nodad`);
        node.text(`ip address add ${six(i + 1)}3/64 dev eth1 nodad`);
        node.text("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        const { net4, net6 } = PLAIN[i] as (typeof PLAIN)[number];
        red[i] = machine(node, "red0", [`${RED[i]}.1/24`]);
        plain[i] = machine(node, "plain0", [`${net4}.1/24`, `${net6}:1/64`]);
      }
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    const red: Netns[] = [];
    const plain: Netns[] = [];

    /** A machine behind a node's host, whose addresses end in 1; the host's end in 2. */
    function machine(node: EdgeNode, link: string, addresses: readonly string[]): Netns {
      const netns = lab.scratch.another();
      const text = (command: string) => lab.scratch.text(command, netns);
      node.text(`ip link add ${link} type veth peer name eth0 netns ${netns.path}`);
      for (const address of addresses) {
        const nodad = address.includes(":") ? " nodad" : "";
        node.text(`ip address add ${address.replace("1/", "2/")} dev ${link}${nodad}`);
        text(`ip address add ${address} dev eth0${nodad}`);
      }
      node.text(`ip link set ${link} up`);
      text("ip link set eth0 up");
      for (const address of addresses)
        text(`ip route add default via ${address.replace(/1\/\d+$/, "2")} dev eth0`);
      lab.serve(netns);
      return netns;
    }

    /** Both see each other's own addresses. */
    async function see(machines: readonly Netns[], addresses: readonly [string, string]): Promise<void> {
      for (const [i, one] of machines.entries())
        expect(await seen(one, addresses[1 - i] as string)).toBe(addresses[i] as string);
    }

    async function meet(
      kinds: readonly [Kind, Kind],
      hosts: readonly [HostKind, HostKind],
    ): Promise<Foreign> {
      nodes.forEach((node, i) => {
        node.start();
        node.follow(manifest(i + 1, kinds[i] as Kind, hosts[i] as HostKind));
        expect(node.problems).toEqual([]);
        lab.speaker(`host-${node.name}`, node.netns, hostSpec(i, kinds[i] as Kind, hosts[i] as HostKind));
      });
      // The link-local address goes with the carrier, when the link is moved, and FRR never says it on a session that comes up before it is back.
      await until("the ToR's links have their addresses", async () =>
        nodes.every(({ name }) =>
          /inet6 fe80\S+ scope link (?!.*tentative)/.test(
            lab.scratch.text(`ip -6 address show dev to-${name}`),
          ),
        ),
      );
      const tor = await lab.frr(lab.scratch.netns, torText(kinds));
      const webs = nodes.map((node, i) =>
        bridgedMachine(lab, node, { bridge: "cwb5110", address: `10.1.0.${5 + i}` }),
      );
      for (const web of webs) lab.serve(web);
      const told = () =>
        [
          tor.ask("show bgp summary", "show bgp l2vpn evpn", "show bgp ipv6 unicast"),
          lab.scratch.text("ip route"),
          lab.scratch.text("ip -6 route"),
          ...nodes.flatMap((node) => [
            ...node.logged,
            ...["cw-underlay", "cw-5100", undefined].flatMap((inside) => [
              node.text("ip route", inside),
              node.text("ip -6 route", inside),
            ]),
          ]),
        ].join("\n");
      try {
        await see(red, [`${RED[0]}.1`, `${RED[1]}.1`]);
        await see(plain, [`${PLAIN[0].net4}.1`, `${PLAIN[1].net4}.1`]);
        await see(plain, [`${PLAIN[0].net6}:1`, `${PLAIN[1].net6}:1`]);
        await see(webs, ["10.1.0.5", "10.1.0.6"]);
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${told()}`);
      }
      const table = tor.ask("show bgp l2vpn evpn");
      for (const [i, net] of RED.entries()) {
        const [service, other] = [`${net}.0/24`, nodes[1 - i] as EdgeNode];
        expect(table).toMatch(
          new RegExp(`\\[24\\]:\\[${`${net}.0`.replaceAll(".", "\\.")}\\]\\n +100\\.65\\.0\\.${i + 1} `),
        );
        expect(other.text(`ip route show ${service}`, "cw-5100")).toContain(
          `via 100.65.0.${i + 1} dev br5100`,
        );
        expect(other.text(`ip route show ${service}`)).toMatch(/ dev cwh5100 proto \w+/);
        const { net4, net6 } = PLAIN[i] as (typeof PLAIN)[number];
        expect(other.text(`ip route show ${net4}.0/24`)).toMatch(/ dev cwpunderlay proto \w+/);
        expect(other.text(`ip -6 route show ${net6}:/64`)).toMatch(/ dev cwpunderlay proto \w+/);
        expect(table).not.toContain(net4);
      }
      const tors = () => nodes.map((node) => node.text(`ip route show ${TORS}`));
      await until("hosts have what the ToR announces", async () =>
        tors().every((route) => route.includes("dev cwpunderlay")),
      );
      tor.ask("configure terminal", `router bgp ${TOR}`, "address-family ipv4 unicast", `no network ${TORS}`);
      await until("and no more", async () => tors().every((route) => route === ""));
      for (const [i, kind] of kinds.entries()) {
        const one = (tor.json(`show bgp neighbors ${kind.peer(i + 1)} json`) as Json)[kind.peer(i + 1)];
        expect(Object.keys(one.addressFamilyInfo).sort()).toEqual([
          "ipv4Unicast",
          "ipv6Unicast",
          "l2VpnEvpn",
        ]);
      }
      return tor;
    }
    const { number, external, internal } = HOST_KINDS;

    test("18, 29, 37, 55: an external ToR by address; another by its IPv6 address, with IPv4 by its next hops", async () => {
      await meet([KINDS.external, KINDS.six], [number, external]);
      expect(nodes[1].text("ip route show 100.65.0.1", "cw-underlay")).toContain("via inet6 ");
    });

    test("19, 20, 30, 49, 56: an internal ToR; an unnumbered one; hosts inside and outside of the edge's AS", async () => {
      await meet([KINDS.internal, KINDS.unnumbered], [internal, external]);
      expect(nodes[1].text("ip route show 100.65.0.1", "cw-underlay")).toContain("via inet6 fe80::");
    });

    test("31, 57: a ToR of our own AS number; one that calls from a network; IPv6 by link-local next hops alone", async () => {
      for (const [i, node] of nodes.entries()) {
        lab.scratch.text(`ip address del ${six(i + 1)}2/64 dev to-${node.name}`);
        node.text(`ip address del ${six(i + 1)}3/64 dev eth1`);
      }
      await meet([KINDS.sameNumber, KINDS.listen4], [number, internal]);
    });

    test("58: one that calls from an IPv6 network, and an unnumbered one: IPv6 of the passthrough, too", async () => {
      await meet([KINDS.listen6, KINDS.unnumbered], [external, number]);
    });
  },
);
