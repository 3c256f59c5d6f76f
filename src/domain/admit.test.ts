import { describe, expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { newMesh, noTenants, type TenantResources } from "../resources/mod.ts";
import { admit, type AdmitContext, type TenantName } from "./admit.ts";
import { FIRST_VNI } from "./admit-vnis.ts";

const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });
const context: AdmitContext = { mesh, nextVni: FIRST_VNI };

const put = (before: TenantResources, text: string, more: Partial<AdmitContext> = {}) =>
  admit(before, { set: tenantResources(text), remove: [] }, { ...context, ...more });
const remove = (before: TenantResources, names: readonly TenantName[], more: Partial<AdmitContext> = {}) =>
  admit(before, { set: [], remove: names }, { ...context, ...more });
const said = (work: () => unknown): string => {
  try {
    work();
    return "admitted";
  } catch (error) {
    return (error as Error).message;
  }
};

const there = put(
  noTenants,
  `VPC a {vni: 5000}
   VPC b {}
   VPC flat {routed: false}
   Subnet a.web {vpc: a, prefixes: [10.1.0.0/24, "fd00:a::/64"]}
   Subnet a.db {vpc: a, vni: 4300, prefixes: [10.1.1.0/24]}
   Subnet b.web {vpc: b, prefixes: [10.2.0.0/24]}
   Peering ab {vpcs: [a, b]}
   NatGateway out {vpc: a, nodes: {}, prefixes: [10.1.0.0/25], externalAddresses: [203.0.113.20]}
   FloatingIP web {address: 203.0.113.21, gateway: out, target: 10.1.1.9}
   SecurityGroup a.in {vpc: a, rules: [{direction: ingress, groups: [a.in, a.more]}]}
   SecurityGroup a.more {vpc: a}`,
).tenants;

describe("VNIs", () => {
  const vnis = (tenants: TenantResources) =>
    Object.fromEntries(
      [...tenants.VPC.values(), ...tenants.Subnet.values()].map(({ name, vni }) => [name, vni]),
    );

  test("are given from 4096 up, and what was given is kept, also when the manifest comes again without", () => {
    expect(vnis(there)).toEqual({ a: 5000, b: 4096, flat: 4097, "a.web": 4098, "a.db": 4300, "b.web": 4099 });
    const again = put(there, "Subnet a.web {vpc: a, prefixes: [10.1.0.0/24, 'fd00:a::/64'], mtuBytes: 1400}");
    expect(again.tenants.Subnet.get("a.web")).toMatchObject({ vni: 4098, mtuBytes: 1400 });
  });

  test("go on after the last, so that one that was freed is not used again soon; at the end from the beginning", () => {
    const first = put(noTenants, "VPC x {}");
    const gone = remove(first.tenants, [{ kind: "VPC", name: "x" }], first);
    expect(vnis(put(gone.tenants, "VPC y {}", gone).tenants)).toEqual({ y: 4097 });
    const last = put(first.tenants, "VPC y {}\nVPC z {}", { nextVni: 0xffffff });
    expect(vnis(last.tenants)).toEqual({ x: 4096, y: 0xffffff, z: 4097 });
    expect(last.nextVni).toBe(4098);
  });

  test("skip what is taken, and those whose automatic target somebody uses", () => {
    const made = put(
      noTenants,
      'VPC x {vni: 4096}\nVPC y {importTargets: ["64512:4097"], exportTargets: ["64512:4098"]}\nVPC z {}',
    );
    expect(vnis(made.tenants)).toEqual({ x: 4096, y: 4099, z: 4100 });
  });
});

describe("what is refused, with object, field, value and fix", () => {
  const many = Array.from({ length: 30 }, (_, i) => `Subnet s${i} {vpc: none}`).join("\n");
  const cases: [what: string, text: string, expected: string][] = [
    [
      "another's VNI",
      "VPC x {vni: 5000}",
      'VPC "x": spec.vni 5000 is that of VPC "a"; choose another, or leave it out and one is given',
    ],
    [
      "an L2VNI that is an L3VNI",
      "Subnet x {vpc: a, vni: 4096}",
      'Subnet "x": spec.vni 4096 is that of VPC "b"; choose another',
    ],
    [
      "the same VNI twice in one file",
      "VPC x {vni: 7777}\nVPC y {vni: 7777}",
      'VPC "x": spec.vni 7777 is that of VPC "y"',
    ],
    [
      "another VNI",
      "VPC a {vni: 5001}",
      'VPC "a": spec.vni 5001 was 5000, and never changes; delete it and apply it anew',
    ],
    [
      "routing switched off",
      "VPC a {routed: false}",
      'VPC "a": spec.routed false was true, and never changes',
    ],
    [
      "another VPC",
      "Subnet b.web {vpc: a, prefixes: [10.2.0.0/24]}",
      'Subnet "b.web": spec.vpc a was b, and never changes',
    ],
    [
      "another network",
      "Subnet b.web {vpc: b, prefixes: [10.3.0.0/24]}",
      'Subnet "b.web": spec.prefixes 10.3.0.0/24 was 10.2.0.0/24, and never changes',
    ],
    [
      "a larger network",
      "Subnet b.web {vpc: b, prefixes: [10.2.0.0/23]}",
      'Subnet "b.web": spec.prefixes 10.2.0.0/23 was 10.2.0.0/24, and never changes',
    ],
    [
      "another gateway",
      "Subnet b.web {vpc: b, prefixes: [10.2.0.0/24], gateways: [10.2.0.254]}",
      'Subnet "b.web": spec.gateways 10.2.0.254 was 10.2.0.1, and never changes',
    ],
    [
      "another gateway's MAC",
      'Subnet b.web {vpc: b, prefixes: [10.2.0.0/24], gatewayMac: "02:00:00:00:00:01"}',
      'Subnet "b.web": spec.gatewayMac 02:00:00:00:00:01 was derived from the VNI, and never changes',
    ],
    [
      "a group of another VPC",
      "SecurityGroup a.in {vpc: b}",
      'SecurityGroup "a.in": spec.vpc b was a, and never',
    ],
    [
      "a network that overlaps in the VPC",
      "Subnet x {vpc: a, prefixes: [10.1.0.128/25]}",
      'Subnet "x": spec.prefixes[0] 10.1.0.128/25 overlaps 10.1.0.0/24 of Subnet "a.web" in VPC "a"; choose networks that share no address',
    ],
    [
      "two that overlap in one file",
      "VPC c {}\nSubnet c.1 {vpc: c, prefixes: [10.9.0.0/16]}\nSubnet c.2 {vpc: c, prefixes: ['fd00::/64', 10.9.9.0/24]}",
      'Subnet "c.2": spec.prefixes[1] 10.9.9.0/24 overlaps 10.9.0.0/16 of Subnet "c.1" in VPC "c"',
    ],
    [
      "a network that overlaps one of a peered VPC",
      "Subnet x {vpc: b, prefixes: [10.1.1.0/24]}",
      'Subnet "x": spec.prefixes[0] 10.1.1.0/24 overlaps 10.1.1.0/24 of Subnet "a.db"',
    ],
    [
      "a Peering of VPCs with the same networks",
      "VPC c {}\nSubnet c.1 {vpc: c, prefixes: [10.2.0.0/16]}\nPeering bc {vpcs: [b, c]}",
      "overlaps",
    ],
    [
      "a Peering that reaches what is there",
      "VPC c {}\nPeering ac {vpcs: [a, c], prefixes: {c: [10.1.0.0/16]}}",
      'Peering "ac": spec.prefixes.c[0] 10.1.0.0/16 overlaps 10.1.0.0/24 of Subnet "a.web" in VPC "a"',
    ],
    [
      "two Peerings that reach the same",
      "VPC c {}\nSubnet c.1 {vpc: c, prefixes: [10.2.0.0/24]}\nPeering ac {vpcs: [a, c]}",
      'Subnet "c.1": spec.prefixes[0] 10.2.0.0/24 overlaps 10.2.0.0/24 of Subnet "b.web", reached through Peering "ab", in VPC "a"',
    ],
    [
      "a second Peering of a pair",
      "Peering ba {vpcs: [b, a], prefixes: {a: [10.77.0.0/24], b: [10.78.0.0/24]}}",
      'Peering "ba": spec.vpcs b, a are peered by Peering "ab" already; change that one',
    ],
    [
      "another VPC's automatic target",
      'VPC x {importTargets: ["64512:5000"]}',
      'VPC "x": spec.importTargets 64512:5000 is that of VPC "a" (importTargets); choose another, or list it in sharedTargets of both VPCs',
    ],
    [
      "a Subnet's target for a VPC",
      'VPC x {exportTargets: ["64512:4300"]}',
      'VPC "x": spec.exportTargets 64512:4300 is that of Subnet "a.db" (importTargets); choose another, each',
    ],
    [
      "the target of the own VPC for a Subnet",
      'Subnet x {vpc: a, importTargets: ["64512:5000"]}',
      'Subnet "x": spec.importTargets 64512:5000 is that of VPC "a"',
    ],
    [
      "a target that only one of two shares",
      'VPC x {importTargets: ["64512:5000", "1:1"], sharedTargets: ["64512:5000"]}',
      'VPC "x": spec.importTargets 64512:5000 is that of VPC "a"',
    ],
    [
      "no such VPC",
      "Subnet x {vpc: nobody}",
      'Subnet "x": spec.vpc nobody is no VPC that is there; apply it too, or name one of a, b, flat',
    ],
    [
      "no such gateway",
      "FloatingIP x {address: 192.0.2.9, gateway: o, target: 10.1.0.9}",
      'FloatingIP "x": spec.gateway o is no NatGateway that is there; apply it too, or name one of out',
    ],
    [
      "no such group",
      "SecurityGroup x {vpc: a, rules: [{direction: ingress}, {direction: egress, groups: [a.in, y]}]}",
      'SecurityGroup "x": spec.rules[1].groups[1] y is no SecurityGroup that is there',
    ],
    [
      "a group of another VPC in a rule",
      "SecurityGroup x {vpc: b, rules: [{direction: ingress, groups: [a.in]}]}",
      'SecurityGroup "x": spec.rules[0].groups[0] a.in is a SecurityGroup of VPC "a"; name one of VPC "b"',
    ],
    [
      "peering without routing",
      "Peering x {vpcs: [b, flat]}",
      'Peering "x": spec.vpcs[1] flat is a VPC without routing (routed: false); name one that is routed',
    ],
    [
      "a gateway without routing",
      "NatGateway x {vpc: flat, nodes: {}}",
      'NatGateway "x": spec.vpc flat is a VPC without routing',
    ],
    [
      "a gateway of a fabric's VPC",
      "VPC f {underlay: {}}\nNatGateway x {vpc: f, nodes: {}}",
      'NatGateway "x": spec.vpc f is a VPC in a fabric (spec.underlay), where there is no Peering, NatGateway or Gateway',
    ],
    [
      "peering with a fabric's VPC",
      "VPC f {underlay: {}}\nPeering x {vpcs: [b, f]}",
      'Peering "x": spec.vpcs[1] f is a VPC in a fabric (spec.underlay)',
    ],
    [
      "a second gateway",
      "NatGateway x {vpc: a, nodes: {}}",
      'NatGateway "x": spec.vpc a has NatGateway "out" already; a VPC has one: add nodes to that one (spec.nodes)',
    ],
    [
      "a gateway for others' networks",
      "NatGateway x {vpc: b, nodes: {}, prefixes: [10.2.0.0/23]}",
      'NatGateway "x": spec.prefixes[0] 10.2.0.0/23 is in no Subnet of VPC "b"; name networks of 10.2.0.0/24',
    ],
    [
      "another gateway's address",
      "NatGateway x {vpc: b, nodes: {}, externalAddresses: [203.0.113.20]}",
      'NatGateway "x": spec.externalAddresses[0] 203.0.113.20 is that of NatGateway "out"; choose another',
    ],
    [
      "a floating address for a gateway",
      "NatGateway x {vpc: b, nodes: {}, externalAddresses: [203.0.113.21]}",
      '203.0.113.21 is that of FloatingIP "web"; choose another',
    ],
    [
      "a node's address as one of the outside",
      "NatGateway x {vpc: b, nodes: {}, externalAddresses: [10.90.0.7]}",
      "spec.externalAddresses[0] 10.90.0.7 is in the mesh's overlay4 10.90.0.0/16; choose another, of the outside",
    ],
    [
      "a service's address as one of the outside",
      "FloatingIP x {address: 10.96.0.1, gateway: out, target: 10.1.0.9}",
      "spec.address 10.96.0.1 is in the mesh's services 10.96.0.0/12",
    ],
    [
      "a floating address that is there",
      "FloatingIP x {address: 203.0.113.21, gateway: out, target: 10.1.0.9}",
      'FloatingIP "x": spec.address 203.0.113.21 is that of FloatingIP "web"',
    ],
    [
      "a floating address for another VPC",
      "FloatingIP x {address: 203.0.113.22, gateway: out, target: 10.2.0.9}",
      'FloatingIP "x": spec.target 10.2.0.9 is in no Subnet of VPC "a"; write an address of 10.1.0.0/24',
    ],
    [
      "a floating address for a gateway's",
      "FloatingIP x {address: 203.0.113.22, gateway: out, target: 10.1.0.1}",
      'FloatingIP "x": spec.target 10.1.0.1 is no pod\'s address in Subnet "a.web"',
    ],
    [
      "a second floating address of a pod",
      "FloatingIP x {address: 203.0.113.22, gateway: out, target: 10.1.1.9}",
      'FloatingIP "x": spec.target 10.1.1.9 has FloatingIP "web" already; one address has one',
    ],
    ["very many mistakes", many, "and 10 more problems"],
  ];
  for (const [what, text, expected] of cases)
    test(what, () => {
      const message = said(() => put(there, text));
      expect(message.includes(expected) ? expected : message).toBe(expected);
    });

  test("a VNI whose automatic target another one has", () => {
    const before = put(there, 'VPC x {vni: 9900, importTargets: ["64512:9901"]}').tenants;
    expect(said(() => put(before, "VPC y {vni: 9901}"))).toBe(
      'VPC "y": spec.vni 9901 has the automatic target 64512:9901, which is that of VPC "x" (importTargets); choose another, or list it in sharedTargets of both VPCs',
    );
  });
});

describe("what is admitted", () => {
  const cases: [what: string, text: string][] = [
    ["the same networks in another VPC", "Subnet flat.1 {vpc: flat, prefixes: [10.1.0.0/24]}"],
    ["another network of another family", 'Subnet b.web {vpc: b, prefixes: ["fd00:b::/64", 10.2.0.0/24]}'],
    ["all once more", "VPC a {}\nPeering ab {vpcs: [b, a]}\nSecurityGroup a.more {vpc: a}"],
    [
      "a target that both share",
      'VPC a {importTargets: ["64512:5000", "1:1"], exportTargets: ["64512:5000"], sharedTargets: ["64512:5000"]}\nVPC x {importTargets: ["64512:5000"], exportTargets: ["1:2"], sharedTargets: ["64512:5000"]}',
    ],
    ["what the names of one file lead to", "Subnet c.1 {vpc: c}\nVPC c {}"],
    [
      "peering that reaches only what is not there twice",
      "VPC c {}\nSubnet c.1 {vpc: c, prefixes: [10.2.0.0/24]}\nSubnet c.2 {vpc: c, prefixes: [10.3.0.0/24]}\nPeering ac {vpcs: [a, c], prefixes: {c: [10.3.0.0/24]}}",
    ],
    [
      "names that mean something to JavaScript",
      "VPC constructor {}\nSubnet constructor {vpc: constructor, prefixes: [10.9.0.0/24]}\nPeering constructor {vpcs: [constructor, b]}",
    ],
    ["targets of a VPC that routes nothing", 'VPC x {importTargets: ["64512:4097"], exportTargets: ["1:1"]}'],
  ];
  for (const [what, text] of cases)
    test(what, () => {
      expect(said(() => put(there, text))).toBe("admitted");
    });
});

describe("what is used cannot be deleted", () => {
  const cases: [name: TenantName, expected: string][] = [
    [{ kind: "VPC", name: "a" }, 'VPC "a": is used by Subnet "a.web" (spec.vpc); delete that first'],
    [{ kind: "VPC", name: "b" }, 'VPC "b": is used by Subnet "b.web" (spec.vpc); delete that first'],
    [
      { kind: "NatGateway", name: "out" },
      'NatGateway "out": is used by FloatingIP "web" (spec.gateway); delete',
    ],
    [
      { kind: "SecurityGroup", name: "a.more" },
      'SecurityGroup "a.more": is used by SecurityGroup "a.in" (spec.rules[0].groups[1]); delete that first',
    ],
    [
      { kind: "Subnet", name: "a.web" },
      'Subnet "a.web": is used by NatGateway "out" (spec.prefixes 10.1.0.0/25); delete that first',
    ],
    [
      { kind: "Subnet", name: "a.db" },
      'Subnet "a.db": is used by FloatingIP "web" (spec.target 10.1.1.9); delete that first',
    ],
    [{ kind: "Peering", name: "x" }, 'Peering "x": is not there; see causeway get peering'],
  ];
  for (const [name, expected] of cases)
    test(`${name.kind} ${name.name}`, () => {
      expect(said(() => remove(there, [name]))).toContain(expected);
    });

  test("by nodes", () => {
    const inUse = ({ name }: TenantName) => (name === "b.web" ? "2 nodes" : undefined);
    expect(said(() => remove(there, [{ kind: "Subnet", name: "b.web" }], { inUse }))).toBe(
      'Subnet "b.web": is used by 2 nodes; delete the pods and wait until nodes return what they have, or use --force',
    );
  });

  test("but with what uses it; a group that names itself uses nothing", () => {
    const names: TenantName[] = [
      { kind: "VPC", name: "b" },
      { kind: "Subnet", name: "b.web" },
      { kind: "Peering", name: "ab" },
      { kind: "SecurityGroup", name: "a.in" },
    ];
    const left = remove(there, names).tenants;
    expect([...left.VPC.keys(), ...left.Peering.keys(), ...left.SecurityGroup.keys()]).toEqual([
      "a",
      "flat",
      "a.more",
    ]);
  });
});
