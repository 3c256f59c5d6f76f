/** What every tunnel back-end must do, alone and against another one. */
import { describe, expect, test } from "bun:test";
import {
  formatEndpoint,
  formatPrefix,
  type PeerChange,
  parseEndpoint,
  parsePrefix,
  PrivateKey,
  Secret,
} from "../../src/net/mod.ts";
import { run } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { comparable, ip, type Side, TunnelPair, until } from "./tunnel-pair.ts";
import { lostPings } from "./lost-pings.ts";

/** Backends says who runs the two ends; `skip` why nobody can. */
export interface Backends {
  readonly near: () => TunnelBackend;
  readonly far: () => TunnelBackend;
  readonly skip?: string | undefined;
  /** Leave out what concerns one device only: it was tested where both sides are of one kind. */
  readonly talkOnly?: boolean;
}

function stranger(number: number): PeerChange {
  return {
    publicKey: PrivateKey.random().publicKey,
    endpoint: parseEndpoint(`192.0.2.${100 + (number % 100)}:${10000 + number}`),
    allowedIps: [
      parsePrefix(`10.10.${number >> 8}.${number & 255}/32`),
      parsePrefix(`fd10::${number.toString(16)}/128`),
    ],
  };
}

/** backendSuite declares the tests. */
export function backendSuite(title: string, backends: Backends): void {
  const name = backends.skip === undefined ? title : `${title} (${backends.skip})`;
  describe.skipIf(backends.skip !== undefined)(name, () => {
    const open = () => TunnelPair.open({ near: backends.near(), far: backends.far() });
    const deviceTest = backends.talkOnly === true ? () => {} : test.concurrent;

    for (const family of [4, 6] as const) {
      test.concurrent(`IPv${family} endpoints: handshake, then packets both ways`, async () => {
        await using pair = await open();
        pair.meet(family);
        expect(pair.seen(pair.near)?.lastHandshakeMs).toBeUndefined();
        expect(await pair.pings(pair.near)).toBe(true);
        expect(await pair.pings(pair.far)).toBe(true);
        for (const side of [pair.near, pair.far]) {
          const seen = pair.seen(side);
          expect(seen?.lastHandshakeMs).toBeNumber();
          expect(Math.abs((seen?.lastHandshakeMs ?? 0) - Date.now())).toBeLessThan(120_000);
          // Several threads count; what they have together may be told a moment later.
          const counted = (direction: "rxBytes" | "txBytes") => (pair.seen(side)?.[direction] ?? 0) > 200;
          await until("bytes are counted", () => counted("rxBytes") && counted("txBytes"));
          expect(seen?.endpoint).toEqual(pair.peer(side, family).endpoint);
        }
      });
    }

    test.concurrent(
      "a pre-shared key: equal on both sides they talk, on one side only they do not",
      async () => {
        await using pair = await open();
        pair.meet();
        const presharedKey = Secret.random();
        const { near, far } = pair;
        near.tunnel.device.change({ peers: [{ publicKey: far.key.publicKey, presharedKey }] });
        expect(pair.seen(near)?.presharedKey).toBe(true);
        expect(pair.seen(far)?.presharedKey).toBe(false);
        expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
        expect(pair.seen(near)?.lastHandshakeMs).toBeUndefined();
        far.tunnel.device.change({ peers: [{ publicKey: near.key.publicKey, presharedKey }] });
        // The other side is asked: ours may begin a handshake only every 5 seconds.
        expect(await pair.pings(far)).toBe(true);
        expect(pair.seen(near)?.lastHandshakeMs).toBeNumber();
      },
    );

    deviceTest("allowed addresses are exactly what was said last, and move between peers", async () => {
      await using pair = await open();
      const { device } = pair.near.tunnel;
      const [a, b] = [stranger(1).publicKey, stranger(2).publicKey];
      const lists = () =>
        Object.fromEntries(
          device
            .read()
            .peers.map((p) => [p.publicKey === a ? "a" : "b", p.allowedIps.map(formatPrefix).sort()]),
        );
      const list = (...texts: string[]) => texts.map(parsePrefix);
      device.change({
        privateKey: pair.near.key,
        peers: [
          { publicKey: a, allowedIps: list("10.1.0.0/16", "10.1.2.0/24", "fd01::/64", "0.0.0.0/0", "::/0") },
          { publicKey: b, allowedIps: list("10.2.0.0/16") },
        ],
      });
      expect(lists()).toEqual({
        a: ["0.0.0.0/0", "10.1.0.0/16", "10.1.2.0/24", "::/0", "fd01::/64"],
        b: ["10.2.0.0/16"],
      });
      device.change({
        peers: [{ publicKey: b, allowedIps: list("10.2.0.0/16", "10.1.2.0/24", "fd01::/64") }],
      });
      expect(lists()).toEqual({
        a: ["0.0.0.0/0", "10.1.0.0/16", "::/0"],
        b: ["10.1.2.0/24", "10.2.0.0/16", "fd01::/64"],
      });
      device.change({
        peers: [
          { publicKey: a, allowedIps: list("10.1.0.0/16") },
          { publicKey: b, allowedIps: [] },
        ],
      });
      expect(lists()).toEqual({ a: ["10.1.0.0/16"], b: [] });
      device.change({ peers: [{ publicKey: a, keepaliveSeconds: 25 }] });
      expect(lists()).toEqual({ a: ["10.1.0.0/16"], b: [] });
    });

    test.concurrent(
      "a peer that is made anew shakes hands at once, and what waits meanwhile arrives",
      async () => {
        await using pair = await open();
        const { near, far } = pair;
        pair.meet();
        expect(await pair.pings(near)).toBe(true);
        const before = pair.seen(near)?.lastHandshakeMs ?? 0;
        // A second and more: some report handshakes in whole seconds.
        await Bun.sleep(1_100);
        near.tunnel.device.change({ peers: [{ ...pair.peer(near), anew: true, keepaliveSeconds: 25 }] });
        expect(await pair.pings(near)).toBe(true);
        expect(pair.seen(near)?.lastHandshakeMs ?? 0).toBeGreaterThan(before);
        expect(await pair.pings(far)).toBe(true);
      },
    );

    test.concurrent("an address that is not allowed gets nothing through", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      far.tunnel.device.change({
        peers: [{ publicKey: near.key.publicKey, allowedIps: [parsePrefix("10.9.0.77/32")] }],
      });
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
      await until("the handshake", () => pair.seen(near)?.lastHandshakeMs !== undefined);
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
    });

    test.concurrent("changing, adding and removing other peers leaves a session alone", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      // A side that had no answer in time repeats its handshake after 5 s (Rekey-Timeout), whatever is done to others.
      const settled = (side: Side) => Date.now() - (pair.seen(side)?.lastHandshakeMs ?? Date.now()) > 6_000;
      await until("no handshake is repeated any more", () => settled(near) && settled(far));
      const before = [near, far].map((side) => pair.seen(side));
      const count = 200;
      const flow = run(["ping", "-n", "-i", "0.01", "-c", `${count}`, "-W", "20", far.overlay4], {
        netns: near.netns,
      });
      const others = Array.from({ length: 12 }, (_, i) => stranger(i));
      for (const { tunnel } of [near, far]) {
        for (const peer of others) {
          tunnel.device.change({ peers: [peer] });
          await Bun.sleep(5);
        }
        tunnel.device.change({
          peers: others.map(({ publicKey }) => ({ publicKey, presharedKey: Secret.random() })),
        });
        await Bun.sleep(50);
        tunnel.device.change({
          listenPort: 51820,
          peers: others.map(({ publicKey }) => ({ publicKey, allowedIps: [], keepaliveSeconds: 20 })),
        });
        await Bun.sleep(50);
        tunnel.device.change({ peers: others.map(({ publicKey }) => ({ publicKey, remove: true })) });
      }
      expect(lostPings((await flow).stdout)).toEqual([]);
      for (const [i, side] of [near, far].entries()) {
        expect(pair.seen(side)?.lastHandshakeMs).toBe(before[i]?.lastHandshakeMs as number);
        const enough = (before[i]?.rxBytes ?? 0) + count * 84;
        await until("bytes are counted", () => (pair.seen(side)?.rxBytes ?? 0) >= enough);
        expect(side.tunnel.device.read().peers).toHaveLength(1);
      }
    });

    test.concurrent("keepalive speaks without being spoken to, and can be turned off", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      near.tunnel.device.change({ peers: [{ publicKey: far.key.publicKey, keepaliveSeconds: 1 }] });
      expect(pair.seen(near)?.keepaliveSeconds).toBe(1);
      await until("a handshake", () => pair.seen(far)?.lastHandshakeMs !== undefined);
      const heard = pair.seen(far)?.rxBytes ?? 0;
      await until("more keepalives", () => (pair.seen(far)?.rxBytes ?? 0) >= heard + 64);
      near.tunnel.device.change({ peers: [{ publicKey: far.key.publicKey, keepaliveSeconds: 0 }] });
      expect(pair.seen(near)?.keepaliveSeconds).toBeUndefined();
      expect(await pair.pings(far)).toBe(true);
    });

    test.concurrent(
      "a removed peer is gone; removing or updating one that is not there does nothing",
      async () => {
        await using pair = await open();
        const { near, far } = pair;
        pair.meet();
        expect(await pair.pings(near)).toBe(true);
        near.tunnel.device.change({
          peers: [
            { publicKey: stranger(1).publicKey, remove: true },
            { ...stranger(2), updateOnly: true },
          ],
        });
        expect(near.tunnel.device.read().peers.map((peer) => peer.publicKey)).toEqual([far.key.publicKey]);
        near.tunnel.device.change({ peers: [{ publicKey: far.key.publicKey, remove: true }] });
        expect(near.tunnel.device.read().peers).toEqual([]);
        expect(await pair.pings(far, { waitSeconds: 1 })).toBe(false);
        near.tunnel.device.change({ peers: [pair.peer(near)] });
        expect(await pair.pings(near)).toBe(true);
      },
    );

    test.concurrent("a peer that moves is followed", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      ip(far.netns, "addr del 192.0.2.2/24 dev eth0");
      ip(far.netns, "addr add 192.0.2.3/24 dev eth0");
      // The one that moved must speak first; what it sends at this very moment may be lost.
      for (let tries = 0; !(await pair.pings(far, { waitSeconds: 1 })); tries++)
        expect(tries).toBeLessThan(30);
      const seen = () => formatEndpoint(pair.seen(near)?.endpoint as never);
      await until("the new address is told", () => seen() === "192.0.2.3:51820");
      expect(await pair.pings(near)).toBe(true);
    });

    test.concurrent("the listening port changes under a running session", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      near.tunnel.device.change({ listenPort: 51999 });
      expect(near.tunnel.device.read().listenPort).toBe(51999);
      expect(await pair.pings(near)).toBe(true);
      const seen = () => formatEndpoint(pair.seen(far)?.endpoint as never);
      await until("the new port is told", () => seen() === "192.0.2.1:51999");
      near.tunnel.device.change({ listenPort: 0 });
      const { listenPort } = near.tunnel.device.read();
      expect(listenPort).toBeGreaterThan(0);
      expect(listenPort).not.toBe(51999);
    });

    test.concurrent("a new private key makes a new identity", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const key = PrivateKey.random();
      near.tunnel.device.change({ privateKey: key });
      expect(near.tunnel.device.read().publicKey).toBe(key.publicKey);
      far.tunnel.device.change({
        peers: [
          { publicKey: near.key.publicKey, remove: true },
          { ...pair.peer(far), publicKey: key.publicKey },
        ],
      });
      expect(await pair.pings(far)).toBe(true);
      expect(pair.seen(far, key)?.lastHandshakeMs).toBeNumber();
    });

    deviceTest("200 peers are read back as they were set", async () => {
      await using pair = await open();
      const peers = Array.from({ length: 200 }, (_, i) => ({
        ...stranger(i),
        keepaliveSeconds: i % 3,
        ...(i % 2 === 0 ? { presharedKey: Secret.random() } : {}),
      }));
      const { device } = pair.near.tunnel;
      device.change({ privateKey: pair.near.key, listenPort: 51820, peers });
      expect(comparable(device.read())).toEqual(
        comparable({
          publicKey: pair.near.key.publicKey,
          listenPort: 51820,
          peers: peers.map(({ publicKey, endpoint, allowedIps, keepaliveSeconds, presharedKey }) => ({
            publicKey,
            ...(endpoint === undefined ? {} : { endpoint }),
            allowedIps: allowedIps ?? [],
            ...(keepaliveSeconds === 0 ? {} : { keepaliveSeconds }),
            presharedKey: presharedKey !== undefined,
            rxBytes: 0,
            txBytes: 0,
          })),
        }),
      );
    });

    deviceTest("a peer with 1000 allowed addresses is read back whole", async () => {
      await using pair = await open();
      const { device } = pair.near.tunnel;
      const { publicKey } = stranger(1);
      const allowedIps = Array.from({ length: 1000 }, (_, i) => parsePrefix(`10.20.${i >> 8}.${i & 255}/32`));
      device.change({ privateKey: pair.near.key, peers: [{ publicKey, allowedIps }, stranger(2)] });
      const found = device.read().peers;
      expect(found).toHaveLength(2);
      expect(
        found
          .find((peer) => peer.publicKey === publicKey)
          ?.allowedIps.map(formatPrefix)
          .sort(),
      ).toEqual(allowedIps.map(formatPrefix).sort());
    });

    test.concurrent("closed and opened again, state and session are the same", async () => {
      await using pair = await open();
      const { near } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const before = near.tunnel.device.read();
      near.tunnel.close();
      near.tunnel = await backends.near().open(near.link, { netns: near.netns });
      // Its counters may have gone on: an answer that was late.
      expect(comparable(near.tunnel.device.read())).toEqual(comparable(before));
      expect(await pair.pings(pair.far)).toBe(true);
      expect(pair.seen(near)?.lastHandshakeMs).toBe(before.peers[0]?.lastHandshakeMs as number);
    });

    deviceTest("text, JSON and errors of a change show no secret", async () => {
      await using pair = await open();
      const { near } = pair;
      const key = PrivateKey.random();
      pair.meet();
      near.tunnel.device.change({ privateKey: key });
      const shown = `${Bun.inspect(near.tunnel)}${Bun.inspect(near.tunnel.device.read())}`;
      let message = "";
      // A device without a link: the kernel's has a socket that is open, the other one has none.
      if (near.tunnel.linkType === "wireguard") ip(near.netns, `link del ${near.link}`);
      else await near.tunnel.destroy();
      try {
        near.tunnel.device.change({
          privateKey: key,
          peers: [{ publicKey: key.publicKey, presharedKey: key }],
        });
      } catch (error) {
        message = Bun.inspect(error);
      }
      expect(message).toContain(near.link);
      for (const secret of [Buffer.from(key.reveal()).toString("hex"), key.toFile().trim()])
        expect(`${shown}${message}`).not.toContain(secret);
    });
  });
}
