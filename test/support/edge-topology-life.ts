/** What nodes' edges have, and what becomes of it: their objects, what hosts hear, domains that come and go, an agent that ends, an Underlay that goes. */
import { expect, test } from "bun:test";
import { HOSTS, podNets, SESSIONS } from "./edge-topology-config.ts";
import { ALL, converted, l3vniText, underlayText, WEB } from "./edge-topology-manifests.ts";
import { bare, type TopologyView } from "./edge-topology-view.ts";
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
        const here = node.text(`ip -o address show dev host-e-${vni}`);
        expect(here).toContain(`inet 192.169.${third}.${index + 2}/24 `);
        expect(here).toContain(`inet6 2001:db8:169:${third}::${index + 2}/64 `);
        expect(inside(`ip -d -o link show dev vx${vni}`, `cw-${vni}`)).toContain(`local 100.65.0.${index} `);
      }
    });
  });

  test("40: a host's speaker has by each domain's session exactly what that domain has, in both families", async () => {
    const [a, b] = view.nodes;
    for (const tenant of ["red", "blue"] as const)
      for (const family of [4, 6] as const) {
        const networks = (list: readonly { readonly net4: string; readonly net6?: string }[]) =>
          list.map(({ net4, net6 }) => (family === 4 ? `${net4}.0/24` : `${net6}::/64`));
        const leaves = networks(HOSTS.filter(({ vrf }) => vrf === tenant));
        const web = tenant === "red" ? networks([{ net4: "192.171.24", net6: "2001:db8:171:24" }]) : [];
        const pods = (...nodes: readonly number[]) => networks(nodes.map(podNets));
        const { net4, net6 } = SESSIONS[tenant];
        const hosts = (...nodes: readonly number[]) =>
          nodes.map((node) => (family === 4 ? `${net4}.${node + 2}/32` : `${net6}::${node + 2}/128`));
        const expected = {
          // What has its own AS number in the path Calico takes, and MetalLB does not; c imports what others export in blue alone.
          a: [...leaves, ...web, ...hosts(1, 2)],
          b: [...leaves, ...web, ...hosts(0, 2), ...pods(0, 2)],
          c: [...leaves, ...(tenant === "blue" ? [...hosts(0, 1), ...pods(0, 1)] : [])],
        };
        for (const [name, wanted] of Object.entries(expected))
          await view.until(
            `${name} has ${wanted} of ${tenant}`,
            () => Bun.deepEquals(view.heard(name, tenant, family), wanted.sort()),
            () => view.heard(name, tenant, family).join("\n"),
          );
      }
    expect(bare(a.text("ip route show 192.168.20.0/24"))).toMatch(
      /via 192\.169\.10\.1 dev host-e-100 proto bgp/,
    );
    await view.until("BIRD's kernel has it", () =>
      /via 192\.169\.10\.1 dev host-e-100 proto bird/.test(b.text("ip route show 192.168.20.0/24")),
    );
  });

  test("36, 10: a domain that comes or goes leaves sessions and other domains alone", async () => {
    const [a] = view.nodes;
    const since = () =>
      (view.net.daemon("tor1").json("show bgp neighbors 192.168.11.3 json") as Json)["192.168.11.3"]
        .connectionsEstablished as number;
    const before = since();
    a.logged.length = 0;
    a.follow(converted(underlayText("now") + l3vniText("now", "red")));
    await view.until(
      "the leaf has no blue route of it",
      () => !view.leafRoutes("B", "blue").includes("10.244.0.0/24"),
    );
    expect(a.text("ip -br link")).not.toContain("host-e-200");
    await view.sees(view.net.netns("B-red"), "10.244.0.2", "192.169.20.2");
    a.follow(converted(ALL + WEB.now));
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
    a.follow(converted(ALL + WEB.now));
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
    expect(c.text("ip -br link")).not.toMatch(/host-e|pt-host|br-hs/);
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
