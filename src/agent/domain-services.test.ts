import { beforeEach, expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { compileGroups, type Domain, type LocalAttachment, type Tunnel } from "../domain/mod.ts";
import { mac, parseIp } from "../net/mod.ts";
import { tenantsOf } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { type DomainPlaces, DomainServices, type ServicesWish } from "./domain-services.ts";
import type { GatewaySideOptions } from "./gateway-side.ts";

const VNIS = [100, 200, 300];
const OPEN = "SecurityGroup in {vpc: v200, rules: [{direction: ingress}]}";
const CLOSED = "SecurityGroup in {vpc: v200}";
const targets = { importTargets: [], exportTargets: [] };
const domain = (vni: number, peer?: number): Domain => ({
  ...{ name: `v${vni}`, vni, peerings: peer === undefined ? [] : [{ with: peer, prefixes: [] }] },
  segments: [{ name: `v${vni}.a`, vni: vni + 1, prefixes: [], gateways: [], gatewayMac: mac(2), ...targets }],
});
const pod: LocalAttachment = {
  ...{ id: "pod00000001", ifname: "eth0", domain: 200, segment: 201, mac: mac(3), mtuBytes: 1400 },
  ...{ addresses: [parseIp("10.0.0.9")], defaultRoute: true, groups: ["in"] },
};

/** Whose pods were asked for, as they are for each domain that is made anew; and what was set. */
let asked: Set<number>;
let set: string[];
let here: LocalAttachment[];
let services: DomainServices;

beforeEach(() => {
  [asked, set, here] = [new Set(), [], [pod]];
  const places: DomainPlaces = {
    setScope: (vni, scope) => void set.push(`${vni} ${scope}`),
    changeScope() {},
    keep() {},
    problems: () => [],
    netns: () => ({}) as Netns,
    attachments(vni) {
      asked.add(vni);
      return here.filter((one) => one.domain === vni);
    },
    active: () => ({ domains: VNIS }),
    apply() {},
    onActive: () => ({ [Symbol.dispose]() {} }),
  };
  const home = { engine: { set() {}, apply() {}, remove() {} } } as unknown as GatewaySideOptions["home"];
  services = new DomainServices({
    ...{ places, home, self: "a", mtuBytes: () => 1450, bridged: () => true, portOf: (id) => id },
  });
});

/** Which domains are made anew by what the register says then. */
function renewed(
  domains: readonly Domain[],
  group: string,
  more: Partial<Pick<ServicesWish, "gateways" | "tunnels">> = {},
): number[] {
  asked.clear();
  const tenants = tenantsOf(
    tenantResources(`${VNIS.map((vni) => `VPC v${vni} {vni: ${vni}}`).join("\n")}\n${group}`),
  );
  const rest = { gateways: [], floating: [], tunnels: [], vtepOf: () => undefined };
  services.set({ ...rest, ...more, domains, groups: compileGroups(tenants) });
  return [...asked];
}

test("of many domains those are made anew that are others, or whose groups are", () => {
  const [one, two, three] = VNIS.map((vni) => domain(vni)) as [Domain, Domain, Domain];
  expect(renewed([one, two, three], OPEN)).toEqual(VNIS);
  expect(renewed([one, two, three], OPEN)).toEqual([]);
  expect(renewed([three, two, domain(100)], OPEN)).toEqual([100]);
  set.length = 0;
  expect(renewed([three, two, one], CLOSED)).toEqual([100, 200]);
  expect(set).toEqual(["200 services/rules"]);
});

test("one that was away, and one that others are peered with", () => {
  const [one, two, three] = VNIS.map((vni) => domain(vni)) as [Domain, Domain, Domain];
  renewed([one, two, three], OPEN);
  renewed([one, three], OPEN);
  expect(renewed([one, two, three], OPEN)).toEqual([200]);
  const [first, third] = [domain(100, 300), domain(300, 100)];
  renewed([first, two, third], OPEN);
  expect(renewed([first, two, third], OPEN)).toEqual([100, 300]);
  renewed([first, two], OPEN);
  expect(renewed([first, two, third], OPEN)).toEqual([100, 300]);
  // Both lose their links.
  expect(renewed([one, two, three], OPEN)).toEqual([100, 300]);
});

test("one with a way out, as long as it has it and when that goes", () => {
  const all = VNIS.map((vni) => domain(vni));
  const gateway = { name: "out", domain: 300, nodes: ["a"], prefixes: [], externalAddresses: [] };
  const tunnel: Tunnel = {
    ...{ gateway: "paris", domain: 100, node: "a", by: "kernel", queues: 1, mtuBytes: 1400, routes: [] },
  };
  for (const more of [{ gateways: [gateway] }, { tunnels: [tunnel] }]) {
    renewed(all, OPEN);
    const [vni] = "gateways" in more ? [300] : [100];
    for (const then of [more, more, {}]) expect(renewed(all, OPEN, then)).toEqual([vni]);
    expect(renewed(all, OPEN)).toEqual([]);
  }
});

test("rules of pods that are about to come are there before them", () => {
  const all = VNIS.map((vni) => domain(vni));
  here = [];
  renewed(all, OPEN);
  set.length = 0;
  services.takeOver([pod], () => {
    renewed(all, OPEN);
    expect(set).toEqual(["200 services/rules", `200 services/port/${pod.id}`]);
    here = [pod];
  });
});

test("pods that are about to come have no other domain made anew", () => {
  const all = VNIS.map((vni) => domain(vni));
  renewed(all, OPEN);
  asked.clear();
  services.takeOver([pod], () => {});
  expect([...asked]).toEqual([200]);
  services.takeOver([pod], () => expect(renewed(all, OPEN)).toEqual([200]));
});
