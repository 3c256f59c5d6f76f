/**
 * Two routers on each of two nodes, in two fabrics that have everything alike: addresses of links and tunnel endpoints, AS numbers, networks of Subnets.
 * Each carries its own, nothing passes between them, and what becomes of one does not touch the other.
 *
 * ```
 *   machine, host ── cw-5100 ── cw-east ── eth1 ── FRR ── eth1 ── cw-east ── cw-5100 ── pod, host
 *   machine, host ── cw-5200 ── cw-west ── eth2 ── FRR ── eth2 ── cw-west ── cw-5200 ── pods, host
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { attachPod, bridgedMachine } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lostPings } from "../support/lost-pings.ts";
import { WireTap } from "../support/wire-tap.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

interface Side {
  readonly router: string;
  readonly link: string;
  readonly vpc: string;
  readonly vni: number;
  /** Of its host sessions; and what hosts of a and b announce there: one host has both, and one table of routes. */
  readonly net: string;
  readonly services: readonly [string, string];
}
const EAST: Side = {
  ...{ router: "east", link: "eth1", vpc: "red", vni: 5100 },
  ...{ net: "192.169.10", services: ["10.99.0.1", "10.98.0.1"] },
};
const WEST: Side = {
  ...{ router: "west", link: "eth2", vpc: "blue", vni: 5200 },
  ...{ net: "192.169.11", services: ["10.97.0.1", "10.96.0.1"] },
};
const SIDES = [EAST, WEST] as const;

/** Node 1 or 2. */
const manifest = ({ router, link, vpc, vni, net }: Side, node: number, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: ${router}}
spec:
  router: ${router}
  asn: 64514
  links: [{name: ${link}}]
  neighbors: [{address: 192.168.1${node}.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.0/24]}
${more}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${vpc}}
spec:
  vni: ${vni}
  underlay: {router: ${router}, announce: [198.51.100.0/24]}
  hostSession: {asn: 64514, peerAsn: external, prefixes: [${net}.0/24], connectRetry: 1s}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${vpc}.web}
spec: {vpc: ${vpc}, vni: ${vni + 10}, prefixes: [10.1.0.0/24], hostBridge: {}}
`;
const both = (node: number) => manifest(EAST, node) + manifest(WEST, node);

describe.skipIf(lacks !== undefined)(
  `several routers on a node${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    /** Of the west, with the names that links have in the other. */
    let far: Netns;
    let tors: readonly [Foreign, Foreign];
    const machines: Netns[] = [];
    const pods: Netns[] = [];
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"], root: root as string });
      [a, b] = [lab.node("a"), lab.node("b")];
      b.index = 1;
      far = lab.scratch.another();
      lab.scratch.text("sysctl -qw net.ipv4.ip_forward=1", far);
      for (const [i, node] of lab.nodes.entries()) {
        const [name, net] = [`to-${node.name}`, `192.168.${11 + i}`];
        lab.scratch.text(
          `ip link add ${name} mtu 1600 type veth peer name eth2 netns ${node.netns.path}`,
          far,
        );
        lab.scratch.text(`ip address add ${net}.2/24 dev ${name}`, far);
        lab.scratch.text(`ip link set ${name} up`, far);
        node.text(`ip address add ${net}.3/24 dev eth2`);
        node.text("ip link set eth2 mtu 1600 up");
      }
      tors = [await lab.fabric([64514, 64514]), await lab.fabric([64514, 64514], far)];
      for (const [i, node] of lab.nodes.entries()) {
        node.start();
        node.follow(both(i + 1));
        expect(node.problems).toEqual([]);
        host(node, i);
      }
      for (const { vni } of SIDES) {
        machines.push(bridgedMachine(lab, a, { bridge: `cwb${vni + 10}`, address: "10.1.0.5" }));
        pods.push(await attachPod(lab, b, { domain: vni, segment: vni + 10, addresses: ["10.1.0.6"] }));
      }
      await attachPod(lab, b, { domain: WEST.vni, segment: WEST.vni + 10, addresses: ["10.1.0.7"] });
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    /** A host with a session to each of its routers, that says to each what is its own. */
    function host(node: EdgeNode, i: number): void {
      for (const { services } of SIDES) node.text(`ip address add ${services[i]}/32 dev lo`);
      lab.speaker(`host-${node.name}`, node.netns, {
        ...{ asn: 64515 + 10 * i, routerId: `10.0.2.${i + 1}` },
        networks: SIDES.map(({ services }) => `${services[i]}/32`),
        policies: Object.fromEntries(
          SIDES.map(({ router, services }) => [
            `to-${router}`,
            [{ match: { prefix: [`${services[i]}/32`] }, action: "accept" }],
          ]),
        ),
        neighbors: SIDES.map(({ router, net }) => ({
          ...{ address: `${net}.1`, asn: 64514, connectRetry: "1s" },
          families: { "ipv4-unicast": { export: `to-${router}` } },
        })),
      });
    }

    const reaches = (from: Netns, address: string, options?: string) =>
      until(`${address} is reached`, async () => pings(from, address, options));
    const evpn = (i: number) => tors[i]?.ask("show bgp l2vpn evpn") ?? "";
    const macOf = (pod: Netns | undefined) =>
      /link\/ether (\S+)/.exec(lab.scratch.text("ip -o link show dev eth0", pod))?.[1];

    test("each carries its own, with the same addresses on both sides", async () => {
      for (const [i, { vni, services }] of SIDES.entries()) {
        const machine = machines[i] as Netns;
        await reaches(machine, "10.1.0.6");
        expect(lab.scratch.text("ip neigh show 10.1.0.6", machine)).toContain(`lladdr ${macOf(pods[i])}`);
        await reaches(a.netns, services[1], `-c 1 -W 1 -I ${services[0]}`);
        expect(a.text(`ip route show ${services[1]}`)).toContain(`dev cwh${vni} `);
        expect(a.text(`ip route show ${services[1]}`, `cw-${vni}`)).toContain(`via 100.65.0.1 dev br${vni} `);
      }
      for (const { router, vni } of SIDES) {
        expect(a.text(`ip -d -o link show dev vx${vni}`, `cw-${vni}`)).toContain("local 100.65.0.0 ");
        expect(a.text("ip -o address show dev lo", `cw-${router}`)).toContain("inet 100.65.0.0/32");
      }
    });

    test("nothing passes from one to the other: no route, no question, no packet", async () => {
      const taps = [lab.scratch.netns, far].map((netns) => {
        const [link] = lab.scratch.json("ip -j link show dev to-a", netns);
        return new WireTap(netns, link.ifindex);
      });
      try {
        const [red, blue] = machines as [Netns, Netns];
        await reaches(blue, "10.1.0.7");
        expect(pings(red, "10.1.0.7")).toBe(false);
        expect(pings(red, WEST.services[1])).toBe(false);
        expect(pings(blue, EAST.services[1])).toBe(false);
        expect(pings(red, "10.1.0.6") && pings(blue, "10.1.0.6")).toBe(true);
        for (const [i, tap] of taps.entries()) {
          const { vni = 0 } = SIDES[i] ?? {};
          const seen = new Set(tap.take().map((one) => one.vni));
          expect(seen.has(vni + 10)).toBe(true);
          expect([...seen].filter((one) => one !== vni && one !== vni + 10)).toEqual([]);
        }
      } finally {
        for (const tap of taps) tap[Symbol.dispose]();
      }
      for (const [i, { vni, services }] of SIDES.entries()) {
        const [own, other] = [evpn(i), SIDES[1 - i] as Side];
        expect(own).toContain(`RT:64514:${vni}`);
        expect(own).toContain(`[${services[1]}]`);
        expect(own).not.toContain(`RT:64514:${other.vni}`);
        expect(own).not.toContain(`[${other.services[1]}]`);
        expect(a.text(`ip route show ${other.services[1]}`, `cw-${vni}`)).toBe("");
      }
    });

    /** Pings in the east, from a process of its own, while `work` is done in the west. */
    async function pingingDuring(work: () => Promise<void>): Promise<void> {
      const ping = machines[0]?.run(() =>
        Bun.spawn(["ping", "-n", "-i", "0.02", "10.1.0.6"], { stdout: "pipe", stderr: "ignore" }),
      );
      const output = new Response(ping?.stdout).text();
      try {
        await work();
      } finally {
        ping?.kill("SIGINT");
      }
      const text = await output;
      expect(text.match(/ icmp_seq=/g)?.length).toBeGreaterThan(100);
      expect(lostPings(text)).toEqual([]);
    }

    test("one that begins anew, under another name, takes no packet of the other along", async () => {
      a.logged.length = 0;
      await pingingDuring(async () => {
        a.follow(manifest(EAST, 1) + manifest(WEST, 1, "  routerIds: 10.7.0.0/24"));
        await until("its session is up", async () =>
          a.logged.some((line) => /^bgp session is up .*"edge-west"/.test(line)),
        );
        await reaches(machines[1] as Netns, "10.1.0.6");
      });
      expect(a.logged.filter((line) => line.includes('"edge-east'))).toEqual([]);
      expect(a.problems).toEqual([]);
    });

    test("one that goes takes all that is its own, and no packet of the other; it comes back", async () => {
      a.logged.length = 0;
      await pingingDuring(async () => {
        a.follow(manifest(EAST, 1));
        expect(() => a.text("ip link", "cw-west")).toThrow();
        expect(() => a.text("ip link", "cw-5200")).toThrow();
        expect(a.text("ip -br address show dev eth2")).toContain("192.168.11.3/24");
        expect(a.text("ip -br link")).not.toMatch(/cw[hlb]52/);
        await until("its fabric has forgotten it", async () => !evpn(1).includes(`[${WEST.services[0]}]`));
        expect(evpn(0)).toContain(`[${EAST.services[0]}]`);
        expect(pings(machines[1] as Netns, "10.1.0.6")).toBe(false);
        a.follow(both(1));
        const [port] = /machine\d+(?=@)/.exec(a.text("ip -o link show nomaster type veth")) ?? [];
        a.text(`ip link set ${port} master cwb5210`);
        await reaches(machines[1] as Netns, "10.1.0.6");
      });
      expect(a.logged.filter((line) => line.includes('"edge-east'))).toEqual([]);
      await reaches(a.netns, WEST.services[1], `-c 1 -W 1 -I ${WEST.services[0]}`);
    });

    test("an agent that begins anew takes both over", async () => {
      const seen = () =>
        ["cw-east", "cw-west", "cw-5100", "cw-5200"].map((inside) => a.text("ip -o link", inside));
      const before = seen();
      a.stop();
      a.start();
      a.follow(both(1));
      expect(seen()).toEqual(before);
      for (const [i, { services }] of SIDES.entries()) {
        await reaches(machines[i] as Netns, "10.1.0.6");
        await reaches(a.netns, services[1], `-c 1 -W 1 -I ${services[0]}`);
      }
      expect(pings(machines[0] as Netns, "10.1.0.7")).toBe(false);
      expect(a.problems).toEqual([]);
    });
  },
);
