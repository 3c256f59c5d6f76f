/** What a reflector believes follows the network of the link that carries VXLAN, as the kernel has it. */
import { expect, test } from "bun:test";
import { type GuardFacts, ReflectorGuard } from "../../src/agent/reflector-guard.ts";
import type { EvpnGuard, Speaker } from "../../src/bgp/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import type { Mesh, Node, TenantResources } from "../../src/resources/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const title =
  "an address of the VXLAN link that comes later, or in a larger network, is known at the next look";

test.skipIf(notRoot !== undefined)(title, () => {
  using scratch = new Scratch();
  scratch.text("ip link add nic type bridge");
  let guard: EvpnGuard | undefined;
  const speaker = { guardEvpn: (given: EvpnGuard | undefined) => void (guard = given) };
  const node = (name: string, overlay: string, local: string) =>
    ({
      name,
      overlay4: parseIp(overlay),
      local: [{ ip: parseIp(local), port: 51820 }],
    }) as Partial<Node> as Node;
  const facts: GuardFacts = {
    mesh: { openVnis: true, asn: 64512, vteps: [] } as Partial<Mesh> as Mesh,
    self: node("hub", "10.90.0.1", "192.0.2.1"),
    nodes: [node("near", "10.90.0.2", "192.0.2.2"), node("far", "10.90.0.3", "192.0.2.130")],
    domains: [],
    tenants: { VPC: new Map() } as Partial<TenantResources> as TenantResources,
    node: { vtep: parseIp("192.0.2.1"), underlayLink: "nic", underlayMtuBytes: 1500 },
  };
  const followed = new ReflectorGuard();
  const believed = () => {
    scratch.netns.run(() => followed.follow(speaker as Partial<Speaker> as Speaker, facts));
    return facts.nodes.filter(({ overlay4, local }) => {
      const [vtep = overlay4] = local.map(({ ip }) => ip);
      const route = { kind: "flood", vni: 777, vtep, targets: ["64512:777"] } as const;
      return guard?.(overlay4, { rdRouter: overlay4, route, nextHop: vtep }) === undefined;
    });
  };
  const names = () => believed().map(({ name }) => name);
  expect(names()).toEqual([]);
  scratch.text("ip address add 192.0.2.1/25 dev nic");
  expect(names()).toEqual(["near"]);
  scratch.text("ip address del 192.0.2.1/25 dev nic");
  expect(names()).toEqual(["near"]);
  scratch.text("ip address add 192.0.2.1/24 dev nic");
  expect(names()).toEqual(["near", "far"]);
});
