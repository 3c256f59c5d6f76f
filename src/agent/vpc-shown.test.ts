/** VPCs of a node as people see them. */
import { expect, test } from "bun:test";
import { mac, parseIp } from "../net/mod.ts";
import { refusedStatus } from "./domain-status.ts";
import { shownVpcs } from "./vpc-shown.ts";

test("pods of a VPC that is not here yet wait, and are shown with its segments and the reason", () => {
  const targets = { importTargets: [], exportTargets: [] };
  const segment = {
    ...{ name: "net", vni: 101, prefixes: [], gateways: [], gatewayMac: mac(0x02_00_00_00_00_01) },
    ...targets,
  };
  const node = { vtep: parseIp("192.0.2.1"), underlayLink: "eth0", underlayMtuBytes: 1500 };
  const domain = { name: "blue", vni: 5000, segments: [segment], peerings: [] };
  const missing = [refusedStatus(domain, node, "the kernel says no")];
  const local = {
    ...{ id: "1", ifname: "net1", domain: 5000, segment: 101, mac: mac(0x02_00_00_00_00_02) },
    ...{ addresses: [parseIp("10.1.1.2")], mtuBytes: 1450, defaultRoute: true, groups: [] },
  };
  const pod = {
    ...{ network: "vpc", containerId: "box", ifname: "net1", netns: "/x", order: 1, local },
    state: "ready",
  } as const;
  const shown = (away: typeof missing) =>
    shownVpcs(missing, { pods: [pod], missing: away, isElsewhere: () => false });
  expect(shown(missing)).toMatchObject([
    {
      ...{ name: "blue", vni: 5000, namespace: "cw-5000", problems: ["the kernel says no"] },
      segments: [{ name: "net", vni: 101, mtuBytes: 1450, attachments: 0 }],
      attachments: [{ container: "box", addresses: ["10.1.1.2"], state: "waiting" }],
    },
  ]);
  expect(shown([])[0]?.attachments).toMatchObject([{ state: "ready" }]);
});
