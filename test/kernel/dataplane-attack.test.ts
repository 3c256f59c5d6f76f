/** The real process under floods and under nonsense, while a flow goes through it. */
import { describe, expect, test } from "bun:test";
import { formatIp, parseEndpoint, parseIp } from "../../src/net/mod.ts";
import { Crowd, udpPacket } from "../support/crowd.ts";
import { dataplaneBackend, type DataplaneProcess, processOf } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { PacedFlow } from "../support/paced-flow.ts";
import { newSeed, Random } from "../support/random.ts";
import { ip, TunnelPair, until } from "../support/tunnel-pair.ts";

const PER_SECOND = 100_000;
const SECONDS = 4;
/** What a process may grow by while it is flooded. */
const GROWTH_BYTES = 150 << 20;

describe.skipIf(skip !== undefined)(
  `the data plane under attack${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const own = () => dataplaneBackend("--workers", "2");

    /** Two sides that talk; the near one can send from 10.66.0.0/16. */
    async function talking(): Promise<TunnelPair & { readonly ran: DataplaneProcess }> {
      const pair = await TunnelPair.open({ near: own(), far: own() });
      ip(pair.near.netns, "route add local 10.66.0.0/16 dev lo");
      ip(pair.far.netns, `route add 10.66.0.0/16 via ${pair.near.underlay4}`);
      pair.meet();
      expect(await pair.pings(pair.near)).toBe(true);
      return Object.assign(pair, { ran: processOf(pair.far) });
    }

    /** Floods the far side; resolves when it is over with what was sent. */
    function flood(pair: TunnelPair, kind: string): Promise<number> {
      const { near, far } = pair;
      const program = `${import.meta.dir}/../support/flood.ts`;
      const argv = [
        process.execPath,
        program,
        kind,
        far.underlay4,
        "51820",
        far.key.publicKey,
        `${PER_SECOND}`,
        `${SECONDS}`,
      ];
      const { child } = near.netns.run(() => ({
        child: Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" }),
      }));
      return child.stdout.text().then((text) => JSON.parse(text).sent as number);
    }

    const paced = (pair: TunnelPair) =>
      new PacedFlow({ from: pair.near.netns, to: pair.far.netns, target: pair.far.overlay4, perSecond: 300 });

    for (const kind of ["stranger", "knowing", "mixed"])
      test(`a flood of handshakes from a thousand addresses (${kind}): the flow goes on, a new peer comes in, memory stays bounded`, async () => {
        await using pair = await talking();
        const { near, far, ran } = pair;
        using crowd = await Crowd.open({
          netns: near.netns,
          host: "0.0.0.0",
          to: parseEndpoint(`${far.underlay4}:51820`),
          toKey: far.key.publicKey,
          count: 1,
        });
        const [member] = crowd.members as [(typeof crowd.members)[number]];
        far.tunnel.device.change({ peers: crowd.peers });
        const handshake = pair.seen(far)?.lastHandshakeMs;
        const before = ran.ownBytes;
        using flow = paced(pair);
        flow.start();
        const over = flood(pair, kind);
        // Begins in the middle of it: with a cookie, if it has to. Whoever is drowned comes again.
        const ticks = setInterval(() => {
          if (crowd.session(member) === undefined) crowd.send(member, parseIp(far.overlay4), "hello");
          crowd.due();
        }, 100);
        const sent = await over;
        const { sent: paces, received, late } = await flow.stop();
        expect(sent).toBeGreaterThan((PER_SECOND * SECONDS) / 3);
        // Queues of this small machine may overflow for a moment; what is tested is that nothing stands still.
        expect(received).toBeGreaterThan(paces * 0.95);
        expect(late).toBe(0);
        expect(ran.ownBytes - before).toBeLessThan(GROWTH_BYTES);
        await until("the new peer has a session", () => crowd.session(member) !== undefined);
        clearInterval(ticks);
        expect(pair.seen(far)?.lastHandshakeMs).toBe(handshake as number);
        expect(await pair.pings(near)).toBe(true);
        expect(
          far.tunnel.device.read().peers.map(({ endpoint }) => endpoint && formatIp(endpoint.ip)),
        ).toContain(near.underlay4);
      });

    const seed = newSeed();
    test(`datagrams of a session, changed in any way, for seconds (seed ${seed}): the process lives, and the flow goes on`, async () => {
      const random = new Random(seed);
      await using pair = await talking();
      const { near, far, ran } = pair;
      using crowd = await Crowd.open({
        netns: near.netns,
        host: "0.0.0.0",
        to: parseEndpoint(`${far.underlay4}:51820`),
        toKey: far.key.publicKey,
        count: 8,
      });
      far.tunnel.device.change({ peers: crowd.peers });
      const inside = parseIp(far.overlay4);
      for (const member of crowd.members) crowd.send(member, inside, "hello");
      await until("all have a session", () =>
        crowd.members.every((member) => crowd.session(member) !== undefined),
      );
      const { counters: before } = ran.status;
      using flow = paced(pair);
      flow.start();
      const endMs = performance.now() + 5000;
      let count = 0;
      while (performance.now() < endMs) {
        for (let i = 0; i < 200; i++, count++) {
          const member = random.pick(crowd.members);
          const session = crowd.session(member) as NonNullable<ReturnType<typeof crowd.session>>;
          const data = new Uint8Array(new ArrayBuffer(random.pick([16, 31, 32, 33, 48, 148, 1400, 8000])));
          crypto.getRandomValues(data);
          const view = new DataView(data.buffer);
          view.setUint32(0, random.chance(0.9) ? 4 : random.u32(), true);
          view.setUint32(4, session.remoteIndex, true);
          if (random.chance(0.7)) view.setBigUint64(8, BigInt(random.below(100_000)), true);
          crowd.raw(random.chance(0.5) ? data : random.mutate(data));
        }
        await Bun.sleep(5);
      }
      const { sent, received } = await flow.stop();
      expect(count).toBeGreaterThan(10_000);
      expect(received).toBeGreaterThan(sent * 0.95);
      const { counters } = ran.status;
      expect((counters.forged ?? 0) - (before.forged ?? 0)).toBeGreaterThan(1000);
      // Nothing of it moved a window or a place: the sessions are as good as before.
      for (const member of crowd.members) {
        const heard = far.tunnel.device
          .read()
          .peers.find(({ publicKey }) => publicKey === member.key.publicKey);
        crowd.send(member, inside, "again");
        await until("it is heard", () => {
          const now = far.tunnel.device
            .read()
            .peers.find(({ publicKey }) => publicKey === member.key.publicKey);
          return (now?.rxBytes ?? 0) > (heard?.rxBytes ?? 0);
        });
      }
      expect(await pair.pings(near)).toBe(true);
    });

    test(`true packets with any contents (seed ${seed}): nothing of it comes out of the link, or ends the process`, async () => {
      const random = new Random(seed);
      await using pair = await talking();
      const { near, far, ran } = pair;
      using crowd = await Crowd.open({
        netns: near.netns,
        host: "0.0.0.0",
        to: parseEndpoint(`${far.underlay4}:51820`),
        toKey: far.key.publicKey,
        count: 2,
      });
      far.tunnel.device.change({ peers: crowd.peers });
      const inside = parseIp(far.overlay4);
      for (const member of crowd.members) crowd.send(member, inside, "hello");
      await until("all have a session", () =>
        crowd.members.every((member) => crowd.session(member) !== undefined),
      );
      const { sealPacket } = await import("../../src/tunnel/wireguard/mod.ts");
      for (let i = 0; i < 20_000; i++) {
        const member = random.pick(crowd.members);
        const session = crowd.session(member) as NonNullable<ReturnType<typeof crowd.session>>;
        const packet = random.mutate(udpPacket(member.inside, inside, random.text(200)));
        const sealed = sealPacket(session, packet, member.device);
        if (sealed !== undefined) crowd.raw(sealed);
        if (i % 200 === 0) await Bun.sleep(1);
      }
      const { counters } = ran.status;
      expect(counters.forged).toBe(0);
      expect(counters.malformed).toBeGreaterThan(100);
      expect(counters.refused_source).toBeGreaterThan(100);
      expect(await pair.pings(near)).toBe(true);
    });
  },
);
