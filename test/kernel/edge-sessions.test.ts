/**
 * The kinds of sessions that an edge has, with FRR as the fabric's router: each kind carries what the hosts of two nodes announce, and packets between
 * them. Numbers in names are those of OpenPERouter's end-to-end cases (docs/edge-tests.md).
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { run } from "../../src/sys/mod.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { root, lacks } = foreignRoot("frr");

const TOR = 64512;

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
    ...{ asn: 64524, remoteAs: "64524" },
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
/** AS number of the edge in host sessions. */
const EDGE = 64599;

const SERVICES = ["10.99.0.1", "10.98.0.1"] as const;
const manifest = (node: number, kind: Kind, { peerAsn }: HostKind) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${kind.asn}
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [${kind.neighbor(node)}, ${"listen" in kind ? "" : "connectRetry: 1s, "}families: {ipv4-unicast: {}, ipv6-unicast: {}, l2vpn-evpn: {}}}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: {}
  hostSession: {asn: ${EDGE}, peerAsn: ${peerAsn}, prefixes: [192.169.1${node}.0/24], connectRetry: 1s}
`;

function torText(kinds: readonly [Kind, Kind]): string {
  const peers = kinds.map((kind, i) => ({ kind, name: kind.peer(i + 1) }));
  const each = (text: (peer: (typeof peers)[number]) => string) => peers.map(text).join("\n");
  return `router bgp ${TOR}
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 60 180
${each(({ name, kind }) => ` neighbor ${name} ${kind.isUnnumbered ? "interface " : ""}remote-as ${kind.remoteAs}`)}
${each(({ name }) => ` neighbor ${name} timers connect 1`)}
${each(({ name }) => (/^192/.test(name) ? "" : ` neighbor ${name} capability extended-nexthop`))}
 address-family ipv4 unicast
${each(({ name }) => `  neighbor ${name} activate\n  neighbor ${name} next-hop-self`)}
 exit-address-family
 address-family ipv6 unicast
${each(({ name }) => `  neighbor ${name} activate`)}
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
        node.text(`ip address add ${SERVICES[i]}/32 dev lo`);
      }
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    /** Speakers of ours are in this process, and go on meanwhile. */
    const reaches = async (node: EdgeNode, from: string, to: string) =>
      (await run(["ping", "-n", "-c", "1", "-W", "2", "-I", from, to], { netns: node.netns })).status === 0;

    async function meet(
      kinds: readonly [Kind, Kind],
      hosts: readonly [HostKind, HostKind],
    ): Promise<Foreign> {
      const tor = await lab.frr(lab.scratch.netns, torText(kinds));
      nodes.forEach((node, i) => {
        node.start();
        node.follow(manifest(i + 1, kinds[i] as Kind, hosts[i] as HostKind));
        expect(node.problems).toEqual([]);
        lab.speaker(`host-${node.name}`, node.netns, {
          ...{ asn: hosts[i]?.hostAsn, routerId: `10.0.2.${i + 1}`, networks: [`${SERVICES[i]}/32`] },
          neighbors: [
            {
              ...{ address: `192.169.1${i + 1}.1`, asn: EDGE, connectRetry: "1s" },
              families: { "ipv4-unicast": {} },
            },
          ],
        });
      });
      const seen = () =>
        [
          tor.ask("show bgp summary", "show bgp l2vpn evpn"),
          lab.scratch.text("ip route"),
          ...nodes.flatMap((node) => [
            ...node.logged,
            ...["cw-underlay", "cw-5100", undefined].map((inside) => node.text("ip route", inside)),
          ]),
        ].join("\n");
      for (const [from, to, node] of [
        [SERVICES[0], SERVICES[1], nodes[0]],
        [SERVICES[1], SERVICES[0], nodes[1]],
      ] as const)
        await until(`${from} reaches ${to}`, () => reaches(node, from, to)).catch((error: Error) =>
          Promise.reject(new Error(`${error.message}\n${seen()}`)),
        );
      const table = tor.ask("show bgp l2vpn evpn");
      for (const [i, service] of SERVICES.entries()) {
        expect(table).toMatch(
          new RegExp(`\\[32\\]:\\[${service.replaceAll(".", "\\.")}\\]\\n +100\\.65\\.0\\.${i + 1} `),
        );
        expect(nodes[1 - i]?.text(`ip route show ${service}`, "cw-5100")).toContain(
          `via 100.65.0.${i + 1} dev br5100`,
        );
        expect(nodes[1 - i]?.text(`ip route show ${service}`)).toMatch(/ dev cwh5100 proto \w+/);
      }
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

    test("31, 57: a ToR of our own AS number; one that calls from a network", async () => {
      await meet([KINDS.sameNumber, KINDS.listen4], [number, internal]);
    });

    test("58: one that calls from an IPv6 network", async () => {
      await meet([KINDS.listen6, KINDS.listen4], [external, number]);
    });
  },
);
