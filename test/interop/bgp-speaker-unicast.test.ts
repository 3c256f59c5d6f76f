/** Our whole speaker between FRR, BIRD and GoBGP, unicast: what each of them says that it got, and what we say. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

/** A border towards BIRD (65004) and GoBGP (65003), inside FRR as a client. */
const spec = {
  networks: ["10.1.0.0/16", "2001:db8:1::/48"],
  neighbors: [
    {
      address: "192.0.2.2",
      asn: "internal",
      families: {
        "ipv4-unicast": { nextHop: "self", addPath: "send" },
        "ipv6-unicast": { nextHop: "self" },
      },
    },
    {
      address: "192.0.2.4",
      asn: 65004,
      connectRetry: "1s",
      families: { "ipv4-unicast": { import: "from-bird", export: "to-bird", addPath: "receive" } },
    },
    {
      address: "2001:db8::4",
      asn: 65004,
      connectRetry: "1s",
      families: { "ipv6-unicast": { import: "all", export: "all" } },
    },
    { address: "192.0.2.3", asn: 65003, families: { "ipv4-unicast": {} } },
  ],
  policies: {
    all: [{ action: "accept" }],
    "from-bird": [
      { match: { prefix: ["10.66.0.0/16 le 32"] }, action: "reject" },
      { match: { asPath: ["_65099_"] }, action: "reject" },
      {
        match: { community: ["65004:1"] },
        set: { localPreference: 300, addCommunity: ["65001:9"], removeCommunity: ["65004:1"] },
        action: "accept",
      },
      { action: "accept" },
    ],
    "to-bird": [
      { match: { largeCommunity: ["65001:1:2"] }, set: { med: 77, prepend: 2 }, action: "accept" },
      { match: { prefix: ["10.1.0.0/16"] }, action: "accept" },
    ],
  },
};

/** As with `spec`, but GoBGP has policies. */
const opened = {
  ...spec,
  neighbors: spec.neighbors.map((one) =>
    one.asn === 65003 ? { ...one, families: { "ipv4-unicast": { import: "all", export: "all" } } } : one,
  ),
};

const FRR = `
log stdout
router bgp 65001
 bgp router-id 192.0.2.2
 no bgp network import-check
 timers bgp 20 60
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  network 10.2.0.0/16 route-map marked
  network 10.22.0.0/16
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:2::/48
  neighbor 192.0.2.1 activate
  neighbor 192.0.2.1 route-map six out
 exit-address-family
route-map marked permit 10
 set community 65001:5 65001:6
 set large-community 65001:1:2 65001:3:4
 set metric 50
 set local-preference 150
route-map six permit 10
 set ipv6 next-hop global 2001:db8::2
`;

/** Two statics of the same prefix are two paths; one route has more communities than an ordinary message can carry. */
const BIRD = `router id 192.0.2.4;
protocol device { }
protocol static one { ipv4; route 10.4.0.0/16 blackhole { bgp_community.add((65004,1)); bgp_community.add((65004,2)); bgp_large_community.add((65004,5,6)); };
 route 10.66.1.0/24 blackhole; route 10.67.0.0/16 blackhole { bgp_path.prepend(65099); };
 route 10.9.0.0/16 blackhole { bgp_med = 10; };
 route 10.44.0.0/16 blackhole { ${Array.from({ length: 1500 }, (_, i) => `bgp_community.add((65004,${i + 1000}));`).join(" ")} }; }
protocol static two { ipv4; route 10.9.0.0/16 blackhole { bgp_med = 20; }; }
protocol static s6 { ipv6; route 2001:db8:4::/48 blackhole; }
protocol bgp four { local 192.0.2.4 as 65004; neighbor 192.0.2.1 as 65001; hold time 60; connect retry time 1; error wait time 1,2;
 enable extended messages; ipv4 { import all; export all; add paths tx; }; }
protocol bgp six { local 2001:db8::4 as 65004; neighbor 2001:db8::1 as 65001; hold time 60; connect retry time 1; ipv6 { import all; export all; }; }
`;

const GOBGP = `[global.config]
  as = 65003
  router-id = "192.0.2.3"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.1"
    peer-as = 65001
  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
`;

describe.skipIf(lacks !== undefined)(`unicast${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-unicast", {
      us: { kind: "causeway", host: 1, config: routerOf(spec) },
      frr: { kind: "frr", host: 2, config: FRR },
      go: { kind: "gobgp", host: 3, config: GOBGP },
      bird: { kind: "bird", host: 4, config: BIRD },
    });
    await net.established("192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::4");
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  const frrView = async () => (await net.json("frr", "show bgp neighbors 192.0.2.1 json"))["192.0.2.1"];
  const frrPaths = async (prefix: string): Promise<Json[]> =>
    (await net.json("frr", `show bgp ${prefix.includes(":") ? "ipv6" : "ipv4"} unicast ${prefix} json`))
      .paths ?? [];
  const birdRoute = (prefix: string) => net.ask("bird", `show route ${prefix} all protocol four`);

  test("external routes inside: next hop self, what import policy made of them", async () => {
    await until("FRR has BIRD's route", async () => (await frrPaths("10.4.0.0/16")).length > 0);
    const [path] = await frrPaths("10.4.0.0/16");
    expect(path).toMatchObject({
      aspath: { string: "65004" },
      origin: "IGP",
      locPrf: 300,
      valid: true,
      community: { list: ["65001:9", "65004:2"] },
      largeCommunity: { list: ["65004:5:6"] },
      nexthops: [{ ip: "192.0.2.1" }],
    });
    await until("and that of IPv6", async () => (await frrPaths("2001:db8:4::/48")).length > 0);
    const [six] = await frrPaths("2001:db8:4::/48");
    expect(six).toMatchObject({ aspath: { string: "65004" }, valid: true });
    expect(await frrPaths("10.66.1.0/24")).toEqual([]);
    expect(await frrPaths("10.67.0.0/16")).toEqual([]);
    const [mine] = await net.json("us", "routes 10.66.1.0/24 --json");
    expect(mine).toMatchObject({ accepted: false, best: false, neighbor: "192.0.2.4" });
  });

  test("internal routes outside: AS in front, no local preference, MED and prepending by export policy", async () => {
    await until("BIRD has FRR's route", async () => (await birdRoute("10.2.0.0/16")).includes("BGP.as_path"));
    const route = await birdRoute("10.2.0.0/16");
    expect(route).toMatch(/BGP.as_path: 65001 65001 65001\n/);
    expect(route).toMatch(/BGP.next_hop: 192.0.2.1\n/);
    expect(route).toMatch(/BGP.med: 77\n/);
    expect(route).toMatch(/BGP.community: \(65001,5\) \(65001,6\)\n/);
    expect(route).toMatch(/BGP.large_community: \(65001, 1, 2\) \(65001, 3, 4\)\n/);
    // BIRD gives its own 100 to what has none.
    expect(route).toMatch(/BGP.local_pref: 100\n/);
    const ours = await birdRoute("10.1.0.0/16");
    expect(ours).toMatch(/BGP.as_path: 65001\n/);
    // The policy does not name it.
    expect(await net.ask("bird", "show route protocol four")).not.toContain("10.22.0.0/16");
    const six = await net.ask("bird", "show route 2001:db8:2::/48 all protocol six");
    expect(six).toMatch(/BGP.as_path: 65001\n/);
    expect(six).toMatch(/BGP.next_hop: 2001:db8::1/);
    const [own] = await frrPaths("10.1.0.0/16");
    expect(own).toMatchObject({ aspath: { string: "Local" }, nexthops: [{ ip: "192.0.2.1" }] });
  });

  test("without a policy nothing goes to an external neighbor, and nothing in (RFC 8212); with one it does, in the same session", async () => {
    await net.ask("go", "global rib add 10.3.0.0/16 community 65003:1");
    await until(
      "we have heard of it",
      async () => (await net.neighbor("192.0.2.3")).families[0]?.received === 1,
    );
    const [refused] = await net.json("us", "routes 10.3.0.0/16 --json");
    expect(refused).toMatchObject({ accepted: false, best: false });
    const adjIn = async () => net.json("go", "neighbor 192.0.2.1 adj-in -j");
    expect(await adjIn()).toEqual({});
    net.change(routerOf(opened));
    await until("GoBGP has routes", async () => "10.1.0.0/16" in (await adjIn()));
    await until("FRR has GoBGP's", async () => (await frrPaths("10.3.0.0/16")).length > 0);
    expect(await adjIn()).toMatchObject({ "10.4.0.0/16": [{ nlri: { prefix: "10.4.0.0/16" } }] });
    expect((await net.neighbor("192.0.2.3")).established).toBe(1);
    net.change(routerOf(spec));
    await until("GoBGP has none", async () => !("10.1.0.0/16" in (await adjIn())));
    await until("FRR has lost it", async () => (await frrPaths("10.3.0.0/16")).length === 0);
    expect((await net.neighbor("192.0.2.3")).established).toBe(1);
  });

  test("add-path: both of BIRD's paths come, and go on to FRR", async () => {
    const received = await net.json("us", "routes 10.9.0.0/16 --json");
    expect(received.map(({ med }: Json) => med)).toEqual([10, 20]);
    expect(new Set(received.map(({ pathId }: Json) => pathId)).size).toBe(2);
    expect(received.map(({ best }: Json) => best)).toEqual([true, false]);
    await until("FRR has both", async () => (await frrPaths("10.9.0.0/16")).length === 2);
    const paths = await frrPaths("10.9.0.0/16");
    expect(paths.map(({ metric }) => metric).sort()).toEqual([10, 20]);
    expect(new Set(paths.map(({ addpathRxId }) => addpathRxId)).size).toBe(2);
    await net.ask("bird", "disable two");
    await until("FRR has one", async () => (await frrPaths("10.9.0.0/16")).length === 1);
    expect((await frrPaths("10.9.0.0/16"))[0]?.metric).toBe(10);
    await net.ask("bird", "enable two");
    await until("FRR has both again", async () => (await frrPaths("10.9.0.0/16")).length === 2);
  });

  test("extended messages: a route with 6 kB of communities", async () => {
    expect((await frrView()).neighborCapabilities.extendedMessage).toBe("advertisedAndReceived");
    await until("FRR has it", async () => (await frrPaths("10.44.0.0/16")).length > 0);
    const [path] = await frrPaths("10.44.0.0/16");
    expect(path?.community.list.length).toBe(1500);
  });

  test("refresh: FRR asks and gets all again between marks; we ask it", async () => {
    const before = (await frrView()).messageStats;
    await net.ask("frr", "clear bgp 192.0.2.1 soft in");
    await until("it has got more", async () => {
      const now = (await frrView()).messageStats;
      // BoRR and EoRR are ROUTE-REFRESH messages too (RFC 7313), for each of two families.
      return now.routeRefreshRecv >= before.routeRefreshRecv + 4 && now.updatesRecv > before.updatesRecv;
    });
    expect((await frrPaths("10.4.0.0/16")).length).toBe(1);
    expect((await frrPaths("2001:db8:4::/48")).length).toBe(1);
    const { routeRefreshRecv } = (await frrView()).messageStats;
    await net.ask("us", "neighbor 192.0.2.2 refresh");
    await until(
      "it was asked",
      async () => (await frrView()).messageStats.routeRefreshRecv === routeRefreshRecv + 2,
    );
    await until("and has answered", async () => {
      const routes = await net.json("us", "routes --neighbor 192.0.2.2 --json");
      return routes.length === 3 && routes.every(({ stale }: Json) => !stale);
    });
    expect((await net.neighbor("192.0.2.2")).established).toBe(1);
    expect((await birdRoute("10.2.0.0/16")).includes("65001")).toBe(true);
  });

  test("maximum prefixes: the session ends with that cease, and stays down", async () => {
    const limited = {
      ...spec,
      neighbors: [
        {
          address: "192.0.2.2",
          asn: "internal",
          gracefulRestart: false,
          families: { "ipv4-unicast": { maximumPrefixes: 1 } },
        },
      ],
    };
    net.change(routerOf(limited));
    await until("FRR was told", async () =>
      /Maximum Number of Prefixes/i.test((await frrView()).lastNotificationReason ?? ""),
    );
    expect((await net.neighbor("192.0.2.2")).state).not.toBe("established");
    expect((await net.neighbor("192.0.2.2")).lastError).toMatch(/maximum/);
    expect(await net.json("us", "routes --neighbor 192.0.2.2 --json")).toEqual([]);
  });

  test("shut down in the file: the neighbor is told with words", async () => {
    const closed = {
      ...spec,
      neighbors: [{ ...spec.neighbors[0], shutdown: true, shutdownText: "see you at noon" }],
    };
    net.change(routerOf({ ...spec, neighbors: [spec.neighbors[0]] }));
    await net.established("192.0.2.2");
    await until("it agrees", async () => (await frrView()).bgpState === "Established");
    net.change(routerOf(closed));
    await until(
      "FRR has read it",
      async () => (await frrView()).lastShutdownDescription === "see you at noon",
    );
    expect((await net.json("us", "summary --json"))[0].neighbors).toMatchObject([{ state: "shutdown" }]);
  });
});
