/** Sessions with Debian's FRR, BIRD and GoBGP: what was agreed, timers, NOTIFICATIONs, keys, refresh, unnumbered. Each side says how it sees it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Neighbor } from "../../src/bgp/io/mod.ts";
import {
  bgpError,
  CEASE,
  encodeRefresh,
  ERROR,
  IPV4_UNICAST,
  IPV6_UNICAST,
  shutdownData,
} from "../../src/bgp/wire/mod.ts";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { type BgpEnds, bgpEnds, joined, neighbor, session, Speaker, until } from "../support/bgp-ends.ts";
import { Foreign, type ForeignKind, foreignRoot } from "../support/bgp-foreign.ts";
import { type Json, Scratch } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const ADDRESS = "192.0.2.1";
const impatient = { connectRetryMs: 500, idleHoldMs: 300, idleHoldMostMs: 1_000 };
const password = new TextEncoder().encode("between-us");
/** All that we can say. */
const everything = session(1, {
  holdMs: 9_000,
  families: [
    { family: IPV4_UNICAST, addPath: "both", extendedNextHop: true, restart: true, longLivedMs: 60_000 },
    { family: IPV6_UNICAST },
  ],
  restart: { restartMs: 77_000, notification: true },
  extendedMessages: true,
  hostname: "our-name",
  software: "causeway",
});

function suite(kind: ForeignKind, tests: (root: string) => void): void {
  const { root, lacks } = foreignRoot(kind);
  describe.skipIf(lacks !== undefined)(`${kind}${lacks === undefined ? "" : ` (${lacks})`}`, () =>
    tests(root ?? ""),
  );
}

interface Facing extends AsyncDisposable {
  readonly us: Speaker;
  readonly them: Foreign;
  readonly ends: Scratch & BgpEnds;
}

/** Both ends: our speaker with one neighbor, and a daemon with its configuration. */
async function facing(
  kind: ForeignKind,
  options: { readonly root: string; readonly config: string; readonly ours?: Partial<Neighbor> | undefined },
): Promise<Facing> {
  const ends = bgpEnds();
  const us = new Speaker({ netns: ends.first });
  const close = async (them?: Foreign) => {
    us[Symbol.dispose]();
    await them?.[Symbol.asyncDispose]();
    ends[Symbol.dispose]();
  };
  try {
    const them = await Foreign.start(kind, {
      root: options.root,
      netns: ends.second,
      config: options.config,
    });
    us.io.add(neighbor(2, { options: impatient, ...options.ours }));
    return { us, them, ends, [Symbol.asyncDispose]: () => close(them) };
  } catch (error) {
    await close();
    throw error;
  }
}

const last = (us: Speaker) => us.io.session("n2")?.lastEnded?.ended;
const counted = (us: Speaker, type: number) => us.io.session("n2")?.counts?.received[type] ?? 0;
/** The prefix 10.1.0.0/16 in the NLRI at the end of an UPDATE. */
const routes = (us: Speaker) =>
  us.updates.filter(({ body }) => Buffer.from(body).toString("hex").endsWith("100a01"));
const shutdown = (text: string) =>
  bgpError(ERROR.cease, CEASE.administrativeShutdown, { text, data: shutdownData(text) });

suite("frr", (root) => {
  const config = (more = "", family = "") => `hostname frr
debug bgp neighbor-events
router bgp 65002
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 timers bgp 1 3
 neighbor ${ADDRESS} remote-as 65001
 neighbor ${ADDRESS} timers connect 1
${more}
 address-family ipv4 unicast
  neighbor ${ADDRESS} activate
  network 10.1.0.0/16
${family}
`;
  const view = (them: Foreign): Json => them.json(`show bgp neighbors ${ADDRESS} json`)[ADDRESS];

  test("what each side has understood of the other's OPEN; keepalives both ways", async () => {
    await using both = await facing("frr", {
      root,
      config: config(
        " bgp graceful-restart\n bgp long-lived-graceful-restart stale-time 55",
        `  neighbor ${ADDRESS} addpath-tx-all-paths\n exit-address-family\n address-family ipv6 unicast\n  neighbor ${ADDRESS} activate`,
      ),
      ours: { session: everything },
    });
    const { us, them } = both;
    const { negotiated } = await us.up("n2");
    expect(negotiated).toMatchObject({
      remoteAs: 65002,
      remoteId: parseIp("10.255.0.2"),
      holdMs: 3_000,
      as4: true,
      extendedMessagesSend: true,
      refresh: true,
      enhancedRefresh: true,
      hostname: "frr",
    });
    expect(negotiated?.families).toEqual(new Set([IPV4_UNICAST, IPV6_UNICAST]));
    expect(negotiated?.addPathReceive).toEqual(new Set([IPV4_UNICAST]));
    expect(negotiated?.addPathSend).toEqual(new Set([IPV4_UNICAST]));
    expect(negotiated?.restart?.restartMs).toBe(120_000);
    expect([...(negotiated?.restart?.families.keys() ?? [])]).toEqual([IPV4_UNICAST, IPV6_UNICAST]);
    await until("keepalives have gone both ways", () => {
      const { keepalivesRecv } = view(them).messageStats;
      return keepalivesRecv >= 4 && counted(us, 4) >= 4;
    });
    const seen = view(them);
    expect(seen).toMatchObject({
      bgpState: "Established",
      remoteRouterId: "10.255.0.1",
      bgpTimerHoldTimeMsecs: 3_000,
      connectionsDropped: 0,
      neighborCapabilities: {
        "4byteAs": "advertisedAndReceived",
        extendedMessage: "advertisedAndReceived",
        // It offers it over IPv6 only.
        extendedNexthop: "received",
        longLivedGracefulRestart: "advertisedAndReceived",
        enhancedRouteRefresh: "advertisedAndReceived",
        hostName: { rcvHostName: "our-name" },
        gracefulRestart: "advertisedAndReceived",
        gracefulRestartRemoteTimerMsecs: 77_000,
      },
    });
    expect(seen.neighborCapabilities.addPath.ipv4Unicast).toMatchObject({
      rxAdvertisedAndReceived: true,
      txAdvertisedAndReceived: true,
    });
  });

  for (const [title, ours, theirs] of [
    ["we connect", {}, ` neighbor ${ADDRESS} passive`],
    ["it connects", { passive: true }, ""],
    [
      "it connects, and both wait with their OPEN",
      { passive: true, delayOpenMs: 1_000 },
      ` neighbor ${ADDRESS} timers delayopen 2`,
    ],
  ] as const)
    test(title, async () => {
      await using both = await facing("frr", {
        root,
        config: config(theirs),
        ours: { options: { ...impatient, ...ours } },
      });
      await both.us.up("n2");
      await until("it agrees", () => view(both.them).bgpState === "Established");
      const { by } = both.us.io.session("n2")?.state.main ?? {};
      expect(by).toBe(title === "we connect" ? "us" : "peer");
    });

  test("both connect at once, again and again: one connection is left, and it stays", async () => {
    await using both = await facing("frr", { root, config: config() });
    const { us, them, ends } = both;
    for (let round = 0; round < 5; round++) {
      await us.up("n2");
      await until("it agrees", () => view(them).bgpState === "Established");
      const lines = () =>
        ends
          .text("ss -Htn state established")
          .split("\n")
          .filter((line) => line.includes(":179"));
      await until("one connection is left", () => lines().length === 1);
      const ended = us.downs.length;
      us.io.session("n2")?.stop({
        automatic: true,
        restartAfterMs: 1_000,
        error: bgpError(ERROR.cease, CEASE.administrativeReset, { text: "again" }),
      });
      expect(us.downs.length).toBe(ended + 1);
    }
    await us.up("n2");
  });

  test("hold timers: it stops, and is told when it goes on; nothing of ours arrives, and it says so", async () => {
    await using both = await facing("frr", { root, config: config() });
    const { us, them, ends } = both;
    await us.up("n2");
    them.signal("bgpd", "SIGSTOP");
    await until("our hold timer has expired", () => us.downs.length === 1);
    expect(us.downs[0]?.down.ended).toMatchObject({ by: "sent", error: { code: 4, subcode: 0 } });
    them.signal("bgpd", "SIGCONT");
    await us.up("n2");
    await until("it agrees", () => view(them).bgpState === "Established");
    // Our packets to and from the port are lost; a little later its timer has expired.
    for (const rule of [
      "add table inet t",
      "add chain inet t out { type filter hook output priority 0 ; }",
      "add rule inet t out tcp dport 179 drop",
      "add rule inet t out tcp sport 179 drop",
    ])
      ends.text(`nft ${rule}`);
    await until("its hold timer has expired", () =>
      /Hold Timer Expired/i.test(view(them).lastNotificationReason ?? ""),
    );
    ends.text("nft delete table inet t");
    await us.up("n2");
  });

  test("NOTIFICATIONs: shutdown with words, both ways; the wrong AS", async () => {
    await using both = await facing("frr", { root, config: config() });
    const { us, them } = both;
    const ours = await us.up("n2");
    await until("it agrees", () => view(them).bgpState === "Established");
    ours.stop({ error: shutdown("back at noon") });
    await until("it has heard", () => view(them).bgpState !== "Established");
    expect(view(them)).toMatchObject({
      lastNotificationReason: "Cease/Administrative Shutdown",
      lastShutdownDescription: "back at noon",
    });
    ours.start();
    await us.up("n2");
    const before = us.downs.length;
    them.ask("configure terminal", "router bgp 65002", `neighbor ${ADDRESS} shutdown message gone fishing`);
    await until("we have heard", () => us.downs.length > before);
    expect(us.downs.at(-1)?.down.ended).toMatchObject({
      by: "received",
      text: "cease: administrative shutdown: gone fishing",
    });
    them.ask("configure terminal", "router bgp 65002", `no neighbor ${ADDRESS} shutdown`);
    await us.up("n2");
    us.io.remove("n2");
    us.io.add(neighbor(2, { options: impatient, session: session(1, { localAs: 65009 }) }));
    await until("it refuses our AS", () => last(us)?.text === "OPEN message error: bad peer AS");
    await until("and says so", () => them.logs.includes("2/2 (OPEN Message Error/Bad Peer AS)"));
    expect(view(them).bgpState).not.toBe("Established");
  });

  test("MD5: the right key, and then a wrong one", async () => {
    await using both = await facing("frr", {
      root,
      config: config(` neighbor ${ADDRESS} password between-us`),
      ours: { password },
    });
    const { us, them } = both;
    await us.up("n2");
    await until("it agrees", () => view(them).bgpState === "Established");
    us.io.remove("n2");
    us.io.add(neighbor(2, { options: impatient, password: new TextEncoder().encode("Between-us") }));
    await Bun.sleep(4_000);
    expect([us.state("n2"), view(them).bgpState]).not.toContain("established");
    expect(view(them).bgpState).not.toBe("Established");
  });

  test("TTL security of both sides", async () => {
    await using both = await facing("frr", {
      root,
      config: config(` neighbor ${ADDRESS} ttl-security hops 1`),
      ours: { reach: { kind: "gtsm", hops: 1 } },
    });
    await both.us.up("n2");
    await until("it agrees", () => view(both.them).bgpState === "Established");
  });

  test("refresh: we ask and get its routes again, between borders; it asks, and we are told", async () => {
    await using both = await facing("frr", {
      root,
      config: config(" bgp graceful-restart"),
      ours: { session: everything },
    });
    const { us, them } = both;
    const ours = await us.up("n2");
    // Before its End-of-RIB it would not listen.
    await until("all its routes have come", () => us.updates.some(({ body }) => body.length === 4));
    expect(routes(us).length).toBe(1);
    ours.send(encodeRefresh({ family: IPV4_UNICAST, subtype: 0 }));
    await until("it has come again", () => routes(us).length === 2);
    expect(view(them).messageStats.routeRefreshRecv).toBe(1);
    // RFC 7313: where its routes begin and end.
    await until("the borders have come", () => us.refreshes.length === 2);
    expect(us.refreshes.map(({ refresh }) => refresh)).toEqual([
      { family: IPV4_UNICAST, subtype: 1 },
      { family: IPV4_UNICAST, subtype: 2 },
    ]);
    them.ask(`clear bgp ${ADDRESS} soft in`);
    await until("it has asked", () => us.refreshes.length === 3);
    expect(us.refreshes[2]?.refresh).toEqual({ family: IPV4_UNICAST, subtype: 0 });
    expect(us.downs).toEqual([]);
  });

  test("dynamic neighbours: it comes to us, and we to it", async () => {
    using ends = bgpEnds();
    using us = new Speaker({ netns: ends.first });
    const listening = `hostname frr
router bgp 65002
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 neighbor all peer-group
 neighbor all remote-as external
 bgp listen range 192.0.2.0/24 peer-group all
`;
    {
      await using them = await Foreign.start("frr", { root, netns: ends.second, config: listening });
      us.io.add(neighbor(2, { options: impatient }));
      await us.up("n2");
      expect(view(them)).toMatchObject({ bgpState: "Established", remoteAs: 65001 });
      us.io.remove("n2");
    }
    us.io.addDynamic({ name: "hosts", prefix: parsePrefix("192.0.2.0/24"), limit: 3, session: session(1) });
    await using them = await Foreign.start("frr", { root, netns: ends.second, config: config() });
    await us.up("192.0.2.2");
    await until("it agrees", () => view(them).bgpState === "Established");
  });

  test("unnumbered: it finds us by our advertisements, and we it by its", async () => {
    using scratch = new Scratch();
    const second = scratch.another();
    joined(scratch, { second, names: ["e1", "e2"] });
    using us = new Speaker({ netns: scratch.netns });
    await using them = await Foreign.start("frr", {
      root,
      netns: second,
      config: `hostname frr
router bgp 65002
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 1 3
 neighbor e2 interface remote-as external
 neighbor e2 timers connect 1
 address-family ipv4 unicast
  network 10.1.0.0/16
`,
    });
    us.io.add({
      name: "e1",
      remote: { kind: "interface", device: "e1" },
      session: session(1, { families: [{ family: IPV4_UNICAST, extendedNextHop: true }] }),
      options: impatient,
    });
    const ours = await us.up("e1");
    expect([...(ours.negotiated?.extendedNextHop ?? [])]).toEqual([IPV4_UNICAST]);
    const seen = () => them.json("show bgp neighbors e2 json").e2;
    await until("it agrees", () => seen().bgpState === "Established");
    expect(seen()).toMatchObject({
      bgpNeighborAddr: scratch.json("ip -j -6 address show dev e1 scope link")[0].addr_info[0].local,
      neighborCapabilities: { extendedNexthop: "advertisedAndReceived" },
    });
    // IPv4 by MP_REACH, with its link-local address as next hop (RFC 8950).
    await until("its route has come", () => us.updates.length > 0);
    expect(Buffer.from(us.updates[0]?.body ?? []).toString("hex")).toContain("100a01");
  });

  test("our graceful restart: it keeps our routes stale while we are away, and knows us again", async () => {
    const restarting = session(1, {
      holdMs: 9_000,
      families: [{ family: IPV4_UNICAST, restart: true }],
      restart: { restartMs: 60_000, notification: false },
    });
    await using both = await facing("frr", {
      root,
      config: config(" bgp graceful-restart"),
      ours: { session: restarting, options: { ...impatient, passive: true } },
    });
    const { us, them, ends } = both;
    await us.up("n2");
    await until("it agrees", () => view(them).bgpState === "Established");
    // Without a word: as a process that ends.
    us[Symbol.dispose]();
    await until("it waits for us", () => view(them).bgpState !== "Established");
    using again = new Speaker({ netns: ends.first });
    again.io.add(
      neighbor(2, {
        session: restarting,
        options: { ...impatient, restarted: { forwarding: new Set([IPV4_UNICAST]) } },
      }),
    );
    await again.up("n2");
    await until("it agrees", () => view(them).bgpState === "Established");
    expect(view(them).gracefulRestartInfo).toMatchObject({
      rBit: true,
      timers: { receivedRestartTimer: 60 },
      ipv4Unicast: { fBit: true },
    });
  });
});

suite("bird", (root) => {
  const config = (more = "") => `router id 10.255.0.2;
protocol device {}
protocol static { ipv4; route 10.1.0.0/16 blackhole; }
protocol bgp peer1 {
  local 192.0.2.2 as 65002; neighbor ${ADDRESS} as 65001;
  hold time 3; connect delay time 0; connect retry time 1; error wait time 1,2;
  ${more}
  ipv4 { import all; export all; add paths on; import table; };
}
`;
  const view = (them: Foreign) => them.ask("show", "protocols", "all", "peer1");

  test("what was agreed; keepalives; extended messages", async () => {
    await using both = await facing("bird", {
      root,
      config: config("enable extended messages; graceful restart on; long lived graceful restart on;"),
      ours: { session: everything },
    });
    const { us, them } = both;
    const { negotiated } = await us.up("n2");
    expect(negotiated).toMatchObject({
      remoteAs: 65002,
      holdMs: 3_000,
      extendedMessagesSend: true,
      restart: { restartMs: 120_000 },
    });
    expect(negotiated?.addPathReceive).toEqual(new Set([IPV4_UNICAST]));
    expect(negotiated?.addPathSend).toEqual(new Set([IPV4_UNICAST]));
    expect(negotiated?.restart?.families).toEqual(new Map([[IPV4_UNICAST, false]]));
    await until("keepalives have come", () => counted(us, 4) >= 4);
    const [ours = ""] = view(them).split("Neighbor capabilities").slice(1);
    for (const word of [
      ...[
        "Extended message",
        "Graceful restart",
        "Restart time: 77",
        "Enhanced refresh",
        "4-octet AS numbers",
      ],
      ...["ADD-PATH", "RX: ipv4", "TX: ipv4", "Long-lived graceful restart", "LL stale time: 60"],
    ])
      expect(ours).toContain(word);
    expect(view(them)).toMatch(/BGP state:\s+Established/);
  });

  test("shutdown with words, both ways; refresh both ways", async () => {
    await using both = await facing("bird", { root, config: config().replace("import table;", "") });
    const { us, them } = both;
    const ours = await us.up("n2");
    await until("its route has come", () => routes(us).length === 1);
    ours.send(encodeRefresh({ family: IPV4_UNICAST, subtype: 0 }));
    await until("it has come again", () => routes(us).length === 2);
    them.ask("reload", "in", "peer1");
    await until("it has asked", () => us.refreshes.some(({ refresh }) => refresh.subtype === 0));
    ours.stop({ error: shutdown("back at noon") });
    await until("it has heard", () =>
      /Received: Administrative shutdown\s+Message:\s+back at noon/.test(view(them)),
    );
    ours.start();
    await us.up("n2");
    const before = us.downs.length;
    them.ask("disable", "peer1", '"gone fishing"');
    await until("we have heard", () => us.downs.length > before);
    expect(us.downs.at(-1)?.down.ended.text).toBe("cease: administrative shutdown: gone fishing");
  });

  test("MD5, and TTL security", async () => {
    await using both = await facing("bird", {
      root,
      config: config('password "between-us"; ttl security on; multihop 1;').replace("multihop 1;", ""),
      ours: { password, reach: { kind: "gtsm", hops: 1 } },
    });
    await both.us.up("n2");
    expect(view(both.them)).toMatch(/BGP state:\s+Established/);
  });

  test("hold timer: it stops, and is told when it goes on", async () => {
    await using both = await facing("bird", { root, config: config() });
    const { us, them } = both;
    await us.up("n2");
    them.signal("bird", "SIGSTOP");
    await until("our hold timer has expired", () => us.downs.length === 1);
    expect(us.downs[0]?.down.ended).toMatchObject({ by: "sent", error: { code: 4, subcode: 0 } });
    them.signal("bird", "SIGCONT");
    await us.up("n2");
  });
});

suite("gobgp", (root) => {
  const config = (more = "") => `[global.config]
  as = 65002
  router-id = "10.255.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${ADDRESS}"
    peer-as = 65001
    ${more}
  [neighbors.timers.config]
    hold-time = 3
    keepalive-interval = 1
    connect-retry = 5
    idle-hold-time-after-reset = 2
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 33
    notification-enabled = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`;
  const view = (them: Foreign): Json => them.json("neighbor", ADDRESS, "-j");
  const ESTABLISHED = 6;

  test("what was agreed; keepalives; RFC 8538 on both sides", async () => {
    await using both = await facing("gobgp", { root, config: config(), ours: { session: everything } });
    const { us, them } = both;
    const { negotiated } = await us.up("n2");
    expect(negotiated).toMatchObject({
      remoteAs: 65002,
      holdMs: 3_000,
      restart: { notification: true, restartMs: 33_000 },
    });
    expect(negotiated?.restart?.families).toEqual(new Map([[IPV4_UNICAST, false]]));
    await until("keepalives have gone both ways", () => {
      const { messages } = view(them).state;
      return messages.received.keepalive >= 4 && counted(us, 4) >= 4;
    });
    expect(view(them).state.session_state).toBe(ESTABLISHED);
    expect(view(them).state.peer_asn).toBe(65001);
  });

  test("MD5; shutdown with words, both ways", async () => {
    await using both = await facing("gobgp", {
      root,
      config: config('auth-password = "between-us"'),
      ours: { password },
    });
    const { us, them } = both;
    const ours = await us.up("n2");
    await until("it agrees", () => view(them).state.session_state === ESTABLISHED);
    const before = us.downs.length;
    them.ask("neighbor", ADDRESS, "shutdown", "--reason", "gone fishing");
    await until("we have heard", () => us.downs.length > before);
    expect(us.downs.at(-1)?.down.ended.text).toBe("cease: administrative shutdown: gone fishing");
    them.ask("neighbor", ADDRESS, "enable");
    await us.up("n2");
    ours.stop({ error: shutdown("back at noon") });
    await until("it has heard", () => view(them).state.session_state !== ESTABLISHED);
    expect(view(them).state.messages.received.notification).toBeGreaterThanOrEqual(1);
  });

  test("refresh both ways", async () => {
    await using both = await facing("gobgp", { root, config: config() });
    const { us, them } = both;
    const ours = await us.up("n2");
    await until("it agrees", () => view(them).state.session_state === ESTABLISHED);
    them.ask("global", "rib", "add", "10.1.0.0/16");
    await until("its route has come", () => routes(us).length === 1);
    ours.send(encodeRefresh({ family: IPV4_UNICAST, subtype: 0 }));
    await until("it has come again", () => routes(us).length === 2);
    expect(view(them).state.messages.received.refresh).toBe(1);
  });
});
