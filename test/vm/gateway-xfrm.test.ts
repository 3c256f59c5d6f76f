/** Two site gateways whose packets the kernel's ESP carries: the list of behaviours that every back-end has, and its own. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { BackEndNews } from "../../src/gatewayd/back-end.ts";
import { KernelBackEnd } from "../../src/gatewayd/kernel-back-end.ts";
import type { QueuePlan } from "../../src/gatewayd/queue-plan.ts";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { XfrmGateway } from "../../src/tunnel/xfrm/mod.ts";
import { agree, associationOf, gatewaySuite, lead } from "../support/gateway-suite.ts";
import { Scratch } from "../support/scratch.ts";
import {
  kernelAlgorithms,
  lacksXfrm,
  XFRM_SITE_MTU,
  type XfrmSite,
  XfrmSites,
} from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

gatewaySuite("site gateways by the kernel's ESP", {
  skip: lacksXfrm(),
  mtuBytes: XFRM_SITE_MTU,
  algorithms: kernelAlgorithms,
  make: () => new XfrmSites(),
});

const skip = lacksXfrm();

describe.skipIf(skip !== undefined)(
  `the kernel's ESP as a back-end${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const udp = { from: 4500, to: 4500 };
    let sites: XfrmSites;
    beforeAll(() => {
      sites = new XfrmSites();
      lead(sites);
    });
    afterAll(() => sites?.[Symbol.dispose]());

    const pinged = () => sites.scratch.text("ping -n -c 3 -i 0.05 -W 2 10.10.2.2", sites.one.host);
    const policies = (site: XfrmSite) => {
      const text = site.ip("gate", "xfrm policy");
      const count = (words: string) => text.split(words).length - 1;
      return { all: count("\tdir "), blocking: count(" action block ") };
    };
    const kernelText = () =>
      ["xfrm state", "xfrm policy", "route show proto 68", "-6 route show proto 68"].map((words) =>
        sites.one.ip("gate", words),
      );

    test("with TFC all are as long as the MTU", () => {
      const { one } = sites;
      agree(sites, { spi: 600 });
      expect(pinged()).toContain("3 received");
      one.obey({ kind: "mtu", mtuBytes: 1000, tfc: true });
      const sent = () => sites.scratch.json("ip -j -s link show p0", one.gate)[0].stats64.tx.bytes;
      const before = sent();
      expect(pinged()).toContain("3 received");
      const after = sent();
      expect(after - before).toBeGreaterThan(3000);
      expect(one.report().outbound).toMatchObject([{ packets: 6, next: 7 }]);
      one.obey({ kind: "mtu", mtuBytes: XFRM_SITE_MTU, tfc: false });
    });

    test.each([
      ["192.0.2.2", 303],
      ["2001:db8::2", 303],
      ["192.0.2.2", 4500],
      ["2001:db8::2", 4500],
    ])("messages of an exchange come and go, to %s port %d", async (address, port) => {
      const { one, two } = sites;
      const [bytes, to] = [Uint8Array.of(1, 2, 3, port & 255), parseIp(address)];
      const from = parseIp(address.replace(/2$/, "1"));
      const news = { kind: "exchange", from, fromPort: port, to, toPort: port, bytes };
      for (let tries = 0; !two.news.some((told) => Bun.deepEquals(told, news)); tries++) {
        if (tries === 500)
          throw new Error(`no message comes: ${JSON.stringify(two.news.map(({ kind }) => kind))}`);
        if (tries % 50 === 0) one.obey({ kind: "exchange", to, toPort: port, fromPort: port, bytes });
        await Bun.sleep(20);
      }
      expect(() => one.obey({ kind: "exchange", to, toPort: port, fromPort: 99, bytes })).toThrow("port 99");
    });

    test.each([
      ["192.0.2.", "/24", 500],
      ["2001:db8::", "/64 nodad", 550],
    ])(
      "ESP in UDP to %s…, and a remote gateway that moves: numbers and window go on",
      async (net, size, spi) => {
        const { one, two } = sites;
        const agreement = { spi };
        for (const [site, other] of [
          [one, two],
          [two, one],
        ] as const) {
          const to = parseIp(`${net}${other.number}`);
          const association = associationOf(agreement, other.number);
          site.obey(
            { kind: "inbound", association: associationOf(agreement, site.number) },
            { kind: "outbound", association: { ...association, to, udp, next: 1 } },
            { kind: "move-outbound", route: "other", spi: association.spi },
          );
        }
        expect(pinged()).toContain("3 received");
        expect(one.ip("gate", "xfrm state")).toContain("encap type espinudp sport 4500 dport 4500");
        // It has another address and goes without UDP now.
        two.ip("gate", `addr add ${net}22${size} dev p0`);
        const family = net.includes(":") ? "six" : "four";
        const moved = { ip: parseIp(`${net}22`), nextHop: parseIp(`${net}1`) };
        two.obey(
          { kind: "side", side: "public", configuration: { ...two.sides.public, [family]: moved } },
          { kind: "endpoint", route: "other", spi: spi + 1, to: parseIp(`${net}1`) },
        );
        one.obey({ kind: "endpoint", route: "other", spi: spi + 2, to: parseIp(`${net}22`) });
        expect(pinged()).toContain("3 received");
        const [out] = one.report().outbound;
        expect(out?.next).toBe((out?.packets as number) + 1);
        expect(out?.packets).toBeGreaterThanOrEqual(6);
        for (const site of [one, two])
          expect(site.report().inbound.at(-1)).toMatchObject({
            ...{ spi: agreement.spi + site.number, replayed: 0, decryptErrors: 0 },
            packets: out?.packets as number,
          });
        const state = one.ip("gate", "xfrm state");
        expect(state).toContain(`${net}22`);
        expect(state).not.toContain("espinudp");
      },
    );

    test("what cannot work is refused; what was made is removed, by its maker or by the next one", () => {
      const { one, two } = sites;
      const { gate } = one;
      expect(kernelText().every((text) => text !== "")).toBe(true);
      // Another instance leaves it alone; the same one, after a process that was killed, does not.
      const silent = { netns: gate, tell: () => {}, failed: () => {} };
      using other = new XfrmGateway({ ...silent, instance: 1 });
      expect(kernelText().every((text) => text !== "")).toBe(true);
      // As a version before set it, of a route that nobody has any more: 0x00caII00, and how short the prefix is.
      one.ip("gate", `xfrm policy add dst 10.98.0.0/16 dir out priority ${0xca_0000 + 112} action block`);
      using same = new XfrmGateway(silent);
      const [states, , ...routes] = kernelText();
      expect([states, ...routes]).toEqual(["", "", ""]);
      expect(policies(one)).toEqual({ all: 9, blocking: 9 });
      same.protect([]);
      expect(kernelText()).toEqual(["", "", "", ""]);
      const queue = {
        private: one.sides.private,
        public: two.sides.public,
        linkIndex: one.linkIndex,
        mtuBytes: 1400,
      };
      expect(() => same.attach(0, queue)).toThrow("192.0.2.2");
      sites.scratch.text("sysctl -q -w net.ipv4.ip_forward=0", gate);
      expect(() => other.attach(0, { ...queue, public: one.sides.public })).toThrow("net.ipv4.ip_forward");
      sites.scratch.text("sysctl -q -w net.ipv4.ip_forward=1", gate);
      same.attach(0, { ...queue, public: one.sides.public });
      const route = (text: string) => () =>
        same.obey({ kind: "route", route: { name: "wide", prefixes: [parsePrefix(text)] } });
      expect(route("0.0.0.0/0")).toThrow("addresses of the gateway");
      // Whoever goes on is told why.
      const association = associationOf({ spi: 900, route: "wide" }, 1);
      expect(() => same.obey({ kind: "inbound", association })).toThrow("addresses of the gateway");
      route("10.99.0.0/16")();
      expect(kernelText()[1]).toContain("dir out action block");
      // What comes from there in the plain is refused too.
      two.ip("gate", "addr add 10.99.0.1/32 dev lo");
      const words = "ping -n -c 1 -W 1 -I 10.99.0.1 192.0.2.1";
      expect(() => sites.scratch.text(words, two.gate)).toThrow();
      expect(same.report().counters.publicRouter.refusedSource).toBe(1);
      same.end(true);
      expect(kernelText()).toEqual(["", "", "", ""]);
    });

    test("nothing leaves in the plain: when it ends, when it starts, while it has no queue", async () => {
      using apart = new XfrmSites();
      const { one, two } = apart;
      lead(apart);
      agree(apart, { spi: 700 });
      // The host's own way there, which comes before the gateway's.
      one.ip("gate", "route add 10.10.2.0/24 via 192.0.2.2");
      const ping = (words: string) => run(`ping -n ${words} 10.10.2.2`.split(" "), { netns: one.host });
      const arrived = () => two.report().counters.publicRouter.refusedSource;
      const before = arrived();
      expect((await ping("-c 3 -i 0.05 -W 5")).stdout).toContain("3 received");
      const flow = ping("-c 250 -i 0.01 -W 1");
      for (let restarts = 0; restarts < 3; restarts++) {
        await Bun.sleep(100);
        one[Symbol.dispose]();
        expect(policies(one)).toEqual({ all: 6, blocking: 6 });
        await Bun.sleep(50);
        one.start();
        const prefixes = [parsePrefix("10.10.2.0/24"), parsePrefix("fd02::/64")];
        one.obey({ kind: "route", route: { name: "other", prefixes } });
        expect(policies(one)).toEqual({ all: 6, blocking: 2 });
      }
      await flow;
      one.gateway.detach(0);
      expect(policies(one)).toEqual({ all: 6, blocking: 6 });
      expect((await ping("-c 3 -i 0.05 -W 1")).stdout).toContain(" 0 received");
      expect(arrived()).toBe(before);
      // So would it have been seen.
      one.gateway.end(true);
      expect(policies(one)).toEqual({ all: 0, blocking: 0 });
      await ping("-c 3 -i 0.05 -W 1");
      expect(arrived()).toBeGreaterThan(before);
      expect([...one.errors, ...two.errors]).toEqual([]);
    });

    test("flows are spread over queues by their ports; a link that is down leads no packets", async () => {
      using apart = new XfrmSites();
      const { one, two } = apart;
      lead(apart);
      agree(apart, { spi: 1000 });
      const seconds = apart.second();
      lead(seconds);
      agree(seconds, { spi: 1100, net: "198.51.100." });
      // Half of what is told apart by ports, of each family; the rest is the first one's.
      const shares = () => one.ip("gate", "xfrm policy").split(" dport ").length - 1;
      expect(shares()).toBe(2 * 8);
      const sent = () => [0, 1].map((queue) => one.gateway.report(queue).routes[0]?.txpackets ?? 0);
      for (let port = 40_000; port < 40_008; port++) {
        const made = one.host.run(() => ({ promise: Bun.udpSocket({ hostname: "0.0.0.0", port }) }));
        const socket = await made.promise;
        socket.send("x", 9, "10.10.2.2");
        socket.close();
      }
      for (let tries = 0; sent().join() !== "4,4" && tries < 100; tries++) await Bun.sleep(20);
      expect(sent()).toEqual([4, 4]);
      const led = () => /dev (\S+)/.exec(one.ip("gate", "route show proto 68"))?.[1];
      expect(led()).toBe("p0");
      // Its routes go with it.
      one.ip("gate", "link set p0 down");
      apart.detour(true);
      expect([led(), shares()]).toEqual(["p1", 0]);
      const pings = (words: string) =>
        run(`ping -n ${words} 10.10.2.2`.split(" "), { netns: one.host }).then(({ stdout }) => stdout);
      expect(await pings("-c 3 -i 0.05 -W 10")).toContain("3 received");
      one.ip("gate", "link set p0 up");
      apart.detour(false);
      expect([led(), shares()]).toEqual(["p0", 2 * 8]);
      expect(await pings("-c 3 -i 0.05 -W 10")).toContain("3 received");
      expect(sent()[0]).toBe(4 + 3);
      expect([...one.errors, ...two.errors]).toEqual([]);
      // What one that was killed has left is blocked, and nothing goes by a share of it.
      using next = new XfrmGateway({ netns: one.gate, tell: () => {}, failed: () => {} });
      expect([shares(), policies(one)]).toEqual([0, { all: 6, blocking: 6 }]);
      next.end(true);
    });

    test("an association comes by the way that it is said to, until the remote gateway moves", () => {
      using apart = new XfrmSites();
      const { one } = apart;
      lead(apart);
      const from = parseIp("192.0.2.2");
      const association = { ...associationOf({ spi: 800 }, 1), arrival: { from, udp } };
      one.obey({ kind: "inbound", association });
      const inUdp = () => one.ip("gate", "xfrm state").includes("espinudp sport 4500 dport 4500");
      expect(inUdp()).toBe(true);
      const out = { ...associationOf({ spi: 800 }, 2), to: from, next: 1 };
      one.obey({ kind: "outbound", association: out });
      expect(inUdp()).toBe(true);
      one.obey({ kind: "endpoint", route: "other", spi: out.spi, to: parseIp("192.0.2.3") });
      expect(inUdp()).toBe(false);
    });
  },
);

describe.skipIf(skip !== undefined)(
  `the back-end of the kernel's ESP${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const four = (number: number) => ({
      ip: parseIp(`10.${number}.0.1`),
      nextHop: parseIp(`10.${number}.0.2`),
    });
    const plan: QueuePlan = {
      number: 1,
      sides: {
        private: { interface: "x0", deviceQueue: 0, four: four(1) },
        public: { interface: "x1", deviceQueue: 0, four: four(2) },
      },
      own: [1, 2].map(four).flatMap(({ ip, nextHop }) => [ip, nextHop]),
      ...{ mtuBytes: 1400, tfc: false, port: 303, asksPrivate: true },
    };

    /** A namespace with both interfaces, and what a back-end in it tells. */
    function node() {
      const scratch = new Scratch();
      const ip = (words: string) => scratch.text(`ip ${words}`);
      const told: BackEndNews[] = [];
      const cable = () => {
        ip("link add x0 type veth peer name x1");
        for (const number of [1, 2]) {
          ip(`link set x${number - 1} up`);
          ip(`addr add 10.${number}.0.1/24 dev x${number - 1}`);
        }
      };
      cable();
      scratch.text("sysctl -q -w net.ipv4.ip_forward=1");
      return {
        scratch,
        ip,
        cable,
        make: () => new KernelBackEnd({ tell: (news) => told.push(news), netns: scratch.netns }),
        /** What was told since, but for news of packets. */
        news: () =>
          told
            .splice(0)
            .flatMap((news) =>
              news.kind === "news" ? [] : [`${news.kind} ${"reason" in news ? news.reason : ""}`.trim()],
            ),
        routes: () => ip("route show proto 68").split("\n").filter(Boolean).sort().join(),
        policies: () => [...new Set(ip("xfrm policy").match(/10\.\d\.0\.0\/\d+/g) ?? [])].sort(),
      };
    }

    const route = (name: string, prefix: string) =>
      ({ kind: "route", route: { name, prefixes: [parsePrefix(prefix)] } }) as const;

    test("a link that was down, gone or without its address has its routes again, and keys stay", async () => {
      const { scratch, ip, cable, make, news, routes } = node();
      using _ = scratch;
      using backEnd = make();
      backEnd.set([plan]);
      expect(news()).toEqual(["up"]);
      await backEnd.obey(1, route("far", "10.9.0.0/16"));
      const association = associationOf({ spi: 400, route: "far" }, 1);
      await backEnd.obey(1, { kind: "inbound", association });
      const one = /^10\.9\.0\.0\/16 dev x1 [^,]+$/;
      expect(routes()).toMatch(one);
      // Down and up before anybody looks.
      ip("link set x1 down");
      ip("link set x1 up");
      expect(routes()).toBe("");
      backEnd.look();
      expect(routes()).toMatch(one);
      expect(news()).toEqual([]);
      ip("link set x1 down");
      backEnd.look();
      backEnd.look();
      expect(news()).toEqual(["hindered the interface x1 is down; run: ip link set x1 up"]);
      // What it is told meanwhile holds when it is up again.
      await backEnd.obey(1, route("farther", "10.8.0.0/16"));
      ip("link set x1 up");
      backEnd.look();
      expect(news()).toEqual(["hindered"]);
      const both = /^10\.8\.0\.0\/16 dev x1 .*,10\.9\.0\.0\/16 dev x1 .*$/;
      expect(routes()).toMatch(both);
      ip("addr del 10.2.0.1/24 dev x1");
      backEnd.look();
      expect(news()).toEqual([expect.stringContaining("Cannot take 10.2.0.1 for the public side")]);
      ip("addr add 10.2.0.1/24 dev x1");
      backEnd.look();
      expect(news()).toEqual(["hindered"]);
      expect(routes()).toMatch(both);
      ip("link del x1");
      backEnd.look();
      expect(news()).toEqual(["hindered there is no interface x1; add it, or name another"]);
      cable();
      backEnd.look();
      expect(news()).toEqual(["hindered"]);
      expect(routes()).toMatch(both);
      expect((await backEnd.report()).get(1)?.inbound.map(({ spi }) => spi)).toEqual([association.spi]);
      expect(ip("xfrm state")).not.toBe("");
    });

    test("the families may have an interface each", async () => {
      const { scratch, ip, make, news } = node();
      using _ = scratch;
      using backEnd = make();
      const six = { ip: parseIp("fd02::1"), nextHop: parseIp("fd02::2") };
      const sides = plan.sides as Extract<QueuePlan["sides"], { readonly public: unknown }>;
      const apart = { ...plan, sides: { ...sides, public: { ...sides.public, interface6: "x2", six } } };
      backEnd.set([apart]);
      expect(news()).toEqual(["down there is no interface x2; add it, or name another"]);
      ip("link add x2 type veth peer name x3");
      for (const name of ["x2", "x3"]) ip(`link set ${name} up`);
      ip("addr add fd02::1/64 dev x1 nodad");
      backEnd.look();
      expect(news()).toEqual([expect.stringContaining("Cannot take fd02::1 for the public side")]);
      ip("addr del fd02::1/64 dev x1");
      ip("addr add fd02::1/64 dev x2 nodad");
      backEnd.look();
      expect(news()).toEqual(["up"]);
    });

    test("prefixes are blocked as long as they are configured: without a queue, between two runs, until the last goodbye", async () => {
      const { scratch, ip, make, news, policies } = node();
      using _ = scratch;
      const protectedOnes = [parsePrefix("10.9.0.0/16"), parsePrefix("10.7.0.0/16")];
      {
        using backEnd = make();
        ip("link set x1 down");
        // One whose interfaces are not there yet, by their place on the PCI bus.
        backEnd.set([{ ...plan, sides: { problem: "its card is not there" } }]);
        // That with the gateway's own addresses would cut it off.
        backEnd.protect([...protectedOnes, parsePrefix("10.0.0.0/8"), parsePrefix("fd00::/8")]);
        expect(policies()).toEqual(["10.7.0.0/16", "10.9.0.0/16"]);
        backEnd.set([plan]);
        ip("link set x1 up");
        backEnd.look();
        await backEnd.obey(1, route("far", "10.9.0.0/16"));
        await backEnd.obey(1, route("other", "10.6.0.0/16"));
        await backEnd.obey(1, { kind: "remove-route", name: "other" });
        await backEnd.obey(1, { kind: "remove-route", name: "far" });
        expect(policies()).toEqual(["10.7.0.0/16", "10.9.0.0/16"]);
        await backEnd.obey(1, route("far", "10.9.0.0/16"));
        backEnd.set([]);
        expect(news().at(-1)).toBe("down it was removed");
        expect(policies()).toEqual(["10.7.0.0/16", "10.9.0.0/16"]);
        backEnd.protect([]);
        expect(policies()).toEqual([]);
        backEnd.protect(protectedOnes);
        await backEnd.close();
      }
      expect(policies()).toEqual(["10.7.0.0/16", "10.9.0.0/16"]);
      expect(ip("xfrm policy").split(" action block ").length - 1).toBe(6);
      using next = make();
      next.set([plan]);
      expect(policies()).toEqual(["10.7.0.0/16", "10.9.0.0/16"]);
      next.protect(protectedOnes.slice(0, 1));
      expect(policies()).toEqual(["10.9.0.0/16"]);
      await next.close(true);
      expect(ip("xfrm policy")).toBe("");
    });
  },
);
