/**
 * Three nodes' edges in the fabric that OpenPERouter's tests have: leaves of FRR with L3 VNIs in VRFs, two ToRs, and on the hosts what Kubernetes runs.
 * Numbers in names are those of its end-to-end cases (docs/edge-tests.md): traffic with the addresses that it had, and the tables of both sides.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { runSync } from "../../src/sys/mod.ts";
import type { EdgeNode } from "./edge-lab.ts";
import { EdgeTopology, seenBy, topologyLacks } from "./edge-topology.ts";
import { HOSTS, podNets, subnetText, UNDERLAY, vpcText } from "./edge-topology-config.ts";
import type { Json } from "./scratch.ts";

/** Guards against hanging only. */
const DEADLINE_MS = 250_000;

/** What hardened hosts have; namespaces that are made later begin with it. */
const STRICT = ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"];
const settings = (value: number) => runSync(["sysctl", "-qw", ...STRICT.map((name) => `${name}=${value}`)]);

/**
 * Waits for something that an emulated processor may take long for, and tells what was there instead. Between looks there is time for the speakers of
 * ours, which are in this process.
 */
async function until(what: string, holds: () => Promise<boolean> | boolean, seen = () => ""): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  for (let begun = performance.now(); !(await holds()); begun = performance.now()) {
    if (begun > end) throw new Error(`waited in vain: ${what}\n${seen()}`);
    await Bun.sleep(Math.max(50, 2 * (performance.now() - begun)));
  }
}

/** TopologyOptions are where it runs. */
export interface TopologyOptions {
  readonly title: string;
  /** Whether leaves have their tenants in VRFs, as they are used; else each tenant of a site has a leaf of its own. */
  readonly vrf: boolean;
  /** Whether the machine is ours alone: what new namespaces begin with may be changed. */
  readonly alone: boolean;
}

/** edgeTopologySuite declares the tests. */
export function edgeTopologySuite({ title, vrf, alone }: TopologyOptions): void {
  setDefaultTimeout(300_000);
  const lacks = topologyLacks({ vrf });
  describe.skipIf(lacks !== undefined)(`${title}${lacks === undefined ? "" : ` (${lacks})`}`, () => {
    let net: EdgeTopology;
    let nodes: readonly [EdgeNode, EdgeNode, EdgeNode];
    beforeAll(async () => {
      if (alone) settings(1);
      net = await EdgeTopology.up({ vrf });
      nodes = net.nodes as typeof nodes;
      for (const node of nodes) {
        node.start();
        node.follow(node.name === "c" ? TARGETS : ALL);
        expect(node.problems).toEqual([]);
      }
      net.routeByHand(nodes[2]);
    }, 900_000);
    afterAll(async () => {
      if (alone) settings(0);
      await net?.[Symbol.asyncDispose]();
    });

    const ALL = UNDERLAY + vpcText("red") + vpcText("blue");
    // FRR 8.4 forgets a router's Ethernet address when targets of its routes change: it has these from the beginning.
    const TARGETS =
      UNDERLAY +
      vpcText("red", "  importTargets: [64520:100]\n  exportTargets: [64514:100, 64514:999]\n") +
      vpcText("blue");
    const bare = (text: string) =>
      text
        .replaceAll(/ nhid \d+/g, "")
        .replaceAll(/ +$/gm, "")
        .trim();
    const evpn = (box: string) => net.daemon(box).ask("show bgp l2vpn evpn");
    const leafRoutes = (site: "A" | "B", tenant: "red" | "blue") => bare(net.routes(site, tenant));
    const edgeRoutes = (node: EdgeNode, vni: number) =>
      bare(node.text("ip route", `cw-${vni}`)) + bare(node.text("ip -6 route", `cw-${vni}`));
    const state = () =>
      [
        evpn("leafA"),
        ...(["red", "blue"] as const).map((tenant) => leafRoutes("A", tenant)),
        ...nodes.flatMap((node) => [
          node.name,
          edgeRoutes(node, 100),
          node.text("ip route"),
          ...node.problems,
          ...node.logged,
        ]),
      ].join("\n");

    /** What serves at an address sees who asks under his own. */
    async function sees(from: Netns, address: string, own: string): Promise<void> {
      let seen = "";
      await until(
        `${own} is seen at ${address}`,
        async () => (seen = await seenBy(from, address)) !== "",
        state,
      );
      expect(seen).toBe(own);
    }
    const host = (name: string) => HOSTS.find((one) => one.name === name) as (typeof HOSTS)[number];

    test("17: every node has its sessions with both ToRs, in both families", async () => {
      for (const tor of ["tor1", "tor2"])
        await until(
          `${tor} has three nodes`,
          () => {
            const summary = net.daemon(tor).json("show bgp summary json") as Json;
            return ["ipv4Unicast", "l2VpnEvpn"].every((family) => {
              const peers = Object.entries(summary[family]?.peers ?? {}) as [string, Json][];
              const nodesUp = peers.filter(
                ([name, { state: is }]) => /^192\.168\.1[12]\.[345]$/.test(name) && is === "Established",
              );
              return nodesUp.length === 3;
            });
          },
          () => `${net.daemon(tor).ask("show bgp summary")}${state()}`,
        );
    });

    test("1, 6: each node has the namespaces, links and addresses of its index, of both families", () => {
      nodes.forEach((node, index) => {
        const inside = (command: string, where: string) => node.text(command, where);
        expect(inside("ip -o address show dev lo", "cw-underlay")).toContain(`inet 100.65.0.${index}/32 `);
        expect(inside("ip -br link", "cw-underlay")).toMatch(/eth1[^]*eth2/);
        for (const [vni, third] of [
          [100, 10],
          [200, 11],
        ] as const) {
          const there = inside("ip -o address show dev host0", `cw-${vni}`);
          expect(there).toContain(`inet 192.169.${third}.1/24 `);
          expect(there).toContain(`inet6 2001:db8:169:${third}::1/64 `);
          const here = node.text(`ip -o address show dev cwh${vni}`);
          expect(here).toContain(`inet 192.169.${third}.${index + 2}/24 `);
          expect(here).toContain(`inet6 2001:db8:169:${third}::${index + 2}/64 `);
          expect(inside(`ip -d -o link show dev vx${vni}`, `cw-${vni}`)).toContain(
            `local 100.65.0.${index} `,
          );
        }
      });
    });

    test("39: type 5 of the leaves is in each domain and in no other, and the nodes' in the leaves", async () => {
      for (const [vni, vrf, other] of [
        [100, "red", "blue"],
        [200, "blue", "red"],
      ] as const) {
        const wanted = HOSTS.filter((one) => one.vrf === vrf).flatMap(({ net4, net6 }) => [
          `${net4}.0/24`,
          `${net6}::/64`,
        ]);
        const foreign = HOSTS.filter((one) => one.vrf === other).flatMap(({ net4, net6 }) => [
          `${net4}.0/24`,
          `${net6}::/64`,
        ]);
        for (const node of nodes) {
          await until(
            `${node.name} has ${vrf}`,
            () => wanted.every((prefix) => edgeRoutes(node, vni).includes(prefix)),
            state,
          );
          for (const prefix of foreign) expect(edgeRoutes(node, vni)).not.toContain(prefix);
        }
        const pods = nodes
          .map((_, i) => podNets(i))
          .flatMap(({ net4, net6 }) => [`${net4}.0/24`, `${net6}::/64`]);
        for (const site of ["A", "B"] as const)
          await until(
            `${site} has the pods`,
            () => pods.every((prefix) => leafRoutes(site, vrf).includes(prefix)),
            state,
          );
      }
      expect(edgeRoutes(nodes[0], 100)).toContain(
        "192.168.20.0/24 via 100.64.0.1 dev br100 proto 67 metric 1024 onlink",
      );
      expect(leafRoutes("A", "red")).toMatch(
        /10\.244\.0\.0\/24 via 100\.65\.0\.0 dev br100 proto bgp metric 20 onlink/,
      );
      expect(evpn("leafA")).toMatch(
        /\[5\]:\[0\]:\[24\]:\[10\.244\.1\.0\]\n[^\n]*100\.65\.0\.1[^\n]* 64514 64515 i\n +RT:64514:100 /,
      );
    });

    test("40: a host's speaker has the routes of each domain by that domain's session alone", async () => {
      const [a, b, c] = nodes;
      const red = ["192.168.20.0/24", "192.169.20.0/24"];
      const blue = ["192.168.21.0/24", "192.169.21.0/24"];
      // FRR asks by the neighbor that they came from.
      const byMetallb = (edge: string) =>
        Object.keys(
          (net.daemon(a.name).json(`show bgp ipv4 unicast neighbors ${edge} routes json`) as Json).routes,
        )
          .filter((one) => /^192\.16[89]\.2/.test(one))
          .sort();
      await until(
        "FRR has both",
        () => byMetallb("192.169.10.1").length === 2 && byMetallb("192.169.11.1").length === 2,
        state,
      );
      expect([byMetallb("192.169.10.1"), byMetallb("192.169.11.1")]).toEqual([red, blue]);
      const byCalico = (name: string) => net.daemon(b.name).ask("show", "route", "protocol", name);
      await until(
        "BIRD has both",
        () => byCalico("red4").includes(red[1] as string) && byCalico("blue4").includes(blue[1] as string),
        state,
      );
      for (const prefix of blue) expect(byCalico("red4")).not.toContain(prefix);
      const byCilium = (edge: string) => net.daemon(c.name).ask("neighbor", edge, "adj-in");
      await until(
        "GoBGP has both",
        () =>
          byCilium("192.169.10.1").includes(red[1] as string) &&
          byCilium("192.169.11.1").includes(blue[1] as string),
        state,
      );
      for (const prefix of red) expect(byCilium("192.169.11.1")).not.toContain(prefix);
      // Its own AS number is in the path, which Calico takes and MetalLB does not.
      await until(
        "BIRD has another node's pods",
        () => byCalico("red4").includes("10.244.0.0/24"),
        () =>
          `${net.daemon(b.name).ask("show", "route", "all")}${net.daemon(b.name).ask("show", "protocols", "all", "red4")}${edgeRoutes(b, 100)}`,
      );
      expect(byCalico("red4")).toContain("10.244.2.0/24");
      expect(byMetallb("192.169.10.1").join()).not.toContain("10.244.");
      expect(bare(a.text("ip route show 192.168.20.0/24"))).toMatch(
        /via 192\.169\.10\.1 dev cwh100 proto bgp/,
      );
      await until(
        "BIRD's kernel has it",
        () => /via 192\.169\.10\.1 dev cwh100 proto bird/.test(b.text("ip route show 192.168.20.0/24")),
        state,
      );
    });

    test("41-48: pods and hosts of both leaves and VRFs see each other's own addresses, IPv4 and IPv6, whoever begins", async () => {
      for (const [i, node] of nodes.entries()) {
        const pod = net.netns(`pod-${node.name}`);
        const { net4, net6 } = podNets(i);
        for (const name of ["A-red", "A-blue", "B-red", "B-blue"]) {
          const there = host(name);
          await sees(pod, `${there.net4}.2`, `${net4}.2`);
          await sees(net.netns(name), `${net4}.2`, `${there.net4}.2`);
        }
        for (const name of ["A-red", "B-blue"]) {
          const there = host(name);
          await sees(pod, `${there.net6}::2`, `${net6}::2`);
          await sees(net.netns(name), `${net6}::2`, `${there.net6}::2`);
        }
      }
      // What the node itself sends has the host session's address.
      await sees(nodes[1].netns, "192.168.20.2", "192.169.10.3");
      expect(await seenBy(net.netns("A-red"), "192.168.21.2")).toBe("");
    });

    test("51: passthrough: plain packets between pods and a host of no VRF, by the ToRs", async () => {
      await until(
        "the host has the network",
        () => nodes[0].text("ip route show 192.168.22.0/24").includes("via 192.169.9.1 dev cwpunderlay"),
        state,
      );
      await sees(net.netns("pod-a"), "192.168.22.2", "10.244.0.2");
      await sees(net.netns("A-plain"), "10.244.0.2", "192.168.22.2");
      expect(net.text(net.leaf("A").name, "ip route show 10.244.0.0/24")).toMatch(/ dev spine proto bgp/);
    });

    test("answers come by another ToR than questions go, on a host that filters by the way back", async () => {
      for (const node of nodes.slice(0, 1)) {
        const links = ["eth1", "eth2"].map((link) =>
          node.text(`sysctl -n net.ipv4.conf.${link}.rp_filter`, "cw-underlay").trim(),
        );
        expect(links).toEqual(["0", "0"]);
      }
      const [a] = nodes;
      const way = () => bare(net.text("spine", "ip route show 100.65.0.0"));
      const away = /dev to-tor1/.test(way()) ? ".11.2" : ".12.2";
      // What the ToR says that the spine sends by is not believed; it hears of us all the same.
      a.follow(
        ALL.replace(
          new RegExp(`(address: 192\\.168\\${away}[^}]*)`),
          '$1, import: [{match: {prefix: ["100.64.0.0/16 le 32"]}, action: reject}, {action: accept}]',
        ),
      );
      const other = away === ".11.2" ? "192.168.12.2" : "192.168.11.2";
      await until(
        "one way is left",
        () =>
          /^100\.64\.0\.1 via \S+ dev eth\d/.test(bare(a.text("ip route show 100.64.0.1", "cw-underlay"))) &&
          a.text("ip route show 100.64.0.1", "cw-underlay").includes(other),
        () => `${a.text("ip route", "cw-underlay")}${state()}`,
      );
      await sees(net.netns("pod-a"), "192.168.20.2", "10.244.0.2");
      a.follow(ALL);
      expect(a.problems).toEqual([]);
    });

    test("50: route targets: what a node exports has its targets, and of others it has what it imports alone", async () => {
      const [a, , c] = nodes;
      await until(
        "the leaf has both targets",
        () =>
          /\[10\.244\.2\.0\]\n[^\n]*100\.65\.0\.2[^\n]*\n +RT:64514:100 RT:64514:999 /.test(evpn("leafA")),
        state,
      );
      expect(edgeRoutes(a, 100)).toContain("10.244.2.0/24");
      expect(edgeRoutes(c, 100)).toContain("192.169.20.0/24");
      for (const prefix of ["10.244.0.0/24", "10.244.1.0/24"]) {
        expect(edgeRoutes(c, 200)).toContain(prefix);
        expect(edgeRoutes(c, 100)).not.toContain(prefix);
      }
    });

    const WEB = subnetText("red.web", 110, '192.171.24.0/24, "2001:db8:171:24::/64"');
    test("59-67: machines of two nodes in one L2 domain reach each other, and the fabric's hosts by the anycast gateway", async () => {
      for (const node of nodes.slice(0, 2)) node.follow(ALL + WEB);
      const [a, b] = nodes;
      const one = net.machine(a, {
        bridge: "cwb110",
        mac: "02:00:00:00:11:05",
        addresses: ["192.171.24.5/24", "2001:db8:171:24::5/64"],
      });
      const two = net.machine(b, {
        bridge: "cwb110",
        mac: "02:00:00:00:11:06",
        addresses: ["192.171.24.6/24", "2001:db8:171:24::6/64"],
      });
      await sees(one, "192.171.24.6", "192.171.24.5");
      await sees(two, "2001:db8:171:24::5", "2001:db8:171:24::6");
      for (const machine of [one, two]) {
        const own = machine === one ? 5 : 6;
        await sees(machine, "192.168.20.2", `192.171.24.${own}`);
        await sees(net.netns("B-red"), `192.171.24.${own}`, "192.169.20.2");
        await sees(machine, "2001:db8:20::2", `2001:db8:171:24::${own}`);
        await sees(net.netns("A-red"), `2001:db8:171:24::${own}`, "2001:db8:20::2");
      }
      expect(evpn("leafA")).toContain("[02:00:00:00:11:06]");
      await until(
        "the leaf has the machine's own route",
        () => /192\.171\.24\.6 via 100\.65\.0\.1 dev br100/.test(leafRoutes("A", "red")),
        state,
      );
    });

    test("36, 10: a domain that comes or goes leaves sessions and other domains alone", async () => {
      const [a] = nodes;
      const since = () =>
        (net.daemon("tor1").json("show bgp neighbors 192.168.11.3 json") as Json)["192.168.11.3"]
          .connectionsEstablished as number;
      const before = since();
      a.logged.length = 0;
      a.follow(UNDERLAY + vpcText("red"));
      await until(
        "the leaf has no blue route of it",
        () => !leafRoutes("B", "blue").includes("10.244.0.0/24"),
        state,
      );
      expect(a.text("ip -br link")).not.toContain("cwh200");
      await sees(net.netns("B-red"), "10.244.0.2", "192.169.20.2");
      a.follow(ALL + WEB);
      await sees(net.netns("B-blue"), "10.244.0.2", "192.169.21.2");
      expect(since()).toBe(before);
    });

    test("97, 99, 100: an edge that ends and begins again leaves all that is in the kernel; traffic in both directions comes back", async () => {
      const [a] = nodes;
      const objects = () =>
        ["cw-underlay", "cw-100", "cw-200"].map(
          (inside) => bare(a.text("ip -o link", inside)) + edgeRoutesOf(a, inside),
        );
      const before = objects();
      a.stop();
      await sees(net.netns("pod-a"), "192.168.22.2", "10.244.0.2");
      expect(objects()).toEqual(before);
      a.start();
      a.follow(ALL + WEB);
      await sees(net.netns("A-red"), "10.244.0.2", "192.168.20.2");
      await sees(net.netns("pod-a"), "192.169.21.2", "10.244.0.2");
      await sees(net.netns("A-plain"), "10.244.0.2", "192.168.22.2");
      expect(a.problems).toEqual([]);
    });
    const edgeRoutesOf = (node: EdgeNode, inside: string) => bare(node.text("ip route", inside));

    test("14, 28: without the Underlay the fabric forgets the node, and the host has its links as they were", async () => {
      const [, , c] = nodes;
      c.follow("");
      expect(c.problems).toEqual([]);
      expect(c.text("ip -o -4 address show")).toMatch(
        /eth1 +inet 192\.168\.11\.5\/24[^]*eth2 +inet 192\.168\.12\.5\/24/,
      );
      expect(c.text("ip -br link")).not.toMatch(/cwh|cwp|cwb/);
      expect(() => c.text("ip link", "cw-underlay")).toThrow();
      for (const site of ["A", "B"] as const)
        await until(
          `${site} has forgotten it`,
          () => !leafRoutes(site, "red").includes("10.244.2.0/24"),
          state,
        );
      const sessions = () =>
        Object.entries((net.daemon("tor1").json("show bgp summary json") as Json).l2VpnEvpn.peers) as [
          string,
          Json,
        ][];
      await until(
        "the ToR has two nodes",
        () => sessions().filter(([, { state: is }]) => is === "Established").length === 3,
        state,
      );
    });
  });
}
