import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { type EdgeNode, formatRequirement, parseRequirement, selectsEdge } from "./edge-selector.ts";
import { formatManifest, formatProblem, formatResource, parseManifest } from "./manifest.ts";
import { underlayExample } from "./underlay.ts";
import { vpcEdgeExample } from "./vpc.ts";

const parse = (kind: string, spec: string) =>
  parseManifest(`apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: x}\nspec: ${spec}\n`);

const full = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: all}
spec:
  router: blue
  nodes: {role: [a, b], labels: ["zone in (x, y)", "!spare"]}
  asn: 64514
  routerIds: 10.7.0.0/16
  clusterId: 192.0.2.9
  links:
    - {name: eth1, mtuBytes: 9000}
    - {name: eth0.100, vlan: {parent: eth0, id: 100}, addresses: [192.0.2.9/24], addressesFrom: ["fd00::1/64"]}
    - {name: m0, macvlan: {parent: eth0, mode: private}}
    - {name: i0, ipvlan: {parent: eth0, mode: l3}}
    - {name: bond0, bond: {members: [eth2, eth3], mode: active-backup}}
    - name: net1
      cni: {config: {cniVersion: 1.0.0, name: u, plugins: [{type: macvlan, master: eth0}]}, runtime: {ips: [192.0.2.1/24]}}
  neighbors:
    - {address: 192.168.11.2, asn: 64512, port: 1179, multihop: 1, password: {secret: {namespace: s, name: p}}, hold: 0, keepalive: 0}
    - {link: eth1, asn: external, bfd: {transmit: 10ms, passive: true, minimumTtl: 254}, connectRetry: 65535s, maximumPrefixes: 9}
    - {listen: "fd00:9::/64", asn: internal, limit: 65535, families: {l2vpn-evpn: {routeReflectorClient: true}, ipv6-unicast: {}}}
  tunnelEndpoint: {prefixes: [100.65.0.0/24, "fd00:64::/64"], start: 1, link: i0}
  restartTime: 0
  stalePathTime: 4095s
  hostSessions:
    - {name: a, asn: 64514, peerAsn: 64514, prefixes: [192.169.9.0/24], nodes: {labels: [a=b]}, link: pt-host, import: [{action: accept}]}
  routes: [{prefix: 0.0.0.0/0, via: "fe80::1"}, {prefix: 10.0.0.0/8, discard: true}]
  index: {link: eth1, prefix: 192.168.11.0/24}
`;

describe("what is valid comes back the same", () => {
  for (const [name, text] of Object.entries({ underlayExample, vpcEdgeExample, full }))
    test(name, () => {
      const { resources, problems } = parseManifest(text);
      expect(problems.map(formatProblem)).toEqual([]);
      for (const again of [formatManifest(resources), resources.map(formatResource).join("")])
        expect(parseManifest(again)).toEqual({ resources, problems: [], refused: [] });
    });
});

const rest = "asn: 64514, links: [{name: eth1}]";
const neighbor = (text: string) => `{${rest}, neighbors: [${text}]}`;
const underlay = (text: string, links = "{name: eth1}") =>
  `{asn: 64514, links: [${links}], neighbors: [{address: 192.0.2.1, asn: 64512}], ${text}}`;
const fit = "asn: 64514, peerAsn: 64515, prefixes: [192.0.2.0/24]";

describe("mistakes are named with the place and the fix", () => {
  const cases: [kind: string, spec: string, expected: string][] = [
    ["Underlay", "{}", 'Underlay "x": spec.asn is missing; add it'],
    ["Underlay", "{asn: 0}", "spec.asn 0 is not a whole number from 1 to 4294967294"],
    ["Underlay", `{${rest}}`, "spec.neighbors is missing; add it"],
    ["Underlay", `{${rest}, neighbors: []}`, "spec.neighbors [] names no neighbor; write"],
    ["Underlay", "{asn: 1, links: [], neighbors: []}", "spec.links [] names no link; write"],
    ["Underlay", neighbor("{address: 192.0.2.1}"), "spec.neighbors[0].asn is missing; add it"],
    ["Underlay", neighbor("{asn: 1}"), "spec.neighbors[0] names no neighbor; add address, link for an"],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, link: eth1, asn: 1}"),
      "spec.neighbors[0] 192.0.2.1 has address and link; keep one of them",
    ],
    ["Underlay", neighbor("{address: a.b, asn: 1}"), 'spec.neighbors[0].address "a.b" is not an IP address'],
    [
      "Underlay",
      neighbor("{listen: 10.0.0.1/24, asn: 1}"),
      "has bits set after its length; write 10.0.0.0/24",
    ],
    ["Underlay", neighbor('{listen: "fe80::/64", asn: 1}'), "fe80::/64 is link-local; name the link instead"],
    [
      "Underlay",
      neighbor("{listen: 10.0.0.0/24, asn: 1}, {listen: 10.0.0.128/25, asn: 1}"),
      "spec.neighbors[1].listen 10.0.0.128/25 overlaps 10.0.0.0/24 of spec.neighbors[0]",
    ],
    [
      "Underlay",
      neighbor("{link: eth1, asn: 1}, {link: eth1, asn: 2}"),
      "spec.neighbors[1] eth1 is there twice; only one neighbor is allowed for each link",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1}, {address: 192.0.2.1, asn: 2}"),
      "spec.neighbors[1] 192.0.2.1 is there twice",
    ],
    ["Underlay", neighbor("{link: eth9, asn: 1}"), "spec.neighbors[0].link eth9 is no link of this Underlay"],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, hold: 90s}"),
      "spec.neighbors[0].hold 90s stands without keepalive; write both, or none",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, hold: 2s, keepalive: 1s}"),
      "hold 2s is not 0, nor from 3s to 65535s",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, hold: 3s, keepalive: 4s}"),
      "keepalive 4s is longer than hold 3s",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, families: {ipv4-vpn: {}}}"),
      "is not a set of the families ipv4-unicast, ipv6-unicast, l2vpn-evpn; write {l2vpn-evpn: {}}",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, families: {l2vpn-evpn: {routeReflectorClient: true}}}"),
      "families.l2vpn-evpn.routeReflectorClient true is for internal neighbors only",
    ],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, bfd: {multiplier: 1}}"),
      "whole number from 2 to 255",
    ],
    ["Underlay", neighbor("{address: 192.0.2.1, asn: 1, bfd: {transmit: 9ms}}"), "is not from 10ms to 60s"],
    ["Underlay", neighbor("{address: 192.0.2.1, asn: 1, multihop: 0}"), "whole number from 1 to 255"],
    [
      "Underlay",
      neighbor("{address: 192.0.2.1, asn: 1, password: {file: /a, secret: {namespace: n, name: s}}}"),
      "spec.neighbors[0].password names two places; write {file:",
    ],
    ["Underlay", underlay("clusterId: 10.0.0.9"), "spec.clusterId 10.0.0.9 is in spec.routerIds 10.0.0.0/24"],
    ["Underlay", underlay("routerIds: 'fd00::/64'"), "is not an IPv4 network; write one of IPv4"],
    ["Underlay", underlay("tunnelEndpoint: {}"), "says no address; write {prefixes: [100.65.0.0/24]}"],
    [
      "Underlay",
      underlay("tunnelEndpoint: {prefixes: [100.65.0.0/24, 100.66.0.0/24]}"),
      "spec.tunnelEndpoint.prefixes[1] 100.66.0.0/24 is the second of IPv4; keep one",
    ],
    ["Underlay", underlay("tunnelEndpoint: {prefixes: [100.65.0.0]}"), "is not a network; write it like"],
    [
      "Underlay",
      underlay("tunnelEndpoint: {link: eth2}"),
      "spec.tunnelEndpoint.link eth2 is no link of this",
    ],
    ["Underlay", underlay("restartTime: 5000s"), "spec.restartTime 5000s is not whole seconds up to 4095s"],
    ["Underlay", underlay("router: '4096'"), "is not the name of a router; write at most 12 characters"],
    ["Underlay", underlay("", "{name: abcdefghijklmnop}"), "write it like eth0, at most 15 characters"],
    ["Underlay", underlay("", "{name: 'a/b'}"), "is not the name of a network interface"],
    [
      "Underlay",
      underlay("", "{name: eth1}, {name: eth1}"),
      "spec.links[1].name eth1 is spec.links[0].name too",
    ],
    [
      "Underlay",
      underlay("", "{name: b, bond: {members: [eth1]}}, {name: eth1}"),
      "spec.links[1].name eth1 is spec.links[0].bond.members[0] too; name each link once",
    ],
    [
      "Underlay",
      underlay("", "{name: v, vlan: {parent: e, id: 1}, macvlan: {parent: e}}"),
      'spec.links[0].macvlan {"parent":"e"} stands beside vlan, and a link is made in one way',
    ],
    [
      "Underlay",
      underlay("", "{name: eth1}, {name: v, vlan: {parent: eth1, id: 1}}"),
      "spec.links[1].vlan.parent eth1 is moved into the router, and has to stay with the host",
    ],
    ["Underlay", underlay("", "{name: v, vlan: {parent: eth1, id: 4095}}"), "whole number from 1 to 4094"],
    [
      "Underlay",
      underlay("", "{name: n, cni: {config: {cniVersion: 0.4.0, name: n, plugins: [{type: macvlan}]}}}"),
      'spec.links[0].cni.config.cniVersion "0.4.0" is not supported; write 1.0.0 or later',
    ],
    [
      "Underlay",
      underlay("", "{name: n, cni: {config: {cniVersion: 1.0.0, name: n, plugins: [{}]}}}"),
      "spec.links[0].cni.config.plugins is not a list of plugins, each with its type",
    ],
    [
      "Underlay",
      underlay("hostSessions: [{name: a, asn: 1, peerAsn: 2, prefixes: []}]"),
      "spec.hostSessions[0].prefixes [] names no network",
    ],
    ["Underlay", underlay("index: {}"), "says not one thing; write {number: 3}, {link: eth1} or"],
    ["Underlay", underlay("index: {number: 1, link: eth1}"), "says not one thing"],
    ["Underlay", underlay("routes: [{prefix: 10.0.0.0/8}]"), "leads to one of via and discard"],
    ["Underlay", underlay("nodes: {labels: ['a=b c']}"), "is no condition on labels; write it like rack=a"],
    ["VPC", "{hostSession: {asn: 64514, prefixes: [192.0.2.0/24]}}", "spec.hostSession.peerAsn is missing"],
    [
      "VPC",
      "{underlay: {}, hostSession: {asn: 64514, peerAsn: 64514, prefixes: [192.0.2.0/24]}}",
      "spec.hostSession.peerAsn 64514 is asn too; write internal, or another AS number",
    ],
    [
      "VPC",
      "{underlay: {}, hostSession: {asn: 1, peerAsn: 2, prefixes: []}}",
      "prefixes [] names no network",
    ],
    [
      "VPC",
      "{underlay: {}, hostSession: {asn: 1, peerAsn: 2, prefixes: [10.0.0.0]}}",
      'spec.hostSession.prefixes[0] "10.0.0.0" is not a network',
    ],
    [
      "VPC",
      "{underlay: {}, hostSession: {asn: 1, peerAsn: 2, prefixes: [10.0.0.0/24, 10.1.0.0/24]}}",
      "spec.hostSession.prefixes[1] 10.1.0.0/24 is the second of IPv4; keep one",
    ],
    [
      "VPC",
      "{underlay: {}, hostSession: {asn: 1, peerAsn: 2, prefixes: [10.0.0.0/31]}}",
      "10.0.0.0/31 is too small for a link; use /30 or larger",
    ],
    ["VPC", `{hostSession: {${fit}}}`, "spec.hostSession is for a VPC in a fabric; add underlay: {}"],
    ["VPC", `{underlay: {}, routed: false, hostSession: {${fit}}}`, "has no routes where nothing is routed"],
    ["VPC", "{underlay: {announce: [10.0.0.0/8]}, routed: false}", "spec.underlay.announce changes nothing"],
    ["VPC", "{underlay: {leaks: [{from: x}]}}", "spec.underlay.leaks[0].from x is this VPC; name another"],
    ["VPC", "{underlay: {family: 5}}", "spec.underlay.family 5 is neither 4 nor 6"],
    ["VPC", '{importTargets: ["999.1.1.1:1"]}', "is not a route target"],
    ["VPC", '{importTargets: ["65536:65536"]}', "is not a route target"],
    ["Subnet", "{vpc: a, hostBridge: {managed: false}}", "is not ours (managed: false), and has no name"],
    ["Subnet", "{vpc: a, hostLink: b, hostBridge: {name: b}}", "is spec.hostLink too, its port"],
  ];
  for (const [kind, spec, expected] of cases)
    test(`${kind} ${spec}`, () => {
      const { resources, problems } = parse(kind, spec);
      const texts = problems.map(formatProblem);
      expect(texts.some((text) => text.includes(expected)) ? expected : texts.join("\n")).toBe(expected);
      expect(resources).toEqual([]);
    });
});

test("a password that is written where its place belongs is in no message", () => {
  for (const text of [
    "{address: 192.0.2.1, asn: 1, password: hunter2}",
    "{address: 192.0.2.1, asn: 1, password: {value: hunter2}}",
    "{address: 192.0.2.1, asn: 1, passwd: hunter2}",
    "{address: 192.0.2.1, asn: 1, password: {file: hunter2}}",
  ]) {
    const told = parse("Underlay", neighbor(text)).problems.map(formatProblem).join("\n");
    expect(told).toContain("spec.neighbors[0]");
    expect(told).not.toContain("hunter2");
  }
});

describe("labels", () => {
  const node = (labels: Record<string, string>): EdgeNode => ({ name: "n", hub: false, labels });
  const fits = (text: string, labels: Record<string, string>) =>
    selectsEdge({ labels: [parseRequirement(text)] }, node(labels));

  test("are judged as Kubernetes judges them", () => {
    expect([fits("a=b", { a: "b" }), fits("a=b", { a: "c" }), fits("a=b", {})]).toEqual([true, false, false]);
    expect([fits("a!=b", { a: "b" }), fits("a!=b", { a: "c" }), fits("a!=b", {})]).toEqual([
      false,
      true,
      true,
    ]);
    expect([fits("a in (b,c)", { a: "c" }), fits("a notin (b, c)", { a: "c" })]).toEqual([true, false]);
    expect([fits("a notin (b)", {}), fits("a", {}), fits("!a", {}), fits("a", { a: "" })]).toEqual([
      true,
      false,
      true,
      true,
    ]);
    expect(fits("constructor", {})).toBe(false);
    expect([fits("a=", { a: "" }), fits("in", { in: "x" }), fits("b.c/d", {})]).toEqual([true, true, false]);
  });

  const seed = newSeed();
  test(`conditions come back the same (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < 500; i++) {
      const operator = random.pick(["in", "not-in", "exists", "absent"] as const);
      const values = ["a", "", "b.c", "x_y"].filter(() => random.chance(0.5));
      const named = operator === "in" || operator === "not-in";
      const one = {
        key: random.pick(["rack", "topology.kubernetes.io/zone", "in", "A-b_c"]),
        operator,
        values: named ? (values.length === 0 ? ["z"] : values) : [],
      };
      expect(parseRequirement(formatRequirement(one))).toEqual(one);
    }
  });
});
