/**
 * Three nodes' edges in the fabric that OpenPERouter's tests have: leaves of FRR with L3 VNIs in VRFs, two ToRs, and on the hosts what Kubernetes runs.
 * Numbers in names are those of its end-to-end cases (docs/edge-tests.md): traffic with the addresses that it had, and the tables of both sides.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Netns, runSync } from "../../src/sys/mod.ts";
import { pings } from "./domain-lab.ts";
import { type EdgeNode, evpnPaths } from "./edge-lab.ts";
import { topologyLacks } from "./edge-topology.ts";
import { podTests } from "./edge-topology-pods.ts";
import { HOSTS, podNets } from "./edge-topology-config.ts";
import { ALL, converted, TARGETS, WEB } from "./edge-topology-manifests.ts";
import { bare, hostOf, say, TopologyView } from "./edge-topology-view.ts";
import type { Json } from "./scratch.ts";
import { seenBy } from "./seen.ts";

/** What hardened hosts have; namespaces that are made later begin with it. */
const STRICT = ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"];
const settings = (value: number) => runSync(["sysctl", "-qw", ...STRICT.map((name) => `${name}=${value}`)]);

/** TopologyOptions are where it runs. */
export interface TopologyOptions {
  readonly title: string;
  /** Whether leaves have their tenants in VRFs, as they are used; else each tenant of a site has a leaf of its own. */
  readonly vrf: boolean;
  /** Whether the machine is ours alone: what new namespaces begin with may be changed. */
  readonly alone: boolean;
  /** Routers and hosts whose FRR has BFD. */
  readonly bfd: readonly string[];
  /** What is tested there besides, afterwards. */
  readonly more: (view: TopologyView) => void;
}

/** edgeTopologySuite declares the tests. */
export function edgeTopologySuite({ title, vrf, alone, bfd, more }: TopologyOptions): void {
  setDefaultTimeout(300_000);
  const lacks = topologyLacks({ vrf });
  describe.skipIf(lacks !== undefined)(`${title}${lacks === undefined ? "" : ` (${lacks})`}`, () => {
    const view = new TopologyView();
    beforeAll(async () => {
      if (alone) settings(1);
      await view.up({ vrf, bfd });
      for (const node of view.nodes) {
        node.start();
        node.follow(converted(node.name === "c" ? TARGETS : ALL));
        expect(node.problems).toEqual([]);
      }
      view.net.routeByHand(view.nodes[2]);
      say("edges have their resources");
    }, 900_000);
    afterAll(async () => {
      if (alone) settings(0);
      await view[Symbol.asyncDispose]();
    });

    trafficTests(view);
    podTests(view);
    more(view);
  });
}

/** A machine of the L2 domain that moves. */
const TWO = {
  bridge: "br-hs-110",
  mac: "02:00:00:00:11:06",
  addresses: ["192.171.24.6/24", "2001:db8:171:24::6/64"],
};

function trafficTests(view: TopologyView): void {
  const machines: Netns[] = [];
  test("17: every node has its sessions with both ToRs, in both families", async () => {
    for (const tor of ["tor1", "tor2"])
      await view.until(
        `${tor} has three nodes`,
        () => {
          const summary = view.net.daemon(tor).json("show bgp summary json") as Json;
          return ["ipv4Unicast", "l2VpnEvpn"].every((family) => {
            const peers = Object.entries(summary[family]?.peers ?? {}) as [string, Json][];
            const nodesUp = peers.filter(
              ([name, { state: is }]) => /^192\.168\.1[12]\.[345]$/.test(name) && is === "Established",
            );
            return nodesUp.length === 3;
          });
        },
        () => `${view.net.daemon(tor).ask("show bgp summary")}${view.state()}`,
      );
  });

  test("39: type 5 of the leaves is in each domain and in no other, and the nodes' in the leaves", async () => {
    for (const [vni, vrf, other] of [
      [100, "red", "blue"],
      [200, "blue", "red"],
    ] as const) {
      const netsOf = (tenant: "red" | "blue") =>
        HOSTS.filter((one) => one.vrf === tenant).flatMap(({ net4, net6 }) => [
          `${net4}.0/24`,
          `${net6}::/64`,
        ]);
      for (const node of view.nodes) {
        let routes = "";
        await view.until(`${node.name} has ${vrf}`, () => {
          routes = view.edgeRoutes(node, vni);
          return netsOf(vrf).every((prefix) => routes.includes(prefix));
        });
        for (const prefix of netsOf(other)) expect(routes).not.toContain(prefix);
      }
      const pods = view.nodes
        .map((_, i) => podNets(i))
        .flatMap(({ net4, net6 }) => [`${net4}.0/24`, `${net6}::/64`]);
      for (const site of ["A", "B"] as const)
        await view.until(`${site} has the pods`, () => {
          const routes = view.leafRoutes(site, vrf);
          return pods.every((prefix) => routes.includes(prefix));
        });
    }
    expect(view.edgeRoutes(view.nodes[0], 100)).toContain(
      "192.168.20.0/24 via 100.64.0.1 dev br100 proto 67 metric 1024 onlink",
    );
    expect(view.leafRoutes("A", "red")).toMatch(
      /10\.244\.0\.0\/24 via 100\.65\.0\.0 dev br100 proto bgp metric 20 onlink/,
    );
    expect(view.evpn("leafA")).toMatch(
      /\[5\]:\[0\]:\[24\]:\[10\.244\.1\.0\]\n[^\n]*100\.65\.0\.1[^\n]* 64514 64515 i\n +RT:64514:100 /,
    );
  });

  test("41-48: pods and hosts of both leaves and VRFs see each other's own addresses, IPv4 and IPv6, whoever begins", async () => {
    const ofPod = async (node: EdgeNode, i: number) => {
      const pod = view.net.netns(`pod-${node.name}`);
      const { net4, net6 } = podNets(i);
      for (const name of ["A-red", "A-blue", "B-red", "B-blue"]) {
        const there = hostOf(name);
        await view.sees(pod, `${there.net4}.2`, `${net4}.2`);
        await view.sees(view.net.netns(name), `${net4}.2`, `${there.net4}.2`);
        await view.sees(pod, `${there.net6}::2`, `${net6}::2`);
        await view.sees(view.net.netns(name), `${net6}::2`, `${there.net6}::2`);
      }
    };
    await Promise.all(view.nodes.map(ofPod));
    // What the node itself sends has the host session's address.
    await view.sees(view.nodes[1].netns, "192.168.20.2", "192.169.10.3");
    expect(await seenBy(view.net.netns("A-red"), "192.168.21.2")).toBe("");
  });

  test("39: what leaves of both sites withdraw is gone from its domain on every node and from the hosts' speakers, and from there alone", async () => {
    const withdrawn = [
      { vni: 200, vrf: "blue", leaf: view.net.leaf("A", "blue"), prefix: "2001:db8:21::/64", family: 6 },
      { vni: 100, vrf: "red", leaf: view.net.leaf("B", "red"), prefix: "192.169.20.0/24", family: 4 },
    ] as const;
    const others = {
      100: ["192.168.20.0/24", "2001:db8:20::/64", "2001:db8:169:20::/64"],
      200: ["192.168.21.0/24", "192.169.21.0/24", "2001:db8:169:21::/64"],
    } as const;
    const each = async (what: string, holds: (has: readonly boolean[]) => boolean) => {
      for (const { vni, vrf, prefix, family } of withdrawn)
        for (const node of view.nodes)
          await view.until(`${node.name} and its host ${what} ${prefix}`, () => {
            const heard = view.heard(node.name, vrf, family).includes(prefix);
            return holds([view.edgeRoutes(node, vni).includes(prefix), heard]);
          });
    };
    for (const { leaf, vrf, prefix } of withdrawn) view.net.announce(leaf, prefix, { vrf, not: true });
    await each("have no more", (has) => !has.includes(true));
    for (const node of view.nodes)
      for (const { vni, vrf } of withdrawn) {
        const routes = view.edgeRoutes(node, vni);
        const heard = [4, 6].flatMap((family) => view.heard(node.name, vrf, family as 4 | 6));
        for (const other of others[vni]) {
          expect(routes).toContain(other);
          expect(heard).toContain(other);
        }
      }
    for (const node of view.nodes.slice(0, 2))
      await view.until(
        `${node.name}'s kernel has none of it`,
        () =>
          node.text("ip route show 192.169.20.0/24") === "" &&
          node.text("ip -6 route show 2001:db8:21::/64") === "",
      );
    for (const { leaf, vrf, prefix } of withdrawn) view.net.announce(leaf, prefix, { vrf });
    await each("have again", (has) => !has.includes(false));
  });

  test("51: passthrough: plain packets between pods and a host of no VRF, by the ToRs, until they withdraw it", async () => {
    const [a] = view.nodes;
    const prefix = "192.168.22.0/24";
    const way = () => a.text(`ip route show ${prefix}`);
    const isThere = () => way().includes("via 192.169.9.1 dev pt-host");
    await view.until("the host has the network", isThere);
    await view.sees(view.net.netns("pod-a"), "192.168.22.2", "10.244.0.2");
    await view.sees(view.net.netns("A-plain"), "10.244.0.2", "192.168.22.2");
    expect(view.net.text(view.net.leaf("A").name, "ip route show 10.244.0.0/24")).toMatch(
      / dev spine proto bgp/,
    );
    view.net.announce(view.net.leaf("A"), prefix, { not: true });
    await view.until("the host has it no more", () => way() === "");
    expect(await seenBy(view.net.netns("pod-a"), "192.168.22.2")).toBe("");
    view.net.announce(view.net.leaf("A"), prefix, {});
    await view.until("the host has it again", isThere);
  });

  test("answers come by another ToR than questions go, on a host that filters by the way back", async () => {
    for (const node of view.nodes.slice(0, 1)) {
      const links = ["eth1", "eth2"].map((link) =>
        node.text(`sysctl -n net.ipv4.conf.${link}.rp_filter`, "cw-underlay").trim(),
      );
      expect(links).toEqual(["0", "0"]);
    }
    const [a] = view.nodes;
    const way = () => bare(view.net.text("spine", "ip route show 100.65.0.0"));
    const away = /dev to-tor1/.test(way()) ? ".11.2" : ".12.2";
    // What the ToR says that the spine sends by is not believed; it hears of us all the same.
    a.follow(
      converted(ALL).replace(
        `- address: 192.168${away}\n`,
        '$&      import: [{match: {prefix: ["100.64.0.0/16 le 32"]}, action: reject}, {action: accept}]\n',
      ),
    );
    const other = away === ".11.2" ? "192.168.12.2" : "192.168.11.2";
    await view.until(
      "one way is left",
      () =>
        /^100\.64\.0\.1 via \S+ dev eth\d/.test(bare(a.text("ip route show 100.64.0.1", "cw-underlay"))) &&
        a.text("ip route show 100.64.0.1", "cw-underlay").includes(other),
      () => `${a.text("ip route", "cw-underlay")}${view.state()}`,
    );
    await view.sees(view.net.netns("pod-a"), "192.168.20.2", "10.244.0.2");
    a.follow(converted(ALL));
    expect(a.problems).toEqual([]);
    await view.until(
      "what was not believed is used again",
      () => {
        const ways = a.text("ip route show 100.64.0.1", "cw-underlay");
        return ways.includes("192.168.11.2") && ways.includes("192.168.12.2");
      },
      () => a.text("ip route", "cw-underlay"),
    );
  });

  test("50: route targets: what a node exports has its targets, and of others it has what it imports alone", async () => {
    const [a, , c] = view.nodes;
    await view.until("the leaf has both targets", () =>
      /\[10\.244\.2\.0\]\n[^\n]*100\.65\.0\.2[^\n]*\n +RT:64514:999 RT:64520:100 /.test(view.evpn("leafA")),
    );
    expect(view.edgeRoutes(a, 100)).toContain("10.244.2.0/24");
    const [red, blue] = [view.edgeRoutes(c, 100), view.edgeRoutes(c, 200)];
    expect(red).toContain("192.169.20.0/24");
    for (const prefix of ["10.244.0.0/24", "10.244.1.0/24"]) {
      expect(blue).toContain(prefix);
      expect(red).not.toContain(prefix);
    }
  });

  test("59-67: machines of two nodes in one L2 domain reach each other, and the fabric's hosts by the anycast gateway", async () => {
    const [a, b] = view.nodes;
    a.follow(converted(ALL + WEB.now));
    b.follow(converted(ALL + WEB.once));
    const one = view.net.machine(a, {
      bridge: "br-hs-110",
      mac: "02:00:00:00:11:05",
      addresses: ["192.171.24.5/24", "2001:db8:171:24::5/64"],
    });
    const two = view.net.machine(b, TWO);
    machines.push(one, two);
    await view.sees(one, "192.171.24.6", "192.171.24.5");
    await view.sees(two, "2001:db8:171:24::5", "2001:db8:171:24::6");
    for (const machine of [one, two]) {
      const own = machine === one ? 5 : 6;
      await view.sees(machine, "192.168.20.2", `192.171.24.${own}`);
      await view.sees(view.net.netns("B-red"), `192.171.24.${own}`, "192.169.20.2");
      await view.sees(machine, "2001:db8:20::2", `2001:db8:171:24::${own}`);
      await view.sees(view.net.netns("A-red"), `2001:db8:171:24::${own}`, "2001:db8:20::2");
    }
    expect(view.evpn("leafA")).toContain("[02:00:00:00:11:06]");
    await view.until("the leaf has the machine's own route", () =>
      /192\.171\.24\.6 via 100\.65\.0\.1 dev br100/.test(view.leafRoutes("A", "red")),
    );
  });

  test("70, 71: a machine that moves to another node has its gateway and its neighbour there in both families, and the fabric's hosts", async () => {
    const [a, b] = view.nodes;
    const [one, two] = machines as [Netns, Netns];
    view.net.move(two, a, TWO);
    for (const gateway of ["192.171.24.1", "2001:db8:171:24::1"])
      await view.until(`${gateway} answers`, () => pings(two, gateway));
    await view.sees(one, "192.171.24.6", "192.171.24.5");
    await view.sees(two, "2001:db8:171:24::5", "2001:db8:171:24::6");
    for (const way of ["192.171.24.6 via 100.65.0.0", "2001:db8:171:24::6 via ::ffff:100.65.0.0"])
      await view.until(`the leaf has ${way}`, () =>
        view
          .leafRoutes("A", "red")
          .split("\n")
          .some((line) => line.startsWith(`${way} dev br100`)),
      );
    await view.until(
      "b has taken it back",
      () => !/11:06\][^\n]*\n[^\n]*100\.65\.0\.1 /.test(view.evpn("leafA")),
    );
    for (const name of ["", ":[32]:[192.171.24.6]", ":[128]:[2001:db8:171:24::6]"])
      expect(evpnPaths(view.evpn("leafA"), `[02:00:00:00:11:06]${name}`, "100.65.0.0").join()).toMatch(
        /MM:\d/,
      );
    expect(b.text("bridge fdb show dev vx110", "cw-100")).toContain("02:00:00:00:11:06 dst 100.65.0.0");
    await view.sees(two, "192.168.20.2", "192.171.24.6");
    await view.sees(view.net.netns("A-red"), "192.171.24.6", "192.168.20.2");
    await view.sees(view.net.netns("A-red"), "2001:db8:171:24::6", "2001:db8:20::2");
  });
}
