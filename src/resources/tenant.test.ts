import { describe, expect, test } from "bun:test";
import { formatIp } from "../net/mod.ts";
import { floatingIpExample } from "./floating-ip.ts";
import { formatManifest, formatProblem, formatResource, parseManifest, resourceJson } from "./manifest.ts";
import { natGatewayExample } from "./nat-gateway.ts";
import { peeringExample } from "./peering.ts";
import { securityGroupExample } from "./security-group.ts";
import { type Subnet, subnetExample } from "./subnet.ts";
import { tenantKey, tenantKindOf, tenantKinds } from "./tenant.ts";
import { type Vpc, vpcExample } from "./vpc.ts";

const examples = {
  vpcExample,
  subnetExample,
  peeringExample,
  natGatewayExample,
  floatingIpExample,
  securityGroupExample,
};

const parse = (kind: string, spec: string) =>
  parseManifest(`apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: x}\nspec: ${spec}\n`);

describe("examples", () => {
  for (const [name, text] of Object.entries(examples))
    test(`${name} is valid and comes back the same`, () => {
      const { resources, problems } = parseManifest(text);
      expect(problems.map(formatProblem)).toEqual([]);
      expect(resources).toHaveLength(1);
      for (const again of [formatManifest(resources), resources.map(formatResource).join("")])
        expect(parseManifest(again)).toEqual({ resources, problems: [], refused: [] });
    });
});

test("what is left out is filled in", () => {
  const vpc = parse("VPC", "{}").resources[0];
  expect(vpc && resourceJson(vpc).spec).toEqual({
    services: [{ ports: ["udp/53", "tcp/53"] }],
    routed: true,
  });
  expect((vpc?.value as Vpc).allow).toBeUndefined();
  const subnet = parse("Subnet", '{vpc: a, prefixes: [10.1.0.0/24, "fd00:1::/64"]}').resources[0];
  expect((subnet?.value as Subnet).gateways.map(formatIp)).toEqual(["10.1.0.1", "fd00:1::1"]);
  const six = parse("Subnet", '{vpc: a, prefixes: [10.1.0.0/24, "fd00:1::/64"], gateways: ["fd00:1::f"]}');
  expect((six.resources[0]?.value as Subnet).gateways.map(formatIp)).toEqual(["10.1.0.1", "fd00:1::f"]);
});

test("kinds have words", () => {
  expect(Object.values(tenantKinds).map(({ word }) => tenantKindOf(word))).toEqual(
    Object.keys(tenantKinds) as never,
  );
  expect(tenantKey("NatGateway", "out")).toBe("nat-gateway/out");
});

describe("mistakes are named with the place and the fix", () => {
  const cases: [kind: string, spec: string, expected: string][] = [
    ["VPC", "{vni: 0}", 'VPC "x": spec.vni 0 is not a whole number from 1 to 16777215'],
    ["VPC", "{allow: {}}", "spec.allow {} names nobody; write {namespaces: [team-a]}"],
    ["VPC", "{allow: team-a}", 'spec.allow "team-a" does not say who may use the VPC'],
    ["VPC", "{allow: {namespaces: [A_b]}}", 'spec.allow.namespaces[0] "A_b" is not the name of a namespace'],
    ["VPC", '{allow: {labels: {"a b": c}}}', "is not a set of labels, each of a key and a value"],
    ["VPC", "{importTargets: [a:b]}", 'spec.importTargets[0] "a:b" is not a route target; write it like'],
    ["VPC", '{sharedTargets: ["1:2"]}', "spec.sharedTargets 1:2 is neither imported nor exported; add it"],
    ["VPC", '{routed: false, exportTargets: ["1:2"]}', "changes nothing where nothing is routed; remove it"],
    ["VPC", "{nodes: {rol: a}}", "is not a selection of nodes"],
    ["VPC", "{services: [udp/53]}", "is not a service; write {prefixes: [10.96.0.10/32], ports: [udp/53]}"],
    ["VPC", "{services: [{prefixes: [10.96.0.1/32]}]}", "spec.services[0].ports is missing; add it"],
    ["VPC", "{services: [{ports: []}]}", "spec.services[0].ports [] names no port; write them like"],
    ["VPC", "{services: [{ports: [udp/1-300]}]}", "spec.services 300 ports are more than the 256 that"],
    ["Subnet", "{}", 'Subnet "x": spec.vpc is missing; add it'],
    ["Subnet", "{vpc: a, prefixes: [10.1.0.1/24]}", "has bits set after its length; write 10.1.0.0/24"],
    [
      "Subnet",
      "{vpc: a, prefixes: [10.1.0.0/24, 10.2.0.0/24]}",
      "is the second of IPv4; make another Subnet",
    ],
    ["Subnet", "{vpc: a, prefixes: [127.1.0.0/24]}", "overlaps 127.0.0.0/8, which is reserved"],
    ["Subnet", "{vpc: a, prefixes: [10.1.0.0/31]}", "is too small for pods; use /30 or larger"],
    ["Subnet", "{vpc: a, prefixes: [10.1.0.0/24], gateways: [10.2.0.1]}", "is in none of spec.prefixes"],
    [
      "Subnet",
      "{vpc: a, prefixes: [10.1.0.0/24], gateways: [10.1.0.255]}",
      "is the first or last address of",
    ],
    [
      "Subnet",
      "{vpc: a, prefixes: [10.1.0.0/24], reserved: [10.1.1.1]}",
      "spec.reserved[0] 10.1.1.1 is not inside",
    ],
    ["Subnet", "{vpc: a, prefixes: [10.1.0.0/24], reserved: [10.1.0.9-10.1.0.2]}", "ends before it begins"],
    ["Subnet", "{vpc: a, reserved: [b]}", "is not a range of addresses; write it like"],
    [
      "Subnet",
      "{vpc: a, prefixes: [10.1.0.0/24], reserved: [10.1.0.8/29], fixed: [10.1.0.9]}",
      "spec.fixed[0] 10.1.0.9 overlaps 10.1.0.8-10.1.0.15 of spec.reserved, which nobody gets",
    ],
    ["Subnet", '{vpc: a, gatewayMac: "01:00:5e:00:00:01"}', "is a group address; write one of a machine"],
    [
      "Subnet",
      '{vpc: a, prefixes: ["fd00::/64"], mtuBytes: 1000}',
      "is too small for IPv6; write 1280 or more",
    ],
    ["Peering", "{vpcs: [a]}", "does not name two VPCs; write [team-a, team-b]"],
    ["Peering", "{vpcs: [a, a]}", "names one VPC twice; name two"],
    [
      "Peering",
      "{vpcs: [a, b], prefixes: {c: [10.0.0.0/8]}}",
      "spec.prefixes.c is not of these VPCs; write a or b",
    ],
    ["NatGateway", "{vpc: a}", "spec.nodes is missing; add it"],
    [
      "NatGateway",
      "{vpc: a, nodes: {}, externalAddresses: [192.0.2.1, 192.0.2.2]}",
      "spec.externalAddresses[1] 192.0.2.2 is the second of IPv4; keep one",
    ],
    [
      "FloatingIP",
      '{address: 192.0.2.1, gateway: g, target: "fd00::1"}',
      "is of another family than spec.address",
    ],
    [
      "SecurityGroup",
      "{vpc: a, rules: [{direction: in}]}",
      'spec.rules[0].direction "in" is none of ingress, egress',
    ],
    [
      "SecurityGroup",
      "{vpc: a, rules: [{direction: egress, ports: [80]}]}",
      "spec.rules[0].ports 80 has no protocol",
    ],
    [
      "SecurityGroup",
      "{vpc: a, rules: [{direction: egress, protocol: tcp, ports: [90-80]}]}",
      'spec.rules[0].ports[0] "90-80" is not a port nor a range of ports; write it like 443 or 8000-8080',
    ],
  ];
  for (const [kind, spec, expected] of cases)
    test(`${kind} ${spec}`, () => {
      const { resources, problems } = parse(kind, spec);
      const texts = problems.map(formatProblem);
      expect(texts.some((text) => text.includes(expected)) ? expected : texts.join("\n")).toBe(expected);
      expect(resources).toEqual([]);
    });
});
