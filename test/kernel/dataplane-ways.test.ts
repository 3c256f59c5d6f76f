/** Where the process's packets go and come from: addresses, families, roaming, the MTU, and the order of each flow with several workers. */
import { describe, expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint, parsePrefix } from "../../src/net/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { dataplaneBackend, processOf } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { type FlowReport, PacedFlow } from "../support/paced-flow.ts";
import { ip, type Side, tool, TunnelPair, until } from "../support/tunnel-pair.ts";

describe.skipIf(skip !== undefined)(
  `the ways of the data plane's packets${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const own = (workers: number) => () => dataplaneBackend("--workers", `${workers}`);
    const open = async (workers = 2) => {
      const pair = await TunnelPair.open({ near: own(workers)(), far: own(workers)() });
      return pair;
    };
    const where = (pair: TunnelPair, side: Side) => {
      const { endpoint } = pair.seen(side) ?? {};
      return endpoint === undefined ? undefined : formatEndpoint(endpoint);
    };
    const flowOf = (pair: TunnelPair, from: Side, options: { perSecond?: number; bytes?: number } = {}) =>
      new PacedFlow({
        from: from.netns,
        to: pair.other(from).netns,
        target: pair.other(from).overlay4,
        perSecond: options.perSecond ?? 300,
        bytes: options.bytes ?? 100,
      });

    /** Datagrams of the tunnel that leave a side and fit an nftables expression. */
    function counter({ netns }: Side, name: string, expression: string): () => number {
      const rules = `add table inet ways\nadd chain inet ways out { type filter hook output priority 0; }\nadd rule inet ways out udp dport 51820 ${expression} counter comment "${name}"\n`;
      tool(netns, "nft -f -", rules);
      return () =>
        Number(new RegExp(`packets (\\d+) .*"${name}"`).exec(tool(netns, "nft list table inet ways"))?.[1]);
    }

    for (const family of [4, 6] as const)
      test(`over IPv${family}, both families inside, and TCP at length`, async () => {
        await using pair = await open();
        const { near, far } = pair;
        pair.meet(family);
        expect(await pair.pings(near)).toBe(true);
        expect(await pair.pings(far)).toBe(true);
        expect(where(pair, near)).toBe(formatEndpoint(pair.peer(near, family).endpoint));
        for (const [tool4, address] of [
          ["-4", far.overlay4],
          ["-6", far.overlay6],
        ] as const) {
          const server = far.netns.run(() => ({
            child: Bun.spawn(["iperf3", "-s", "-1", tool4], { stdout: "pipe" }),
          }));
          let status = -1;
          for (let tries = 0; status !== 0 && tries < 20; tries++) {
            const done = await run(["iperf3", "-c", address, "-n", "64M", "-J"], { netns: near.netns });
            status = done.status;
            if (status !== 0) await Bun.sleep(50);
          }
          expect(status).toBe(0);
          // It does not always end by itself.
          server.child.kill();
          await server.child.exited;
        }
      });

    test("answers leave from the address that the question went to, and after it is removed from another one", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      for (const [family, address, other] of [
        [4, "192.0.2.77", far.underlay4],
        [6, "2001:db8::77", far.underlay6],
      ] as const) {
        const length = family === 4 ? 24 : 64;
        ip(far.netns, `addr add ${address}/${length} dev eth0${family === 6 ? " nodad" : ""}`);
        const endpoint = parseEndpoint(family === 4 ? `${address}:51820` : `[${address}]:51820`);
        const back = parseEndpoint(family === 4 ? `${near.underlay4}:51820` : `[${near.underlay6}]:51820`);
        // A handshake that this side begins, and one that the other side begins.
        for (const side of [near, far]) {
          side.tunnel.device.change({ peers: [{ publicKey: pair.other(side).key.publicKey, remove: true }] });
          side.tunnel.device.change({
            peers: [{ ...pair.peer(side), endpoint: side === near ? endpoint : back }],
          });
        }
        const elsewhere = counter(
          far,
          `from-${other}`,
          family === 4 ? `ip saddr ${other}` : `ip6 saddr ${other}`,
        );
        expect(await pair.pings(near)).toBe(true);
        expect(where(pair, near)).toBe(formatEndpoint(endpoint));
        // Several, so that each worker has some.
        const flows = Array.from({ length: 5 }, () => flowOf(pair, far, { perSecond: 60 }));
        for (const flow of flows) flow.start();
        await Bun.sleep(300);
        // Handshakes, answers and a flow of its own: nothing left from the other address.
        expect(elsewhere()).toBe(0);
        expect(where(pair, near)).toBe(formatEndpoint(endpoint));
        ip(far.netns, `addr del ${address}/${length} dev eth0`);
        await until("it leaves from the other one", () => elsewhere() > 50);
        const first = family === 4 ? `${other}:51820` : `[${other}]:51820`;
        await until("the near side follows", () => where(pair, near) === first);
        for (const { sent, received } of await Promise.all(flows.map((flow) => flow.stop())))
          expect(received).toBe(sent);
        for (const flow of flows) flow[Symbol.dispose]();
        expect(await pair.pings(near)).toBe(true);
        expect(processOf(far).status.counters.datagrams_refused).toBe(0);
      }
    });

    for (const workers of [2, 4])
      test(`a peer that moves in the middle of flows is followed by all ${workers} workers, and no flow loses its order`, async () => {
        await using pair = await open(workers);
        const { near, far } = pair;
        pair.meet();
        expect(await pair.pings(near)).toBe(true);
        const handshake = pair.seen(near)?.lastHandshakeMs;
        // Else the first address of a subnet takes the others along (ip-sysctl.rst).
        const promote = ["all", "eth0"].map((name) => `net.ipv4.conf.${name}.promote_secondaries=1`);
        tool(near.netns, `sysctl -q ${promote.join(" ")}`);
        const flows = [near, far].flatMap((side) =>
          Array.from({ length: 6 }, () => flowOf(pair, side, { perSecond: 100 })),
        );
        for (const flow of flows) flow.start();
        for (const number of [31, 32, 33]) {
          ip(near.netns, `addr add 192.0.2.${number}/24 dev eth0`);
          ip(near.netns, `addr del ${number === 31 ? near.underlay4 : `192.0.2.${number - 1}`}/24 dev eth0`);
          const now = `192.0.2.${number}:51820`;
          await until(`the far side follows to ${now}`, () => where(pair, far) === now);
          await Bun.sleep(200);
        }
        const reports: FlowReport[] = await Promise.all(flows.map((flow) => flow.stop()));
        for (const flow of flows) flow[Symbol.dispose]();
        for (const [i, { sent, received, late, twice }] of reports.entries()) {
          expect([i, late, twice]).toEqual([i, 0, 0]);
          // From here to there nothing is lost; the other way what was sent to an address that is gone.
          if (i < 6) expect([i, received]).toEqual([i, sent]);
          else expect(received).toBeGreaterThan(sent * 0.5);
        }
        expect(pair.seen(near)?.lastHandshakeMs).toBe(handshake as number);
      });

    test("it moves from one family to the other", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet(4);
      expect(await pair.pings(near)).toBe(true);
      // The neighbour is known: what waits for its discovery may be dropped.
      tool(near.netns, `ping -n -q -c 1 -W 10 ${far.underlay6}`);
      // One way: what still comes from the place before would say that the peer is there.
      using flow = flowOf(pair, near);
      flow.start();
      for (const [to, from] of [
        [6, `[${near.underlay6}]:51820`],
        [4, `${near.underlay4}:51820`],
      ] as const) {
        near.tunnel.device.change({
          peers: [{ publicKey: far.key.publicKey, endpoint: pair.peer(near, to).endpoint }],
        });
        await until(`over IPv${to}`, () => where(pair, far) === from);
      }
      const { sent, received, twice } = await flow.stop();
      expect([received, twice]).toEqual([sent, 0]);
    });

    for (const workers of [2, 4])
      test(`many flows at once with ${workers} workers, both ways, short and long: each in order, none lost`, async () => {
        await using pair = await open(workers);
        const { near, far } = pair;
        pair.meet();
        expect(await pair.pings(near)).toBe(true);
        const flows = [near, far].flatMap((side) =>
          [40, 500, 1300, 40].map((bytes) => flowOf(pair, side, { perSecond: 500, bytes })),
        );
        for (const flow of flows) flow.start();
        await Bun.sleep(1500);
        for (const { sent, received, late, twice } of await Promise.all(flows.map((flow) => flow.stop())))
          expect([received, late, twice]).toEqual([sent, 0, 0]);
        for (const flow of flows) flow[Symbol.dispose]();
        expect(processOf(far).status.counters).toMatchObject({ forged: 0, replayed: 0, malformed: 0 });
      });

    test("the MTU of the link is followed: nothing is padded beyond it", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      for (const mtu of [1421, 1399, 1280]) {
        ip(near.netns, `link set ${near.link} mtu ${mtu}`);
        // 8 of UDP, 32 of WireGuard; a padded packet would be longer.
        const exact = counter(near, `exact-${mtu}`, `udp length ${8 + 32 + mtu}`);
        await until(`packets of ${mtu} bytes without padding`, () => {
          tool(near.netns, `ping -n -q -M do -c 1 -W 5 -s ${mtu - 28} ${far.overlay4}`);
          return exact() > 0;
        });
        // A shorter one is padded to 16.
        const padded = counter(near, `padded-${mtu}`, `udp length ${8 + 32 + 112}`);
        tool(near.netns, `ping -n -q -c 1 -W 5 -s ${100 - 28} ${far.overlay4}`);
        expect(padded()).toBe(1);
      }
    });

    test("a node without IPv6, and one on which it is turned off later", async () => {
      await using pair = await open();
      const { near, far } = pair;
      for (const side of [near, far]) tool(side.netns, "sysctl -q net.ipv6.conf.all.disable_ipv6=1");
      pair.meet();
      const pings = async (side: Side) =>
        (await run(["ping", "-n", "-c", "1", "-W", "20", pair.other(side).overlay4], { netns: side.netns }))
          .status === 0;
      expect(await pings(near)).toBe(true);
      // Another process, which begins without it.
      await near.tunnel.destroy();
      near.tunnel = await own(2)().open(near.link, { netns: near.netns });
      ip(near.netns, `addr add ${near.overlay4}/24 dev ${near.link}`);
      ip(near.netns, `link set ${near.link} up`);
      near.tunnel.device.change({ privateKey: near.key, listenPort: 51820, peers: [pair.peer(near)] });
      expect(await pings(near)).toBe(true);
      expect(await pings(far)).toBe(true);
      near.tunnel.device.change({ listenPort: 4747 });
      expect(await pings(near)).toBe(true);
      // A peer with an IPv6 address cannot be reached, and that is all.
      near.tunnel.device.change({
        peers: [
          {
            publicKey: far.key.publicKey,
            endpoint: parseEndpoint("[2001:db8::2]:51820"),
            allowedIps: [parsePrefix("10.9.0.2/32")],
          },
        ],
      });
      expect(
        (await run(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", far.overlay4], { netns: near.netns }))
          .status,
      ).not.toBe(0);
      near.tunnel.device.change({ peers: [pair.peer(near)] });
      expect(await pings(near)).toBe(true);
      expect(processOf(near).runs).toBe(true);
    });

    test("a link that is down loses packets and nothing else; up again, it goes on", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const handshake = pair.seen(near)?.lastHandshakeMs;
      using flow = flowOf(pair, near);
      flow.start();
      for (let i = 0; i < 3; i++) {
        ip(far.netns, `link set ${far.link} down`);
        await Bun.sleep(100);
        ip(far.netns, `link set ${far.link} up`);
        ip(far.netns, `addr replace ${far.overlay6}/64 dev ${far.link} nodad`);
        await Bun.sleep(100);
      }
      const { sent, received, late } = await flow.stop();
      expect(received).toBeLessThan(sent);
      expect(late).toBe(0);
      expect(await pair.pings(near)).toBe(true);
      expect(pair.seen(near)?.lastHandshakeMs).toBe(handshake as number);
      expect(processOf(far).status.counters.refused_by_link).toBeGreaterThan(0);
    });
  },
);
