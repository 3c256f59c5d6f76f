/** What nodes' edges have, and what becomes of it: their objects, what hosts hear, domains that come and go, an agent that ends, an Underlay that goes. */
import { expect, test } from "bun:test";
import { UNDERLAY, vpcText } from "./edge-topology-config.ts";
import { ALL, bare, type TopologyView, WEB } from "./edge-topology-view.ts";
import type { Json } from "./scratch.ts";

/** lifeTests declares tests of the edge's topology; the last one leaves node c without an edge. */
export function lifeTests(view: TopologyView): void {
  test("1, 6: each node has the namespaces, links and addresses of its index, of both families", () => {
    view.nodes.forEach((node, index) => {
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
        expect(inside(`ip -d -o link show dev vx${vni}`, `cw-${vni}`)).toContain(`local 100.65.0.${index} `);
      }
    });
  });

  test("40: a host's speaker has the routes of each domain by that domain's session alone", async () => {
    const [a, b, c] = view.nodes;
    const red = ["192.168.20.0/24", "192.169.20.0/24"];
    const blue = ["192.168.21.0/24", "192.169.21.0/24"];
    // FRR asks by the neighbor that they came from.
    const byMetallb = (edge: string) =>
      Object.keys(
        (view.net.daemon(a.name).json(`show bgp ipv4 unicast neighbors ${edge} routes json`) as Json).routes,
      )
        .filter((one) => /^192\.16[89]\.2/.test(one))
        .sort();
    await view.until("FRR has both", () =>
      [byMetallb("192.169.10.1"), byMetallb("192.169.11.1")].every(({ length }) => length === 2),
    );
    expect([byMetallb("192.169.10.1"), byMetallb("192.169.11.1")]).toEqual([red, blue]);
    const byCalico = (name: string) => view.net.daemon(b.name).ask("show", "route", "protocol", name);
    await view.until(
      "BIRD has both",
      () => byCalico("red4").includes(red[1] as string) && byCalico("blue4").includes(blue[1] as string),
    );
    const inRed = byCalico("red4");
    for (const prefix of blue) expect(inRed).not.toContain(prefix);
    const byCilium = (edge: string) => view.net.daemon(c.name).ask("neighbor", edge, "adj-in");
    await view.until(
      "GoBGP has both",
      () =>
        byCilium("192.169.10.1").includes(red[1] as string) &&
        byCilium("192.169.11.1").includes(blue[1] as string),
    );
    const inBlue = byCilium("192.169.11.1");
    for (const prefix of red) expect(inBlue).not.toContain(prefix);
    // Its own AS number is in the path, which Calico takes and MetalLB does not.
    await view.until(
      "BIRD has the other nodes' pods",
      () => ["10.244.0.0/24", "10.244.2.0/24"].every((prefix) => byCalico("red4").includes(prefix)),
      () =>
        `${view.net.daemon(b.name).ask("show", "route", "all")}${view.net.daemon(b.name).ask("show", "protocols", "all", "red4")}${view.edgeRoutes(b, 100)}`,
    );
    expect(byMetallb("192.169.10.1").join()).not.toContain("10.244.");
    expect(bare(a.text("ip route show 192.168.20.0/24"))).toMatch(/via 192\.169\.10\.1 dev cwh100 proto bgp/);
    await view.until("BIRD's kernel has it", () =>
      /via 192\.169\.10\.1 dev cwh100 proto bird/.test(b.text("ip route show 192.168.20.0/24")),
    );
  });

  test("36, 10: a domain that comes or goes leaves sessions and other domains alone", async () => {
    const [a] = view.nodes;
    const since = () =>
      (view.net.daemon("tor1").json("show bgp neighbors 192.168.11.3 json") as Json)["192.168.11.3"]
        .connectionsEstablished as number;
    const before = since();
    a.logged.length = 0;
    a.follow(UNDERLAY + vpcText("red"));
    await view.until(
      "the leaf has no blue route of it",
      () => !view.leafRoutes("B", "blue").includes("10.244.0.0/24"),
    );
    expect(a.text("ip -br link")).not.toContain("cwh200");
    await view.sees(view.net.netns("B-red"), "10.244.0.2", "192.169.20.2");
    a.follow(ALL + WEB);
    await view.sees(view.net.netns("B-blue"), "10.244.0.2", "192.169.21.2");
    expect(since()).toBe(before);
  });

  test("97, 99, 100: an edge that ends and begins again leaves all that is in the kernel; traffic in both directions comes back", async () => {
    const [a] = view.nodes;
    const objects = () =>
      ["cw-underlay", "cw-100", "cw-200"].map(
        (inside) => bare(a.text("ip -o link", inside)) + bare(a.text("ip route", inside)),
      );
    const before = objects();
    a.stop();
    await view.sees(view.net.netns("pod-a"), "192.168.22.2", "10.244.0.2");
    expect(objects()).toEqual(before);
    a.start();
    a.follow(ALL + WEB);
    await view.sees(view.net.netns("A-red"), "10.244.0.2", "192.168.20.2");
    await view.sees(view.net.netns("pod-a"), "192.169.21.2", "10.244.0.2");
    await view.sees(view.net.netns("A-plain"), "10.244.0.2", "192.168.22.2");
    expect(a.problems).toEqual([]);
  });

  test("14, 28: without the Underlay the fabric forgets the node, and the host has its links as they were", async () => {
    const [, , c] = view.nodes;
    c.follow("");
    expect(c.problems).toEqual([]);
    expect(c.text("ip -o -4 address show")).toMatch(
      /eth1 +inet 192\.168\.11\.5\/24[^]*eth2 +inet 192\.168\.12\.5\/24/,
    );
    expect(c.text("ip -br link")).not.toMatch(/cwh|cwp|cwb/);
    expect(() => c.text("ip link", "cw-underlay")).toThrow();
    for (const site of ["A", "B"] as const)
      await view.until(
        `${site} has forgotten it`,
        () => !view.leafRoutes(site, "red").includes("10.244.2.0/24"),
      );
    const sessions = () =>
      Object.entries((view.net.daemon("tor1").json("show bgp summary json") as Json).l2VpnEvpn.peers) as [
        string,
        Json,
      ][];
    await view.until(
      "the ToR has two nodes",
      () => sessions().filter(([, { state: is }]) => is === "Established").length === 3,
    );
  });
}
