/**
 * Two site gateways on AF_XDP, and on packet sockets, back to back, with hosts of the kernel behind them: both families, inside each other.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { ethernet, FrameSocket } from "../support/frames.ts";
import { icmp } from "../support/gateway-loop.ts";
import { GatewaySites, SITE_MTU } from "../support/gateway-sites.ts";
import { fetchTraceroute, hopsOf } from "../support/traceroute.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const noRoot = process.getuid?.() === 0 ? undefined : "needs root";
const traceroute = noRoot === undefined ? fetchTraceroute() : { lacks: noRoot };
const drivers = [
  { driver: "xdp", name: "AF_XDP", skip: lacksXdp() },
  { driver: "packet", name: "packet sockets", skip: noRoot },
] as const;

for (const { driver, name, skip } of drivers)
  describe.skipIf(skip !== undefined)(
    `site gateways on ${name}${skip === undefined ? "" : ` (skipped: ${skip})`}`,
    () => {
      let sites: GatewaySites;

      beforeAll(() => {
        sites = new GatewaySites(driver);
        sites.join(4, 1000, "aes-128-gcm");
      });

      afterAll(() => sites?.[Symbol.dispose]());

      const counters = (which: "one" | "two") => sites[which].queue.path.report().counters;

      /** Pings a few times: a slow machine may answer after ping has given up, and the first finds no neighbour. */
      async function ping(words: string, which: "one" | "two" = "one"): Promise<string> {
        for (let tries = 0; ; tries++) {
          const text = await sites.during(sites[which], `ping -n -c 3 -i 0.05 -W 2 ${words}`);
          if (text.includes("3 received") || tries === 5) return text;
        }
      }

      test("neighbours are found by ARP and Neighbor Discovery, and answered", async () => {
        // The hosts ask for their gateways, and the gateways for hosts and for each other.
        await sites.during(sites.one, "sleep 0.3");
        for (const site of [sites.one, sites.two]) site.lan.ip("far", "neigh flush dev y0");
        for (const address of ["10.10.1.1", "fd01::1"]) expect(await ping(address)).toContain("3 received");
        for (const address of ["10.10.2.1", "fd02::1"])
          expect(await ping(address, "two")).toContain("3 received");
        const { nextHops, counters } = sites.one.queue.path.report();
        for (const hop of [nextHops.private, nextHops.public])
          expect([hop[4]?.mac, hop[6]?.mac]).toEqual([expect.any(Number), expect.any(Number)]);
        expect(counters.privateNextHop).toMatchObject({ addressesAdded: 2, arpErrors: 0, ndErrors: 0 });
        expect(counters.privateNextHop.arpReplies).toBeGreaterThan(0);
        expect(counters.privateNextHop.naReplies).toBeGreaterThan(0);
        expect(sites.one.lan.ip("far", "neigh show 10.10.1.1")).toContain("lladdr");
        // New ones, and now and then again.
        const told = sites.one.news.flatMap((one) =>
          one.kind === "next-hop" ? [`${one.side} ${one.family}`] : [],
        );
        expect(new Set(told).size).toBe(4);
      });

      test.each(["10.10.2.2", "fd02::2"])("ping %s, of all lengths, through the tunnel", async (host) => {
        const most = SITE_MTU - (host.includes(":") ? 48 : 28);
        for (const bytes of [0, 56, 57, 58, 59, 1000, most])
          expect(await ping(`-s ${bytes} ${host}`)).toContain("3 received");
        // The remote end's hosts see two hops between.
        expect(await ping(host)).toContain("ttl=62");
        expect(sites.two.news).toContainEqual({ kind: "heard", route: "other", spi: 1002 });
      });

      test("the remote gateway's private address answers through the tunnel", async () => {
        for (const host of ["10.10.2.1", "fd02::1"]) expect(await ping(host)).toContain("3 received");
        expect(counters("two").inboundIcmp4.echoRequest).toBeGreaterThanOrEqual(3);
        expect(counters("two").inboundIcmp6.echoRequest).toBeGreaterThanOrEqual(3);
      });

      test("a trace shows two hops: the near gateway and the far one", async () => {
        const hop = (ttl: number, host: string) => ping(`-t ${ttl} ${host}`);
        expect(await hop(1, "10.10.2.2")).toContain("From 10.10.1.1 icmp_seq=1 Time to live exceeded");
        expect(await hop(2, "10.10.2.2")).toContain("From 10.10.2.1 icmp_seq=1 Time to live exceeded");
        expect(await hop(3, "10.10.2.2")).toContain("3 received");
        expect(await hop(1, "fd02::2")).toContain("From fd01::1 icmp_seq=1 Time exceeded: Hop limit");
        expect(await hop(2, "fd02::2")).toContain("From fd02::1 icmp_seq=1 Time exceeded: Hop limit");
        expect(await hop(3, "fd02::2")).toContain("3 received");
      }, 120_000);

      test.skipIf(traceroute.lacks !== undefined).each([
        ["UDP", "-U"],
        ["ICMP", "-I"],
      ])(
        `traceroute over IPv6 by %s has three hops: both gateways and the host${traceroute.lacks === undefined ? "" : ` (skipped: ${traceroute.lacks})`}`,
        async (_name, by) => {
          const words = `${traceroute.path} -6 -n ${by} -N 1 -q 1 -w 5 -m 5 fd02::2`;
          let hops = hopsOf(await sites.during(sites.one, words));
          // A slow machine may answer later than it waits.
          for (let tries = 0; hops.includes("*") && tries < 5; tries++)
            hops = hopsOf(await sites.during(sites.one, words));
          expect(hops).toEqual(["fd01::1", "fd02::1", "fd02::2"]);
        },
        120_000,
      );

      test("ICMP of types 13 to 16 is counted, and no error is said of it: private, public, and through the tunnel", async () => {
        const { one, two } = sites;
        const link = (text: string) => /^(\d+):.*link\/ether (\S+)/s.exec(text)?.slice(1) as [string, string];
        const [y0, mac] = link(one.lan.ip("far", "link show y0"));
        const [, x0] = link(one.lan.ip("near", "link show x0"));
        const [p0, far] = link(two.lan.ip("near", "link show p0"));
        const [, near] = link(one.lan.ip("near", "link show p0"));
        using host = new FrameSocket(one.lan.far, Number(y0));
        using wire = new FrameSocket(two.lan.near, Number(p0));
        const seen = (leaf: "typeNotImplementedErrors" | "errorsSent") => [
          counters("one").privateIcmp4[leaf],
          counters("one").publicIcmp4[leaf],
          counters("two").inboundIcmp4[leaf],
        ];
        const before = seen("errorsSent");
        expect(seen("typeNotImplementedErrors")).toEqual([0, 0, 0]);
        for (const type of [13, 14, 15, 16]) {
          const from = "10.10.1.2";
          for (const to of ["10.10.1.1", "10.10.2.1"])
            host.send(ethernet(mac, x0, 0x0800, icmp({ from, to, type })));
          wire.send(ethernet(far, near, 0x0800, icmp({ from: "192.0.2.2", to: "192.0.2.1", type })));
        }
        const few = () => seen("typeNotImplementedErrors").some((number) => number < 4);
        for (let tries = 0; tries < 50 && few(); tries++) await sites.during(one, "sleep 0.1");
        expect(seen("typeNotImplementedErrors")).toEqual([4, 4, 4]);
        expect(seen("errorsSent")).toEqual(before);
      }, 60_000);

      test("what is too long is refused with the MTU, and the host learns it", async () => {
        sites.one.obey({ kind: "mtu", mtuBytes: 1300, tfc: false });
        const before = counters("one").privateRouter.mtuErrors;
        expect(await sites.during(sites.one, "ping -n -c 1 -W 1 -M do -s 1352 10.10.2.2")).toMatch(
          /mtu ?= ?1300/,
        );
        expect(await sites.during(sites.one, "ping -n -c 1 -W 1 -M do -s 1352 fd02::2")).toMatch(
          /mtu ?= ?1300/,
        );
        expect(counters("one").privateRouter.mtuErrors - before).toBeGreaterThanOrEqual(2);
        expect(sites.one.lan.ip("far", "route get 10.10.2.2")).toContain("mtu 1300");
        sites.one.obey({ kind: "mtu", mtuBytes: SITE_MTU, tfc: false });
        sites.one.lan.ip("far", "route flush cache");
        sites.one.lan.ip("far", "-6 route flush cache");
      });

      test("a frame that is longer than the memory for one is counted, and by packet sockets refused with the MTU", async () => {
        const { lan } = sites.one;
        lan.ip("near", "link set x0 mtu 3000");
        lan.ip("far", "link set y0 mtu 3000");
        for (const [family, host] of [
          ["", "10.10.2.2"],
          ["-6 ", "fd02::2"],
        ]) {
          const via = lan
            .ip("far", `${family}route show default`)
            .replace(/mtu \d+/, "mtu 3000")
            .trim();
          lan.ip("far", `${family}route replace ${via}`);
          const before = counters("one").privateInterface.rxTooLong;
          const toldMtu = new RegExp(`mtu ?= ?${SITE_MTU}`);
          for (let tries = 0; ; tries++) {
            const text = await sites.during(sites.one, `ping -n -c 2 -i 0.05 -W 1 -M do -s 2500 ${host}`);
            if (driver === "xdp" || toldMtu.test(text)) break;
            if (tries === 5) expect(text).toMatch(toldMtu);
          }
          expect(counters("one").privateInterface.rxTooLong).toBeGreaterThan(before);
          lan.ip("far", `${family}route replace ${via.replace("mtu 3000", `mtu ${SITE_MTU}`)}`);
          lan.ip("far", `${family}route flush cache`);
        }
        lan.ip("far", "link set y0 mtu 1500");
        lan.ip("near", "link set x0 mtu 1500");
        expect(await ping("10.10.2.2")).toContain("3 received");
      }, 60_000);

      test("with TFC all are as long as the MTU, and come out as they were", async () => {
        for (const site of [sites.one, sites.two]) site.obey({ kind: "mtu", mtuBytes: SITE_MTU, tfc: true });
        const sealed = () =>
          sites.one.queue.path.report().routes.reduce((sum, { txpackets }) => sum + txpackets, 0);
        const [before, sealedBefore] = [counters("one").publicInterface, sealed()];
        expect(await ping("-s 100 10.10.2.2")).toContain("3 received");
        const [after, packets] = [counters("one").publicInterface, sealed() - sealedBefore];
        const bytes = after.txbytes - before.txbytes;
        const most = packets * (14 + 20 + 16 + SITE_MTU + 2 + 2 + 16);
        // Beside them only its own words to its neighbour.
        const own = after.txpackets - before.txpackets - packets;
        expect([packets >= 3, bytes >= most, bytes <= most + own * 100]).toEqual([true, true, true]);
        for (const site of [sites.one, sites.two]) site.obey({ kind: "mtu", mtuBytes: SITE_MTU, tfc: false });
      });

      test("other IP to the gateway is answered with an error", async () => {
        const before = counters("one").privateIcmp4.errorsSent;
        // TCP to the gateway: protocol unreachable.
        await sites.during(sites.one, "timeout 2 iperf3 -c 10.10.1.1 -t 1");
        expect(counters("one").privateIcmp4.errorsSent).toBeGreaterThan(before);
      });

      async function iperf(words: string, host: string): Promise<number> {
        const server = sites.two.lan.far.run(() => ({
          process: Bun.spawn(["iperf3", "-s", "-1"], { stdout: "ignore", stderr: "ignore" }),
        })).process;
        try {
          for (let tries = 0; ; tries++) {
            const text = await sites.during(sites.one, `iperf3 -J -c ${host} ${words}`);
            const sum = JSON.parse(text).end;
            const bytes = sum?.sum_received?.bytes ?? sum?.sum?.bytes ?? 0;
            if (bytes > 0 || tries === 10) return bytes;
            await Bun.sleep(100);
          }
        } finally {
          server.kill("SIGKILL");
          await server.exited;
        }
      }

      test.each([
        ["TCP over IPv4", "-n 20M", "10.10.2.2"],
        ["TCP back over IPv4", "-n 20M -R", "10.10.2.2"],
        ["TCP over IPv6", "-n 20M", "fd02::2"],
        ["UDP over IPv4", "-u -b 20M -n 2M -l 1200", "10.10.2.2"],
        ["UDP back over IPv4", "-u -b 20M -n 2M -l 1200 -R", "10.10.2.2"],
      ])(
        "iperf3: %s",
        async (_name, words, host) => {
          expect(await iperf(words, host)).toBeGreaterThan(500_000);
          expect(counters("one").publicRouter.routeErrors).toBe(0);
        },
        120_000,
      );

      test.each([
        [6, 2000, "aes-256-gcm"],
        [4, 3000, "chacha20-poly1305"],
      ] as const)(
        "both families inside IPv%d, with SPIs from %d and %s, without a packet lost by the change",
        async (outer, spi, algorithm) => {
          const route = () => sites.two.queue.path.report().routes[0];
          const pinging = sites.one.lan.far.run(() => ({
            process: Bun.spawn(["ping", "-n", "-q", "-c", "40", "-i", "0.05", "-W", "3", "10.10.2.2"], {
              stdout: "pipe",
            }),
          })).process;
          await sites.during(sites.one, "sleep 0.5");
          sites.join(outer, spi, algorithm);
          await sites.during(sites.one, "sleep 2");
          while (pinging.exitCode === null) {
            sites.turn();
            await Bun.sleep(1);
          }
          expect(await new Response(pinging.stdout).text()).toContain("40 received");
          expect(await ping("fd02::2")).toContain("3 received");
          expect(route()?.rxpackets).toBeGreaterThan(0);
          const active = sites.one.queue.path.report().outbound.filter(({ isActive }) => isActive);
          expect(active.map((one) => one.spi)).toEqual([spi + 2]);
        },
        60_000,
      );

      test("a packet from an address that is not its route's is refused", async () => {
        const host = sites.one.lan;
        host.ip("far", "addr add 10.77.0.1/32 dev y0");
        const before = counters("two").publicRouter.refusedSource;
        const text = await sites.during(sites.one, "ping -n -c 3 -i 0.05 -W 1 -I 10.77.0.1 10.10.2.2");
        expect(text).toContain("0 received");
        expect(counters("two").publicRouter.refusedSource - before).toBe(3);
        // With the address among the route's prefixes at both ends it passes, and nothing else was touched.
        sites.two.obey({
          kind: "route",
          route: {
            name: "other",
            prefixes: ["10.10.1.0/24", "fd01::/64", "10.77.0.1/32"].map(parsePrefix),
          },
        });
        expect(await ping("-I 10.77.0.1 10.10.2.2")).toContain("3 received");
        host.ip("far", "addr del 10.77.0.1/32 dev y0");
      });

      test("nothing was lost, forged or wrong by our own doing", () => {
        for (const which of ["one", "two"] as const) {
          const { counters, inbound } = sites[which].queue.path.report();
          for (const association of inbound)
            expect(association).toMatchObject({ decryptErrors: 0, protocolErrors: 0 });
          expect(counters.outboundTtl).toEqual({ checksumErrors: 0, protocolErrors: 0 });
          expect(counters.inboundTtl).toEqual({ checksumErrors: 0, protocolErrors: 0 });
          expect(counters.publicDispatch).toEqual({
            ethertypeErrors: 0,
            protocolErrors: 0,
            fragmentErrors: 0,
          });
        }
      });

      test("a link address that is not the interface's own is let in, and all groups", async () => {
        const link = () => sites.one.lan.ip("near", "-d link show x0");
        expect(link()).toContain("allmulti 1");
        const { lan } = sites.one;
        const four = { ip: parseIp("10.10.1.1"), nextHop: parseIp("10.10.1.2") };
        const six = { ip: parseIp("fd01::1"), nextHop: parseIp("fd01::2") };
        const mac = parseMac("2a:bb:0a:0a:01:01");
        sites.one.obey({ kind: "side", side: "private", configuration: { mac, four, six } });
        lan.ip("far", "neigh flush dev y0");
        for (const host of ["10.10.2.2", "fd02::2"]) expect(await ping(host)).toContain("3 received");
        expect(lan.ip("far", "neigh show 10.10.1.1")).toContain("lladdr 2a:bb:0a:0a:01:01");
      });

      test("a queue runs until it is called, or an interface is removed", () => {
        sites.one.call();
        expect(sites.one.queue.run()).toBe("called");
        sites.two.lan.ip("near", "link del x0");
        expect(sites.two.queue.run()).toBe("gone");
      });
    },
  );
