/**
 * What two implementations of WireGuard do with each other when there is much to do: cookies while one of them is flooded, and a thousand
 * peers of one device.
 */
import { describe, expect, test } from "bun:test";
import { formatPrefix, parseEndpoint, parseIp } from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { Crowd } from "./crowd.ts";
import { ip, tool, TunnelPair, until } from "./tunnel-pair.ts";
import { wgDump } from "./wg-suite.ts";

/** LoadOptions say what is tested, and how much of it the machine bears; `skip` why nothing is. */
export interface LoadOptions {
  readonly skip?: string | undefined;
  /** Bad initiations a second. */
  readonly perSecond: number;
}

/** Guards against hanging only. */
const LIMIT_MS = 240_000;
const FLOOD_SECONDS = 120;
const PEERS = 1000;
/** So many of them begin in each turn. */
const PER_TURN = 10;
const TURN_MS = 20;

/** Makes the addresses that floods come from the near side's. */
function route({ near, far }: TunnelPair): void {
  ip(near.netns, "route add local 10.66.0.0/16 dev lo");
  ip(far.netns, `route add 10.66.0.0/16 via ${near.underlay4}`);
}

/** Floods a side of a pair with initiations from many addresses, of which the first code is right; disposing ends it. */
function flood(pair: TunnelPair, perSecond: number): AsyncDisposable & { readonly goesOn: boolean } {
  const { near, far } = pair;
  const argv = [
    ...[process.execPath, `${import.meta.dir}/flood.ts`, "knowing", far.underlay4, "51820"],
    ...[far.key.publicKey, `${perSecond}`, `${FLOOD_SECONDS}`],
  ];
  const { child } = near.netns.run(() => ({
    child: Bun.spawn(argv, { stdout: "ignore", stderr: "inherit" }),
  }));
  return {
    get goesOn() {
      return child.exitCode === null && child.signalCode === null;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Counts the cookie replies that come to the near side itself: 64 bytes, of type 3 (whitepaper, section 5.4.7). */
function countCookies(pair: TunnelPair): () => number {
  const { netns, underlay4 } = pair.near;
  tool(netns, "nft add table inet seen");
  tool(netns, "nft add chain inet seen in { type filter hook input priority 0 ; }");
  tool(netns, `nft add rule inet seen in ip daddr ${underlay4} udp length 72 @th,64,8 3 counter`);
  return () => Number(/packets (\d+)/.exec(tool(netns, "nft list chain inet seen in"))?.[1]);
}

/** cookieSuite declares the test of cookies: `near` wants a session with `far`, which is flooded meanwhile. */
export function cookieSuite(
  title: string,
  options: LoadOptions & { readonly near: () => TunnelBackend; readonly far: () => TunnelBackend },
): void {
  const { skip, near, far, perSecond } = options;
  test.skipIf(skip !== undefined)(
    `${title}: under load a cookie is given, and with it an answer${skip === undefined ? "" : ` (${skip})`}`,
    async () => {
      await using pair = await TunnelPair.open({ near: near(), far: far() });
      const cookies = countCookies(pair);
      pair.meet();
      route(pair);
      await using floods = new AsyncDisposableStack();
      const flooding = floods.use(flood(pair, perSecond));
      const { publicKey } = pair.far.key;
      // Until the load has come, an initiation is answered without a cookie: then from the beginning. What is load depends on the machine.
      for (let tries = 0; cookies() === 0; tries++) {
        expect(tries).toBeLessThan(60);
        if (tries % 8 === 7) floods.use(flood(pair, perSecond));
        pair.near.tunnel.device.change({ peers: [{ publicKey, remove: true }] });
        pair.near.tunnel.device.change({ peers: [{ ...pair.peer(pair.near), keepaliveSeconds: 25 }] });
        await Bun.sleep(1000);
      }
      expect(await pair.pings(pair.near)).toBe(true);
      expect(flooding.goesOn).toBe(true);
      expect(pair.seen(pair.far)?.lastHandshakeMs).toBeNumber();
    },
    LIMIT_MS,
  );
}

/** peersSuite declares the test of a thousand peers of one device, all by our protocol core, and what wg(8) says of them. */
export function peersSuite(
  title: string,
  options: {
    readonly skip?: string | undefined;
    readonly backend: () => TunnelBackend;
    /** So many of them have something to say; default all. */
    readonly talking?: number;
  },
): void {
  const { skip, backend, talking = PEERS } = options;
  const who = talking === PEERS ? "each" : `each of ${talking}`;
  describe.skipIf(skip !== undefined)(`${title}${skip === undefined ? "" : ` (${skip})`}`, () => {
    test(
      `${PEERS} peers: ${who} has its session, and packets both ways`,
      async () => {
        await using pair = await TunnelPair.open({ near: backend(), far: backend() });
        const { near, far } = pair;
        far.tunnel.device.change({ privateKey: far.key, listenPort: 51820 });
        using crowd = await Crowd.open({
          netns: near.netns,
          host: "0.0.0.0",
          to: parseEndpoint(`${far.underlay4}:51820`),
          toKey: far.key.publicKey,
          count: PEERS,
        });
        far.tunnel.device.change({ peers: crowd.peers });
        ip(far.netns, `route add 10.20.0.0/16 dev ${far.link}`);
        // What comes to the far side goes back to where it came from.
        const echo = await far.netns.run(() => ({
          opened: Bun.udpSocket({
            hostname: far.overlay4,
            port: 7000,
            socket: { data: (socket, data, port, host) => void socket.send(data, port, host) },
          }),
        })).opened;
        try {
          const inside = parseIp(far.overlay4);
          const endMs = performance.now() + LIMIT_MS;
          let [begun, lastMs] = [0, performance.now()];
          const members = crowd.members.slice(0, talking);
          const missing = () => members.slice(0, begun).filter(({ heard }) => !heard.includes("hello"));
          while (begun < talking || missing().length > 0) {
            if (performance.now() > endMs) throw new Error(`${missing().length} of ${talking} had no answer`);
            for (const member of members.slice(begun, begun + PER_TURN)) crowd.send(member, inside, "hello");
            begun = Math.min(talking, begun + PER_TURN);
            await Bun.sleep(TURN_MS);
            crowd.due();
            // Whoever was taken for a part of a flood comes again.
            if (begun < talking || performance.now() - lastMs < 1000) continue;
            lastMs = performance.now();
            for (const member of missing()) if (crowd.session(member)) crowd.send(member, inside, "hello");
          }
        } finally {
          echo.close();
        }
        const counted = () =>
          wgDump(far).peers.filter(
            ({ lastHandshakeMs, rxBytes, txBytes }) =>
              lastHandshakeMs !== undefined && rxBytes > 0 && txBytes > 0,
          );
        await until("all are counted", () => counted().length === talking);
        const prefixes = wgDump(far).peers.flatMap(({ allowedIps }) => allowedIps.map(formatPrefix));
        expect(prefixes.sort()).toEqual(
          crowd.peers.flatMap(({ allowedIps }) => allowedIps.map(formatPrefix)).sort(),
        );
      },
      LIMIT_MS,
    );
  });
}
