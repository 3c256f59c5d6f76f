import { expect, test } from "bun:test";
import { formatPrefixRange, parseCommunity, parsePrefixRange } from "./bgp-policy.ts";
import { bgpRouterExample, neighborName, neighborOptions } from "./bgp-router.ts";
import { formatManifest, formatProblem, parseManifest } from "./manifest.ts";

function problemsOf(yamlText: string): string[] {
  return parseManifest(yamlText).problems.map(formatProblem);
}

function routerOf(yamlText: string) {
  const { resources, problems } = parseManifest(yamlText);
  expect(problems.map(formatProblem)).toEqual([]);
  const [resource] = resources;
  if (resource?.kind !== "BgpRouter") throw new Error("no BgpRouter");
  return resource.value;
}

test("the example is read with its defaults, and comes back from its text", () => {
  const router = routerOf(bgpRouterExample);
  expect(router.listen.map(({ port }) => port)).toEqual([179, 179]);
  expect(router.requirePolicy).toBe(true);
  expect(router.neighbors.map(neighborName)).toEqual(["eth1", "10.0.0.2"]);
  expect(neighborOptions(router, router.neighbors[1] as never)).toEqual({
    asn: "internal",
    routeReflectorClient: true,
    families: { "l2vpn-evpn": {} },
  });
  expect(router.neighbors[0]?.bfd).toEqual({ transmitMs: 300, receiveMs: 300, multiplier: 3 });
  const text = formatManifest([{ kind: "BgpRouter", value: router }]);
  expect(routerOf(text)).toEqual(router);
});

const manifest = (fields: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: BgpRouter\nmetadata: {name: r}\nspec:\n  asn: 65001\n  routerId: 10.0.0.1\n${fields}`;

const mistakes: readonly (readonly [string, string])[] = [
  ["  neighbors: [{asn: 65002, families: {ipv4-unicast: {}}}]", "neighbors[0] names no neighbor"],
  ["  neighbors: [{address: 10.0.0.2, families: {ipv4-unicast: {}}}]", "neighbors[0].asn is missing"],
  ["  neighbors: [{address: 10.0.0.2, asn: external}]", "neighbors[0].families names no family"],
  [
    "  neighbors: [{address: 10.0.0.2, asn: 0, families: {ipv4-unicast: {}}}]",
    "neighbors[0].asn 0 is not a whole number",
  ],
  ["  neighbors: [{address: 10.0.0.2, asn: 65002, families: {vpnv4: {}}}]", "families"],
  [
    "  neighbors: [{address: 10.0.0.2, asn: 65002, families: {ipv4-unicast: {import: nope}}}]",
    "ipv4-unicast.import nope is no policy",
  ],
  ["  neighbors: [{address: 10.0.0.2, group: nope}]", "group nope is no group"],
  [
    "  neighbors: [{address: 10.0.0.2, asn: 65002, routeReflectorClient: true, families: {ipv4-unicast: {}}}]",
    "is for internal neighbors only",
  ],
  [
    "  neighbors: [{address: 10.0.0.2, asn: 65002, multihop: 3, ttlSecurity: 1, families: {ipv4-unicast: {}}}]",
    "cannot stand beside ttlSecurity",
  ],
  [
    "  neighbors: [{address: 10.0.0.2, asn: 65002, hold: 2s, families: {ipv4-unicast: {}}}]",
    "is not from 3s to 65535s",
  ],
  ["  install: maybe", 'install "maybe" is not true or false'],
  ["  install: true\n  installTable: 0", "installTable 0 is not a whole number"],
  ["  install: true\n  installTable: 255", "is the kernel's table of own addresses"],
  ["  installTable: 100", "installTable 100 changes nothing by itself; add install: true"],
  ["  redistribute: [ospf]", 'redistribute[0] "ospf" is none of connected, static, kernel'],
  ["  restartTime: 2h", "does not fit the message"],
  ["  policies: {p: [{action: maybe}]}", "is none of accept, reject, next"],
  [
    '  policies: {p: [{match: {prefix: ["10.0.0.0/8 ge 4"]}, action: accept}]}',
    "has lengths that no prefix has",
  ],
  ['  policies: {p: [{match: {community: ["1:70000"]}, action: accept}]}', "is not a community"],
  ['  policies: {p: [{match: {routeTarget: ["70000:70000"]}, action: accept}]}', "is not a route target"],
  ['  policies: {p: [{match: {asPath: ["([0-9]+)+$"]}, action: accept}]}', "is not a pattern of an AS path"],
  ['  policies: {p: [{match: {asPath: ["("]}, action: accept}]}', "is not a pattern of an AS path"],
];

test.each(mistakes)("%s is refused with its place and the fix", (fields, problem) => {
  expect(problemsOf(manifest(fields)).join("\n")).toContain(problem);
});

test("what goes to the kernel and comes from it", () => {
  expect(routerOf(manifest(""))).toMatchObject({ install: false, redistribute: [] });
  const router = routerOf(
    manifest("  install: true\n  installTable: 100\n  redistribute: [kernel, connected, kernel]"),
  );
  expect(router).toMatchObject({ install: true, installTable: 100, redistribute: ["connected", "kernel"] });
  expect(routerOf(formatManifest([{ kind: "BgpRouter", value: router }]))).toEqual(router);
});

test("a neighbor that is there twice", () => {
  const one = "{address: 10.0.0.2, asn: 65002, families: {ipv4-unicast: {}}}";
  expect(problemsOf(manifest(`  neighbors: [${one}, ${one}]`))).toEqual([
    'BgpRouter "r": spec.neighbors[1] 10.0.0.2 is there twice; keep one',
  ]);
});

test("ranges of prefixes and well-known communities are written as they are read", () => {
  for (const text of [
    "10.0.0.0/8",
    "10.0.0.0/8 le 24",
    "10.0.0.0/8 ge 16",
    "10.0.0.0/8 ge 16 le 24",
    "::/0 le 64",
  ])
    expect(formatPrefixRange(parsePrefixRange(text))).toBe(text);
  expect(parsePrefixRange("10.0.0.0/8 ge 9")).toMatchObject({ least: 9, most: 32 });
  expect(parseCommunity("65535:65281")).toBe(parseCommunity("no-export"));
});

test("EVPN of a manifest is read, written as it was, and checked", () => {
  const evpn = `  evpn:
    segments:
      - {vni: 100, vtep: 10.255.0.1, l3vni: 4000, macs: [{mac: "02:aa:00:00:00:05", ip: 10.1.1.5, sticky: true}]}
      - {vni: 70000, vtep: 10.255.0.1, rd: "10.0.0.1:7", flood: false}
    routed:
      - {vni: 4000, vtep: 10.255.0.1, routerMac: "02:00:00:00:0f:a0", prefixes: [10.50.0.0/24]}
`;
  const router = routerOf(manifest(evpn));
  expect(router.evpn?.segments[0]?.macs[0]?.sticky).toBe(true);
  expect(routerOf(formatManifest([{ kind: "BgpRouter", value: router }]))).toEqual(router);
  for (const [from, to, problem] of [
    ["l3vni: 4000", "l3vni: 4001", "segments[0].l3vni 4001 is no VNI of spec.evpn.routed"],
    ['rd: "10.0.0.1:7", ', "", "segments[1].rd is missing: a VNI above 65535"],
    ["vni: 70000", "vni: 100", "segments[1].vni 100 is there twice"],
    ["02:aa:00:00:00:05", "02:aa", "is not a MAC address"],
    ["vni: 100,", "vni: 0,", "segments[0].vni 0 is not a whole number"],
  ] as const)
    expect(problemsOf(manifest(evpn.replace(from, to))).join("\n")).toContain(problem);
});
