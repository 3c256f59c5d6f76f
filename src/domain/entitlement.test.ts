import { expect, test } from "bun:test";
import type { EvpnClaim, EvpnRoute } from "../bgp/mod.ts";
import { formatIp, parseEndpoint, parseIp, parseMac, parsePrefix } from "../net/mod.ts";
import { Entitlement } from "./entitlement.ts";
import { outsideEntitled, outsideMayServe } from "./outside-vteps.ts";
import { VtepClaims } from "./vtep-claims.ts";
import type { Domain } from "./model.ts";

const domain = (name: string, vni: number, subnet: number): Domain => ({
  name,
  vni,
  routing: { importTargets: [`64512:${vni}`], exportTargets: [`64512:${vni}`] },
  segments: [
    {
      name: `${name}-1`,
      vni: subnet,
      prefixes: [],
      gateways: [],
      gatewayMac: parseMac("02:00:00:00:00:01"),
      importTargets: [`64512:${subnet}`],
      exportTargets: [`64512:${subnet}`],
    },
  ],
  peerings: [],
});

const own = parseIp("10.90.0.7");
const entitlement = (openVnis = true) =>
  new Entitlement({
    asn: 64512,
    openVnis,
    domains: [domain("red", 5000, 5001), domain("blue", 6000, 6001)],
    nodes: [
      { name: "attic", overlay4: own, vteps: [own, parseIp("192.0.2.7")] },
      { name: "cellar", overlay4: parseIp("10.90.0.8"), vteps: [parseIp("10.90.0.8")] },
    ],
    mayServe: ({ name }, node) => name !== "blue" || node === "cellar",
  });

const host = (more: Partial<Extract<EvpnRoute, { kind: "host" }>> = {}): EvpnRoute => ({
  kind: "host",
  vni: 5001,
  targets: ["64512:5001", "64512:5000"],
  vtep: own,
  mac: parseMac("02:aa:00:00:00:05"),
  ip: parseIp("10.1.0.5"),
  sequence: 0,
  sticky: false,
  l3vni: 5000,
  routerMac: parseMac("02:00:00:00:13:88"),
  ...more,
});
const flood = (vni: number, target = `64512:${vni}`, vtep = own): EvpnRoute => ({
  kind: "flood",
  vni,
  vtep,
  targets: [target],
});
const prefix = (vni: number, target = `64512:${vni}`): EvpnRoute => ({
  kind: "prefix",
  vni,
  vtep: own,
  targets: [target],
  prefix: parsePrefix("10.1.0.0/24"),
  routerMac: parseMac("02:00:00:00:13:88"),
  localPreference: 100,
});
const claim = (route: EvpnRoute, more: Partial<EvpnClaim> = {}): EvpnClaim => ({
  rdRouter: own,
  nextHop: own,
  route,
  ...more,
});

test("what a node has is admitted: hosts, floods and prefixes of what it may serve, and open VNIs", () => {
  const { l3vni: _, ...bridged } = host({ targets: ["64512:5001"] }) as Extract<EvpnRoute, { kind: "host" }>;
  const other = parseIp("192.0.2.7");
  for (const one of [
    claim(host()),
    claim(bridged),
    claim(flood(5001)),
    claim(prefix(5000)),
    claim(flood(300)),
    // The configured underlay.
    claim(flood(5001, "64512:5001", other), { nextHop: other }),
  ])
    expect(entitlement().refusal(own, one)).toBeUndefined();
});

test("what it has not is refused, and says why", () => {
  const theirs = parseIp("10.90.0.8");
  const refused: readonly (readonly [EvpnClaim, string])[] = [
    [claim(host({ vtep: theirs }), { nextHop: theirs }), "by 10.90.0.8, which is not its VTEP"],
    // Type 3 names the end of the tunnel beside the next hop.
    [claim(flood(5001, "64512:5001", theirs)), "by 10.90.0.8, which is not its VTEP"],
    [claim(host(), { rdRouter: theirs }), "route distinguisher that is not its own"],
    [{ nextHop: own, route: host() }, "route distinguisher that is not its own"],
    [{ rdRouter: own, nextHop: own }, "attic announces an EVPN route that no node has"],
    [claim(flood(6001)), "it may not serve VPC blue"],
    [claim(prefix(6000)), "it may not serve VPC blue"],
    [claim(prefix(7000)), "VNI 7000 is no routed VPC's"],
    [claim(prefix(300)), "VNI 300 is no routed VPC's"],
    [claim(flood(7001)), "VNI 7001 is no subnet's"],
    // The L3VNI of a VPC is no open segment.
    [claim(flood(5000)), "VNI 5000 is no subnet's"],
    [claim(host({ vni: 300, targets: ["64512:300"] })), "VNI 300 is not routed"],
    [claim(host({ l3vni: 6000 })), "VNI 6000 is not that of VPC red"],
    [claim(flood(5001, "64512:6001")), "route target 64512:6001, which is not of that network"],
    [claim(flood(300, "64512:5001")), "route target 64512:5001, which is not of that network"],
    [claim(prefix(5000, "64512:5001")), "route target 64512:5001, which is not of that network"],
    [claim(host({ targets: ["64512:5001", "64512:6000"] })), "route target 64512:6000"],
    [claim(host({ targets: [] })), "without route target"],
  ];
  for (const [one, why] of refused) expect(entitlement().refusal(own, one)).toContain(why);
});

test("a stranger announces nothing; without open VNIs one needs a resource", () => {
  expect(entitlement().refusal(parseIp("10.90.0.9"), claim(flood(5001)))).toBe("10.90.0.9 is no node");
  expect(entitlement(false).refusal(own, claim(flood(300)))).toContain("VNI 300 is no subnet's");
  expect(entitlement(false).refusal(own, claim(flood(5001)))).toBeUndefined();
});
test("a VTEP that is no node is judged like one; a node that says its address is its own gains nothing", () => {
  const vteps = [{ name: "tor", address: parseIp("192.0.2.9"), vpcs: ["red"] }];
  const node = {
    name: "attic",
    overlay4: own,
    local: ["192.0.2.7:51820", "192.0.2.9:51820"].map(parseEndpoint),
  };
  const outside = outsideEntitled(vteps);
  const nodes = [...new VtepClaims().entitled([node], parsePrefix("192.0.2.0/24"), outside), ...outside];
  expect(nodes.map(({ name, vteps: ends }) => `${name}: ${ends.map(formatIp).join(" ")}`)).toEqual([
    "attic: 10.90.0.7 192.0.2.7",
    "VTEP tor: 192.0.2.9",
  ]);
  const judge = new Entitlement({
    ...{ asn: 64512, openVnis: true, nodes },
    domains: [domain("red", 5000, 5001), domain("blue", 6000, 6001)],
    mayServe: ({ name }, entitled) => outsideMayServe(vteps, name, entitled) ?? true,
  });
  const [{ address }] = vteps as [(typeof vteps)[0]];
  const theirs = (vni: number, rdRouter = address): EvpnClaim => ({
    ...{ rdRouter, nextHop: address },
    route: flood(vni, `64512:${vni}`, address),
  });
  expect(judge.refusal(address, theirs(5001))).toBeUndefined();
  expect(judge.refusal(address, theirs(300))).toBeUndefined();
  expect(judge.refusal(address, theirs(6001))).toContain(
    "VTEP tor announces VNI 6001 where it may not serve",
  );
  expect(judge.refusal(address, theirs(5001, own))).toContain("a route distinguisher that is not its own");
  expect(judge.refusal(own, { ...theirs(5001), rdRouter: own })).toContain(
    "192.0.2.9, which is not its VTEP",
  );
  expect(outsideMayServe([{ ...vteps[0]!, vpcs: ["*"] }], "blue", "VTEP tor")).toBe(true);
});
