/** Tunnels from VPCs, as tests that both back-ends pass: two tenants with the same networks at both ends, and two gateways on one node. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Tunnel } from "../../src/domain/mod.ts";
import { formatPrefix } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { pings } from "./domain-lab.ts";
import { Answerer, askTcp } from "./port-traffic.ts";
import { REMOTE, TENANTS, type Tenant, TenantSites } from "./tenant-sites.ts";
import { lacksXdp } from "./xdp-pair.ts";
import { lacksXfrm } from "./xfrm-sites.ts";

const ALL = Object.keys(TENANTS) as Tenant[];
const PORT = 8080;
/** A way by which packets of red could leave the node in the plain, if anything let them. */
const PLAIN_WAY = ["addr VERB 198.51.3.9/24 dev red", "route VERB 10.2.0.0/16 via 198.51.3.2 dev red"];

/** Pings until it is disposed, whatever is answered. */
function pinging(netns: Netns, to: string): Disposable {
  const { flow } = netns.run(() => ({
    flow: Bun.spawn(["ping", "-n", "-q", "-i", "0.2", to], { stdin: "ignore", stdout: "ignore" }),
  }));
  return { [Symbol.dispose]: () => flow.kill("SIGKILL") };
}

/** tunnelsOfTenants describes them for a back-end; `skip` is why it cannot be. */
export function tunnelsOfTenants(by: Tunnel["by"], skip: string | undefined): void {
  describe.skipIf(skip !== undefined)(
    `tunnels from VPCs, by ${by === "kernel" ? "the kernel" : "user space"}${skip === undefined ? "" : ` (skipped: ${skip})`}`,
    () => {
      let sites: TenantSites;
      const pods = {} as Record<Tenant, Netns>;
      const answerers: Answerer[] = [];

      beforeAll(async () => {
        sites = new TenantSites(by);
        const { lab } = sites.lab;
        for (const tenant of ALL) {
          const domain = sites.domains[tenant];
          const [segment] = domain.segments;
          if (segment === undefined) throw new Error("there is no segment");
          // Not on the node with the gateways: EVPN tells the way there.
          pods[tenant] = lab.pod(lab.host(2), tenant, {
            domain,
            segment,
            addresses: ["10.1.0.5", "fd01::5"],
          });
        }
        const [segment] = sites.domains.blue.segments;
        if (segment !== undefined)
          lab.pod(lab.host(1), "alone", { domain: sites.domains.blue, segment, addresses: ["10.1.0.9"] });
        for (const tenant of ALL) answerers.push(await Answerer.open(sites.sites[tenant], tenant, [PORT]));
        await sites.start();
      });
      afterAll(async () => {
        for (const one of answerers) one[Symbol.dispose]();
        await sites?.[Symbol.asyncDispose]();
      });

      const asks = (tenant: Tenant, to: string) => askTcp({ from: pods[tenant], to, port: PORT });

      test("each tenant reaches the site of its own at the same address, from another node, and is seen as itself", async () => {
        for (const tenant of ALL) {
          await sites.until(`${tenant} reaches its site`, () => pings(pods[tenant], REMOTE[4]));
          expect(await asks(tenant, REMOTE[4])).toBe(`${tenant} sees 10.1.0.5`);
          expect(await asks(tenant, REMOTE[6])).toBe(`${tenant} sees fd01::5`);
        }
        expect(sites.lab.problems()).toEqual([]);
      });

      test("a Gateway with two queues has its flows in both, each way", async () => {
        const used = (count: number) =>
          sites.until(`${count} queues have packets`, async () => {
            if (pings(pods.red, REMOTE[4])) await asks("red", REMOTE[4]);
            const queues = (await sites.top("red"))?.queues ?? [];
            return queues.length === count && queues.every((one) => one.rxpackets > 10 && one.txpackets > 10);
          });
        await used(2);
        // Queues that come and go while it runs.
        sites.narrow(true);
        await used(1);
        const leg = () => sites.lab.lab.host(1).text("ip -d -o link show cwt300", 300);
        if (by === "user") expect(leg()).toContain("numtxqueues 1 ");
        sites.narrow(false);
        await used(2);
        if (by === "user") expect(leg()).toContain("numtxqueues 2 ");
      });

      test("a long packet is refused with the MTU of the gateway, and fragments pass", async () => {
        expect(pings(pods.red, REMOTE[4], "-c 1 -W 1 -M do -s 1400")).toBe(false);
        await sites.until("fragments pass", () => pings(pods.red, REMOTE[4], "-c 1 -W 2 -M dont -s 2500"));
      });

      test("what comes out of a tunnel gets into its own VPC only, and from the route's networks only", async () => {
        await sites.until("blue's site reaches what blue alone has", () =>
          pings(sites.sites.blue, "10.1.0.9"),
        );
        expect(pings(sites.sites.red, "10.1.0.9")).toBe(false);
        await sites.until("red's site reaches red", () => pings(sites.sites.red, "10.1.0.5"));
        expect(pings(sites.sites.red, "10.1.0.5", "-c 1 -W 1 -I 10.77.0.1")).toBe(false);
      });

      test("a route that is down is announced no more, and ends where it is; the other tenant's goes on", async () => {
        const { lab } = sites.lab;
        const services = sites.lab.services.get(lab.host(1));
        const announced = (tenant: Tenant) => services?.announced(TENANTS[tenant]).map(formatPrefix);
        expect(announced("red")).toEqual(["10.2.0.0/16", "fd02::/64"]);
        services?.setTunnels(new Set(["red-site"]));
        lab.sync();
        expect(announced("red")).toEqual([]);
        const way = (number: number, vni: number) => lab.host(number).text(`ip route show 10.2.0.0/16`, vni);
        for (const number of [1, 2])
          expect(way(number, 300)).toMatch(/^unreachable 10\.2\.0\.0\/16 [^\n]*\n$/);
        expect(way(2, 400)).toMatch(/^10\.2\.0\.0\/16 .*\nunreachable/);
        expect(pings(pods.red, REMOTE[4])).toBe(false);
        await sites.until("blue goes on", () => pings(pods.blue, REMOTE[4]));
        services?.setTunnels(new Set());
        lab.sync();
        await sites.until("red is back", () => pings(pods.red, REMOTE[4]));
      });

      test("an agent that begins anew finds all as it is to be", async () => {
        const { lab } = sites.lab;
        const links = () =>
          lab
            .host(1)
            .text("ip -o link", 300)
            .replaceAll(/ qlen .*| mtu .*/g, "");
        const before = links();
        sites.lab.restart(lab.host(1));
        lab.sync();
        expect(links()).toBe(before);
        expect(before).toContain(by === "kernel" ? "cwx300" : "cwt300");
        await sites.until("red goes on", () => pings(pods.red, REMOTE[4]));
        expect(sites.lab.problems()).toEqual([]);
      });

      test.skipIf((by === "kernel" ? lacksXdp() : lacksXfrm()) !== undefined)(
        "another back-end takes over while its gateway runs, and the first again; the other tenant's goes on",
        async () => {
          const changes = (words: string) => {
            for (const line of words === "add" ? PLAIN_WAY : PLAIN_WAY.toReversed())
              sites.lab.lab.host(1).text(`ip ${line.replace("VERB", words)}`);
          };
          const begun = sites.log("blue").length;
          const used = new Set(await sites.spis("red"));
          expect(used.size).toBeGreaterThan(1);
          changes("add");
          using _ = pinging(pods.red, REMOTE[4]);
          for (const next of [by === "kernel" ? "user" : "kernel", by] as const) {
            sites.choose("red", next);
            await sites.until(`red's packets go by ${next}`, async () => {
              const { queues = [], routes = [] } = (await sites.top("red")) ?? {};
              const [queue] = queues;
              const now = queue?.about === "the kernel's ESP" ? "kernel" : "user";
              return queue?.up === true && now === next && routes.every(({ up }) => up);
            });
            await sites.until("red reaches its site", () => pings(pods.red, REMOTE[4]));
            expect(await asks("red", REMOTE[6])).toBe("red sees fd01::5");
            // Counters begin anew, so keys do.
            const spis = await sites.spis("red");
            expect([spis.length > 1, spis.filter((spi) => used.has(spi))]).toEqual([true, []]);
            for (const spi of spis) used.add(spi);
          }
          changes("del");
          for (const tenant of ALL) expect(sites.plain(tenant)).toBe(0);
          expect(sites.log("blue").slice(begun)).not.toMatch(/is down|agreed on/);
          expect(sites.lab.problems()).toEqual([]);
        },
      );

      test.skipIf(lacksXfrm() === undefined)(
        "where the kernel has no ESP, its Route says so, nothing leaves, and user space has it again",
        async () => {
          const route = async () => (await sites.top("red"))?.routes[0];
          sites.choose("red", "kernel");
          await sites.until("red's Route says why", async () => {
            const { up, reason = "" } = (await route()) ?? {};
            return up === false && reason.includes("the kernel has no ESP");
          });
          expect(pings(pods.red, REMOTE[4])).toBe(false);
          await sites.until("blue goes on", () => pings(pods.blue, REMOTE[4]));
          sites.choose("red", "user");
          await sites.until("red goes on", () => pings(pods.red, REMOTE[4]));
          await sites.until("its Route says nothing of it any more", async () => {
            const { up, reason } = (await route()) ?? {};
            return up === true && reason === undefined;
          });
          for (const tenant of ALL) expect(sites.plain(tenant)).toBe(0);
          // What has been told there, and nothing else.
          expect([...new Set(sites.lab.problems())]).toEqual([expect.stringContaining("xfrm link cwx300")]);
        },
      );

      test("without its gateway's process nothing of a tenant leaves the node", async () => {
        const { lab } = sites.lab;
        await sites.kill("red");
        // The kernel's associations outlive it, up to their limits.
        if (by === "kernel") sites.forget("red");
        // A way in the plain, if there were any.
        for (const line of PLAIN_WAY) lab.host(1).text(`ip ${line.replace("VERB", "add")}`);
        expect(pings(pods.red, REMOTE[4])).toBe(false);
        for (const tenant of ALL) expect(sites.plain(tenant)).toBe(0);
        // The way would be one, and be seen: the node itself takes it.
        await sites.until("what the node sends is seen", () => {
          pings(lab.host(1).netns, REMOTE[4]);
          return sites.plain("red") > 0;
        });
        await sites.until("blue goes on", () => pings(pods.blue, REMOTE[4]));
      });
    },
  );
}
