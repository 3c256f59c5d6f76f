/**
 * A node changes its private key under traffic, as in a rotation: the other end has a second peer for the next key before, and moves the
 * addresses to it when it hears it. What the node receives goes on without loss. What it sends is lost only between the first packet
 * under the new key and that move, which is the affair of the other end.
 */
import { describe, expect, test } from "bun:test";
import { PrivateKey } from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
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
    `loses nothing that comes, and nothing that leaves after the other end took it up${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
    async () => {
      await using pair = await TunnelPair.open({ near: own(), far: backend() });
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const next = PrivateKey.random();
      const { endpoint: __, allowedIps: ___, ...peer } = pair.peer(far);
      far.tunnel.device.change({ peers: [{ ...peer, publicKey: next.publicKey }] });
      const flow = (from: Side, to: Side) =>
        new PacedFlow({ from: from.netns, to: to.netns, target: to.overlay4, perSecond: 500 });
      using outward = flow(near, far);
      using inward = flow(far, near);
      outward.start();
      inward.start();
      await until("both flow", () => outward.report().received > 100 && inward.report().received > 100);
      const first = outward.report().sent;
      near.tunnel.device.change({ privateKey: next });
      await until("the next key is heard", () => (pair.seen(far, next)?.rxBytes ?? 0) > 0);
      // What comes meanwhile comes under the session of the key before.
      const { received } = inward.report();
      await until("more comes", () => inward.report().received > received + 50);
      far.tunnel.device.change({ peers: [{ ...pair.peer(far), publicKey: next.publicKey }] });
      const last = outward.report().sent;
      await until("both flow again", () => outward.report().sent > last + 200);
      const [came, left] = [await inward.stop(), await outward.stop()];
      expect(came.received).toBe(came.sent);
      expect(came.twice).toBe(0);
      expect(left.sent - left.received).toBeLessThanOrEqual(last - first);
    },
    60_000,
  );
});
