/**
 * Pods attached straight to a fabric's VPC, without a host in between: with each other on two nodes, with what runs on the other node's host, and
 * with those of another VPC that has the same addresses never.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { LocalAttachment } from "../../src/domain/mod.ts";
import { mac, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, edgeManifest, type EdgeNode, type EdgeSide, hostSpeaker } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

const A: EdgeSide = {
  ...{ asn: 64514, hostAsn: 64515, net: "192.169" },
  ...{ tor: "192.168.11.2", vtep: "100.65.0.1" },
};
const B: EdgeSide = {
  ...{ asn: 64524, hostAsn: 64525, net: "192.170" },
  ...{ tor: "192.168.12.2", vtep: "100.65.0.2" },
};
const SERVICE_B = "10.98.0.1";

const PODS = `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: blue}
spec: {vni: 5200, underlay: {hosts: true}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: blue.web}
spec: {vpc: blue, vni: 5210, prefixes: [10.1.0.0/24]}
`;

describe.skipIf(lacks !== undefined)(`pods in a fabric${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let lab: EdgeLab;
  let a: EdgeNode;
  let b: EdgeNode;
  let tor: Foreign;
  let serial = 0;
  const pods: Record<string, Netns> = {};
  beforeAll(async () => {
    lab = new EdgeLab({ names: ["a", "b"], root: root as string });
    [a, b] = [lab.node("a"), lab.node("b")];
    tor = await lab.fabric([A.asn, B.asn]);
    for (const [node, side] of [
      [a, A],
      [b, B],
    ] as const) {
      node.start();
      node.follow(edgeManifest(side) + PODS);
    }
    b.text(`ip address add ${SERVICE_B}/32 dev lo`);
    await lab.frr(b.netns, hostSpeaker(B, `${SERVICE_B}/32`));
    for (const [name, node, vpc, address] of [
      ["red-a", a, 5100, "10.1.0.5"],
      ["red-b", b, 5100, "10.1.0.6"],
      ["blue-a", a, 5200, "10.1.0.5"],
      ["blue-b", b, 5200, "10.1.0.7"],
    ] as const)
      pods[name] = await pod(node, vpc, address);
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  async function pod(node: EdgeNode, domain: number, address: string): Promise<Netns> {
    const netns = lab.scratch.another();
    lab.scratch.text("ip link set lo up", netns);
    const number = ++serial;
    const attachment: LocalAttachment = {
      ...{ id: `pod${String(number).padStart(8, "0")}`, ifname: "eth0", mac: mac(0x0a58_0000_0000 + number) },
      ...{ domain, segment: domain + 10, addresses: [parseIp(address)], mtuBytes: 1500 },
      ...{ defaultRoute: true, groups: [] },
    };
    const place = node.edge.place(domain);
    place?.attach(attachment, netns);
    await until("the pod is up", async () => place?.missing(attachment, netns).length === 0);
    return netns;
  }
  const reaches = (name: string, address: string) =>
    until(`${name} reaches ${address}`, async () => pings(pods[name] as Netns, address));

  test("two pods of a Subnet reach each other across the fabric, as neighbours", async () => {
    await reaches("red-a", "10.1.0.6");
    expect(lab.scratch.text("ip neigh show 10.1.0.6", pods["red-a"])).toContain("lladdr 0a:58:00:00:00:02");
    const table = tor.ask("show bgp l2vpn evpn");
    expect(table).toMatch(
      /\[2\]:\[0\]:\[48\]:\[0a:58:00:00:00:01\]:\[32\]:\[10\.1\.0\.5\]\n +100\.65\.0\.1 .*\n +RT:64514:5100 RT:64514:5110 /,
    );
    expect(table).toMatch(/\[3\]:\[0\]:\[32\]:\[100\.65\.0\.1\]/);
  });

  test("a pod reaches what the other node's host announces, and is reached under its own address", async () => {
    await reaches("red-a", SERVICE_B);
    await until("the host of b reaches the pod", async () =>
      b.text("ip route show 10.1.0.0/24").includes("via 192.170.10.1 dev cwh5100"),
    );
    expect(pings(b.netns, "10.1.0.5", `-c 1 -W 2 -I ${SERVICE_B}`)).toBe(true);
  });

  test("another VPC may have the same addresses, and is never reached", async () => {
    await reaches("blue-a", "10.1.0.7");
    expect(pings(pods["red-a"] as Netns, "10.1.0.7")).toBe(false);
    expect(pings(pods["blue-a"] as Netns, SERVICE_B)).toBe(false);
    // hosts: true has each address announced by the node that has it.
    expect(tor.ask("show bgp l2vpn evpn")).toMatch(/\[5\]:\[0\]:\[32\]:\[10\.1\.0\.7\]\n +100\.65\.0\.2 /);
  });

  test("an agent that begins anew takes pods over", async () => {
    const place = a.edge.place(5100);
    const attached = (place?.status().domains ?? []).flatMap(({ segments }) =>
      segments.map(({ vni, attachments }) => `${vni} ${attachments}`),
    );
    expect(attached).toEqual(["5110 1", "5210 1"]);
    a.attached = [5100, 5200].flatMap((vni) => place?.attachments(vni) ?? []);
    a.stop();
    a.start();
    a.follow(edgeManifest(A) + PODS);
    expect(pings(pods["red-a"] as Netns, "10.1.0.1")).toBe(true);
    await reaches("red-a", "10.1.0.6");
    await reaches("red-a", SERVICE_B);
    expect(a.problems).toEqual([]);
  });

  test("a pod that goes is taken back", async () => {
    const [gone] = a.edge.place(5100)?.attachments(5100) ?? [];
    a.edge.place(5100)?.detach(gone?.id ?? "");
    await until(
      "its route is gone",
      async () => !tor.ask("show bgp l2vpn evpn").includes("0a:58:00:00:00:01"),
    );
  });
});
