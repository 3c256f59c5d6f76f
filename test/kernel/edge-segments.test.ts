/**
 * Subnets of a fabric in bridges of the host: machines behind two nodes' bridges in one broadcast domain, with the gateway that is the same on both,
 * across FRR as the fabric's router.
 *
 * ```
 *   machine ── cwb5110 ── cwl5110 ── edge a ── FRR ── edge b ── cwl5110 ── br0 (an admin's) ── machine
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode, evpnPaths } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { seen } from "../support/seen.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

const underlay = (asn: number, tor: string, vtep: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  links: [{name: eth1}]
  neighbors: [{address: ${tor}, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [${vtep}/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {hosts: true}}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: stretched}
spec: {routed: false, underlay: {}}
`;
const subnet = (name: string, vpc: string, more: string) => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}}
spec: {vpc: ${vpc}, ${more}}
`;
const WEB = 'vni: 5110, prefixes: [10.1.0.0/24, "2001:db8:1::/64"], gatewayMac: 00:f3:00:00:13:f7';
const DB = subnet("red.db", "red", "vni: 5120, prefixes: [10.1.1.0/24], hostBridge: {}");
const STRETCHED = subnet("stretched.l2", "stretched", "vni: 5310, hostBridge: {name: br-hs-5310}");
const A =
  underlay(64514, "192.168.11.2", "100.65.0.1") +
  subnet("red.web", "red", `${WEB}, hostBridge: {}`) +
  STRETCHED;
const B =
  underlay(64524, "192.168.12.2", "100.65.0.2") +
  subnet("red.web", "red", `${WEB}, hostBridge: {name: br0, managed: false}`) +
  DB +
  STRETCHED;

describe.skipIf(lacks !== undefined)(
  `a fabric's Subnets in bridges of hosts${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let tor: Foreign;
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"], root: root as string });
      [a, b] = [lab.node("a"), lab.node("b")];
      tor = await lab.fabric([64514, 64524]);
      a.start();
      a.follow(A);
      b.start();
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    const reaches = (from: Netns, address: string) =>
      until(`${address} is reached`, async () => pings(from, address));
    const macs = (text: string) => [...new Set(text.match(/02:00:00:00:00:0\d/g))].sort();
    const evpn = () => tor.ask("show bgp l2vpn evpn");
    const webs: Netns[] = [];

    test("a bridge of others that is not there is named, and the rest is made; when it comes the link is put into it", async () => {
      const missing =
        'Subnet "red.web": spec.hostBridge.name br0 is no bridge of this node; make it, or leave out managed: false';
      b.follow(B);
      expect(b.problems).toEqual([`Underlay "rack": ${missing}`]);
      expect(b.edge.status()[0]?.problems).toContain(missing);
      expect(b.text("ip -br link show dev cwb5120")).toContain("UP");
      b.text("ip link add br0 type bridge");
      await until("it is in the bridge", async () =>
        b.text("ip -br link show master br0").startsWith("cwl5110"),
      );
      b.text("ip link set br0 up");
      expect(b.edge.status()[0]?.problems).toEqual([]);
    });

    test("two machines behind bridges of two nodes reach each other, as neighbours", async () => {
      webs.push(lab.machine({ node: a, bridge: "cwb5110" }, 1, "10.1.0.5", "2001:db8:1::5"));
      webs.push(lab.machine({ node: b, bridge: "br0" }, 2, "10.1.0.6", "2001:db8:1::6"));
      const [one, two] = webs as [Netns, Netns];
      await reaches(one, "10.1.0.6");
      await reaches(two, "10.1.0.5");
      await reaches(one, "2001:db8:1::6");
      expect(lab.scratch.text("ip neigh show 10.1.0.6", one)).toContain("lladdr 02:00:00:00:00:02");
      await until("both are announced", async () => macs(evpn()).length === 2);
      // What each learned is sent to its node alone.
      await until("b knows where the first one is", async () =>
        b.text("bridge fdb show dev vx5110", "cw-5100").includes("02:00:00:00:00:01 dst 100.65.0.1"),
      );
      expect(a.text("bridge fdb show dev host5110", "cw-5100")).toContain("02:00:00:00:00:01");
    });

    test("the gateway is the same on both nodes, and what asked it is announced with its address", async () => {
      for (const one of webs) {
        for (const gateway of ["10.1.0.1", "2001:db8:1::1"]) {
          await reaches(one, gateway);
          expect(lab.scratch.text(`ip neigh show ${gateway}`, one)).toContain("lladdr 00:f3:00:00:13:f7");
        }
      }
      await until("both addresses are announced", async () => /10\.1\.0\.5\]\n +100\.65\.0\.1/.test(evpn()));
      await until("both addresses are announced", async () => /10\.1\.0\.6\]\n +100\.65\.0\.2/.test(evpn()));
      await until("and one by one, each by its node", async () =>
        /\[5\]:\[0\]:\[32\]:\[10\.1\.0\.6\]\n +100\.65\.0\.2 /.test(evpn()),
      );
    });

    test("a machine reaches one of another Subnet that only the other node has", async () => {
      const db = lab.machine({ node: b, bridge: "cwb5120" }, 3, "10.1.1.5");
      lab.scratch.text("ip route add default via 10.1.1.1", db);
      lab.scratch.text("ip route add default via 10.1.0.1", webs[0]);
      await reaches(webs[0] as Netns, "10.1.1.5");
      expect(pings(db, "10.1.0.5")).toBe(true);
    });

    test("a segment that nobody routes is stretched, and shares nothing with others", async () => {
      const one = lab.machine({ node: a, bridge: "br-hs-5310" }, 4, "10.1.0.5");
      lab.serve(lab.machine({ node: b, bridge: "br-hs-5310" }, 5, "10.1.0.8"));
      expect(await seen(one, "10.1.0.8")).toBe("10.1.0.5");
      expect(pings(webs[0] as Netns, "10.1.0.8")).toBe(false);
      expect(pings(one, "10.1.0.6")).toBe(false);
      await until("its addresses are announced", async () => macs(evpn()).includes("02:00:00:00:00:05"));
      expect(a.text("ip route", "cw-5310")).toBe("");
    });

    test("70, 71: a machine that moves to the other node is reached there, and asks its gateway there, in both families", async () => {
      const moved = webs[1] as Netns;
      b.text("ip link del m2");
      lab.plug(moved, { node: a, bridge: "cwb5110" }, 2, "10.1.0.6", "2001:db8:1::6");
      // It says nothing of its own by then: the fabric has to find out.
      for (const address of ["[32]:[10.1.0.6]", "[128]:[2001:db8:1::6]"]) {
        const [host, network] = [`[02:00:00:00:00:02]:${address}`, `[5]:[0]:${address}`];
        const paths = (route: string, vtep: string) => evpnPaths(evpn(), route, vtep);
        await until(`the fabric knows ${address} there`, async () =>
          /MM:\d/.test(paths(host, "100.65.0.1").join()),
        );
        await until("also by itself", async () => paths(network, "100.65.0.1").length > 0);
        await until("b has taken it back", async () =>
          [host, network].every((route) => paths(route, "100.65.0.2").length === 0),
        );
      }
      for (const address of ["10.1.0.1", "2001:db8:1::1", "10.1.0.5", "2001:db8:1::5"])
        await reaches(moved, address);
      for (const address of ["10.1.0.6", "2001:db8:1::6"]) await reaches(webs[0] as Netns, address);
      await until("b sends it there", async () =>
        b.text("bridge fdb show dev vx5110", "cw-5100").includes("02:00:00:00:00:02 dst 100.65.0.1"),
      );
    });

    test("an agent that begins anew changes nothing, and knows who is there", async () => {
      const seen = () => [a.text("ip -o link"), a.text("ip -o link", "cw-5100")];
      const before = seen();
      a.stop();
      a.start();
      a.follow(A);
      expect(seen()).toEqual(before);
      await until("it has announced all again", async () =>
        ["01", "02", "04"].every((end) => macs(evpn()).includes(`02:00:00:00:00:${end}`)),
      );
      await reaches(webs[0] as Netns, "10.1.1.5");
      expect(a.problems).toEqual([]);
    });

    test("a link that is no longer wanted goes, with the bridge that is ours; that of others stays", async () => {
      const bare = (text: string) => text.replaceAll(/, hostBridge: \{[^}]*\}/g, "");
      a.follow(bare(A));
      b.follow(bare(B));
      expect(a.text("ip -br link")).not.toMatch(/cwl|cwb|br-hs/);
      expect(b.text("ip -br link")).not.toMatch(/cwl|cwb|br-hs/);
      expect(b.text("ip -br link show dev br0")).toContain("br0");
      await until("nothing is announced", async () => macs(evpn()).length === 0);
      expect(a.text("ip -br link", "cw-5100")).not.toContain("5110");
      expect(a.problems).toEqual([]);
    });
  },
);
