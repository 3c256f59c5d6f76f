import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { tenantResources } from "../../test/support/resource-text.ts";
import {
  formatInterfaceAddress,
  formatIp,
  formatPrefix,
  parseInterfaceAddress,
  parsePrefix,
} from "../net/mod.ts";
import { type EdgeNode, formatProblem, tenantsOf } from "../resources/mod.ts";
import type { HostLeg } from "./model.ts";
import { type EdgePlan, planEdge } from "./plan.ts";
import {
  edgeAddress,
  endpointOf,
  Full,
  hostAddress,
  indexOfAddress,
  linkAddress,
  routerIdOf,
} from "./pool.ts";

const read = (text: string) => tenantsOf(tenantResources(text));

const node = (index: number, more: Partial<EdgeNode> = {}): EdgeNode => ({
  name: `n${index}`,
  hub: false,
  labels: {},
  index,
  ...more,
});
const plan = (text: string, on: EdgeNode = node(0)) => planEdge(read(text), { node: on });
const told = ({ problems }: EdgePlan) =>
  problems.map(
    ({ kind, name, field, value = "", problem, effect, reason }) =>
      `${effect} ${reason}: ${formatProblem({ object: `${kind} "${name}"`, field, value, problem })}`,
  );
const leg = (one: HostLeg | undefined) => ({
  edge: one?.edge.map(formatInterfaceAddress),
  host: one?.host.map(formatInterfaceAddress),
});

const base =
  "Underlay fabric {asn: 64514, links: [{name: eth1}], neighbors: [{address: 192.168.11.2, asn: 64512}], tunnelEndpoint: {prefixes: [100.65.0.0/24]}";
const red =
  'VPC red {vni: 100, underlay: {}, hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24, "2001:db8:169:10::/64"]}}';

describe("a node's addresses", () => {
  test("are those of its index", () => {
    const { edge, problems } = plan(`${base}}\n${red}`, node(2));
    expect(problems).toEqual([]);
    const router = edge.routers[0];
    expect(router).toMatchObject({ name: "underlay", namespace: "cw-underlay", underlay: "fabric" });
    expect(formatIp(router!.routerId)).toBe("10.0.0.3");
    expect(router!.endpoints.map(({ address }) => formatIp(address!))).toEqual(["100.65.0.2"]);
    expect(router!.announce.map(formatPrefix)).toEqual(["100.65.0.2/32"]);
    const routing = router!.domains[0]!.routing!;
    expect(leg(routing.host)).toEqual({
      edge: ["192.169.10.1/24", "2001:db8:169:10::1/64"],
      host: ["192.169.10.4/24", "2001:db8:169:10::4/64"],
    });
    expect(routing.announce.map(formatPrefix)).toEqual(["192.169.10.4/32", "2001:db8:169:10::4/128"]);
    expect(routing).toMatchObject({ importTargets: ["*:100"], exportTargets: ["64514:100"], family: 4 });
    expect(routing.host).toMatchObject({ hostLink: "cwh100", internal: false, overheadBytes: 50 });
  });

  test("begin where the pool says, and end with it", () => {
    expect(formatInterfaceAddress(edgeAddress(parsePrefix("192.0.2.16/28")))).toBe("192.0.2.16/28");
    expect(formatInterfaceAddress(hostAddress(parsePrefix("192.0.2.16/28"), 0))).toBe("192.0.2.17/28");
    expect(() => hostAddress(parsePrefix("192.0.2.16/28"), 14)).toThrow(Full);
    expect(formatInterfaceAddress(hostAddress(parsePrefix("192.0.2.16/28"), 13))).toBe("192.0.2.30/28");
    expect(formatIp(endpointOf(parsePrefix("100.65.0.0/24"), 1, 254))).toBe("100.65.0.255");
    expect(() => endpointOf(parsePrefix("100.65.0.0/24"), 1, 255)).toThrow(
      "has no address for a node with index 255; use a larger network than 100.65.0.0/24",
    );
    expect(formatIp(routerIdOf(parsePrefix("10.0.0.0/24"), 254))).toBe("10.0.0.255");
    expect(formatInterfaceAddress(linkAddress(parseInterfaceAddress("192.0.2.9/24"), 3))).toBe(
      "192.0.2.12/24",
    );
  });

  test("can be read from a link", () => {
    const all = ["10.0.0.9/32", "192.168.11.7/24", "fd00::5/64"].map(parseInterfaceAddress);
    expect(indexOfAddress(all, undefined)).toBe(0);
    expect(indexOfAddress(all, parsePrefix("192.168.11.0/24"))).toBe(7);
    expect(indexOfAddress(all.slice(2), undefined)).toBe(5);
    expect(indexOfAddress(all, parsePrefix("10.9.0.0/16"))).toBeUndefined();
    const text = `${base}, index: {link: eth1}}`;
    const { index: _, ...nameless } = node(0);
    expect(told(planEdge(read(text), { node: nameless }))).toEqual([
      'router dependency: Underlay "fabric": spec.index is read from link eth1, which has no such address here; give it one, or write {number: …}',
    ]);
    const { edge } = planEdge(read(text), {
      node: nameless,
      addresses: { eth1: [parseInterfaceAddress("192.168.11.3/24")] },
    });
    expect(formatIp(edge.routers[0]!.routerId)).toBe("10.0.0.4");
  });

  const seed = newSeed();
  test(`no two nodes have one, nor the edge's (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < 300; i++) {
      const length = 16 + random.below(15);
      const pool = parsePrefix(
        random.chance(0.5)
          ? `10.${random.below(256)}.0.0/${length}`
          : `fd00:0:0:${random.below(9)}::/${length + 64}`,
      );
      const seen = new Set([formatInterfaceAddress(edgeAddress(pool))]);
      let full = false;
      for (let index = 0; index < 40; index++)
        try {
          const host = hostAddress(pool, index);
          expect(full).toBe(false);
          expect(seen.has(formatInterfaceAddress(host))).toBe(false);
          seen.add(formatInterfaceAddress(host));
        } catch (error) {
          if (!(error instanceof Full)) throw error;
          full = true;
        }
    }
  });
});

test("sessions: families follow the Underlay alone, and internal ones are told", () => {
  const text = `Underlay fabric {asn: 64514, links: [{name: eth1}], tunnelEndpoint: {prefixes: [100.65.0.0/24, "fd00:64::/64"]},
    neighbors: [{address: 192.168.11.2, asn: 64512, hold: 90s, keepalive: 30s, bfd: {}}, {link: eth1, asn: internal},
    {listen: "fd00:9::/64", asn: external}, {address: 10.0.0.1, asn: 64514, families: {l2vpn-evpn: {routeReflectorClient: true}}}]}`;
  const { edge } = plan(text.replaceAll("\n", " "));
  expect(
    edge.routers[0]!.sessions.map(({ name, internal, extendedNextHop, families }) => ({
      name,
      internal,
      extendedNextHop,
      families: families
        .map(
          ({ family, routeReflectorClient: c, allowOwnAsn: a, nextHopSelf: s }) =>
            `${family}${c ? " client" : ""}${a ? " own" : ""}${s ? " self" : ""}`,
        )
        .join(", "),
    })),
  ).toEqual([
    {
      name: "192.168.11.2",
      internal: false,
      extendedNextHop: false,
      families: "ipv4-unicast own, ipv6-unicast own, l2vpn-evpn own",
    },
    {
      name: "eth1",
      internal: true,
      extendedNextHop: true,
      families: "ipv4-unicast self, ipv6-unicast self, l2vpn-evpn",
    },
    {
      name: "fd00:9::/64",
      internal: false,
      extendedNextHop: true,
      families: "ipv4-unicast own, ipv6-unicast own, l2vpn-evpn own",
    },
    { name: "10.0.0.1", internal: true, extendedNextHop: false, families: "l2vpn-evpn client" },
  ]);
  expect(edge.routers[0]!.sessions[0]).toMatchObject({ holdMs: 90_000, keepaliveMs: 30_000, peer: {} });
  const plain = "Underlay f {asn: 1, links: [{name: a}], neighbors: [{link: a, asn: 2}]}";
  expect(plan(plain).edge.routers[0]!.sessions[0]!.families.map(({ family }) => family)).toEqual([
    "ipv4-unicast",
  ]);
});

test("a Subnet: gateways, the host's bridge, and announcement of its network", () => {
  const { edge, problems } = plan(
    `${base}, hostSessions: [{name: pt, asn: 64514, peerAsn: internal, prefixes: [192.169.9.0/24], link: pt-host}]}
     VPC red {vni: 100, underlay: {announce: [10.20.0.0/16], hosts: true, routes: [{prefix: 10.66.0.0/16, discard: true}], leaks: [{from: blue, prefixes: [10.9.0.0/16 le 32]}]}}
     VPC blue {vni: 200, underlay: {family: 4, port: 4790, rd: "1.2.3.4:5"}, exportTargets: ["1:2"]}
     VPC flat {routed: false, underlay: {}}
     Subnet red.a {vpc: red, vni: 110, prefixes: [192.171.24.0/24], gatewayMac: "00:f3:00:00:00:6f", hostBridge: {}}
     Subnet red.b {vpc: red, vni: 111, hostLink: host-e-111, hostBridge: {name: br0, managed: false}}
     Subnet flat {vpc: flat, vni: 300, prefixes: [10.1.0.0/24], hostLink: leg}`,
  );
  expect(problems).toEqual([]);
  const [router] = edge.routers;
  expect(router!.passthrough).toMatchObject({
    hostLink: "pt-host",
    edgeLink: "host0",
    internal: true,
    overheadBytes: 0,
  });
  expect(router!.announce.map(formatPrefix)).toEqual(["100.65.0.0/32", "192.169.9.2/32"]);
  expect(router!.domains.map(({ vpc, vni }) => [vpc, vni])).toEqual([
    ["red", 100],
    ["blue", 200],
    ["flat", 300],
  ]);
  const [domain, blue, flat] = router!.domains;
  expect(domain!.routing!.announce.map(formatPrefix)).toEqual(["10.20.0.0/16", "192.171.24.0/24"]);
  expect(domain!.routing).toMatchObject({ hosts: true, leaks: [{ from: 200 }], routes: [{}] });
  expect(domain!.segments).toMatchObject([
    { subnet: "red.a", vni: 110, hostLink: "cwl110", hostBridge: { name: "cwb110", managed: true } },
    { subnet: "red.b", vni: 111, hostLink: "host-e-111", hostBridge: { name: "br0", managed: false } },
  ]);
  expect(domain!.segments[0]!.gateways.map(formatInterfaceAddress)).toEqual(["192.171.24.1/24"]);
  expect(blue!.routing).toMatchObject({
    port: 4790,
    rd: "1.2.3.4:5",
    exportTargets: ["1:2"],
    importTargets: ["*:200"],
  });
  expect(flat!.routing).toBeUndefined();
  expect(flat!.segments[0]).toMatchObject({ gateways: [], hostLink: "leg", importTargets: ["*:300"] });
});

describe("what is wrong leaves out as little as possible", () => {
  const vnis = ({ edge }: EdgePlan) =>
    edge.routers.flatMap(({ domains }) =>
      domains.flatMap(({ vni, segments }) => [vni, ...segments.map((s) => s.vni)]),
    );

  test("two Underlays of a router: it stays as it is; another router is not touched", () => {
    const all = plan(
      `${base}}\n${base.replace("fabric", "zz")}}\n${base.replace("fabric", "b").replace("{name: eth1}", "{name: eth2}")}, router: blue}\n${red}`,
    );
    expect(told(all)).toEqual([
      'router invalid: Underlay "zz": spec.nodes fit a node that has router "underlay" from Underlay "fabric" (spec.nodes), and a router of a node has one Underlay; choose other nodes, or another router',
    ]);
    expect(all.kept).toEqual(["underlay"]);
    expect(all.edge.routers.map(({ namespace }) => namespace)).toEqual(["cw-blue"]);
  });

  test("host sessions that overlap: the router stays as it is", () => {
    const all = plan(`${base}}\n${red}\n${red.replace("red", "too").replace("vni: 100", "vni: 101")}`);
    expect(all.kept).toEqual(["underlay"]);
    expect(told(all)[0]).toBe(
      'router invalid: VPC "too": spec.hostSession.prefixes[0] 192.169.10.0/24 overlaps 192.169.10.0/24 of VPC "red" (spec.hostSession.prefixes[0]) on the same host; choose networks that share no address',
    );
  });

  test("a VNI twice: the VPC before the Subnet, then the first by name", () => {
    const all = plan(`${base}}\n${red}\nVPC b {vni: 7, underlay: {}}\nVPC a {vni: 7, underlay: {}}
      Subnet s {vpc: red, vni: 100}\nSubnet u {vpc: red, vni: 8}\nSubnet t {vpc: red, vni: 8}\nSubnet v {vpc: b, vni: 9}`);
    expect(told(all)).toEqual([
      'resource invalid: VPC "b": spec.vni 7 is that of VPC "a"; choose another',
      'resource invalid: Subnet "s": spec.vni 100 is that of VPC "red"; choose another',
      'resource invalid: Subnet "u": spec.vni 8 is that of Subnet "t"; choose another',
      'resource dependency: Subnet "v": spec.vpc b is a VPC that is left out; mend that first',
    ]);
    expect(vnis(all)).toEqual([7, 100, 8]);
  });

  test("networks that overlap in a VPC: all of that VPC", () => {
    const all =
      plan(`${base}}\n${red}\nVPC blue {vni: 7, underlay: {}}\nSubnet s {vpc: red, vni: 8, prefixes: [192.169.10.0/25]}
      Subnet t {vpc: red, vni: 9}\nSubnet u {vpc: blue, vni: 10, prefixes: [192.169.10.0/25]}`);
    expect(told(all)).toEqual([
      'vpc invalid: Subnet "s": spec.prefixes[0] 192.169.10.0/25 overlaps 192.169.10.0/24 of VPC "red" (spec.hostSession.prefixes[0]) in VPC "red"; choose networks that share no address',
      'resource dependency: Subnet "s": spec.vpc red is a VPC that is left out; mend that first',
      'resource dependency: Subnet "t": spec.vpc red is a VPC that is left out; mend that first',
    ]);
    expect(vnis(all)).toEqual([7, 10]);
  });

  test("several host sessions of an Underlay: none, and the rest goes on", () => {
    const session = (name: string, net: string) => `{name: ${name}, asn: 1, peerAsn: 2, prefixes: [${net}]}`;
    const all = plan(
      `${base}, hostSessions: [${session("a", "192.0.2.0/25")}, ${session("b", "192.0.2.128/25")}]}\n${red}`,
    );
    expect(told(all)).toEqual([
      'passthrough invalid: Underlay "fabric": spec.hostSessions[1].nodes b fits a node that a fits too, and a node has one host session of a router; choose other nodes',
    ]);
    expect([all.edge.routers[0]!.passthrough, vnis(all)]).toEqual([undefined, [100]]);
  });

  test("a tunnel endpoint that is missing, of any family or of one", () => {
    const none = `Underlay f {asn: 1, links: [{name: a}], neighbors: [{link: a, asn: 2}]}\n${red}`;
    expect(told(plan(none))).toEqual([
      'resource dependency: VPC "red": spec.underlay needs a tunnel endpoint, and Underlay "f" has none; add spec.tunnelEndpoint there',
    ]);
    const six = `${base}}\n${red.replace("underlay: {}", "underlay: {family: 6}")}`;
    expect(told(plan(six))[0]).toContain(
      "spec.underlay.family 6 is not among the tunnel endpoints of Underlay",
    );
  });

  test("pools without an address for this node: the router, or the VPC", () => {
    const small = red.replace("192.169.10.0/24", "192.169.10.0/30");
    expect(told(plan(`${base}}\n${small}`, node(0)))).toEqual([]);
    expect(told(plan(`${base}}\n${small}`, node(1)))[0]).toBe(
      'resource invalid: VPC "red": spec.hostSession.prefixes[0] 192.169.10.0/30 has no address for a node with index 1 but 192.169.10.3/30, its last; use a larger network than 192.169.10.0/30',
    );
    const all = plan(`${base}}\n${red}`, node(255));
    expect([all.kept, all.edge.routers]).toEqual([["underlay"], []]);
  });

  test("links of the host with one name", () => {
    const all = plan(`${base}}\n${red}\nSubnet s {vpc: red, vni: 8, hostBridge: {name: br0, managed: false}}
      Subnet t {vpc: red, vni: 9, hostBridge: {name: br0, managed: false}}\nSubnet u {vpc: red, vni: 10, hostBridge: {name: br0}}\nSubnet v {vpc: red, vni: 11, hostLink: cwh100}`);
    expect(told(all)).toEqual([
      'resource invalid: Subnet "u": spec.hostBridge.name br0 is a link of Subnet "s" (spec.hostBridge.name) too; choose another name',
      'resource invalid: Subnet "v": spec.hostLink cwh100 is a link of VPC "red" (spec.hostSession.link) too; choose another name',
    ]);
  });

  test("what is for a VPC that is not there, or not here, waits for it", () => {
    const all =
      plan(`${base}}\nVPC far {vni: 7, underlay: {nodes: {labels: [far]}}}\nVPC near {vni: 9, underlay: {leaks: [{from: far}]}}
      Subnet a {vpc: gone, vni: 8, hostBridge: {}}\nSubnet b {vpc: far, vni: 10, underlay: {nodes: {}}}\nSubnet c {vpc: far, vni: 11, hostBridge: {}}`);
    expect(told(all)).toEqual([
      'leak dependency: VPC "near": spec.underlay.leaks[0].from far is no VPC of this router on this node; let it be there (spec.underlay.nodes)',
      'resource dependency: Subnet "a": spec.vpc gone is no VPC that is there; apply it, and this follows',
      'resource dependency: Subnet "b": spec.vpc far is a VPC that is not on node n0; change its spec.underlay.nodes, or those of the Subnet',
    ]);
  });
});

test("nodes have what is for them", () => {
  const text = `${base}, nodes: {labels: [rack=a]}}\n${base.replace("fabric", "other")}, nodes: {role: edge, labels: [rack!=a]}}\n${red.replace("{}", "{nodes: {labels: [gpu]}}")}`;
  const on = (labels: Record<string, string>, role = "node") => {
    const { edge } = planEdge(read(text), { node: node(0, { labels, role }) });
    return edge.routers.map(({ underlay, domains }) => `${underlay} ${domains.map(({ vpc }) => vpc).join()}`);
  };
  expect([on({ rack: "a" }), on({ rack: "a", gpu: "" }), on({}), on({ gpu: "x" }, "edge")]).toEqual([
    ["fabric "],
    ["fabric red"],
    [],
    ["other red"],
  ]);
});

const seed = newSeed();
test(`a plan does not depend on the order of resources, and no VNI or link is twice (SEED=${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 30; round++) {
    const lines = [`${base}}`];
    for (let i = 0; i < 6; i++)
      lines.push(
        `VPC v${i} {vni: ${1 + random.below(12)}, underlay: {nodes: {labels: [${random.pick(["x", "'!x'", "y=1"])}]}}, hostSession: {asn: 1, peerAsn: 2, prefixes: [10.${i}.${random.below(2)}.0/24]}}`,
      );
    for (let i = 0; i < 8; i++)
      lines.push(
        `Subnet s${i} {vpc: v${random.below(7)}, vni: ${1 + random.below(20)}, prefixes: [10.${random.below(6)}.${random.below(3)}.0/25], hostBridge: {name: ${random.pick(["br0", "br1"])}, managed: ${random.chance(0.5)}}}`,
      );
    const labels = Object.fromEntries(["x", "y"].filter(() => random.chance(0.5)).map((key) => [key, "1"]));
    const on = node(random.below(200), { labels });
    const one = plan(lines.join("\n"), on);
    const shuffled = lines
      .map((line) => [random.u32(), line] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, line]) => line);
    expect(plan(shuffled.join("\n"), on)).toEqual(one);
    const domains = one.edge.routers.flatMap((router) => router.domains);
    const all = domains.flatMap(({ vni, segments }) => [vni, ...segments.map((segment) => segment.vni)]);
    expect(new Set(all).size).toBe(all.length);
    const links = domains.flatMap(({ routing, segments }) => [
      ...(routing?.host === undefined ? [] : [routing.host.hostLink]),
      ...segments.flatMap(({ hostLink, hostBridge }) => [
        ...(hostLink === undefined ? [] : [hostLink]),
        ...(hostBridge?.managed === true ? [hostBridge.name] : []),
      ]),
    ]);
    expect(new Set(links).size).toBe(links.length);
  }
});
