/**
 * A node changes its private key under traffic, as in a rotation: the other end has a second peer for the next key before, and moves the
 * addresses to it when it hears it, as its agent does (src/mesh/twin.ts). Nothing is lost in either direction: what the node sends waits until
 * the other end is heard under the new key.
 */
import { describe, expect, test } from "bun:test";
import { PrivateKey } from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { HOLD_AFTER_MS } from "../../src/tunnel/wireguard/limits.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { PacedFlow } from "../support/paced-flow.ts";
import { type Side, TunnelPair, until } from "../support/tunnel-pair.ts";

const own = () => dataplaneBackend("--workers", "2");
const go = wireguardGoBackend();

const ends: readonly (readonly [string, string | undefined, () => TunnelBackend])[] = [
  ["another of ours", ownLacks, own],
  [
    "wireguard-go",
    ownLacks ?? (go === undefined ? "needs wireguard-go" : undefined),
    () => go as TunnelBackend,
  ],
];

describe.each(ends)("a change of key towards %s", (_, lacks, backend) => {
  test.skipIf(lacks !== undefined)(
    `loses nothing in either direction${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
    async () => {
      await using pair = await TunnelPair.open({ near: own(), far: backend() });
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const next = PrivateKey.random();
      const { endpoint: __, allowedIps: ___, ...peer } = pair.peer(far);
      far.tunnel.device.change({ peers: [{ ...peer, publicKey: next.publicKey }] });
      const flow = (from: Side, to: Side) =>
        new PacedFlow({ from: from.netns, to: to.netns, target: to.overlay4, perSecond: 200 });
      using outward = flow(near, far);
      using inward = flow(far, near);
      outward.start();
      inward.start();
      await until("both flow", () => outward.report().received > 100 && inward.report().received > 100);
      // The key before must have been ours for a while.
      await Bun.sleep(HOLD_AFTER_MS);
      near.tunnel.device.change({ privateKey: next });
      await until("the next key is heard", () => pair.seen(far, next)?.lastHandshakeMs !== undefined);
      far.tunnel.device.change({
        peers: [{ ...pair.peer(far), publicKey: next.publicKey, keepaliveSeconds: 25 }],
      });
      const last = outward.report().sent;
      await until("both flow again", () => outward.report().sent > last + 200);
      const [came, left] = [await inward.stop(), await outward.stop()];
      expect(came.received).toBe(came.sent);
      expect(came.twice).toBe(0);
      expect([left.sent - left.received, left.twice]).toEqual([0, 0]);
    },
    60_000,
  );
});

/** Two flows, until something is done and both flow again; what of each was lost. */
async function lostWhile(pair: TunnelPair, work: () => Promise<void> | void): Promise<number[]> {
  const { near, far } = pair;
  const flow = (from: Side, to: Side) =>
    new PacedFlow({ from: from.netns, to: to.netns, target: to.overlay4, perSecond: 200 });
  using outward = flow(near, far);
  using inward = flow(far, near);
  const both = [outward, inward];
  for (const one of both) one.start();
  const flows = async (what: string) => {
    const came = both.map((one) => one.report().received);
    await until(what, () => both.every((one, i) => one.report().received > (came[i] as number) + 200));
  };
  await flows("both flow");
  await work();
  await flows("both flow again");
  const reports = await Promise.all(both.map((one) => one.stop()));
  return reports.map(({ sent, received }) => sent - received);
}

describe.each(ends)("a hub's change of key towards %s", (_, lacks, backend) => {
  test.skipIf(lacks !== undefined)(
    `loses nothing while the peer knows the key before, nor when it is moved${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
    async () => {
      await using pair = await TunnelPair.open({ near: own(), far: backend() });
      const { near, far } = pair;
      const former = () => near.tunnel.device.read().peers.map((peer) => peer.former === true);
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const next = PrivateKey.random();
      const lost = await lostWhile(pair, () =>
        near.tunnel.device.change({ privateKey: next, formerKey: near.key }),
      );
      expect(lost).toEqual([0, 0]);
      const { publicKey, formerPublicKey } = near.tunnel.device.read();
      expect([publicKey, formerPublicKey]).toEqual([next.publicKey, near.key.publicKey]);
      // It begins anew with all that it knows, as after a restart.
      far.tunnel.device.change({ peers: [{ ...pair.peer(far), anew: true }] });
      expect(await pair.pings(far)).toBe(true);
      expect(former()).toEqual([true]);
      const { endpoint: __, allowedIps: ___, ...peer } = pair.peer(far);
      far.tunnel.device.change({ peers: [{ ...peer, publicKey: next.publicKey }] });
      const lostByMove = await lostWhile(pair, async () => {
        near.tunnel.device.change({
          peers: [{ publicKey: far.key.publicKey, updateOnly: true, move: true }],
        });
        await until("the next key is heard", () => pair.seen(far, next)?.lastHandshakeMs !== undefined);
        far.tunnel.device.change({
          peers: [{ ...pair.peer(far), publicKey: next.publicKey, keepaliveSeconds: 25 }],
        });
      });
      expect(lostByMove).toEqual([0, 0]);
      expect(former()).toEqual([false]);
      near.tunnel.device.change({ formerKey: "none" });
      expect(near.tunnel.device.read().formerPublicKey).toBeUndefined();
      expect(await pair.pings(near)).toBe(true);
    },
    60_000,
  );
});
