/**
 * What a site gateway does whoever carries its packets: one list of behaviours for the data path in user space and for the kernel's ESP.
 *
 * ```
 * host 10.10.1.2 fd01::2 ═ gateway one 192.0.2.1 2001:db8::1 ═══ 192.0.2.2 2001:db8::2 gateway two ═ 10.10.2.2 fd02::2 host
 *                          its second queue 198.51.100.1 ═══ 198.51.100.2 its second queue
 * ```
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { type Netns, run, runSync } from "../../src/sys/mod.ts";
import type {
  GatewayNews,
  GatewayOrder,
  GatewayReport,
  InboundOrder,
  OutboundOrder,
} from "../../src/tunnel/gateway/mod.ts";
import { CountedFlow } from "./counted-flow.ts";
import { wholeStream } from "./whole-stream.ts";

/** SuiteQueue is one queue of a site, whose `number` is in its addresses. */
export interface SuiteQueue {
  readonly number: 1 | 2;
  obey(...orders: readonly GatewayOrder[]): void;
  report(): GatewayReport;
}

/** SuiteSite is one site: its first queue, and what is around it. */
export interface SuiteSite extends SuiteQueue {
  /** Namespace of its host, whose link is y0. */
  readonly host: Netns;
  readonly news: readonly GatewayNews[];
}

/** SuiteEnds are a queue at either site. */
export interface SuiteEnds {
  readonly one: SuiteQueue;
  readonly two: SuiteQueue;
}

/** SuiteSites are both. */
export interface SuiteSites extends Disposable {
  readonly one: SuiteSite;
  readonly two: SuiteSite;
  /** Lets both gateways work until something has ended. */
  during<T>(work: Promise<T>): Promise<T>;
  /** Makes a second queue at both sites. */
  second(): SuiteEnds;
  /** Has the first queues' packets of route `other` go by the second ones, or by themselves again. */
  detour(isOn: boolean): void;
}

type Algorithm = OutboundOrder["algorithm"];

/** Agreement is what both sites get new associations by; SPIs are `spi` + the receiver's number. */
export interface Agreement {
  readonly spi: number;
  readonly outer?: 4 | 6;
  /** Of the public addresses, where it is another. */
  readonly net?: string;
  readonly algorithm?: Algorithm;
  /** Besides, at site one: what it seals with. */
  readonly out?: Partial<OutboundOrder>;
  /** And at site two: what it opens with. */
  readonly into?: Partial<InboundOrder>;
  readonly route?: string;
}

/** associationOf returns one direction of an agreement, to a receiver. */
export function associationOf(agreement: Agreement, receiver: 1 | 2): InboundOrder {
  const { spi, algorithm = "aes-128-gcm", route = "other" } = agreement;
  const bytes = (algorithm === "aes-128-gcm" ? 16 : 32) + 4;
  const keyMaterial = Uint8Array.from({ length: bytes }, (_, i) => receiver * 101 + i * 3 + spi);
  return { route, spi: spi + receiver, algorithm, keyMaterial };
}

/** agree gives both sites the associations of an agreement, in use at once. */
export function agree(sites: SuiteEnds, agreement: Agreement): void {
  const { outer = 4, route = "other", out = {}, into = {} } = agreement;
  const { net = outer === 4 ? "192.0.2." : "2001:db8::" } = agreement;
  const ends = [
    [sites.one, sites.two],
    [sites.two, sites.one],
  ] as const;
  for (const [site] of ends)
    site.obey({
      kind: "inbound",
      association: { ...associationOf(agreement, site.number), ...(site.number === 2 ? into : {}) },
    });
  for (const [site, other] of ends) {
    const to = parseIp(`${net}${other.number}`);
    const association = {
      ...associationOf(agreement, other.number),
      to,
      next: 1,
      ...(site.number === 1 ? out : {}),
    };
    site.obey({ kind: "outbound", association }, { kind: "move-outbound", route, spi: association.spi });
  }
}

/** forget removes what an agreement made to open with. */
function forget(sites: SuiteEnds, { spi }: Agreement): void {
  for (const site of [sites.one, sites.two]) site.obey({ kind: "remove-inbound", spi: spi + site.number });
}

/** lead gives both sites the route to the other's prefixes. */
export function lead(sites: SuiteEnds, more: { readonly mtuBytes?: number } = {}): void {
  for (const [site, other] of [
    [sites.one, sites.two],
    [sites.two, sites.one],
  ] as const) {
    const prefixes = [`10.10.${other.number}.0/24`, `fd0${other.number}::/64`].map((text) =>
      parsePrefix(text),
    );
    site.obey({ kind: "route", route: { name: "other", prefixes, ...more } });
  }
}

/** gatewaySuite runs the list. `mtuBytes` is the gateways' MTU. */
export function gatewaySuite(
  name: string,
  options: {
    readonly skip: string | undefined;
    readonly mtuBytes: number;
    readonly algorithms: () => readonly Algorithm[];
    readonly make: () => SuiteSites;
  },
): void {
  const { skip, mtuBytes } = options;
  describe.skipIf(skip !== undefined)(`${name}${skip === undefined ? "" : ` (skipped: ${skip})`}`, () => {
    let sites: SuiteSites;
    let spi = 1000;
    let now: Agreement;

    beforeAll(() => {
      sites = options.make();
      lead(sites);
      renew({});
    });
    afterAll(() => sites?.[Symbol.dispose]());

    /** New associations in the place of those before. */
    function renew(more: Omit<Agreement, "spi">): void {
      const before = now;
      now = { spi: (spi += 100), ...more };
      agree(sites, now);
      if (before !== undefined) forget(sites, before);
    }

    /** ping sends so many, and waits long for answers; returns what ping(8) said. */
    async function ping(words: string, count: number, waitSeconds = 10): Promise<string> {
      const argv = `ping -n -c ${count} -i 0.05 -W ${waitSeconds} ${words}`.split(" ");
      const { stdout, stderr } = await sites.during(run(argv, { netns: sites.one.host }));
      return stdout + stderr;
    }

    const received = (text: string) => Number(/(\d+) received/.exec(text)?.[1] ?? -1);
    /** all is for so many of which none may be lost. */
    const all = async (count: number, words = "10.10.2.2") =>
      expect(received(await ping(words, count))).toBe(count);
    /** none is for what is never answered, however long one waits. */
    const none = async (words = "10.10.2.2", count = 3) =>
      expect(received(await ping(words, count, 1))).toBe(0);

    /** answered is for what must be, and returns what ping(8) said: a slow machine may answer after it has given up. */
    async function answered(words: string): Promise<string> {
      for (let tries = 0; ; tries++) {
        const text = await ping(words, 3);
        if (received(text) === 3) return text;
        if (tries === 5) throw new Error(`ping ${words} is not answered: ${text}`);
      }
    }

    const told = (site: SuiteSite, what: object) =>
      site.news.filter((news) =>
        Object.entries(what).every(([key, value]) => Reflect.get(news, key) === value),
      );
    async function news(site: SuiteSite, what: object): Promise<void> {
      for (let tries = 0; told(site, what).length === 0; tries++) {
        if (tries === 300)
          throw new Error(`no news of ${JSON.stringify(what)}: ${JSON.stringify(site.news)}`);
        await sites.during(Bun.sleep(20));
      }
    }

    const outbound = () => sites.one.report().outbound.find(({ isActive }) => isActive);

    test.each([
      [4, "aes-128-gcm"],
      [6, "aes-256-gcm"],
      [4, "chacha20-poly1305"],
    ] as const)("packets of both families inside IPv%d, by %s", async (outer, algorithm) => {
      if (!options.algorithms().includes(algorithm)) {
        expect(() => renew({ outer, algorithm })).toThrow();
        return;
      }
      renew({ outer, algorithm });
      for (const host of ["10.10.2.2", "fd02::2"]) {
        const most = mtuBytes - (host.includes(":") ? 48 : 28);
        expect(await answered(`-s ${most} ${host}`)).toContain("ttl=62");
      }
      for (const [site, other] of [
        [sites.one, sites.two],
        [sites.two, sites.one],
      ] as const) {
        await news(site, { kind: "heard", spi: now.spi + site.number });
        expect(site.report().outbound.filter(({ isActive }) => isActive)).toMatchObject([
          { route: "other", spi: now.spi + other.number },
        ]);
      }
    });

    test("both ends agree on what was carried, in inner packets and their bytes", async () => {
      renew({});
      await answered("-s 100 10.10.2.2");
      const [out] = sites.one.report().outbound;
      const into = sites.two.report().inbound.find((one) => one.spi === out?.spi);
      expect(out).toMatchObject({ packets: into?.packets as number, bytes: into?.bytes as number });
      expect(out?.bytes).toBe(((out?.packets as number) * 128) as number);
      expect(out?.next).toBe((out?.packets as number) + 1);
      expect(into).toMatchObject({ decryptErrors: 0, replayed: 0 });
    });

    test.each([
      ["there, over IPv4", "one", "two", "10.10.2.2"],
      ["back, over IPv6", "two", "one", "fd01::2"],
    ] as const)("a TCP stream %s arrives whole", async (_, from, to, address) => {
      const stream = wholeStream(sites[from].host, { netns: sites[to].host, address }, 100_000);
      expect(await sites.during(stream)).toBe(true);
    });

    test("a packet from an address that is not its route's is refused", async () => {
      runSync("ip addr add 10.77.0.1/32 dev y0".split(" "), { netns: sites.one.host });
      const refused = () => sites.two.report().counters.publicRouter.refusedSource;
      const before = refused();
      await none("-I 10.77.0.1 10.10.2.2");
      expect(refused() - before).toBe(3);
      const prefixes = ["10.10.1.0/24", "fd01::/64", "10.77.0.1/32"].map((text) => parsePrefix(text));
      sites.two.obey({ kind: "route", route: { name: "other", prefixes } });
      await answered("-I 10.77.0.1 10.10.2.2");
      lead(sites);
      await none("-I 10.77.0.1 10.10.2.2");
      await answered("10.10.2.2");
    });

    test("what is too long is refused with the route's MTU, and the host learns it", async () => {
      lead(sites, { mtuBytes: 1300 });
      for (const host of ["10.10.2.2", "fd02::2"])
        expect(await ping(`-M do -s 1352 ${host}`, 1, 1)).toMatch(/mtu ?= ?1300/);
      for (const words of ["ip route flush cache", "ip -6 route flush cache"])
        runSync(words.split(" "), { netns: sites.one.host });
      lead(sites);
      await answered("-M do -s 1352 10.10.2.2");
    });

    test("at the soft limit there is news, at the hard one it carries nothing more", async () => {
      renew({ out: { soft: { packets: 3 }, hard: { packets: 6 } } });
      await all(4);
      const about = { direction: "outbound", route: "other", spi: now.spi + 2 };
      await news(sites.one, { kind: "limit", ...about, limit: "soft" });
      expect(told(sites.one, { kind: "limit", ...about })).toHaveLength(1);
      await all(2);
      await none();
      await news(sites.one, { kind: "limit", ...about, limit: "hard" });
      expect(outbound()).toMatchObject({ packets: 6, next: 7 });
      renew({});
      await answered("10.10.2.2");
    });

    test("one that opens has its limits too, of bytes of inner packets", async () => {
      renew({ into: { soft: { bytes: 84 }, hard: { bytes: 5 * 84 } } });
      await all(5);
      await none();
      const about = { direction: "inbound", route: "other", spi: now.spi + 2 };
      await news(sites.two, { kind: "limit", ...about, limit: "hard" });
      expect(told(sites.two, { kind: "limit", ...about }).map((one) => Reflect.get(one, "limit"))).toEqual([
        "soft",
        "hard",
      ]);
      expect(sites.two.report().inbound).toMatchObject([{ packets: 5, bytes: 420 }]);
    });

    test("sequence numbers end where they were reserved, and go on after more are", async () => {
      renew({ out: { next: 11, last: 14 } });
      await all(4);
      await none();
      const about = { route: "other", spi: now.spi + 2 };
      await news(sites.one, { kind: "limit", direction: "outbound", ...about, limit: "sequence" });
      expect(outbound()).toMatchObject({ next: 15, last: 14 });
      sites.one.obey({ kind: "reserve", ...about, last: 17 });
      await all(3);
      await none();
      expect(outbound()).toMatchObject({ next: 18, last: 17, packets: 7 });
      expect(sites.two.report().inbound.find((one) => one.spi === about.spi)).toMatchObject({ replayed: 0 });
      // None is used twice, in whatever order it comes.
      const again = { ...associationOf(now, 2), to: parseIp("192.0.2.2"), next: 1 };
      sites.one.obey({ kind: "remove-outbound", ...about });
      expect(() => sites.one.obey({ kind: "outbound", association: again })).toThrow(
        "up to sequence number 17",
      );
      await none();
      sites.one.obey(
        { kind: "outbound", association: { ...again, next: 18 } },
        { kind: "move-outbound", ...about },
      );
      await answered("10.10.2.2");
    });

    test("what was seen before is not opened again", async () => {
      renew({});
      await answered("10.10.2.2");
      const { next = 0 } = outbound() ?? {};
      const about = { spi: now.spi + 2 };
      sites.two.obey({ kind: "remove-inbound", ...about });
      // All up to some that come yet count as seen.
      sites.two.obey({ kind: "inbound", association: { ...associationOf(now, 2), newest: next + 2 } });
      await none("10.10.2.2", 3);
      await all(2);
      const two = sites.two.report();
      const refused = { decryptErrors: 3, replayed: 3, protocolErrors: 0 };
      expect(two.inbound.find((one) => one.spi === about.spi)).toMatchObject(refused);
      expect(two.routes[0]?.replayed).toBeGreaterThanOrEqual(3);
    });

    test("associations take each other's place without the loss of a packet", async () => {
      using flow = new CountedFlow(sites.one.host, {
        netns: sites.two.host,
        address: "10.10.2.2",
        port: 9000,
        perSecond: 100,
      });
      const until = async (done: () => boolean) => {
        while (!done()) await sites.during(Bun.sleep(10));
      };
      await until(() => flow.received > 10);
      const agreements: Agreement[] = [now];
      for (let times = 0; times < 5; times++) {
        const before = flow.received;
        now = { spi: (spi += 100), outer: times % 2 === 0 ? 6 : 4 };
        agree(sites, now);
        agreements.push(now);
        await until(() => flow.received > before + 15);
      }
      expect(await sites.during(flow.stop())).toMatchObject({ lost: 0, duplicates: 0 });
      for (const old of agreements.slice(0, -1)) forget(sites, old);
      expect(sites.one.report().outbound).toHaveLength(1);
      expect(sites.two.report().inbound).toHaveLength(1);
      expect(outbound()?.packets).toBeGreaterThan(0);
    });

    test("a queue that is cut: its packets go by the other, at both ends, and come back", async () => {
      renew({});
      const seconds = sites.second();
      const away: Agreement = { spi: (spi += 100), net: "198.51.100." };
      lead(seconds);
      agree(seconds, away);
      const sent = (queue: SuiteQueue) => queue.report().routes[0]?.txpackets ?? 0;
      const isMore = async (queue: SuiteQueue, host: string) => {
        const before = sent(queue);
        await answered(host);
        expect(sent(queue) - before).toBeGreaterThanOrEqual(3);
      };
      await isMore(sites.one, "10.10.2.2");
      // What the first ones send is opened no more.
      forget(sites, now);
      await none();
      sites.detour(true);
      for (const [from, host] of [
        [seconds.one, "10.10.2.2"],
        [seconds.two, "fd02::2"],
      ] as const)
        await isMore(from, host);
      // Mended; and nothing is lost by going this way or that.
      renew({});
      using flow = new CountedFlow(sites.one.host, {
        ...{ netns: sites.two.host, address: "10.10.2.2", port: 9001, perSecond: 100 },
      });
      for (const isOn of [false, true, false, true, false]) {
        const before = flow.received;
        sites.detour(isOn);
        while (flow.received < before + 15) await sites.during(Bun.sleep(10));
      }
      expect(await sites.during(flow.stop())).toMatchObject({ lost: 0, duplicates: 0 });
      await isMore(sites.one, "10.10.2.2");
      for (const end of [seconds.one, seconds.two]) end.obey({ kind: "remove-route", name: "other" });
      await answered("10.10.2.2");
    });

    test("the longer prefix has the packets; with its route they go, and others stay", async () => {
      for (const site of [sites.one, sites.two])
        runSync(`ip addr add 10.10.${site.number}.200/32 dev y0`.split(" "), { netns: site.host });
      const longer: Agreement = { spi: (spi += 100), route: "longer" };
      for (const [site, other] of [
        [sites.one, 2],
        [sites.two, 1],
      ] as const)
        site.obey({
          kind: "route",
          route: { name: "longer", prefixes: [parsePrefix(`10.10.${other}.192/26`)] },
        });
      const words = "-I 10.10.1.200 10.10.2.200";
      await none(words);
      agree(sites, longer);
      await answered(words);
      const route = sites.one.report().routes.find((one) => one.name === "longer");
      expect(route?.txpackets).toBeGreaterThanOrEqual(3);
      expect(route?.rxpackets).toBe(route?.txpackets as number);
      // By the wrong association its source is refused.
      await none("-I 10.10.1.200 10.10.2.2");
      for (const site of [sites.one, sites.two]) site.obey({ kind: "remove-route", name: "longer" });
      expect(sites.one.report().outbound.map((one) => one.route)).toEqual(["other"]);
      // Now they are the other route's.
      await answered(words);
      await answered("fd02::2");
    });

    test("an order that cannot be obeyed changes nothing", async () => {
      const { one } = sites;
      const association = associationOf({ spi: 90_000 }, 2);
      const to = parseIp("192.0.2.2");
      const wrong: readonly (readonly [GatewayOrder, RegExp])[] = [
        [{ kind: "inbound", association: { ...association, route: "none" } }, /no route none/],
        [{ kind: "inbound", association: { ...association, spi: now.spi + 1 } }, /SPI is taken/],
        [
          { kind: "outbound", association: { ...associationOf(now, 2), spi: 90_000, to, next: 1 } },
          /key is in use/,
        ],
        [{ kind: "move-outbound", route: "other", spi: 90_000 }, /90000/],
        [{ kind: "reserve", route: "other", spi: 90_000, last: 5 }, /90000/],
        [
          { kind: "route", route: { name: "third", prefixes: [parsePrefix("10.10.2.0/24")] } },
          /a prefix has one route/,
        ],
      ];
      const before = one.report();
      for (const [order, words] of wrong) expect(() => one.obey(order)).toThrow(words);
      const strip = ({ routes, outbound: out, inbound }: GatewayReport) => [
        routes.length,
        out.length,
        inbound.length,
      ];
      expect(strip(one.report())).toEqual(strip(before));
      await answered("10.10.2.2");
    });

    test("a route without associations carries nothing, in neither direction", async () => {
      const { one, two } = sites;
      one.obey({ kind: "remove-outbound", route: "other", spi: now.spi + 2 });
      await none();
      expect(one.report().counters.privateRouter.unready).toBeGreaterThanOrEqual(3);
      renew({});
      await answered("10.10.2.2");
      two.obey({ kind: "remove-inbound", spi: now.spi + 2 });
      await none();
      renew({});
      await answered("fd02::2");
    });

    test("an association ends at its moment", async () => {
      const { one } = sites;
      one.obey({ kind: "remove-outbound", route: "other", spi: now.spi + 2 });
      renew({ out: { endsMs: 0 } });
      await sites.during(Bun.sleep(300));
      await none();
      renew({});
      await answered("10.10.2.2");
    });
  });
}
