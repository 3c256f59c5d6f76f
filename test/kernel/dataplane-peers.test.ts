/** One data plane and a crowd: a thousand peers, each with a handshake and packets both ways. */
import { expect, test } from "bun:test";
import { ipPlus, parseEndpoint, parseIp } from "../../src/net/mod.ts";
import { Crowd, type Member } from "../support/crowd.ts";
import { dataplaneBackend, processOf } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { ip, TunnelPair, until } from "../support/tunnel-pair.ts";

const COUNT = 1000;
const CROWDS = 10;

test.skipIf(skip !== undefined)(
  `a thousand peers make their handshakes at once, and each gets and sends its packets${skip === undefined ? "" : ` (${skip})`}`,
  async () => {
    const own = () => dataplaneBackend("--workers", "2");
    await using pair = await TunnelPair.open({ near: own(), far: own() });
    const { near, far } = pair;
    // From several addresses: under load each may begin so many handshakes a second (wireguard/limits.ts).
    ip(near.netns, "route add local 10.66.0.0/16 dev lo");
    ip(far.netns, `route add 10.66.0.0/16 via ${near.underlay4}`);
    using all = new DisposableStack();
    const crowds = await Promise.all(
      Array.from({ length: CROWDS }, (_, i) =>
        Crowd.open({
          netns: near.netns,
          host: `10.66.0.${i + 1}`,
          to: parseEndpoint(`${far.underlay4}:51820`),
          toKey: far.key.publicKey,
          count: COUNT / CROWDS,
          first: ipPlus(parseIp("10.20.0.0"), BigInt((i * COUNT) / CROWDS)),
        }),
      ),
    );
    for (const one of crowds) all.use(one);
    const members = crowds.flatMap((one) => one.members);
    const crowdOf = new Map(crowds.flatMap((one) => one.members.map((member) => [member, one] as const)));
    const send = (member: Member, text: string) => crowdOf.get(member)?.send(member, inside, text);
    const inside = parseIp(far.overlay4);
    const ran = processOf(far);
    far.tunnel.device.change({
      privateKey: far.key,
      listenPort: 51820,
      peers: crowds.flatMap(({ peers }) => peers),
    });
    ip(far.netns, `route add 10.20.0.0/16 dev ${far.link}`);
    const before = ran.ownBytes;

    // What comes to the far side goes back to where it came from, as it was.
    const opened = far.netns.run(() => {
      const promise = Bun.udpSocket({
        hostname: far.overlay4,
        port: 7000,
        socket: { data: (socket, data, port, host) => void socket.send(data, port, host) },
      });
      return { promise };
    });
    const echo = await opened.promise;
    try {
      /** Each sends until its packet has come back: on a small machine queues overflow. */
      const echoed = async (some: readonly Member[], text: string) => {
        const missing = () => some.filter(({ heard }) => !heard.includes(text));
        let last = Number.NEGATIVE_INFINITY;
        await until(text, () => {
          for (const one of crowds) one.due();
          if (performance.now() - last > 1000) {
            last = performance.now();
            for (const member of missing()) send(member, text);
          }
          return missing().length === 0;
        });
      };
      // All at once: that is load, and some have to come again with a cookie.
      await echoed(members, "first");
      const known = far.tunnel.device.read().peers;
      expect(known.filter(({ lastHandshakeMs }) => lastHandshakeMs !== undefined)).toHaveLength(COUNT);
      expect(known.every(({ rxBytes, txBytes }) => rxBytes > 0 && txBytes > 0)).toBe(true);
      await echoed(members, "second");
      const sent = members.map(({ heard }) => heard.length);
      // Sessions lie in the memory that threads share: 1152 bytes each.
      const { counters } = ran.status;
      expect(counters).toMatchObject({ forged: 0, malformed: 0, refused_source: 0 });
      expect(Math.max(...sent)).toBeGreaterThanOrEqual(2);
      expect(ran.ownBytes - before).toBeLessThan(120 << 20);

      // Half of them go, and the others notice nothing.
      const gone = members.filter((_, i) => i % 2 === 0);
      far.tunnel.device.change({
        peers: gone.map(({ key }) => ({ publicKey: key.publicKey, remove: true })),
      });
      expect(far.tunnel.device.read().peers).toHaveLength(COUNT / 2);
      const stay = members.filter((_, i) => i % 2 === 1);
      for (const member of gone) send(member, "third");
      await echoed(stay, "third");
      expect(gone.some(({ heard }) => heard.includes("third"))).toBe(false);
    } finally {
      echo.close();
    }
  },
);
