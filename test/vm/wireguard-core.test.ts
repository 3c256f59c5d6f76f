/** Our WireGuard core against the kernel's. One test after the other: the guest's processor is emulated, and ours runs in this process. */
import { describe, expect, test } from "bun:test";
import { Secret } from "../../src/net/mod.ts";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { SPECIFIED } from "../../src/tunnel/wireguard/mod.ts";
import { decodeMessage } from "../../src/tunnel/wireguard/message.ts";
import { TunnelPair, until } from "../support/tunnel-pair.ts";
import { loopBackend, type LoopTunnel } from "../support/wireguard-loop.ts";

const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";

/** Ours is near, the kernel's is far; handshake messages are written down. */
async function meet(options: { readonly rekeyMs?: number } = {}) {
  const { rekeyMs } = options;
  const timing =
    rekeyMs === undefined ? SPECIFIED : { ...SPECIFIED, rekeyAfterMs: rekeyMs, rekeyTimeoutMs: rekeyMs };
  const pair = await TunnelPair.open({ near: loopBackend({ timing }), far: kernelBackend() });
  const { loop } = pair.near.tunnel as LoopTunnel;
  const wire: string[] = [];
  loop.onWire = (direction, bytes) => {
    const message = decodeMessage(bytes);
    if (message !== undefined) wire.push(`${direction} ${message.kind}`);
    return true;
  };
  return { pair, loop, wire, [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose]() };
}

describe.skipIf(skip !== undefined)(
  `the kernel's WireGuard and our core${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    for (const family of [4, 6] as const) {
      test(`IPv${family}: we begin`, async () => {
        await using met = await meet();
        const { pair, wire } = met;
        pair.meet(family);
        expect(await pair.pings(pair.near)).toBe(true);
        expect(wire.slice(0, 2)).toEqual(["out initiation", "in response"]);
        expect(await pair.pings(pair.far)).toBe(true);
        const [ours, theirs] = [pair.seen(pair.near), pair.seen(pair.far)];
        expect(theirs?.endpoint).toEqual(pair.peer(pair.far, family).endpoint);
        expect(ours?.endpoint).toEqual(pair.peer(pair.near, family).endpoint);
        expect(theirs?.lastHandshakeMs).toBeNumber();
      });
    }

    test("it begins, with a pre-shared key", async () => {
      await using met = await meet();
      const { pair, wire } = met;
      pair.meet();
      const presharedKey = Secret.random();
      for (const side of [pair.near, pair.far])
        side.tunnel.device.change({ peers: [{ publicKey: pair.other(side).key.publicKey, presharedKey }] });
      expect(await pair.pings(pair.far)).toBe(true);
      expect(wire.slice(0, 2)).toEqual(["in initiation", "out response"]);
      expect(await pair.pings(pair.near)).toBe(true);
    });

    test("we renew in the middle of a flow, and no packet is lost", async () => {
      await using met = await meet({ rekeyMs: 2000 });
      const { pair, wire } = met;
      pair.meet();
      expect(await pair.pings(pair.near)).toBe(true);
      for (const side of [pair.near, pair.far]) {
        const argv = ["ping", "-n", "-q", "-i", "0.1", "-c", "100", "-W", "20", pair.other(side).overlay4];
        expect((await run(argv, { netns: side.netns })).stdout).toContain(" 0% packet loss");
      }
      expect(wire.filter((line) => line === "in response").length).toBeGreaterThan(3);
    });

    test("it follows us, and we it", async () => {
      await using met = await meet();
      const { pair } = met;
      pair.meet();
      expect(await pair.pings(pair.near)).toBe(true);
      pair.near.tunnel.device.change({ listenPort: 51999 });
      expect(await pair.pings(pair.near)).toBe(true);
      expect(pair.seen(pair.far)?.endpoint?.port).toBe(51999);
      pair.far.tunnel.device.change({ listenPort: 51888 });
      expect(await pair.pings(pair.far)).toBe(true);
      expect(pair.seen(pair.near)?.endpoint?.port).toBe(51888);
    });

    test("under our load it gets a cookie, and with it an answer", async () => {
      await using met = await meet();
      const { pair, loop, wire } = met;
      pair.meet();
      loop.backlog = 10_000;
      expect(await pair.pings(pair.far)).toBe(true);
      expect(wire).toEqual(["in initiation", "out cookie", "in initiation", "out response"]);
    });

    test("keepalives pass both ways", async () => {
      await using met = await meet();
      const { pair } = met;
      pair.meet();
      pair.near.tunnel.device.change({ peers: [{ publicKey: pair.far.key.publicKey, keepaliveSeconds: 1 }] });
      await until("ours", () => (pair.seen(pair.far)?.rxBytes ?? 0) >= 148 + 3 * 32);
      pair.near.tunnel.device.change({ peers: [{ publicKey: pair.far.key.publicKey, keepaliveSeconds: 0 }] });
      pair.far.tunnel.device.change({ peers: [{ publicKey: pair.near.key.publicKey, keepaliveSeconds: 1 }] });
      const before = pair.seen(pair.near)?.rxBytes ?? 0;
      await until("the kernel's", () => (pair.seen(pair.near)?.rxBytes ?? 0) >= before + 3 * 32);
    });
  },
);
