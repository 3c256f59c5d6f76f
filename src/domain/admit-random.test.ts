/** Random changes: whatever was admitted, in whatever order, the whole state is as it must be, judged here by other means. */
import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { formatPrefix, type Prefix, prefixesOverlap } from "../net/mod.ts";
import {
  newMesh,
  noTenants,
  parseObject,
  type TenantKind,
  tenantList,
  type TenantResource,
  type TenantResources,
} from "../resources/mod.ts";
import { admit, AdmissionError, type TenantName } from "./admit.ts";
import { FIRST_VNI } from "./admit-vnis.ts";
import { compileDomains } from "./compile.ts";

const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });
const CHANGES = 1000;

const vpcs = ["a", "b", "c", "d"];
const networks = ["10.0.0.0/16", "10.0.1.0/24", "10.0.1.128/25", "10.1.0.0/24", "10.2.0.0/15", "10.2.0.0/24"];
const networks6 = ["fd00::/48", "fd00:0:0:1::/64", "fd01::/64"];
const outside = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];

function specOf(random: Random, kind: TenantKind): object {
  const some = <T>(chance: number, value: () => T) => (random.chance(chance) ? value() : undefined);
  const target = () => `64512:${random.pick([7, 8, 9, FIRST_VNI + random.below(40)])}`;
  const vni = some(0.3, () => random.pick([7, 8, 9, FIRST_VNI + random.below(40)]));
  const vpc = random.pick(vpcs);
  switch (kind) {
    case "VPC": {
      const targets = some(0.3, () => [target()]);
      const shared = some(0.5, () => targets);
      return { vni, routed: random.chance(0.9), importTargets: targets, sharedTargets: shared };
    }
    case "Subnet":
      return {
        vpc,
        vni,
        prefixes: [random.pick(networks), random.pick(networks6)].filter(() => random.chance(0.7)),
        exportTargets: some(0.1, () => [target()]),
      };
    case "Peering":
      return {
        vpcs: [vpc, random.pick(vpcs.filter((one) => one !== vpc))],
        prefixes: some(0.4, () => ({ [vpc]: [random.pick(networks)] })),
      };
    case "NatGateway":
      return {
        vpc,
        nodes: {},
        prefixes: some(0.4, () => [random.pick(networks)]),
        externalAddresses: some(0.5, () => [random.pick(outside)]),
      };
    case "FloatingIP":
      return {
        address: random.pick(outside),
        gateway: `n${random.below(3)}`,
        target: random.pick(["10.0.1.9", "10.1.0.9", "10.2.0.9", "10.0.0.1"]),
      };
    case "SecurityGroup":
      return {
        vpc,
        rules: [{ direction: "ingress", groups: some(0.7, () => [`s${random.below(3)}`]) ?? [] }],
      };
    case "Gateway":
      return {
        vpc,
        node: "a",
        public: [{ interface: "eth1", address4: { ip: "192.0.2.1", nextHop: "192.0.2.2" } }],
      };
    case "Route":
      return {
        gateway: `g${random.below(2)}`,
        prefixes: [random.pick(networks)],
        spi: 256,
        presharedKeyFile: "/k",
      };
    case "Underlay":
      return { asn: 64514, links: [{ name: "eth1" }], neighbors: [{ link: "eth1", asn: "external" }] };
  }
}

const pools: readonly (readonly [TenantKind, readonly string[]])[] = [
  ["VPC", vpcs],
  ["Subnet", ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"]],
  ["Peering", ["p0", "p1", "p2"]],
  ["NatGateway", ["n0", "n1", "n2"]],
  ["FloatingIP", ["f0", "f1", "f2"]],
  ["SecurityGroup", ["s0", "s1", "s2"]],
  ["Underlay", ["l0", "l1"]],
  ["Gateway", ["g0", "g1"]],
  ["Route", ["r0", "r1"]],
];

function some(random: Random): TenantName {
  const [kind, names] = random.pick([...pools, ...pools.slice(0, 2), ...pools.slice(1, 2)]);
  return { kind, name: random.pick(names) };
}

function resource(random: Random): TenantResource | undefined {
  const { kind, name } = some(random);
  const data = {
    apiVersion: "causeway.network/v1alpha1",
    kind,
    metadata: { name },
    spec: specOf(random, kind),
  };
  return parseObject(JSON.parse(JSON.stringify(data)), { problems: [] }) as TenantResource | undefined;
}

/** What must be so of any state. */
function faults(tenants: TenantResources): string[] {
  const found: string[] = [];
  const domains = compileDomains(tenants, mesh);
  if (domains.length !== tenants.VPC.size) found.push("a VPC has no domain");
  const all = domains.flatMap(({ vni, segments }) => [vni, ...segments.map((segment) => segment.vni)]);
  if (new Set(all).size !== all.length) found.push(`VNIs ${all.join()}`);
  if (all.length !== tenants.VPC.size + tenants.Subnet.size) found.push("a Subnet has no segment");
  const shared = (name: string) => tenants.VPC.get(name)?.sharedTargets ?? [];
  const holders = domains.flatMap(({ name, routing, segments }) => [
    ...(routing === undefined ? [] : [{ vpc: name, of: "", ...routing }]),
    ...segments.map((segment) => ({ ...segment, vpc: name, of: segment.name })),
  ]);
  for (const [i, one] of holders.entries())
    for (const other of holders.slice(i + 1))
      for (const target of new Set([...one.importTargets, ...one.exportTargets])) {
        if (![...other.importTargets, ...other.exportTargets].includes(target)) continue;
        const both = one.of === "" && other.of === "";
        if (!both || !shared(one.vpc).includes(target) || !shared(other.vpc).includes(target))
          found.push(`${one.vpc}/${one.of} and ${other.vpc}/${other.of} have ${target}`);
      }
  for (const { name, segments, peerings, routing } of domains) {
    const seen: Prefix[] = [...segments, ...peerings].flatMap(({ prefixes }) => [...prefixes]);
    seen.forEach((prefix, i) => {
      if (seen.slice(i + 1).some((other) => prefixesOverlap(prefix, other)))
        found.push(`${formatPrefix(prefix)} is twice in ${name}`);
    });
    if (routing === undefined && peerings.length > 0) found.push(`${name} is peered and not routed`);
    if (peerings.some((one) => !domains.some(({ vni }) => vni === one.with)))
      found.push(`${name} is peered with nobody`);
  }
  const gateways = [...tenants.NatGateway.values()];
  if (new Set(gateways.map(({ vpc }) => vpc)).size !== gateways.length) found.push("a VPC has two gateways");
  for (const { vpc } of [...gateways, ...tenants.SecurityGroup.values()])
    if (!tenants.VPC.has(vpc)) found.push(`${vpc} is no VPC`);
  for (const { gateway } of tenants.FloatingIP.values())
    if (!tenants.NatGateway.has(gateway)) found.push(`${gateway} is no gateway`);
  for (const { vpc, rules } of tenants.SecurityGroup.values())
    for (const name of rules.flatMap(({ groups }) => groups))
      if (tenants.SecurityGroup.get(name)?.vpc !== vpc) found.push(`group ${name} is not of ${vpc}`);
  return found;
}

const seed = newSeed();
test(`${CHANGES} random changes (SEED=${seed})`, () => {
  const random = new Random(seed);
  let tenants = noTenants;
  let nextVni = FIRST_VNI;
  const counts = { admitted: 0, refused: 0, most: 0 };
  for (let step = 0; step < CHANGES; step++) {
    const before = tenants;
    const change = random.chance(0.25)
      ? { set: [], remove: [some(random)] }
      : {
          set: Array.from({ length: 1 + random.below(3) }, () => resource(random))
            .filter((one) => one !== undefined)
            .filter(
              (one, i, all) =>
                all.findIndex((x) => x.kind === one.kind && x.value.name === one.value.name) === i,
            ),
          remove: [],
        };
    try {
      ({ tenants, nextVni } = admit(tenants, change, { mesh, nextVni }));
      counts.admitted++;
    } catch (error) {
      if (!(error instanceof AdmissionError)) throw error;
      counts.refused++;
      // Each line names an object of the change.
      const objects = [
        ...change.set.map(({ kind, value }) => `${kind} "${value.name}":`),
        ...change.remove.map(({ kind, name }) => `${kind} "${name}":`),
      ];
      for (const line of error.message.split("\n"))
        if (!objects.some((object) => line.startsWith(object))) throw new Error(`step ${step}: ${line}`);
      expect(tenants).toBe(before);
    }
    const wrong = faults(tenants);
    if (wrong.length > 0) throw new Error(`step ${step}: ${wrong.join("; ")}`);
    counts.most = Math.max(counts.most, tenantList(tenants).length);
  }
  // Otherwise nothing was tried.
  expect(counts.admitted).toBeGreaterThan(CHANGES / 20);
  expect(counts.refused).toBeGreaterThan(CHANGES / 20);
  expect(counts.most).toBeGreaterThan(8);
}, 60_000);
