/**
 * A node's edge as route reflector of two others and of FRR, as where ToRs speak no EVPN: case 72 of OpenPERouter's (docs/edge-tests.md). Whatever goes
 * from node to node is forwarded by the fabric, which counts it.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { routes } from "../../src/bgp/rib/mod.ts";
import { EVPN, printNlri } from "../../src/bgp/wire/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { type Netns, runSync } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { seen } from "../support/seen.ts";

setDefaultTimeout(180_000);
const { root, lacks } = foreignRoot("frr");

const REFLECTOR = 1;
const FRR = 4;

/** Nodes 1, 2 and 3, and FRR; the first reflects for the others, and has no domain. */
function manifest(node: number): string {
  const others = [1, 2, 3, FRR].filter((one) => one !== node && (node === REFLECTOR || one === REFLECTOR));
  const options = node === REFLECTOR ? "routeReflectorClient: true" : "";
  const neighbors = others.map(
    (one) =>
      `{address: 192.168.1${one}.3, asn: internal, connectRetry: 1s, families: {l2vpn-evpn: {${options}}}}`,
  );
  const ways = [...others.map((one) => `192.168.1${one}.0/24`), `100.65.0.${FRR}/32`].map(
    (prefix) => `{prefix: ${prefix}, via: 192.168.1${node}.2}`,
  );
  return `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.1${node}.2, asn: 64512, connectRetry: 1s, families: {ipv4-unicast: {}}}, ${neighbors.join(", ")}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32]}
  routes: [${ways.join(", ")}]
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: stretched}
spec: {routed: false, underlay: {nodes: {node: [b, c]}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: stretched.l2}
spec: {vpc: stretched, vni: 5310, hostBridge: {}}
`;
}

/** A client that is not ours: the same L2 domain in a bridge with VXLAN. */
const FRR_TEXT = `
router bgp 64514
 bgp router-id 10.0.1${FRR}.1
 no bgp default ipv4-unicast
 neighbor 192.168.1${REFLECTOR}.3 remote-as 64514
 neighbor 192.168.1${REFLECTOR}.3 timers connect 1
 address-family l2vpn evpn
  neighbor 192.168.1${REFLECTOR}.3 activate
  advertise-all-vni
 exit-address-family
`;
const FRR_LINKS = [
  "ip link set lo up",
  `ip address add 100.65.0.${FRR}/32 dev lo`,
  `ip address add 192.168.1${FRR}.3/24 dev eth1`,
  "ip link set eth1 up",
  // FRR takes no default route for the way to a next hop.
  `ip route add 192.168.1${REFLECTOR}.0/24 via 192.168.1${FRR}.2`,
  `ip route add 100.65.0.0/24 via 192.168.1${FRR}.2`,
  "ip link add br5310 type bridge",
  `ip link add vni5310 type vxlan id 5310 local 100.65.0.${FRR} dstport 4789 nolearning`,
  "ip link set vni5310 master br5310 addrgenmode none",
  "ip link set dev vni5310 type bridge_slave neigh_suppress on learning off",
  "ip link set br5310 up",
  "ip link set vni5310 up",
];

/** What the fabric forwards from the reflector and to it, and what it forwards of VXLAN. */
const COUNTERS = `table inet watched {
  counter bgp {}
  counter other {}
  counter vxlan {}
  chain forwarded {
    type filter hook forward priority 0;
    udp dport 4789 counter name vxlan
    iifname to-a tcp sport 179 counter name bgp accept
    iifname to-a tcp dport 179 counter name bgp accept
    oifname to-a tcp sport 179 counter name bgp accept
    oifname to-a tcp dport 179 counter name bgp accept
    iifname to-a counter name other
    oifname to-a counter name other
  }
}`;

describe.skipIf(lacks !== undefined)(
  `an edge that reflects${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let frr: Foreign;
    /** Behind b, c and FRR: their addresses end in 5, 6 and 7. */
    const machines: Netns[] = [];
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b", "c"], root: root as string });
      const { scratch } = lab;
      const counting = runSync(["nft", "-f", "-"], { netns: scratch.netns, input: COUNTERS });
      expect(counting.stderr).toBe("");
      lab.speaker("fabric", scratch.netns, {
        ...{ asn: 64512, routerId: "10.0.1.1" },
        neighbors: [1, 2, 3].map((node) => ({
          ...{ address: `192.168.1${node}.3`, asn: 64514, connectRetry: "1s" },
          families: { "ipv4-unicast": {} },
        })),
      });
      for (const [i, node] of lab.nodes.entries()) {
        node.start();
        node.follow(manifest(i + 1));
      }
      const there = scratch.another();
      scratch.text(`ip link add to-d mtu 1600 type veth peer name eth1 netns ${there.path} mtu 1600`);
      scratch.text(`ip address add 192.168.1${FRR}.2/24 dev to-d`);
      scratch.text("ip link set to-d up");
      for (const command of FRR_LINKS) scratch.text(command, there);
      scratch.text(`ip route add 100.65.0.${FRR} via 192.168.1${FRR}.3`);
      frr = await lab.frr(there, FRR_TEXT);
      for (const node of lab.nodes.slice(1)) machines.push(machine(node.netns, "cwb5310"));
      machines.push(machine(there, "br5310"));
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    function machine(host: Netns, bridge: string): Netns {
      const netns = lab.scratch.another();
      const last = 5 + machines.length;
      const text = (command: string, where = host) => lab.scratch.text(command, where);
      text(`ip link add m0 type veth peer name eth0 netns ${netns.path} address 02:00:00:00:00:0${last}`);
      text(`ip link set m0 master ${bridge} up`);
      text(`ip address add 10.1.0.${last}/24 dev eth0`, netns);
      text("ip link set eth0 up", netns);
      lab.serve(netns);
      return netns;
    }
    /** Both of two machines are reached by the other, as who they are. */
    async function see(one: number, two: number): Promise<void> {
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const)
        expect(
          await seen(machines[from - 5] as Netns, `10.1.0.${to}`).catch((error: Error) => {
            const all = lab.nodes.map(
              (node) => `${node.name}: ${node.logged.join("\n")}\n${node.text("ip route", "cw-underlay")}`,
            );
            throw new Error([error.message, ...all, frr.ask("show bgp l2vpn evpn")].join("\n"));
          }),
        ).toBe(`10.1.0.${from}`);
    }
    const packets = (counter: string) =>
      Number(/packets (\d+)/.exec(lab.scratch.text(`nft list counter inet watched ${counter}`))?.[1]);

    test("72: machines of two clients reach each other, from node to node; the reflector has nothing of it but routes", async () => {
      const [a, b] = lab.nodes as [EdgeNode, EdgeNode, EdgeNode];
      await see(5, 6);
      await until("b knows where the other one is", async () =>
        b.text("bridge fdb show dev vx5310", "cw-5310").includes("02:00:00:00:00:06 dst 100.65.0.3"),
      );
      expect(a.text("ip -br link", "cw-underlay")).not.toContain("vx");
      expect(() => a.text("ip link", "cw-5310")).toThrow();
      expect(lab.nodes.map(({ name, problems }) => [name, ...problems])).toEqual([["a"], ["b"], ["c"]]);
    });

    test("72: FRR as a client has our clients' routes, and they have its, with originator and cluster; machines reach each other", async () => {
      const [, b] = lab.nodes as [EdgeNode, EdgeNode, EdgeNode];
      await see(5, 7);
      await see(6, 7);
      const detail = () => frr.ask("show bgp l2vpn evpn route detail");
      for (const [number, mac] of [
        [2, "02:00:00:00:00:05"],
        [3, "02:00:00:00:00:06"],
      ] as const)
        await until(`FRR has ${mac}`, async () =>
          new RegExp(
            `\\[${mac}\\][^]*?100\\.65\\.0\\.${number} [^]*?Originator: 10\\.0\\.1${number}\\.1, Cluster list: 192\\.0\\.2\\.1`,
          ).test(detail()),
        ).catch((error: Error) => Promise.reject(new Error(`${error.message}\n${detail()}`)));
      const [speaker] = b.routers.speakers;
      const ofFrr = () =>
        [...routes(speaker!.rib, { family: EVPN })].flatMap((view) => {
          if (view === undefined || !printNlri(view.nlri).includes("02:00:00:00:00:07")) return [];
          const { nextHop, originatorId, clusterList } = view.attributes;
          const texts = [nextHop?.address, originatorId, ...(clusterList ?? [])];
          return [texts.map((one) => one && formatIp(one))];
        });
      await until("b has what is behind FRR", async () => ofFrr().length > 0);
      for (const one of ofFrr()) expect(one).toEqual([`100.65.0.${FRR}`, `10.0.1${FRR}.1`, "192.0.2.1"]);
    });

    test("72: nothing but BGP comes to the reflector or from it", () => {
      expect(packets("vxlan")).toBeGreaterThan(0);
      expect(packets("bgp")).toBeGreaterThan(0);
      expect(packets("other")).toBe(0);
    });
  },
);
